"""Ways to really break a part of a running server, on either database, each for as long as a ``with`` block runs.

The statements run in threads, so that a transaction of a server in the test's own event loop can end meanwhile.

A damaged row needs no tool of its own: ``database.sql("UPDATE apps SET state = 'banana'")``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Literal

from tests.databases import AnyDatabase, SqliteDatabase
from tests.postgres import Database as PostgresDatabase
from tests.shims import shimmed

DEADLINE = 30.0
SMALL = 8 * 1024 * 1024
LESS_THAN_A_PAGE = 4096  # where the first page of a write-ahead log would end lies 56 bytes beyond it
EVENTS = ("INSERT", "UPDATE", "DELETE")

# The locks of SQLite's readers and writers are byte ranges of the file beside the log ("WAL-mode file format", 2.2.2):
# one for the writer, one each for checkpoint and recovery, five for readers. Held in a process of its own, since such
# locks are the process's and would not keep its own server out.
SQLITE_LOCKS = (120, 8)
HOLD_LOCKS = """
import fcntl, sys
with open(sys.argv[1], "r+b") as shared:
    fcntl.lockf(shared, fcntl.LOCK_EX, int(sys.argv[3]), int(sys.argv[2]))
    print("held", flush=True)
    sys.stdin.read()
"""


# Commits some fifty times a second, each time with another version of the user's own. It never gives the writers' lock
# back: its next transaction begins, as far as others can tell, in the moment in which the last one ends.
WRITE_ALL_THE_TIME = """
import select, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
(before,) = connection.execute("PRAGMA user_version").fetchone()
for turn in range(1, 2**31):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA user_version = {turn}")
    connection.execute("COMMIT")
    if turn == 1:
        print("held", flush=True)
    if select.select([sys.stdin], [], [], 0.02)[0]:
        break
connection.execute(f"PRAGMA user_version = {before}")
"""


@contextlib.asynccontextmanager
async def unreachable(database: AnyDatabase) -> AsyncIterator[None]:
    """The PostgreSQL is stopped as by a crash, with every other database in it; the SQLite file is moved away."""
    if isinstance(database, PostgresDatabase):
        await asyncio.to_thread(database.cluster.stop)
        try:
            yield
        finally:
            await asyncio.to_thread(database.cluster.start)
        return
    away = [(path, path.with_name(f"{path.name}.away")) for path in _files(database) if path.exists()]
    assert away, f"There is no {database.path} to move away."
    for path, elsewhere in away:
        path.rename(elsewhere)
    try:
        yield
    finally:
        for path, elsewhere in away:
            elsewhere.rename(path)


@contextlib.asynccontextmanager
async def locked(
    database: AnyDatabase, *tables: str, against: Literal["writers", "everyone"] = "writers"
) -> AsyncIterator[None]:
    """Another process holds a lock on the tables (none named: on all), which it gives back at the end.

    SQLite locks the whole file. Its readers wait for up to ten seconds on their own, and somebody has to have the
    database open, since the file with the locks is there only then.
    """
    if isinstance(database, PostgresDatabase):
        mode = "EXCLUSIVE" if against == "writers" else "ACCESS EXCLUSIVE"
        names = ", ".join(f'"{table}"' for table in tables or database.tables())
        async with _entered(database.cluster.session(database.name, f"BEGIN; LOCK TABLE {names} IN {mode} MODE")):
            yield
    elif against == "writers":
        async with _entered(_writing(database)):
            yield
    else:
        shared = database.path.with_name(f"{database.path.name}-shm")
        assert shared.exists(), f"Nobody has {database.path} open, so there is nothing to lock."
        async with _entered(_held(sys.executable, "-c", HOLD_LOCKS, str(shared), *map(str, SQLITE_LOCKS))):
            yield


@contextlib.asynccontextmanager
async def conflicting(database: AnyDatabase, *tables: str) -> AsyncIterator[None]:
    """Every write to the tables meets another one.

    PostgreSQL says serialization failure; in an SQLite file another process writes all the time, to no table.
    """
    if isinstance(database, PostgresDatabase):
        body = "RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'"
        async with _triggered(database, tables, body):
            yield
        return
    writer = _held(sys.executable, "-c", WRITE_ALL_THE_TIME, str(database.path), shim=shimmed(SHIM_KEEP="120"))
    async with _entered(writer):
        yield


@contextlib.asynccontextmanager
async def slow(database: AnyDatabase, *tables: str, seconds: float, after: int = 0) -> AsyncIterator[None]:
    """Every row written to the tables takes ``seconds`` longer or more, once the first of them has ``after`` rows.

    PostgreSQL sleeps, SQLite counts.
    """
    full = f'(SELECT count(*) FROM "{tables[0]}") >= {after}'
    if isinstance(database, PostgresDatabase):
        async with _triggered(database, tables, f"IF {full} THEN PERFORM pg_sleep({seconds}); END IF"):
            yield
        return
    count = f"iif({full}, {max(1, round(seconds * _counted_per_second()))}, 1)"
    await asyncio.to_thread(
        database.sql, f"CREATE VIEW slow AS {_counting(count)}"
    )  # a trigger itself may not say WITH
    try:
        async with _triggered(database, tables, "SELECT counted FROM slow"):
            yield
    finally:
        await asyncio.to_thread(database.sql, "DROP VIEW slow")


@contextlib.asynccontextmanager
async def missing(database: AnyDatabase, table: str) -> AsyncIterator[None]:
    """The table has another name."""
    await asyncio.to_thread(database.sql, f'ALTER TABLE "{table}" RENAME TO "{table}_away"')
    try:
        yield
    finally:
        await asyncio.to_thread(database.sql, f'ALTER TABLE "{table}_away" RENAME TO "{table}"')


@contextlib.asynccontextmanager
async def unwritable(database: AnyDatabase, disk: SmallDisk) -> AsyncIterator[None]:
    """The PostgreSQL takes no writes any more; the disk that the SQLite file lies on is full."""
    if isinstance(database, PostgresDatabase):
        async with read_only(database):
            yield
    else:
        with disk.full_for(database):
            yield


@contextlib.asynccontextmanager
async def read_only(database: PostgresDatabase) -> AsyncIterator[None]:
    """Every transaction is read-only, as on a standby; connections from before are cut, so that all notice."""
    alter = f'ALTER DATABASE "{database.name}"'
    await asyncio.to_thread(database.sql, f"{alter} SET default_transaction_read_only = on")
    await asyncio.to_thread(database.disconnect)
    try:
        yield
    finally:
        await asyncio.to_thread(
            database.cluster.sql, f'ALTER DATABASE "{database.name}" RESET default_transaction_read_only'
        )
        await asyncio.to_thread(database.disconnect)


@contextlib.contextmanager
def replaced(file: Path, content: bytes) -> Iterator[None]:
    """The file holds something else: another master key, for example. Its mode stays."""
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(before)


class SmallDisk:
    """A folder with a small file system of its own, to be filled up; for databases that are made in it.

    Mounting takes root. For anybody else the folder is an ordinary one, and instead of a full disk a limit on the size
    of the files that this process writes (RLIMIT_FSIZE) stops SQLite: no disk, but a real refusal by the system.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mounted = os.geteuid() == 0

    @classmethod
    @contextlib.contextmanager
    def at(cls, folder: Path) -> Iterator[SmallDisk]:
        """Mount it at a new folder."""
        folder.mkdir()
        disk = cls(folder)
        if not disk._mounted:
            yield disk
            return
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL},mode=700", "small", folder], check=True)
        # Its input ends when we end, in whatever way: no mount outlives the test run.
        with subprocess.Popen(
            ["sh", "-c", 'read -r _; umount --lazy "$1"', "janitor", folder],
            stdin=subprocess.PIPE, cwd="/", start_new_session=True,
        ) as janitor:  # fmt: skip
            try:
                yield disk
            finally:
                janitor.communicate(timeout=DEADLINE)

    @contextlib.contextmanager
    def full_for(self, database: SqliteDatabase) -> Iterator[None]:
        """No byte of it is free."""
        assert database.path.is_relative_to(self.folder), f"{database.path} does not lie on the small disk."
        with database.connect() as connection:
            # Emptied, since a log may write over what it has already without needing room.
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert not busy, "The log cannot be emptied while somebody reads."
        with self._filled() if self._mounted else _no_longer_files():
            yield

    @contextlib.contextmanager
    def _filled(self) -> Iterator[None]:
        filler = self.folder / "filler"
        try:
            with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
                for block in (65_536, 1):
                    with contextlib.suppress(OSError):
                        while file.write(bytes(block)) == block:
                            pass
            assert os.statvfs(self.folder).f_bavail == 0
            yield
        finally:
            filler.unlink()


@contextlib.contextmanager
def _no_longer_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LESS_THAN_A_PAGE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.asynccontextmanager
async def _triggered(database: AnyDatabase, tables: tuple[str, ...], body: str) -> AsyncIterator[None]:
    assert tables, "Name the tables."
    if isinstance(database, PostgresDatabase):
        events = " OR ".join(EVENTS)
        made = [
            f"CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body};"
            " IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$"
        ] + [
            f'CREATE TRIGGER broken BEFORE {events} ON "{table}" FOR EACH ROW EXECUTE FUNCTION broken()'
            for table in tables
        ]
        undone = ["DROP FUNCTION broken CASCADE"]
    else:
        names = {(table, event): f"broken_{event.lower()}_{table}" for table in tables for event in EVENTS}
        made = [
            f'CREATE TRIGGER "{name}" BEFORE {event} ON "{table}" BEGIN {body}; END'
            for (table, event), name in names.items()
        ]
        undone = [f'DROP TRIGGER "{name}"' for name in names.values()]
    await asyncio.to_thread(database.sql, "; ".join(made))
    try:
        yield
    finally:
        await asyncio.to_thread(database.sql, "; ".join(undone))


@contextlib.asynccontextmanager
async def _entered(lock: AbstractContextManager[None]) -> AsyncIterator[None]:
    """Take a lock in a thread: who has it now may be a transaction of the server in this event loop."""
    with contextlib.ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, lock)
        yield


@contextlib.contextmanager
def _writing(database: SqliteDatabase) -> Iterator[None]:
    with database.connect() as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


@contextlib.contextmanager
def _held(*command: str, shim: dict[str, str] | None = None) -> Iterator[None]:
    """A process that says "held" once it has what it wants, and gives it back when its input ends."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=shim) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == "held\n", "The lock was not granted."
            yield
        finally:
            holder.communicate(timeout=DEADLINE)


def _files(database: SqliteDatabase) -> Iterator[Path]:
    for suffix in ("", "-wal", "-shm"):
        yield database.path.with_name(database.path.name + suffix)


def _counting(count: int | str) -> str:
    return (
        f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"
        " SELECT count(*) AS counted FROM numbers"
    )


@cache
def _counted_per_second() -> float:
    """At its fastest: what is measured while others work would make ``slow`` too quick later."""
    took = []
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for _ in range(5):
            began = time.thread_time()
            connection.execute(_counting(100_000)).fetchone()
            took.append(time.thread_time() - began)
    return 100_000 / min(took)
