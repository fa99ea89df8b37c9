"""One store's database: transactions with a deadline, retries on conflict, and failures that say which they are."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar
from weakref import WeakKeyDictionary

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from parlour.storage import migrate
from parlour.storage.errors import ConflictError, LockedError, StorageError, StoreTimeoutError
from parlour.storage.postgres import Postgres
from parlour.storage.sqlite import Sqlite

Result = TypeVar("Result")
Work = Callable[[AsyncConnection], Awaitable[Result]]

PAUSES = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Seconds before each further attempt of a write that met another one; up to half as much again at random."""

RETRIES = len(PAUSES)

MIGRATION_TIMEOUT = 600.0
"""Seconds that a step of the schema may take; tables may be large."""

_migrating: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
"""Alembic keeps what it works on in module globals: two databases of one loop take their steps one after the other."""


class Dialect(Protocol):
    """What a kind of database is asked."""

    name: str
    cancels: bool
    reading: dict[str, Any]

    @property
    def where(self) -> str:
        """The database for a sentence, without secrets."""

    def prepare(self) -> None:
        """Make what can be made before the first connection."""

    def engine(self) -> AsyncEngine:
        """A new engine."""

    def still_there(self) -> bool:
        """Whether it is the database of before; raises when it is gone."""

    async def take_turns(self, connection: AsyncConnection, at: str) -> None:
        """Wait until no other server has a transaction open that takes turns at the same."""

    async def prepare_migration(self, connection: AsyncConnection) -> None:
        """Let this transaction take its time, and outlive a crash of the database also where rows may be lost."""

    def translate(self, error: BaseException) -> StorageError:
        """A driver's error as one of ours."""


def dialect_of(url: str, default: Path, *, timeout: float, durable: bool = True) -> Dialect:
    """The dialect of a database's URL; a path is an SQLite file, an empty text the file ``default``."""
    if not url or is_path(url):
        return Sqlite(Path(url).expanduser() if url else default, timeout=timeout, durable=durable)
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return Sqlite(Path(rest.removeprefix("/")).expanduser(), timeout=timeout, durable=durable)
    if scheme in ("postgresql", "postgres"):
        return Postgres("postgresql://" + rest, timeout=timeout, durable=durable)
    what = f"{scheme}://" if rest else "This"
    raise StorageError(
        f"{what} is no database of Parlour: give postgresql://user:password@host/name or the path of an SQLite file."
    )


def is_path(text: str) -> bool:
    """Whether a place is written as a path. A bare name is not: it may be an address that was mistyped."""
    return text.startswith(("/", "./", "../", "~"))


class Closable(Protocol):
    """What is closed at the end of an ``async with``."""

    async def close(self) -> None:
        """Wait for what is under way and close every connection."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Database:
    """A database that is open. Nothing is cached: what another process writes is seen at the next call."""

    def __init__(self, dialect: Dialect, *, timeout: float) -> None:
        self.dialect = dialect
        self.timeout = timeout
        self._engine = dialect.engine()
        self._reading = self._engine.execution_options(**dialect.reading)
        self._writing = self._engine.execution_options(parlour_write=True)
        self._late: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, dialect: Dialect, store: migrate.Schema, *, timeout: float) -> Self:
        """The database of a store, made if it can be, its schema up to date. Leaves nothing open when it fails."""
        dialect.prepare()
        database = cls(dialect, timeout=timeout)
        try:
            await database.migrate(store)
        except BaseException:
            await database.close()
            raise
        return database

    async def migrate(self, store: migrate.Schema) -> None:
        """Bring the schema up to date in one transaction, and check it. One that is up to date is only read."""

        async def up_to_date(connection: AsyncConnection) -> bool:
            if await connection.run_sync(migrate.current_revision, store) != store.head:
                return False
            await connection.run_sync(migrate.check, store, self.dialect.where)
            return True

        async def work(connection: AsyncConnection) -> None:
            # Else a crash soon after the first start takes the new tables back, and the server goes on without them.
            await self.dialect.prepare_migration(connection)
            await self.dialect.take_turns(connection, "migrations")
            await connection.run_sync(migrate.upgrade, store, self.dialect.where)

        if not await self.read(up_to_date):
            async with _migrating.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
                await self.write(work, within=max(MIGRATION_TIMEOUT, self.timeout))

    async def close(self) -> None:
        """Wait for what is still under way, then close every connection."""
        if self._late:
            await asyncio.wait(self._late)
        await self._engine.dispose()

    async def read(self, work: Work[Result], *, within: float | None = None) -> Result:
        """Run ``work`` on a connection for reading. ``within`` seconds, by default the store's deadline.

        Raises a ``StorageError`` that says what failed.
        """
        return await self._attempts(self._reading, work, within, RETRIES)

    async def write(self, work: Work[Result], *, within: float | None = None, retries: int = RETRIES) -> Result:
        """Run ``work`` in a transaction; it is committed when this returns. ``work`` may run several times."""
        return await self._attempts(self._writing, work, within, retries)

    async def _attempts(self, engine: AsyncEngine, work: Work[Result], within: float | None, retries: int) -> Result:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.timeout if within is None else within)
        pauses = iter(PAUSES[:retries])
        met: ConflictError | None = None
        while True:
            try:
                return await self._in_time(engine, work, deadline)
            except ConflictError as conflict:
                met = conflict
                pause = next(pauses, None)
                if pause is None:
                    raise
                await asyncio.sleep(pause * (1 + random.random() / 2))  # noqa: S311 - spreads writers, hides nothing
            except LockedError as locked:
                met = None
                if loop.time() >= deadline:
                    raise StoreTimeoutError(str(locked)) from None
                await asyncio.sleep(PAUSES[0])  # mostly it has waited already; never without a pause
            except StoreTimeoutError:
                if met is None:
                    raise
            if met is not None and loop.time() >= deadline:
                raise met

    async def _in_time(self, engine: AsyncEngine, work: Work[Result], deadline: float) -> Result:
        loop = asyncio.get_running_loop()
        progress = _Progress()
        task = loop.create_task(self._transaction(engine, work, progress))
        try:
            await asyncio.wait({task}, timeout=deadline - loop.time())
            if not task.done() and progress.committing:
                # It can be neither stopped nor taken back, and only its end tells whether it was done.
                await asyncio.wait({task})
        except asyncio.CancelledError:
            self._leave(task, progress)
            raise
        if not task.done():
            self._leave(task, progress)
            raise StoreTimeoutError(f"The database {self.dialect.where} did not answer in time.")
        return task.result()

    def _leave(self, task: asyncio.Task[Any], progress: _Progress) -> None:
        """Nobody waits for it any more. It is not committed, and no failure of it is reported as forgotten."""
        progress.given_up = True
        self._late.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self._late.discard(task)
            if not task.cancelled():
                task.exception()

        task.add_done_callback(ended)
        if self.dialect.cancels and not progress.committing:
            task.cancel()

    async def _transaction(self, engine: AsyncEngine, work: Work[Result], progress: _Progress) -> Result:
        if not self.dialect.still_there():
            await self._engine.dispose()
        fresh = False
        while True:
            try:
                async with engine.connect() as connection, connection.begin() as transaction:
                    result = await work(connection)
                    if progress.given_up:  # whoever asked was told that it was not done
                        raise StoreTimeoutError(f"The database {self.dialect.where} answered too late.")
                    progress.committing = True
                    await transaction.commit()
                    return result
            except DBAPIError as error:
                if error.connection_invalidated and not fresh and not progress.committing:
                    fresh = True  # a connection of the pool that died since it was used; the pool has thrown all away
                    continue
                raise self.dialect.translate(error.orig or error) from error
            except PoolTimeoutError:
                raise StoreTimeoutError(f"All connections to {self.dialect.where} are busy.") from None
            except (sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                raise self.dialect.translate(error) from error


class _Progress:
    """How far a transaction is: whether its commit has begun, and whether nobody waits for it any more."""

    __slots__ = ("committing", "given_up")

    def __init__(self) -> None:
        self.committing = False
        self.given_up = False
