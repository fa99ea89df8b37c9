"""Stores on databases that are really broken: which failure it is, in time, with nothing half-written, and healed."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from parlour.storage import (
    ConflictError,
    ContendedError,
    MasterKey,
    NewAccount,
    SealedError,
    Storage,
    StorageError,
    StoreTimeoutError,
    StoreUnreachableError,
    UnreadableDatabaseError,
    UnreadableRowError,
    UnwritableError,
)

from tests import broken
from tests.broken import SmallDisk
from tests.contract.stores import APP, NOW, Opener, opener
from tests.databases import AnyDatabase, SqliteDatabase, snapshot
from tests.postgres import Cluster

TIMEOUT = 0.5
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk.at(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
async def store(opened: Opener) -> Storage:
    """An account store with an app, that has all the time it may need."""
    store = await opened.accounts(timeout=20)
    await store.create_app(APP, now=NOW)
    return store


@pytest.fixture
async def hasty(opened: Opener, store: Storage) -> Storage:
    """The same store as somebody has it who gives it little time to answer."""
    return await opened.accounts(timeout=TIMEOUT)


def account(user_id: str = "ann") -> NewAccount:
    return NewAccount(APP, user_id, "plain", NOW)


@contextmanager
def read_only(disk: SmallDisk, file: Path) -> Iterator[None]:
    """The file system is mounted for reading, which takes root; or nobody may write to the file."""
    if os.geteuid() != 0:
        file.chmod(0o400)
        yield
        file.chmod(0o600)
        return
    subprocess.run(["mount", "-o", "remount,ro", disk.folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk.folder], check=True)


async def fails(asked: Awaitable[object], kind: type[StorageError], words: str, *, within: float = TIMEOUT) -> None:
    """That it fails so, within its time and a few seconds, which a busy machine may take."""
    began = time.monotonic()
    with pytest.raises(StorageError) as failed:
        await asked
    took = time.monotonic() - began
    assert type(failed.value) is kind, repr(failed.value)
    assert words in str(failed.value)
    assert str(failed.value).endswith("."), "it is a sentence"
    assert took < within + 5, f"it took {took:.2f} s"


# --- locks ------------------------------------------------------------------------------------------------------------


async def test_a_write_that_waits_for_a_lock_too_long_is_a_timeout(
    store: Storage, hasty: Storage, database: AnyDatabase
) -> None:
    before = snapshot(database)
    async with broken.locked(database):
        await fails(hasty.accounts.put(account()), StoreTimeoutError, "")
        await fails(hasty.create_app(6, now=NOW), StoreTimeoutError, "")
        assert await store.get_app(APP) is not None
        assert snapshot(database) == before
    await store.accounts.put(account("bob"))
    assert await store.accounts.registered(APP, "bob")


async def test_a_read_that_waits_for_a_lock_too_long_is_a_timeout(
    store: Storage, hasty: Storage, database: AnyDatabase
) -> None:
    async with broken.locked(database, against="everyone"):
        await fails(hasty.get_app(APP), StoreTimeoutError, "")
        await fails(hasty.accounts.login_context(APP, "ann"), StoreTimeoutError, "")
    assert await store.get_app(APP) is not None


async def test_a_short_lock_is_waited_for(opened: Opener, database: AnyDatabase) -> None:
    store = await opened.accounts(timeout=20)
    await store.create_app(APP, now=NOW)
    async with broken.locked(database):
        waiting = asyncio.ensure_future(store.accounts.put(account()))
        _, pending = await asyncio.wait({waiting}, timeout=0.3)
        assert pending
    await waiting
    assert await store.accounts.registered(APP, "ann")


@POSTGRESQL
async def test_a_postgresql_that_takes_queries_and_answers_nothing_is_a_timeout(
    store: Storage, hasty: Storage, database: AnyDatabase
) -> None:
    assert not isinstance(database, SqliteDatabase)
    with database.cluster.frozen():
        await fails(hasty.get_app(APP), StoreTimeoutError, "did not answer in time")
        await fails(hasty.accounts.put(account()), StoreTimeoutError, "")
    assert await store.get_app(APP) is not None


async def test_a_slow_batch_is_not_done_when_it_is_not_answered(opened: Opener, database: AnyDatabase) -> None:
    store = await opened.accounts(timeout=20)
    await store.create_app(APP, now=NOW)
    many = [account(f"user-{number}") for number in range(20)]
    async with broken.slow(database, "accounts", seconds=0.05):
        await fails(store.accounts.put_many(many, within=0.3), StoreTimeoutError, "did not answer in time", within=0.3)
        await store.close()
        assert await (await opened.accounts()).accounts.count(APP) == 0


async def test_who_stops_waiting_leaves_the_store_in_order(opened: Opener, database: AnyDatabase) -> None:
    store = await opened.accounts(timeout=20)
    await store.create_app(APP, now=NOW)
    async with broken.locked(database):
        waiting = [asyncio.ensure_future(store.create_app(number, now=NOW)) for number in range(1, 12)]
        await asyncio.wait(waiting, timeout=0.2)
        for task in waiting:
            task.cancel()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in ended)
    await store.create_app(99, now=NOW)
    for app in await store.list_apps():
        assert len(app.keys.secrets) == 1


# --- conflicts --------------------------------------------------------------------------------------------------------


async def test_a_conflict_that_stays_comes_out_and_nothing_is_half_written(
    store: Storage, database: AnyDatabase
) -> None:
    before = snapshot(database)
    kind = ContendedError if isinstance(database, SqliteDatabase) else ConflictError
    async with broken.conflicting(database, "app_keys", "accounts"):
        await fails(store.create_app(6, now=NOW), kind, "met another", within=5)
        await fails(store.accounts.put(account()), kind, "met another", within=5)
        assert snapshot(database) == before
    await store.create_app(6, now=NOW)


async def test_a_conflict_that_passes_is_not_noticed(opened: Opener, database: AnyDatabase) -> None:
    store = await opened.accounts(timeout=20)
    await store.create_app(APP, now=NOW)
    attempts = 0

    async def work(connection: object) -> int:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise ConflictError("A write met another one.")
        return attempts

    assert await store.database.write(work) == 4


async def test_many_writers_of_one_row_all_get_through(opened: Opener) -> None:
    stores = [await opened.accounts(timeout=30) for _ in range(3)]
    await stores[0].create_app(APP, now=NOW)
    await asyncio.gather(
        *(store.change_app(APP, name=f"{number}") for number in range(10) for store in stores),
        *(store.accounts.put(account()) for store in stores),
        *(store.accounts.block(APP, "ann", "", now=NOW) for store in stores),
    )
    assert await stores[0].accounts.count(APP) == 1


# --- not writable -----------------------------------------------------------------------------------------------------


async def test_a_store_that_cannot_be_written_can_be_read_and_says_so(
    database: AnyDatabase, disk: SmallDisk, tmp_path: Path
) -> None:
    if isinstance(database, SqliteDatabase):
        database = SqliteDatabase(disk.folder / "data" / "parlour.db")
    async with opener(database, tmp_path) as stores:
        store = await stores.accounts()
        await store.create_app(APP, now=NOW)
        await store.accounts.put(account("before"))
        before = snapshot(database)
        async with broken.unwritable(database, disk):
            await fails(store.accounts.put(account("lost")), UnwritableError, "cannot be written", within=5)
            await fails(store.create_app(6, now=NOW), UnwritableError, "cannot be written", within=5)
            assert await store.get_app(APP) is not None
            assert await store.accounts.registered(APP, "before")
            assert not await store.accounts.registered(APP, "lost")
        assert snapshot(database) == before
        await store.accounts.put(account("after"))


async def test_a_file_that_cannot_be_written_is_one_sentence_at_the_start(disk: SmallDisk) -> None:
    data = disk.folder / "data"
    await (await Storage.open(data)).close()
    with read_only(disk, data / "parlour.db"), pytest.raises(UnwritableError) as refused:
        await Storage.open(data)
    beginning, _, rest = str(refused.value).partition(" cannot be written: ")
    assert beginning == f"The data folder {data}"
    assert rest.partition(".")[0] in ("Read-only file system", "Permission denied")
    await (await Storage.open(data)).close()


# --- gone -------------------------------------------------------------------------------------------------------------


async def test_a_store_that_is_gone_is_unreachable_and_is_used_again_when_it_is_back(
    store: Storage, database: AnyDatabase
) -> None:
    await asyncio.gather(*(store.get_app(APP) for _ in range(12)))  # so that several connections are open
    await store.accounts.put(account("before"))
    async with broken.unreachable(database):
        await fails(store.get_app(APP), StoreUnreachableError, "cannot be reached")
        await fails(store.accounts.put(account("lost")), StoreUnreachableError, "cannot be reached")
        if isinstance(database, SqliteDatabase):
            assert not database.path.exists(), "it was made anew"
    assert await store.get_app(APP) is not None
    found = [account.user_id for account in await store.accounts.page(APP)]
    assert found == ["before"]


@POSTGRESQL
async def test_a_postgresql_that_was_restarted_is_used_again_at_the_next_call(
    opened: Opener, database: AnyDatabase
) -> None:
    assert not isinstance(database, SqliteDatabase)
    store = await opened.accounts()
    await store.create_app(APP, now=NOW)
    await asyncio.gather(*(store.get_app(APP) for _ in range(12)))
    for _ in range(2):
        await asyncio.to_thread(database.cluster.stop)
        await asyncio.to_thread(database.cluster.start)
        found = await asyncio.gather(*(store.get_app(APP) for _ in range(6)))
        assert None not in found
        await store.accounts.put(account())


@POSTGRESQL
async def test_connections_that_were_cut_are_made_again_without_anybody_noticing(
    opened: Opener, database: AnyDatabase
) -> None:
    assert not isinstance(database, SqliteDatabase)
    store = await opened.accounts()
    await store.create_app(APP, now=NOW)
    await asyncio.gather(*(store.get_app(APP) for _ in range(12)))
    await asyncio.to_thread(database.disconnect)
    await asyncio.gather(*(store.accounts.put(account(f"user-{number}")) for number in range(12)))
    assert await store.accounts.count(APP) == 12


async def test_a_postgresql_that_refuses_the_connection_is_one_sentence_without_its_password(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"postgresql://parlour:hunter2-of-tests@127.0.0.1:{closed.getsockname()[1]}/parlour"
        with pytest.raises(
            StoreUnreachableError, match=r"^The database 127\.0\.0\.1:\d+/parlour cannot be reached: "
        ) as no:
            await Storage.open(tmp_path, url=url)
    assert "hunter2" not in f"{no.value!r} {no.value.__cause__!r}"


@pytest.mark.parametrize(
    ("user", "name", "words"),
    [
        ("parlour", "nowhere", 'database "nowhere" does not exist'),
        ("nobody", "postgres", 'role "nobody" does not exist'),
    ],
)
async def test_an_unknown_database_or_user_of_postgresql_is_one_sentence(
    postgres_cluster: Cluster, tmp_path: Path, user: str, name: str, words: str
) -> None:
    url = f"postgresql://{user}@127.0.0.1:{postgres_cluster.port}/{name}"
    with pytest.raises(StoreUnreachableError, match=rf"^The database 127.*/{name} cannot be reached: {words}\.$"):
        await Storage.open(tmp_path, url=url)


@pytest.mark.parametrize("url", ["mysql://x@127.0.0.1/y", "postgresql://x:p@127.0.0.1:port/y", "nonsense"])
async def test_an_address_that_is_none_is_one_sentence(tmp_path: Path, url: str) -> None:
    with pytest.raises(StorageError, match="postgresql://user:password@host/name"):
        await Storage.open(tmp_path, url=url)


@SQLITE
async def test_a_backup_that_was_put_in_place_is_picked_up(opened: Opener, database: AnyDatabase) -> None:
    assert isinstance(database, SqliteDatabase)
    store = await opened.accounts()
    await store.create_app(APP, now=NOW)
    await store.accounts.put(account("before"))
    with database.connect() as connection:
        connection.execute(f"VACUUM INTO '{database.path}.backup'")
    await store.accounts.put(account("after"))
    for suffix in ("-wal", "-shm"):
        database.path.with_name(database.path.name + suffix).unlink()
    shutil.move(f"{database.path}.backup", database.path)
    assert [found.user_id for found in await store.accounts.page(APP)] == ["before"]
    await store.accounts.put(account("again"))
    assert [row[0] for row in database.sql("SELECT user_id FROM accounts ORDER BY 1")] == ["again", "before"]


# --- damaged ----------------------------------------------------------------------------------------------------------


async def test_a_table_that_vanishes_while_the_server_runs_is_a_damaged_store(
    store: Storage, database: AnyDatabase
) -> None:
    async with broken.missing(database, "accounts"):
        await fails(store.accounts.put(account()), UnreadableDatabaseError, "accounts")
    await store.accounts.put(account())


@SQLITE
async def test_a_file_damaged_in_the_middle_is_told_and_never_written_to(opened: Opener, database: AnyDatabase) -> None:
    assert isinstance(database, SqliteDatabase)
    store = await opened.accounts()
    await store.create_app(APP, now=NOW)
    await store.accounts.put_many([account(f"user-{number:04}") for number in range(2000)], within=20)
    await store.close()
    content = bytearray(database.path.read_bytes())
    content[20 * 4096 :] = b"\xa5" * (len(content) - 20 * 4096)
    database.path.write_bytes(content)
    again = await opened.accounts()
    with pytest.raises(UnreadableDatabaseError, match="is damaged or no database of Parlour"):
        await again.accounts.count(APP)


@POSTGRESQL
async def test_one_impossible_value_fails_alone_among_those_asked_together(opened: Opener) -> None:
    store = await opened.accounts()
    await store.create_app(APP, now=NOW)
    names = [f"user-{number}" for number in range(40)]
    names[17] = "a\0b"  # PostgreSQL has no such text
    results = await asyncio.gather(*(store.accounts.put(account(name)) for name in names), return_exceptions=True)
    assert [at for at, result in enumerate(results) if result is not None] == [17]
    assert isinstance(results[17], UnreadableRowError)
    assert await store.accounts.count(APP) == 39


async def test_a_wrong_master_key_is_told_with_both_names_and_opens_what_is_not_secret(opened: Opener) -> None:
    right, wrong = MasterKey.of_text("aa" * 32), MasterKey.of_text("bb" * 32)
    store = await opened.accounts(master=right)
    await store.create_app(APP, now=NOW)
    await store.token_secret()
    stranger = await opened.accounts(master=wrong)
    sentence = f"The secret of key of app {APP} was sealed with master key {right.id}; this server has {wrong.id}."
    await fails(stranger.get_app(APP), SealedError, sentence)
    await fails(stranger.token_secret(), SealedError, right.id)
    facts = await stranger.accounts.login_context(APP, "ann")
    assert [type(part) for part in (facts.app, facts.ticket_key)] == [SealedError, SealedError]
    await stranger.accounts.put(account())
    assert await store.accounts.registered(APP, "ann")
