"""Codes of the account store, each from a store that is really broken, while the other stores work."""

from __future__ import annotations

import asyncio
from pathlib import Path

from parlour.settings import load_settings
from parlour.storage.secrets import fresh_key, write_key_file

from tests.broken import SmallDisk, conflicting, locked, missing, replaced, slow, unreachable, unwritable
from tests.conftest import RunningServer, StartServer
from tests.databases import AnyDatabase
from tests.scenarios.calls import CHECK, IMPORT, call, done, logs_in, refused_call, refused_login, registered
from tests.scenarios.conftest import Stores, Unchanged
from tests.scenarios.registry import scenario
from tests.wire import Wire, join

IMPORT_MANY = "im_open_login_svc/multiaccount_import"
BLOCK = "parlour_account/blacklist_add"
BOB = {"UserID": "bob"}
CROWD = [f"user-{number}" for number in range(100)]


async def works_again(server: RunningServer) -> None:
    """Who was there logs in, and who was refused is imported."""
    await logs_in(server, "ann")
    await done(server, IMPORT, BOB)
    assert await registered(server, "ann", "bob") == {"ann", "bob"}


@scenario(
    70169,
    cause="The account store did not answer within its deadline, for example because a lock was held past it.",
    how="Another process locks the tables: first against writers, while an administrator blocks a user, then against"
    " everyone, while a user logs in.",
    part="account store",
)
async def test_a_lock_that_is_held_too_long(
    start_server: StartServer, database: AnyDatabase, unchanged: Unchanged
) -> None:
    server = await start_server(limits__store_timeout=4)
    wire = await Wire.open(server)
    await wire.login(server, "ann")
    async with unchanged():
        async with locked(database):
            answer = await refused_call(server, 70169, BLOCK, BOB)
        assert "did not answer in time" in answer["ErrorInfo"]
        async with locked(database, against="everyone"):
            assert "did not answer in time" in await refused_login(wire, server, 70169)
    await works_again(server)
    await wire.close()


@scenario(
    70201,
    cause="The account store cannot be reached: connections are refused, or its file is gone.",
    how="Stops the PostgreSQL, or moves the SQLite file away; then a user logs in and an administrator imports.",
    part="account store",
)
async def test_a_store_that_is_gone(
    server: RunningServer, wire: Wire, database: AnyDatabase, unchanged: Unchanged
) -> None:
    await wire.login(server, "ann")
    async with unchanged(), unreachable(database):
        assert "the account store cannot be reached" in await refused_login(wire, server, 70201)
        assert "cannot be reached" in (await refused_call(server, 70201, IMPORT, BOB))["ErrorInfo"]
    await works_again(server)


@scenario(
    70202,
    cause="The deadline of a batch passed before every item was done; what was done stays done.",
    how="Imports 100 accounts into a table that takes 0.3 s a row once it has 30; then into a locked one.",
    part="account store",
)
async def test_a_batch_that_takes_too_long(
    start_server: StartServer, database: AnyDatabase, unchanged: Unchanged
) -> None:
    server = await start_server(accounts__batch_timeout=2.5)
    async with slow(database, "accounts", seconds=0.3, after=30):
        answer = await refused_call(server, 70202, IMPORT_MANY, {"Accounts": CROWD})
    failed = answer["FailAccounts"]
    assert 0 < len(failed) < len(CROWD)
    assert f"{len(CROWD) - len(failed)} of 100 were done when the 2.5 s of a batch were over" in answer["ErrorInfo"]
    assert await registered(server, *CROWD) == set(CROWD) - set(failed)
    async with unchanged(), locked(database, "accounts"):
        answer = await refused_call(server, 70202, IMPORT_MANY, {"Accounts": failed})
        assert answer["FailAccounts"] == failed
    await done(server, IMPORT_MANY, {"Accounts": failed})
    assert await registered(server, *CROWD) == set(CROWD)


@scenario(
    70203,
    cause="A stored row holds a value that cannot be read.",
    how="Writes a state that does not exist into the row of the app, and an unknown kind into that of a user.",
    part="account store",
)
async def test_a_row_that_is_damaged(
    server: RunningServer, wire: Wire, database: AnyDatabase, unchanged: Unchanged
) -> None:
    await wire.login(server, "ann")
    async with unchanged():
        await asyncio.to_thread(database.sql, "UPDATE apps SET state = 'banana'")
        assert "what is stored cannot be read" in await refused_login(wire, server, 70203)
        assert "cannot be read" in (await refused_call(server, 70203, IMPORT, BOB))["ErrorInfo"]
        await asyncio.to_thread(database.sql, "UPDATE apps SET state = 'active'")
        await asyncio.to_thread(database.sql, "UPDATE accounts SET kind = 'banana' WHERE user_id = 'ann'")
        await refused_login(wire, server, 70203)
        await done(server, CHECK, {"CheckItem": [BOB]})
        await asyncio.to_thread(database.sql, "UPDATE accounts SET kind = 'plain' WHERE user_id = 'ann'")
    await works_again(server)


@scenario(
    70205,
    cause="The look-up of the app's account type failed, while the rest of the store answers.",
    how="Renames the table of account types; then a user logs in, and another who had logged in before enters a room.",
    part="account store",
)
async def test_a_table_of_account_types_that_is_gone(
    server: RunningServer, wire: Wire, database: AnyDatabase, unchanged: Unchanged
) -> None:
    await wire.login(server, "ann")
    other = await Wire.open(server)
    ticket = (await other.login(server, "carol"))["ticket"]
    async with unchanged(), missing(database, "account_types"):
        assert "account type could not be looked up" in await refused_login(wire, server, 70205)
        assert "account type" in (await refused_call(server, 70205, IMPORT, BOB))["ErrorInfo"]
        await other.ask("enter", ticket=ticket, roomId=1)
    await works_again(server)
    await other.close()


@scenario(
    70207,
    cause="A write met another one, and the conflict was still there after all retries.",
    how="Lets another process write to the SQLite file all the time, or every write to PostgreSQL's table of accounts"
    " fail as one that met another; then an administrator imports, a new user logs in, and one who was there already.",
    part="account store",
)
async def test_a_conflict_that_persists(
    server: RunningServer, wire: Wire, database: AnyDatabase, unchanged: Unchanged
) -> None:
    await wire.login(server, "ann")
    async with unchanged(), conflicting(database, "accounts"):
        assert "given up after some retries" in (await refused_call(server, 70207, IMPORT, BOB))["ErrorInfo"]
        answer = await refused_call(server, 70207, IMPORT_MANY, {"Accounts": CROWD})
        assert answer["FailAccounts"] == CROWD
        assert "given up after some retries" in await refused_login(wire, server, 70207, "bob")
        await logs_in(server, "ann")
    await works_again(server)


@scenario(
    70208,
    cause="The account store is read-only, or its disk is full.",
    how="Fills the small disk with the SQLite file on it, or makes the PostgreSQL read-only; then an administrator"
    " imports, a new user logs in, and one who was there already.",
    part="account store",
)
async def test_a_store_that_takes_no_writes(
    disk: SmallDisk, server: RunningServer, wire: Wire, database: AnyDatabase, unchanged: Unchanged
) -> None:
    await wire.login(server, "ann")
    async with unchanged(), unwritable(database, disk):
        assert "read-only or its disk is full" in (await refused_call(server, 70208, IMPORT, BOB))["ErrorInfo"]
        answer = await refused_call(server, 70208, IMPORT_MANY, {"Accounts": CROWD})
        assert answer["FailAccounts"] == CROWD
        assert "read-only or its disk is full" in await refused_login(wire, server, 70208, "bob")
        await logs_in(server, "ann")
    await works_again(server)


@scenario(
    70212,
    cause="A stored secret cannot be opened: the server runs with another master key than the one it was sealed with.",
    how="Starts a second server on the same stores with a master key of its own, and logs in there; then gives it the"
    " right key.",
    part="account store",
)
async def test_another_master_key(server: RunningServer, stores: Stores, tmp_path: Path, unchanged: Unchanged) -> None:
    right = server.settings.data / "master.key"
    apart = {"data": tmp_path / "other", "port": 0, "media_port": 0}
    second = RunningServer(load_settings(None, stores.settings | apart))
    second.key = server.key
    write_key_file(second.settings.data / "master.key", [fresh_key()])
    await logs_in(server, "ann")
    async with unchanged():
        await second.start()
        try:
            wire = await Wire.open(second)
            text = await refused_login(wire, second, 70212)
            assert "a stored secret does not open with this server's master key" in text
            answer = await call(second, IMPORT, BOB)
            assert answer["ErrorCode"] == 70212
            await logs_in(server, "ann")
            with replaced(second.settings.data / "master.key", right.read_bytes()):
                await wire.login(second, "ann")
            await wire.close()
        finally:
            await second.stop()
    await works_again(server)
    ann, _ = await join(server, "ann")
    await ann.close()
