"""The two databases a server may keep its data in, as tests look into them: past the server, with plain SQL."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from parlour.settings import Settings
from parlour.storage.database import Database
from parlour.storage.migrate import SCHEMAS
from parlour.storage.sqlite import Sqlite

from tests.postgres import Database as PostgresDatabase

Row = tuple[object, ...]
LOCK_WAIT = 10.0  # seconds a statement of a test waits for a lock of the server


@dataclass(frozen=True)
class SqliteDatabase:
    """A database file, which the server makes."""

    path: Path

    @property
    def url(self) -> str:
        """Its address as the settings take it: three slashes, then the path."""
        return f"sqlite:///{self.path}"

    @contextlib.contextmanager
    def connect(self) -> Iterator[sqlite3.Connection]:
        """A connection of the test's own, which says BEGIN itself; closed at the end, in whatever thread that is."""
        address = f"{self.path.resolve().as_uri()}?mode=rw"
        opened = sqlite3.connect(address, uri=True, timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False)
        with contextlib.closing(opened):
            yield opened

    def sql(self, statements: str) -> list[Row]:
        """Run statements in one transaction; the rows of the last that has any.

        Blocks, the event loop too: a transaction that the server has begun in the same loop cannot end meanwhile.
        """
        rows: list[Row] = []
        with self.connect() as connection:
            connection.execute("BEGIN")
            for statement in _split(statements):
                cursor = connection.execute(statement)
                rows = cursor.fetchall() if cursor.description else rows
            connection.execute("COMMIT")
        return rows

    def tables(self) -> tuple[str, ...]:
        """The names of the tables, sorted."""
        found = self.sql("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1")
        return tuple(str(name) for (name,) in found)


FILES = {"accounts": "parlour.db", "login_state": "login-state.db", "counters": "counters.db"}
"""Each store's file in a data folder."""


def lay_down_files(settings: Settings) -> None:
    """Put the files into a new data folder that its server would make: to migrate them takes longer than all the rest
    of its start, and thousands of tests start one. That servers make them, ``test_stores_migrations.py`` looks at.
    """
    places = {"accounts": settings.database, "login_state": settings.login_state, "counters": settings.counters}
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any((settings.data / name).exists() for name in FILES.values()):
        return
    for store, content in _new_files().items():
        if not places[store]:
            file = settings.data / FILES[store]
            file.touch(0o600)
            file.write_bytes(content)


@functools.cache
def _new_files() -> dict[str, bytes]:
    async def make(folder: Path) -> None:
        for schema in SCHEMAS:
            file = Sqlite(folder / FILES[schema.name], timeout=30)
            await (await Database.open(file, schema, timeout=30)).close()

    with tempfile.TemporaryDirectory(prefix="parlour-new-") as folder, ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, make(Path(folder))).result()  # the caller has an event loop already
        assert not list(Path(folder).glob("*-wal"))
        return {store: (Path(folder) / name).read_bytes() for store, name in FILES.items()}


AnyDatabase = SqliteDatabase | PostgresDatabase
Snapshot = dict[str, tuple[str, ...]]


def snapshot(database: AnyDatabase, *, without: Collection[str] = ()) -> Snapshot:
    """Every row of every table as text, sorted, but of the tables ``without``: equal when nothing was changed."""
    return {table: _rows(database, table) for table in database.tables() if table not in without}


def _rows(database: AnyDatabase, table: str) -> tuple[str, ...]:
    return tuple(sorted(repr(row) for row in database.sql(f'SELECT * FROM "{table}"')))


def _split(statements: str) -> Iterator[str]:
    pending = ""
    for part in statements.split(";"):
        pending += part + ";"
        if sqlite3.complete_statement(pending):  # a trigger's body has semicolons of its own
            if pending.strip(" \n;"):
                yield pending
            pending = ""
    assert not pending.strip(" \n;"), f"This SQL has no end: {pending}"
