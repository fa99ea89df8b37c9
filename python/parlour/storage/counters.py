"""The counters behind lock-out and rate limits, in a store of their own. Times in unix seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sqlalchemy import bindparam, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parlour.storage import migrate
from parlour.storage.batcher import Batcher, Budget
from parlour.storage.database import Closable, Database, Result, Work, dialect_of
from parlour.storage.errors import StorageError
from parlour.storage.schema import failures, locks, windows
from parlour.storage.statements import insert_into, padded

DATABASE = "counters.db"
EVERYBODY = ""
"""The userId of a lock that holds for a source, whoever it says it is."""

_LOCKS = (
    select(locks)
    .where(tuple_(locks.c.sdk_app_id, locks.c.source, locks.c.user_id).in_(bindparam("wanted", expanding=True)))
    .where(locks.c.until > bindparam("now"), locks.c.until <= bindparam("longest"))
)

KEPT_WINDOWS = 60
"""Seconds for which the count of a past second is kept."""


@dataclass(frozen=True, slots=True)
class LockRules:
    """When repeated failures lock: so many within so many seconds, for how long. A count of 0 never locks."""

    failures: int = 10
    source_failures: int = 100
    window: float = 60.0
    duration: float = 60.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody wants to log in at an app. ``limit`` is how many may in one second; 0: any number."""

    sdk_app_id: int
    source: str
    user_id: str
    now: float
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether an attempt may go on: until when it is locked, or that it is one too many in its second."""

    locked_until: float | None = None
    source_locked_until: float | None = None
    too_many: bool = False


@dataclass(frozen=True, slots=True)
class Take:
    """One request against a bound of so many a second under a name."""

    name: str
    now: float
    limit: int


class Counters(Closable):
    """Counts of one or several servers."""

    def __init__(self, database: Database, rules: LockRules) -> None:
        self.database = database
        self._rules = rules
        self._swept = 0.0
        self._attempts: Batcher[Attempt, Admission] = Batcher(self._admit, timeout=database.timeout)
        self._failures: Batcher[Attempt, None] = Batcher(self._fail, timeout=database.timeout)
        self._takes: Batcher[Take, bool] = Batcher(self._take, timeout=database.timeout)

    @classmethod
    async def open(cls, data: Path, *, url: str = "", timeout: float, rules: LockRules) -> Self:
        """Open the store at ``url``, or the SQLite file in the data folder."""
        dialect = dialect_of(url, data / DATABASE, timeout=timeout, durable=False)
        return cls(await Database.open(dialect, migrate.COUNTERS, timeout=timeout), rules)

    async def close(self) -> None:
        """Wait for what is under way and close every connection."""
        for batcher in (self._attempts, self._failures, self._takes):
            await batcher.close()
        await self.database.close()

    async def attempt(self, attempt: Attempt) -> Admission:
        """Look for locks; without one, count the attempt against the app's rate."""
        return await self._attempts.ask(attempt)

    async def failed(self, attempt: Attempt) -> None:
        """Count a failure of an attempt that was admitted, and lock where it is one too many.

        It gives back what the attempt took of the app's rate: whoever guesses does not use up what others need.
        """
        await self._failures.ask(attempt)

    async def take(self, take: Take) -> bool:
        """Count one request. False when it is one too many in its second."""
        return await self._takes.ask(take)

    async def locked(self, sdk_app_id: int, *, now: float) -> list[tuple[str, str, float]]:
        """The locks of an app that hold now: source, userId (empty for all), until when."""

        async def work(connection: AsyncConnection) -> list[tuple[str, str, float]]:
            query = select(locks).where(locks.c.sdk_app_id == sdk_app_id, locks.c.until > now)
            rows = await connection.execute(query.order_by(locks.c.until))
            return [(row.source, row.user_id, row.until) for row in rows]

        return await self.database.read(work)

    async def unlock(self, sdk_app_id: int, user_id: str) -> int:
        """Take away the locks of a userId and forget its failures. Returns how many locks there were."""

        async def work(connection: AsyncConnection) -> int:
            gone = [
                await connection.execute(
                    delete(table).where(table.c.sdk_app_id == sdk_app_id, table.c.user_id == user_id)
                )
                for table in (failures, locks)
            ]
            return gone[-1].rowcount

        return await self.database.write(work)

    # --- batches ---

    async def _admit(self, attempts: list[Attempt], budget: Budget) -> Sequence[Admission | StorageError]:
        async def work(connection: AsyncConnection) -> list[Admission]:
            held = await self._locks(connection, attempts)
            admissions = []
            open_for: list[tuple[int, Take]] = []
            for at, attempt in enumerate(attempts):
                user = held.get((attempt.sdk_app_id, attempt.source, attempt.user_id))
                source = held.get((attempt.sdk_app_id, attempt.source, EVERYBODY))
                user, source = (None if until is None or until <= attempt.now else until for until in (user, source))
                admissions.append(Admission(user, source))
                if user is None and source is None and attempt.limit > 0:
                    open_for.append((at, Take(login_rate(attempt.sdk_app_id), attempt.now, attempt.limit)))
            taken = await self._count(connection, [take for _, take in open_for])
            for (at, _), good in zip(open_for, taken, strict=True):
                if not good:
                    admissions[at] = Admission(too_many=True)
            return admissions

        if any(attempt.limit > 0 for attempt in attempts):
            return await self._write(work, budget)
        return await self.database.read(work, within=budget.within)

    async def _fail(self, attempts: list[Attempt], budget: Budget) -> Sequence[StorageError | None]:
        now = max(attempt.now for attempt in attempts)

        async def work(connection: AsyncConnection) -> list[None]:
            # Two that write at the same time would each count without the other's, and none would lock.
            await self.database.dialect.take_turns(connection, "failures")
            await connection.execute(
                insert(failures),
                [
                    {
                        "sdk_app_id": attempt.sdk_app_id,
                        "source": attempt.source,
                        "user_id": attempt.user_id,
                        "at": attempt.now,
                    }
                    for attempt in attempts
                ],
            )
            for app, source, user in sorted({(a.sdk_app_id, a.source, a.user_id) for a in attempts}):
                of_user = (failures.c.sdk_app_id == app, failures.c.source == source, failures.c.user_id == user)
                await self._lock_if(connection, of_user, self._rules.failures, (app, source, user), now)
            for app, source in sorted({(a.sdk_app_id, a.source) for a in attempts}):
                of_source = (failures.c.sdk_app_id == app, failures.c.source == source)
                await self._lock_if(connection, of_source, self._rules.source_failures, (app, source, EVERYBODY), now)
            await self._give_back(connection, attempts)
            await self._sweep(connection, now)
            return [None] * len(attempts)

        return await self._write(work, budget)

    async def _take(self, takes: list[Take], budget: Budget) -> Sequence[bool | StorageError]:
        async def work(connection: AsyncConnection) -> list[bool]:
            return await self._count(connection, takes)

        return await self._write(work, budget)

    async def _write(self, work: Work[Result], budget: Budget) -> Result:
        return await self.database.write(work, within=budget.within, retries=budget.retries)

    # --- steps ---

    async def _locks(
        self, connection: AsyncConnection, attempts: Sequence[Attempt]
    ) -> dict[tuple[int, str, str], float]:
        wanted = {(a.sdk_app_id, a.source, user) for a in attempts for user in (a.user_id, EVERYBODY)}
        now = min(attempt.now for attempt in attempts)
        parameters = {"wanted": padded(sorted(wanted)), "now": now, "longest": self._longest(now)}
        rows = await connection.execute(_LOCKS, parameters)
        return {(row.sdk_app_id, row.source, row.user_id): row.until for row in rows}

    async def _count(self, connection: AsyncConnection, takes: Sequence[Take]) -> list[bool]:
        """Count them all, and tell which were within their bound: the first ones of each second."""
        groups: dict[tuple[str, int], list[int]] = defaultdict(list)
        for at, take in enumerate(takes):
            groups[take.name, int(take.now)].append(at)
        good = [True] * len(takes)
        for (name, second), members in sorted(groups.items()):
            statement = self._insert(windows).values(name=name, second=second, taken=len(members))
            statement = statement.on_conflict_do_update(
                index_elements=["name", "second"], set_={"taken": windows.c.taken + statement.excluded.taken}
            ).returning(windows.c.taken)
            before = (await connection.execute(statement)).scalar_one() - len(members)
            for number, at in enumerate(members, start=before + 1):
                good[at] = number <= takes[at].limit
        if takes:
            await self._sweep(connection, max(take.now for take in takes))
        return good

    async def _lock_if(
        self, connection: AsyncConnection, which: tuple[Any, ...], most: int, lock: tuple[int, str, str], now: float
    ) -> None:
        if most <= 0:
            return
        # None of the future: those are from before the clock was set back. Other servers' clocks may be a little ahead.
        recent = (*which, failures.c.at > now - self._rules.window, failures.c.at < now + self._rules.window)
        count = (await connection.execute(select(func.count()).select_from(failures).where(*recent))).scalar_one()
        if count < most:
            return
        until = now + self._rules.duration
        statement = self._insert(locks).values(sdk_app_id=lock[0], source=lock[1], user_id=lock[2], until=until)
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["sdk_app_id", "source", "user_id"], set_={"until": until})
        )
        if lock[2] == EVERYBODY:
            await connection.execute(delete(failures).where(*which))  # after the lock, counting begins anew

    async def _give_back(self, connection: AsyncConnection, attempts: Sequence[Attempt]) -> None:
        given: dict[tuple[str, int], int] = defaultdict(int)
        for attempt in attempts:
            if attempt.limit > 0:
                given[login_rate(attempt.sdk_app_id), int(attempt.now)] += 1
        for (name, second), count in sorted(given.items()):
            same = (windows.c.name == name) & (windows.c.second == second)
            await connection.execute(update(windows).where(same).values(taken=windows.c.taken - count))

    def _longest(self, now: float) -> float:
        """Until when a lock may hold. One that holds longer was written before the clock was set back.

        Other servers' clocks may be ahead, and an attempt may have waited since its ``now``.
        """
        return now + self._rules.duration + self._rules.window

    async def _sweep(self, connection: AsyncConnection, now: float) -> None:
        """Forget, now and then, what no rule looks at any more."""
        if abs(now - self._swept) < KEPT_WINDOWS / 4:
            return
        self._swept = now
        for table, time, earliest, latest in (
            (failures, failures.c.at, now - self._rules.window, now + self._rules.window),
            (locks, locks.c.until, now, self._longest(now)),
            (windows, windows.c.second, int(now) - KEPT_WINDOWS, int(now) + KEPT_WINDOWS),
        ):
            await connection.execute(delete(table).where(or_(time < earliest, time > latest)))

    def _insert(self, table: Any) -> Any:
        return insert_into(self.database.dialect.name, table)


def login_rate(sdk_app_id: int) -> str:
    """The name under which an app's logins are counted."""
    return f"login {sdk_app_id}"
