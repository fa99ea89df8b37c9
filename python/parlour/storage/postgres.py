"""PostgreSQL as a store."""

from __future__ import annotations

import zlib
from typing import Any

from sqlalchemy import URL, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from parlour.storage.errors import (
    ConflictError,
    StorageError,
    StoreTimeoutError,
    StoreUnreachableError,
    UnreadableDatabaseError,
    UnreadableRowError,
    UnwritableError,
)

POOL_SIZE = 8

# SQLSTATE classes and codes, PostgreSQL 15 appendix A.
_CONFLICTS = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock not available
_READ_ONLY_OR_FULL = {"25006", "53100", "58030", "42501"}
_TIMEOUTS = {"57014"}  # query cancelled: statement_timeout
_DAMAGED = {"XX001", "XX002"}  # corrupted data or index


class Postgres:
    """The dialect of one database. ``durable`` false commits what may be lost without waiting for the disk."""

    name = "postgresql"
    cancels = True
    reading: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"}  # noqa: RUF012 - never changed

    def __init__(self, url: str, *, timeout: float, durable: bool = True) -> None:
        self._url = _parsed(url)
        self._timeout = timeout
        self._durable = durable

    @property
    def where(self) -> str:
        """The database for a sentence, without its password."""
        return f"{self._url.host or 'localhost'}:{self._url.port or 5432}/{self._url.database}"

    def prepare(self) -> None:
        """Nothing to do: an administrator makes the database."""

    def engine(self) -> AsyncEngine:
        """An engine whose statements end at the deadline in the server too."""
        milliseconds = str(max(1, round(self._timeout * 1000)))
        settings = {
            "application_name": "parlour",
            "statement_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds,
            "jit": "off",
        }
        if not self._durable:
            settings["synchronous_commit"] = "off"
        return create_async_engine(
            self._url,
            pool_size=POOL_SIZE,
            pool_timeout=self._timeout,
            connect_args={"timeout": self._timeout, "server_settings": settings},
        )

    def still_there(self) -> bool:
        """Only a query can tell."""
        return True

    async def take_turns(self, connection: AsyncConnection, at: str) -> None:
        """Let one transaction at a time go on; its end gives the lock back."""
        lock = zlib.crc32(f"parlour {at}".encode())  # any number, as long as every Parlour takes the same
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})

    async def prepare_migration(self, connection: AsyncConnection) -> None:
        """Wait for the disk at the end of this transaction, and let no statement of it end at the store's deadline."""
        for setting in ("synchronous_commit = on", "statement_timeout = 0", "idle_in_transaction_session_timeout = 0"):
            await connection.execute(text(f"SET LOCAL {setting}"))

    def translate(self, error: BaseException) -> StorageError:
        """The driver's error as one of ours."""
        state = str(getattr(error, "sqlstate", None) or "")
        said = str(error).partition("\n")[0].rpartition(">: ")[2]
        if state in _CONFLICTS or state.startswith("23"):
            return ConflictError(f"A write to {self.where} met another one: {said}.")
        if state in _READ_ONLY_OR_FULL:
            return UnwritableError(f"The database {self.where} cannot be written: {said}.")
        if state in _TIMEOUTS or isinstance(error, TimeoutError):
            return StoreTimeoutError(f"The database {self.where} did not answer within {self._timeout:g} s.")
        if state in _DAMAGED or state.startswith("42"):  # a table or column is missing, another kind, or in the way
            return UnreadableDatabaseError(f"{self.where} has not the tables of this version: {said}.")
        if state.startswith("22"):
            return UnreadableRowError(f"The database {self.where} refused a value: {said}.")
        reason = (error.strerror if isinstance(error, OSError) else None) or said
        return StoreUnreachableError(f"The database {self.where} cannot be reached: {reason}.")


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number is the latter
        raise StorageError("The address of a database looks like postgresql://user:password@host/name.") from None
    query: dict[str, Any] = dict(parsed.query)
    return parsed.set(drivername="postgresql+asyncpg", query=query)
