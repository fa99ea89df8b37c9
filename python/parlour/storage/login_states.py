"""The login-state store: who is logged in, and which sessions may be taken up again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Self

from sqlalchemy import bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parlour.storage import migrate
from parlour.storage.batcher import Batcher, Budget
from parlour.storage.database import Closable, Database, dialect_of
from parlour.storage.errors import StorageError
from parlour.storage.schema import logins
from parlour.storage.statements import padded

DATABASE = "login-state.db"


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A login that succeeded; ``since`` in unix seconds."""

    login_id: str
    sdk_app_id: int
    user_id: str
    node: str
    platform: str
    since: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The socket of a login was lost: the user counts as online until then, unless it comes back."""

    login_id: str
    online_until: int


@dataclass(frozen=True, slots=True)
class Back:
    """A login has a socket again."""

    login_id: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A login is over."""

    login_id: str


Change = LoggedIn | Lost | Back | Ended

_BEGIN = insert(logins)
_THESE = logins.c.login_id.in_(bindparam("login_ids", expanding=True))
_UNTIL = update(logins).where(_THESE).values(online_until=bindparam("until")).returning(logins.c.login_id)
_END = delete(logins).where(_THESE).returning(logins.c.login_id)


class LoginStates(Closable):
    """The logins of one or several servers; each server has its ``node``."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._changes: Batcher[Change, bool] = Batcher(self._write, timeout=database.timeout)

    @classmethod
    async def open(cls, data: Path, *, url: str = "", timeout: float) -> Self:
        """Open the store at ``url``, or the SQLite file in the data folder."""
        dialect = dialect_of(url, data / DATABASE, timeout=timeout, durable=False)
        return cls(await Database.open(dialect, migrate.LOGIN_STATE, timeout=timeout))

    async def close(self) -> None:
        """Wait for what is under way and close every connection."""
        await self._changes.close()
        await self.database.close()

    async def note(self, change: Change) -> bool:
        """Write a change down. False when the login that it is about is not there (any more)."""
        return await self._changes.ask(change)

    async def forget_node(self, node: str) -> None:
        """Forget the logins of a server that starts anew."""
        await self.database.write(lambda connection: connection.execute(delete(logins).where(logins.c.node == node)))

    async def revoke(self, sdk_app_id: int, user_ids: Iterable[str], *, within: float | None = None) -> int:
        """End every login of those users, ``within`` seconds. Returns how many there were."""
        users = list(user_ids)

        async def work(connection: AsyncConnection) -> int:
            query = delete(logins).where(logins.c.sdk_app_id == sdk_app_id, logins.c.user_id.in_(users))
            return (await connection.execute(query)).rowcount

        return await self.database.write(work, within=within)

    async def online(self, sdk_app_id: int, user_ids: Sequence[str], *, now: int) -> dict[str, list[str]]:
        """The platforms of those of the users who are online."""

        async def work(connection: AsyncConnection) -> dict[str, list[str]]:
            query = (
                select(logins.c.user_id, logins.c.platform)
                .where(logins.c.sdk_app_id == sdk_app_id, logins.c.user_id.in_(user_ids))
                .where(or_(logins.c.online_until.is_(None), logins.c.online_until > now))
                .order_by(logins.c.since)
            )
            found: dict[str, list[str]] = defaultdict(list)
            for row in await connection.execute(query):
                if row.platform not in found[row.user_id]:
                    found[row.user_id].append(row.platform)
            return dict(found)

        return await self.database.read(work)

    async def _write(self, changes: list[Change], budget: Budget) -> Sequence[bool | StorageError]:
        async def work(connection: AsyncConnection) -> list[bool]:
            fresh = [change for change in changes if isinstance(change, LoggedIn)]
            if fresh:
                columns = LoggedIn.__slots__
                await connection.execute(_BEGIN, [{name: getattr(login, name) for name in columns} for login in fresh])
            done = [True] * len(changes)
            # In their order, but neighbours that do the same are one statement: a crowd may leave at once.
            others = [(at, change) for at, change in enumerate(changes) if not isinstance(change, LoggedIn)]
            for _, group in groupby(others, key=lambda other: replace(other[1], login_id="")):
                alike = list(group)
                there = await _change(connection, alike[0][1], [change.login_id for _, change in alike])
                for at, change in alike:
                    done[at] = change.login_id in there
            return done

        return await self.database.write(work, within=budget.within, retries=budget.retries)


async def _change(connection: AsyncConnection, change: Lost | Back | Ended, login_ids: Sequence[str]) -> set[str]:
    """Do to all of them what ``change`` does to one. Returns those that are (or were) there."""
    parameters: dict[str, object] = {"login_ids": padded(login_ids)}
    match change:
        case Lost():
            done = await connection.execute(_UNTIL, parameters | {"until": change.online_until})
        case Back():
            done = await connection.execute(_UNTIL, parameters | {"until": None})
        case Ended():
            done = await connection.execute(_END, parameters)
    return set(done.scalars())
