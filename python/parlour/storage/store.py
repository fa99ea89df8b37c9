"""The account store: apps and their keys in SQLite."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

import aiosqlite
from sqlalchemy import Connection, Row, event, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only

from parlour.storage import migrate
from parlour.storage.errors import (
    AppExistsError,
    StorageError,
    StoreTimeoutError,
    StoreUnreachableError,
    UnreadableDatabaseError,
    UnreadableRowError,
    UnwritableError,
)
from parlour.storage.schema import app_keys, apps, meta
from parlour.usersig import AppKeys

DATABASE = "parlour.db"
LOCK_TIMEOUT = 5.0
"""Seconds to wait for another process's lock on the database."""

WAL_PAUSE = 0.02
"""Seconds between two attempts to switch a new database to write-ahead logging."""

AppState = Literal["active", "suspended", "disabled"]
_STATES = ("active", "suspended", "disabled")
_TOKEN_SECRET = "token_secret"  # noqa: S105 - the name of the row


@dataclass(frozen=True, slots=True)
class App:
    """One app with its keys; ``created_at`` in unix seconds."""

    sdk_app_id: int
    name: str
    state: AppState
    created_at: int
    keys: AppKeys


class Storage:
    """The store of one data folder. Nothing is cached: what another process writes is seen at the next call."""

    def __init__(self, engine: AsyncEngine, database: Path) -> None:
        self._engine = engine
        self._writing = engine.execution_options(parlour_write=True)
        self.database = database

    @classmethod
    async def open(cls, data: str | Path) -> Self:
        """Open the data folder, making it and the database if they are missing, and bring the schema up to date.

        Raises ``UnwritableError``, ``NewerDatabaseError``, ``UnreadableDatabaseError`` or another ``StorageError``.
        """
        database = _prepare(data)
        store = cls(_engine(database), database)
        try:
            async with store._connection(write=True) as connection:
                await connection.run_sync(migrate.upgrade, database)
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def create_app(
        self, sdk_app_id: int, *, now: int, name: str = "", secret: str | None = None, public_keys: tuple[str, ...] = ()
    ) -> App:
        """Make an app with one secret key, a fresh one of 64 hex digits if none is given; ``AppExistsError``."""
        key = secret or secrets.token_hex(32)
        rows = [("secret", key), *(("public", pem) for pem in public_keys)]
        async with self._connection(write=True) as connection:
            try:
                await connection.execute(
                    insert(apps).values(sdk_app_id=sdk_app_id, name=name, state="active", created_at=now)
                )
            except IntegrityError:
                raise AppExistsError(f"There is an app {sdk_app_id} already.") from None
            await connection.execute(
                insert(app_keys),
                [{"sdk_app_id": sdk_app_id, "kind": kind, "value": value, "created_at": now} for kind, value in rows],
            )
        return App(sdk_app_id, name, "active", now, AppKeys((key,), public_keys))

    async def get_app(self, sdk_app_id: int) -> App | None:
        """The app with its keys, or None."""
        found = await self._apps(sdk_app_id)
        return found[0] if found else None

    async def list_apps(self) -> tuple[App, ...]:
        """Every app with its keys, by sdkAppId."""
        return tuple(await self._apps(None))

    async def token_secret(self) -> bytes:
        """The 32 bytes that sign tickets and resume tokens: made once, kept for the life of the database."""
        async with self._connection(write=True) as connection:
            stored = await connection.scalar(select(meta.c.value).where(meta.c.name == _TOKEN_SECRET))
            if stored is None:
                stored = secrets.token_hex(32)
                await connection.execute(insert(meta).values(name=_TOKEN_SECRET, value=stored))
        try:
            secret = bytes.fromhex(stored)
        except (TypeError, ValueError):
            secret = b""
        if len(secret) < 32:
            raise UnreadableRowError(f"The row {_TOKEN_SECRET} of the database {self.database} cannot be read.")
        return secret

    async def _apps(self, sdk_app_id: int | None) -> list[App]:
        query = (
            select(apps, app_keys.c.kind, app_keys.c.value)
            .select_from(apps.outerjoin(app_keys, app_keys.c.sdk_app_id == apps.c.sdk_app_id))
            .order_by(apps.c.sdk_app_id, app_keys.c.id)
        )
        if sdk_app_id is not None:
            query = query.where(apps.c.sdk_app_id == sdk_app_id)
        async with self._connection() as connection:
            rows = (await connection.execute(query)).all()
        grouped: dict[int, list[Row[Any]]] = {}
        for row in rows:
            grouped.setdefault(row.sdk_app_id, []).append(row)
        return [_app(group) for group in grouped.values()]

    @asynccontextmanager
    async def _connection(self, *, write: bool = False) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction; the driver's errors come out as ours."""
        engine = self._writing if write else self._engine
        try:
            async with engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise _translated(error.orig, self.database) from error
        except (sqlite3.Error, OSError) as error:
            raise _translated(error, self.database) from error


def _app(rows: list[Row[Any]]) -> App:
    first = rows[0]
    kinds: dict[str, list[str]] = {"secret": [], "public": []}
    sound = isinstance(first.name, str) and first.state in _STATES and isinstance(first.created_at, int)
    for row in rows:
        if row.kind is None:
            continue  # the outer join of an app without keys
        if row.kind in kinds and isinstance(row.value, str):
            kinds[row.kind].append(row.value)
        else:
            sound = False
    if not sound:
        raise UnreadableRowError(f"The stored app {first.sdk_app_id} cannot be read: a value of it is damaged.")
    keys = AppKeys(tuple(kinds["secret"]), tuple(kinds["public"]))
    return App(first.sdk_app_id, first.name, first.state, first.created_at, keys)


def _prepare(data: str | Path) -> Path:
    """The database file, made if it is missing. It holds keys, so only its owner may read it."""
    folder = Path(data).expanduser()
    database = folder / DATABASE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise UnwritableError(
            f"The data folder {folder} cannot be written: {error.strerror}. Choose another with --data."
        ) from None
    return database


def _engine(database: Path) -> AsyncEngine:
    address = f"file:{quote(str(database.resolve()))}?mode=rw"  # rw: a file that vanished is not silently made anew

    async def connect() -> aiosqlite.Connection:
        # Looked at here: a connection that fails in aiosqlite leaves its thread to end some time later.
        os.stat(database)
        return await aiosqlite.connect(address, uri=True, timeout=LOCK_TIMEOUT)

    engine = create_async_engine("sqlite+aiosqlite://", async_creator=connect, poolclass=AsyncAdaptedQueuePool)

    @event.listens_for(engine.sync_engine, "connect")
    def _configure(connection: Any, _: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, so that migrations are transactional too
        cursor = connection.cursor()
        _use_wal(cursor)
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes its lock at once: two that upgrade a read lock later would deadlock.
        write = connection.get_execution_options().get("parlour_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _use_wal(cursor: Any) -> None:
    # SQLite answers "locked" at once, without its own waiting, when several make the switch in a new file together.
    for pause in (*(WAL_PAUSE,) * round(LOCK_TIMEOUT / WAL_PAUSE), None):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if pause is None or "locked" not in str(error):
                raise
        await_only(asyncio.sleep(pause))


def _translated(error: BaseException | None, database: Path) -> StorageError:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if "locked" in text or "busy" in text:
        return StoreTimeoutError(f"The database {database} is locked by another process.")
    if "readonly" in text or "read-only" in text or "full" in text:
        return UnwritableError(f"The database {database} cannot be written: {text}.")
    if "not a database" in text or "malformed" in text:
        return UnreadableDatabaseError(f"{database} is damaged or no database of Parlour: {text}.")
    return StoreUnreachableError(f"The database {database} cannot be reached: {text}.")
