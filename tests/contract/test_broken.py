"""The tools that break parts, on databases that no server uses: they break what they say, and mend it again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests import broken
from tests.broken import SmallDisk
from tests.databases import AnyDatabase, SqliteDatabase, snapshot
from tests.postgres import Cluster

BOTH = pytest.mark.parametrize("bare", ["sqlite", "postgresql"], indirect=True)
POSTGRESQL = pytest.mark.parametrize("bare", ["postgresql"], indirect=True)
SQLITE = pytest.mark.parametrize("bare", ["sqlite"], indirect=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk.at(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def bare(request: pytest.FixtureRequest, disk: SmallDisk) -> Iterator[AnyDatabase]:
    if request.param == "sqlite":
        path = disk.folder / "bare.db"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            made: AnyDatabase = SqliteDatabase(path)
            made.sql("CREATE TABLE things (name text)")
            made.sql("INSERT INTO things VALUES ('a')")
            yield made
        return
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    made = cluster.new_database()
    made.sql("CREATE TABLE things (name text); INSERT INTO things VALUES ('a'); GRANT ALL ON things TO parlour")
    yield made
    made.drop()


class Client:
    """Somebody who was connected before anything broke."""

    def __init__(self, connection: sqlite3.Connection | asyncpg.Connection) -> None:
        self.connection = connection

    async def run(self, statement: str) -> str:
        """What went wrong: SQLSTATE or SQLite's name for it; or nothing."""
        try:
            if isinstance(self.connection, sqlite3.Connection):
                self.connection.execute(statement).fetchall()
            else:
                await self.connection.execute(statement, timeout=0.2)
        except sqlite3.Error as error:
            return error.sqlite_errorname
        except (asyncpg.PostgresError, TimeoutError, OSError) as error:
            return getattr(error, "sqlstate", None) or type(error).__name__
        return ""

    async def reads(self) -> str:
        return await self.run("SELECT * FROM things")

    async def writes(self, name: str = "b") -> str:
        return await self.run(f"INSERT INTO things VALUES ('{name}')")

    async def close(self) -> None:
        if isinstance(self.connection, sqlite3.Connection):
            self.connection.close()
        else:
            await self.connection.close()


async def connected(database: AnyDatabase) -> Client:
    if isinstance(database, SqliteDatabase):
        address = f"file:{database.path}?mode=rw"
        return Client(sqlite3.connect(address, uri=True, timeout=0.2, isolation_level=None))
    return Client(await asyncpg.connect(database.url))


@BOTH
async def test_an_unreachable_database_takes_no_connections_until_it_is_back(bare: AnyDatabase) -> None:
    before = snapshot(bare)
    async with broken.unreachable(bare):
        with pytest.raises((ConnectionRefusedError, sqlite3.OperationalError)):
            await connected(bare)
    assert snapshot(bare) == before
    client = await connected(bare)
    assert await client.writes() == ""
    await client.close()


@BOTH
async def test_a_lock_against_writers_leaves_readers_alone(bare: AnyDatabase) -> None:
    client = await connected(bare)
    async with broken.locked(bare):
        assert await client.reads() == ""
        assert await client.writes() in ("SQLITE_BUSY", "TimeoutError")
        assert snapshot(bare) == {"things": (repr(("a",)),)}
    assert await client.writes() == ""
    await client.close()


@POSTGRESQL
async def test_a_lock_against_everyone_in_postgresql(bare: AnyDatabase) -> None:
    client = await connected(bare)
    async with broken.locked(bare, "things", against="everyone"):
        assert await client.reads() == "TimeoutError"
    assert await client.reads() == ""
    await client.close()


@SQLITE
async def test_a_lock_against_everyone_in_sqlite_keeps_readers_waiting_until_its_end(
    bare: AnyDatabase,
) -> None:
    client = await connected(bare)
    assert await client.reads() == ""
    async with broken.locked(bare, against="everyone"):
        reading = asyncio.ensure_future(asyncio.to_thread(bare.sql, "SELECT * FROM things"))
        _, waits = await asyncio.wait({reading}, timeout=0.3)
        assert waits
    assert await reading == [("a",)]
    await client.close()


@BOTH
async def test_every_write_of_a_conflicting_table_meets_another_one(bare: AnyDatabase) -> None:
    client = await connected(bare)
    async with broken.conflicting(bare, "things"):
        for statement in ("INSERT INTO things VALUES ('x')", "UPDATE things SET name = 'x'", "DELETE FROM things"):
            assert await client.run(statement) == ("SQLITE_BUSY" if isinstance(bare, SqliteDatabase) else "40001")
        assert await client.reads() == ""
    assert await client.writes() == ""
    await client.close()


@SQLITE
async def test_who_conflicts_with_an_sqlite_file_really_writes_to_it_all_the_time(bare: AnyDatabase) -> None:
    client = await connected(bare)
    assert isinstance(client.connection, sqlite3.Connection)
    async with broken.conflicting(bare):
        seen = set()
        for _ in range(3):
            assert await client.writes() == "SQLITE_BUSY"
            seen.add(client.connection.execute("PRAGMA data_version").fetchone())
        assert len(seen) == 3
    assert snapshot(bare) == {"things": (repr(("a",)),)}
    await client.close()


@BOTH
async def test_each_row_of_a_slow_table_takes_its_time(bare: AnyDatabase) -> None:
    async with broken.slow(bare, "things", seconds=0.05):
        began = time.monotonic()
        bare.sql("INSERT INTO things VALUES ('b'), ('c'), ('d'), ('e')")
        assert 0.1 < time.monotonic() - began < 5
    assert bare.tables() == ("things",)
    assert len(snapshot(bare)["things"]) == 5


@BOTH
async def test_a_missing_table_is_back_afterwards(bare: AnyDatabase) -> None:
    before = snapshot(bare)
    client = await connected(bare)
    async with broken.missing(bare, "things"):
        assert await client.reads() in ("42P01", "SQLITE_ERROR")
    assert await client.reads() == ""
    assert snapshot(bare) == before
    await client.close()


@BOTH
async def test_an_unwritable_database_can_be_read_and_loses_nothing(bare: AnyDatabase, disk: SmallDisk) -> None:
    client = await connected(bare)
    assert await client.writes("first") == ""
    async with broken.unwritable(bare, disk):
        if not isinstance(bare, SqliteDatabase):
            client = await connected(bare)
        assert await client.writes("lost") in ("25006", "SQLITE_FULL", "SQLITE_IOERR_WRITE")
        assert await client.reads() == ""
    if not isinstance(bare, SqliteDatabase):
        client = await connected(bare)
    assert await client.writes("last") == ""
    assert sorted(snapshot(bare)["things"]) == [repr((name,)) for name in ("a", "first", "last")]
    await client.close()


@SQLITE
async def test_who_cannot_mount_gets_his_writes_refused_by_the_system_too(
    bare: AnyDatabase, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_mounted", False)
    client = await connected(bare)
    assert await client.writes("first") == ""
    async with broken.unwritable(bare, disk):
        assert await client.writes("lost") == "SQLITE_IOERR_WRITE"
    assert await client.writes("last") == ""
    await client.close()


def test_a_small_disk_is_gone_afterwards(tmp_path: Path) -> None:
    with SmallDisk.at(tmp_path / "disk") as disk:
        assert os.path.ismount(disk.folder) == (os.geteuid() == 0)
    assert not os.path.ismount(disk.folder)


def test_a_replaced_file_gets_its_content_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"right")
    file.chmod(0o600)
    with broken.replaced(file, b"wrong"):
        assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"wrong", 0o600)
    assert file.read_bytes() == b"right"


@POSTGRESQL
async def test_a_frozen_postgresql_takes_connections_and_answers_nothing(bare: AnyDatabase) -> None:
    client = await connected(bare)
    assert not isinstance(bare, SqliteDatabase)
    with bare.cluster.frozen():
        assert await client.reads() == "TimeoutError"
        with pytest.raises(TimeoutError):
            await asyncpg.connect(bare.url, timeout=0.2)
    thawed = await connected(bare)
    assert await thawed.reads() == ""
    await thawed.close()
    client.connection.terminate()
