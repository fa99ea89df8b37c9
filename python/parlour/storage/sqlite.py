"""SQLite as a store: one file in write-ahead logging, made readable for its owner alone."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosqlite
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only

from parlour.storage.errors import (
    ConflictError,
    ContendedError,
    LockedError,
    StorageError,
    StoreUnreachableError,
    UnreadableDatabaseError,
    UnwritableError,
)

WAL_PAUSE = 0.02
"""Seconds between two attempts to switch a new database to write-ahead logging."""

TURN = 0.25
"""Seconds that one attempt waits for the database's lock at most; who has still time attempts again."""

POOL_SIZE = 4

_WRITE_FAILURES = {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}


class Sqlite:
    """The dialect of one file. ``durable`` false leaves the syncing of what may be lost to the system."""

    name = "sqlite"
    cancels = False  # a query in the driver's thread cannot be stopped; cancelling it would only cost its connection

    reading: dict[str, Any] = {}  # noqa: RUF012 - never changed; without BEGIN every SELECT is its own transaction

    def __init__(self, file: Path, *, timeout: float, durable: bool = True) -> None:
        self.file = file
        self._timeout = timeout
        self._durable = durable
        self._identity: tuple[int, int] | None = None

    @property
    def where(self) -> str:
        """The database for a sentence."""
        return str(self.file)

    def prepare(self) -> None:
        """Make the file if it is missing. It holds secrets, so only its owner may read it."""
        make_folder(self.file.parent)
        try:
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise _unwritable_folder(self.file.parent, error) from None

    def engine(self) -> AsyncEngine:
        """An engine whose every connection is set up."""
        # rw: a file that vanished is not silently made anew.
        address = f"file:{quote(str(self.file.resolve()))}?mode=rw"

        async def connect() -> aiosqlite.Connection:
            # Looked at here: a connection that fails in aiosqlite leaves its thread to end some time later.
            os.stat(self.file)
            return await aiosqlite.connect(address, uri=True, timeout=min(TURN, self._timeout))

        engine = create_async_engine(
            "sqlite+aiosqlite://", async_creator=connect, poolclass=AsyncAdaptedQueuePool, pool_size=POOL_SIZE,
            pool_timeout=self._timeout,
        )  # fmt: skip

        @event.listens_for(engine.sync_engine, "connect")
        def _configure(connection: Any, _: object) -> None:
            connection.isolation_level = None  # we say BEGIN ourselves, so that migrations are transactional too
            cursor = connection.cursor()
            _use_wal(cursor, self._timeout)
            cursor.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'OFF'}")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()

        @event.listens_for(engine.sync_engine, "begin")
        def _begin(connection: Connection) -> None:
            # A writer takes its lock at once: two that upgrade a read lock later would deadlock. Readers need none.
            if connection.get_execution_options().get("parlour_write", False):
                self._take_lock(connection)

        return engine

    def _take_lock(self, connection: Connection) -> None:
        """Begin to write. When others have the lock, tell one who keeps it from many who take turns with it."""
        before = _data_version(connection)
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            if _primary_code(error.orig) == sqlite3.SQLITE_BUSY and _data_version(connection) != before:
                raise ContendedError(
                    f"A write to {self.file} met another one, and others had the lock in turn."
                ) from None
            raise

    def still_there(self) -> bool:
        """Look at the file before it is used. Raises when it is gone; False when another took its place."""
        try:
            found = self.file.stat()
        except OSError as error:
            raise StoreUnreachableError(f"The database {self.file} cannot be reached: {error.strerror}.") from None
        identity = (found.st_dev, found.st_ino)
        same = self._identity in (None, identity)
        self._identity = identity
        return same

    async def take_turns(self, connection: object, at: str) -> None:
        """Nothing to do: there is one writer at a time."""

    async def prepare_migration(self, connection: object) -> None:
        """Nothing to do: what is committed outlives the process, and only the machine's crash can take it back."""

    def translate(self, error: BaseException) -> StorageError:
        """The driver's error as one of ours."""
        text = (error.strerror if isinstance(error, OSError) else None) or str(error)
        extended = getattr(error, "sqlite_errorcode", 0)
        code = _primary_code(error)
        if (
            code == sqlite3.SQLITE_CONSTRAINT
            or extended == sqlite3.SQLITE_BUSY_SNAPSHOT
            or code == sqlite3.SQLITE_LOCKED
        ):
            return ConflictError(f"A write to {self.file} met another one: {text}.")
        if code == sqlite3.SQLITE_BUSY:
            return LockedError(f"The database {self.file} is locked by another process.")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL) or extended in _WRITE_FAILURES:
            return UnwritableError(f"The database {self.file} cannot be written: {text}.")
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA):
            return UnreadableDatabaseError(f"{self.file} is damaged or no database of Parlour: {text}.")
        return StoreUnreachableError(f"The database {self.file} cannot be reached: {text}.")


def _primary_code(error: BaseException | None) -> int:
    """SQLite's result code without what extends it; 0 for what is none of its errors."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _data_version(connection: Connection) -> int:
    """Changes when another connection has committed (https://sqlite.org/pragma.html#pragma_data_version)."""
    return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())


def make_folder(folder: Path) -> None:
    """Make the data folder if it is missing, for its owner alone. Raises ``UnwritableError``."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable_folder(folder, error) from None


def _unwritable_folder(folder: Path, error: OSError) -> UnwritableError:
    return UnwritableError(f"The data folder {folder} cannot be written: {error.strerror}. Choose another with --data.")


def _use_wal(cursor: Any, timeout: float) -> None:
    # SQLite answers "locked" at once, without its own waiting, when several make the switch in a new file together.
    for pause in (*(WAL_PAUSE,) * round(timeout / WAL_PAUSE), None):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if pause is None or "locked" not in str(error):
                raise
        await_only(asyncio.sleep(pause))
