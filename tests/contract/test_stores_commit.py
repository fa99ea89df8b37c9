"""A commit that takes longer than the deadline: what is answered is what was done."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from parlour.storage import NewAccount, Storage

from tests.contract.stores import APP, NOW
from tests.databases import SqliteDatabase
from tests.postgres import Cluster
from tests.shims import shimmed

DEADLINE = 0.5

# Makes an account in a store whose disk stalls, with the deadline of DEADLINE seconds, and says how that ended.
IMPORT = """
import asyncio, sys
from pathlib import Path
from parlour.storage import NewAccount, Storage, StorageError

async def main(data, stall, app, now):
    async with await Storage.open(data, timeout=float(sys.argv[3])) as store:
        Path(stall).touch()
        print("begun", flush=True)
        try:
            await store.accounts.put(NewAccount(int(app), "ann", "plain", int(now)))
        except StorageError as error:
            print(type(error).__name__, flush=True)
        else:
            print("done", flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[4], sys.argv[5]))
"""


async def test_a_write_whose_disk_stalls_is_answered_when_it_is_known_what_became_of_it(tmp_path: Path) -> None:
    data, stall = tmp_path / "data", tmp_path / "stall"
    async with await Storage.open(data) as store:
        await store.create_app(APP, now=NOW)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", IMPORT, str(data), str(stall), str(DEADLINE), str(APP), str(NOW),
        stdout=subprocess.PIPE, env=shimmed(SHIM_STALL=str(stall)),
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begun\n"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(4 * DEADLINE):
            raise AssertionError(f"It was answered while the disk stalled: {await process.stdout.readline()!r}")
    stall.unlink()
    assert await process.stdout.readline() == b"done\n"
    await process.wait()
    assert SqliteDatabase(data / "parlour.db").sql("SELECT user_id FROM accounts") == [("ann",)]


@pytest.fixture
async def behind_a_standby(own_postgres: Cluster, tmp_path: Path) -> AsyncIterator[Storage]:
    """A store in a PostgreSQL whose commits wait, done already, for a standby that is not there."""
    database = own_postgres.new_database()
    async with await Storage.open(tmp_path / "data", url=database.url, timeout=DEADLINE * 20) as store:
        await store.create_app(APP, now=NOW)
        await store.accounts.put(NewAccount(APP, "zoe", "plain", NOW))
    own_postgres.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    own_postgres.sql("SELECT pg_reload_conf()")
    async with await Storage.open(tmp_path / "data", url=database.url, timeout=DEADLINE) as store:
        yield store


async def test_a_write_that_a_cluster_has_committed_is_never_told_as_one_that_was_too_late(
    behind_a_standby: Storage, own_postgres: Cluster
) -> None:
    writing = asyncio.create_task(behind_a_standby.accounts.put(NewAccount(APP, "ann", "plain", NOW)))
    done, _ = await asyncio.wait({writing}, timeout=4 * DEADLINE)
    assert not done, f"It was answered before it was known what became of it: {writing}"
    waits = own_postgres.sql("SELECT query FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    assert waits == [("COMMIT;",)]
    own_postgres.sql("ALTER SYSTEM RESET synchronous_standby_names")
    own_postgres.sql("SELECT pg_reload_conf()")
    await writing
    assert await behind_a_standby.accounts.registered(APP, "ann")
