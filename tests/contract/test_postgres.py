"""The PostgreSQL of the tests: it keeps what it acknowledged, and takes itself away in every case."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from tests.postgres import Cluster

DEADLINE = 20.0


def wait_until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + DEADLINE
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def runs(process: int) -> bool:
    """Whether it does anything still: one that ended may wait for long to be asked for its status."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_databases_are_apart_and_belong_to_a_user_who_is_no_superuser(postgres_cluster: Cluster) -> None:
    one, other = postgres_cluster.new_database(), postgres_cluster.new_database()
    connection = await asyncpg.connect(one.url)
    await connection.execute("CREATE TABLE things (name text); INSERT INTO things VALUES ('a,\"b'), (NULL), ('')")
    assert await connection.fetchval("SELECT usesuper FROM pg_user WHERE usename = current_user") is False
    assert (one.tables(), other.tables()) == (("things",), ())
    assert one.sql("SELECT name, 1 FROM things ORDER BY name") == [("", "1"), ('a,"b', "1"), (None, "1")]
    one.drop()
    with pytest.raises(asyncpg.PostgresConnectionError):
        await connection.fetchval("SELECT 1")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(one.url)


def test_a_wrong_statement_fails_with_what_postgresql_says(postgres_cluster: Cluster) -> None:
    with pytest.raises(AssertionError, match='column "nothing" does not exist'):
        postgres_cluster.sql("SELECT nothing")


async def test_what_was_acknowledged_is_there_after_a_crash(own_postgres: Cluster) -> None:
    database = own_postgres.new_database()
    connection = await asyncpg.connect(database.url)
    await connection.execute("CREATE TABLE things (n int)")
    for number in range(50):
        await connection.execute("INSERT INTO things VALUES ($1)", number)
    own_postgres.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(database.url)
    own_postgres.start()
    assert database.sql("SELECT count(*) FROM things") == [("50",)]
    connection.terminate()


def test_nothing_is_left_behind_even_when_the_test_run_is_killed() -> None:
    program = "from tests.postgres import Cluster; c = Cluster(); print(c.folder, c.pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        folder, process = run.stdout.readline().split()
        assert Path(folder).exists()
        assert runs(int(process))
        run.kill()
    assert wait_until(lambda: not Path(folder).exists())
    assert wait_until(lambda: not runs(int(process)))


def test_one_that_cannot_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.postgres.SETTINGS", {"no_such_setting": "1"})
    tmp_path.chmod(0o755)
    before = set(os.listdir("/tmp"))
    with pytest.raises(AssertionError, match='unrecognized configuration parameter "no_such_setting"'):
        Cluster()
    assert not [name for name in set(os.listdir("/tmp")) - before if name.startswith("parlour-pg-")]
