"""Where the measured server keeps its accounts, and a short way to put many there.

The accounts are made by the database itself and not by the server; their names are spread over the whole key, as real
ones are, so that an import hits any page of the index and not always the last.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from bench import machine
from tests import postgres

APP = 1_400_000_001
KEY = "0" * 64
FILLED_AT = 1
"""``created_at`` of the accounts that were put there; imported ones have the time of day."""

SCRAMBLE = 2_654_435_761
"""Odd, so that n -> n * SCRAMBLE mod 2**32 gives each number once (Knuth, TAOCP vol. 3, section 6.4)."""

SHIPPED = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "autovacuum": "on",
}
"""PostgreSQL's own defaults for what its tests switch off: a commit is on the disk when it is answered."""

FILL_SQLITE = f"""
    WITH RECURSIVE numbers(n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?2)
    INSERT INTO accounts (sdk_app_id, user_id, kind, nick, face_url, created_at)
    SELECT {APP}, printf('u%08x', (n * {SCRAMBLE}) & 4294967295), 'plain', '', '', {FILLED_AT} FROM numbers
    WHERE ?1 < ?2
"""
FILL_POSTGRES = f"""
    INSERT INTO accounts (sdk_app_id, user_id, kind, nick, face_url, created_at)
    SELECT {APP}, 'u' || lpad(to_hex((n * {SCRAMBLE}) & 4294967295), 8, '0'), 'plain', '', '', {FILLED_AT}
    FROM generate_series({{first}}::bigint, {{last}}::bigint - 1) AS n
"""
FORGET = f"DELETE FROM accounts WHERE created_at <> {FILLED_AT}"


def user(number: int) -> str:
    """The name of an account by its number, from 0; nine characters."""
    return f"u{(number * SCRAMBLE) & 0xFFFFFFFF:08x}"


class Place(Protocol):
    """A database with an empty data folder beside it."""

    name: str
    data: Path
    url: str

    def fill(self, first: int, last: int) -> None:
        """Put the accounts ``first`` to ``last - 1`` there."""

    def forget(self) -> None:
        """Take away what was imported, and tidy up as the database does by itself in quiet hours."""

    def cpu_seconds(self) -> float:
        """CPU that the database took outside the server's own process."""

    def facts(self) -> str:
        """Its version and how it is set up."""


class Sqlite:
    """The server's own files, as it sets them up: write-ahead logging, ``synchronous=FULL``."""

    name = "SQLite"
    url = ""

    def __init__(self, data: Path) -> None:
        self.data = data

    def fill(self, first: int, last: int) -> None:
        self._run((FILL_SQLITE, (first, last)), ("ANALYZE", ()))

    def forget(self) -> None:
        self._run((FORGET, ()))

    def cpu_seconds(self) -> float:
        return 0.0

    def facts(self) -> str:
        kind = machine.file_system(self.data)
        return f"SQLite {sqlite3.sqlite_version}, WAL, synchronous=FULL, in the server's process, on {kind}"

    def _run(self, *statements: tuple[str, tuple[int, ...]]) -> None:
        with contextlib.closing(sqlite3.connect(self.data / "parlour.db", timeout=60, isolation_level=None)) as opened:
            for statement, values in (*statements, ("PRAGMA wal_checkpoint(TRUNCATE)", ())):
                opened.execute(statement, values).fetchall()


class Postgres:
    """A PostgreSQL of its own on the loopback interface, set up as it ships."""

    name = "PostgreSQL"

    def __init__(self, data: Path, cluster: postgres.Cluster) -> None:
        self.data = data
        self._cluster = cluster
        self._database = cluster.new_database()
        self.url = self._database.url

    def fill(self, first: int, last: int) -> None:
        self._database.sql(FILL_POSTGRES.format(first=first, last=last))
        self._tidy()

    def forget(self) -> None:
        self._database.sql(FORGET)
        self._tidy()

    def cpu_seconds(self) -> float:
        return machine.family_cpu_seconds(self._cluster.pid)

    def facts(self) -> str:
        ((version,),) = self._database.sql("SHOW server_version")
        kind = machine.file_system(self._cluster.folder)
        settings = ", ".join(f"{name}={value}" for name, value in SHIPPED.items())
        return f"PostgreSQL {version}, {settings}, beside the load generator on its core, on {kind}"

    def _tidy(self) -> None:
        self._database.sql("VACUUM ANALYZE accounts")


@contextlib.contextmanager
def place(name: str) -> Iterator[Place]:
    """A new place, ``sqlite`` or ``postgresql``; it is gone at the end."""
    data = Path(tempfile.mkdtemp(prefix="parlour-bench-"))
    try:
        if name == "sqlite":
            yield Sqlite(data)
            return
        with machine.on_core(machine.CORES.others):
            cluster = postgres.Cluster(**SHIPPED)
        with cluster:
            yield Postgres(data, cluster)
    finally:
        shutil.rmtree(data)
