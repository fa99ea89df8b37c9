"""The login-state store: who is logged in, and which sessions may be taken up again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parlour.storage import migrate
from parlour.storage.database import Database, dialect_of
from parlour.storage.errors import StorageError
from parlour.storage.gather import Gather
from parlour.storage.schema import logins

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


class LoginStates:
    """The logins of one or several servers; each server has its ``node``."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._changes: Gather[Change, bool] = Gather(self._write, timeout=database.timeout)

    @classmethod
    async def open(cls, data: Path, *, url: str = "", timeout: float) -> Self:
        """Open the store at ``url``, or the SQLite file in the data folder."""
        dialect = dialect_of(url, data / DATABASE, timeout=timeout, durable=False)
        dialect.prepare()
        store = cls(Database(dialect, timeout=timeout))
        try:
            await store.database.migrate(migrate.LOGIN_STATE)
        except BaseException:
            await store.close()
            raise
        return store

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

    async def revoke(self, sdk_app_id: int, user_ids: Iterable[str]) -> int:
        """End every login of those users. Returns how many there were."""
        users = list(user_ids)

        async def work(connection: AsyncConnection) -> int:
            query = delete(logins).where(logins.c.sdk_app_id == sdk_app_id, logins.c.user_id.in_(users))
            return (await connection.execute(query)).rowcount

        return await self.database.write(work)

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

    async def _write(self, changes: list[Change], alone: bool) -> Sequence[bool | StorageError]:
        async def work(connection: AsyncConnection) -> list[bool]:
            fresh = [change for change in changes if isinstance(change, LoggedIn)]
            if fresh:
                columns = LoggedIn.__slots__
                await connection.execute(
                    insert(logins), [{name: getattr(login, name) for name in columns} for login in fresh]
                )
            return [isinstance(change, LoggedIn) or await _change(connection, change) for change in changes]

        return await (self.database.write(work, retries=0) if alone else self.database.write(work))


async def _change(connection: AsyncConnection, change: Lost | Back | Ended) -> bool:
    same = logins.c.login_id == change.login_id
    match change:
        case Lost():
            result = await connection.execute(update(logins).where(same).values(online_until=change.online_until))
        case Back():
            result = await connection.execute(update(logins).where(same).values(online_until=None))
        case Ended():
            result = await connection.execute(delete(logins).where(same))
    return result.rowcount > 0
