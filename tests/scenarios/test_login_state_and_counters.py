"""Codes of the login-state store and of the counters, each broken while the account store works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.broken import conflicting, locked, missing, unreachable
from tests.conftest import RunningServer, StartServer
from tests.scenarios.calls import CHECK, LOGIN_REFUSED, account_code, done, logs_in, refused_call, refused_login
from tests.scenarios.conftest import Stores, Unchanged
from tests.scenarios.registry import scenario
from tests.wire import Wire, join

ONLINE = "openim/query_online_status"
ANN = {"UserID": "ann"}
WHO = {"To_Account": ["ann"]}
LOGINS = "SELECT login_id FROM logins"
CHANGES = {
    "im_open_login_svc/kick": ANN,
    "im_open_login_svc/account_delete": {"DeleteItem": [ANN]},
    "parlour_account/blacklist_add": ANN,
}


@pytest.fixture
async def server(start_server: StartServer) -> AsyncIterator[RunningServer]:
    """A server that ann has logged in to, and whose stores have little time."""
    server = await start_server(limits__store_timeout=4)
    await logs_in(server, "ann")
    yield server


async def answers(server: RunningServer) -> None:
    """That the account store is none of what is broken."""
    (item,) = (await done(server, CHECK, {"CheckItem": [ANN]}))["ResultItem"]
    assert item["AccountStatus"] == "Imported"


@scenario(
    70222,
    cause="The login-state store is not available.",
    how="Stops its PostgreSQL or moves its SQLite file away, then renames its table, then locks it; each time a user"
    " logs in, another resumes a session, and an administrator asks who is online, kicks, deletes and blocks.",
    part="login-state store",
)
async def test_a_login_state_store_that_is_gone(
    server: RunningServer, wire: Wire, stores: Stores, unchanged: Unchanged
) -> None:
    bob, entered = await join(server, "bob")
    bob.drop()
    other = await Wire.open(server)
    for broken in (unreachable(stores.login_state), missing(stores.login_state, "logins")):
        async with unchanged(), broken:
            assert "the login-state store is not available" in await refused_login(wire, server, 70222)
            answer = await refused_call(server, 70222, ONLINE, WHO)
            assert "the login-state store is not available" in answer["ErrorInfo"]
            refused = await other.refused("resume", resumeToken=entered["resumeToken"])
            account_code(refused, LOGIN_REFUSED, 70222)
            for command, body in CHANGES.items():
                await refused_call(server, 70222, command, body)
            await answers(server)
    async with unchanged(), locked(stores.login_state):
        await refused_login(wire, server, 70222)
        await answers(server)
    await wire.login(server, "ann")
    # Logins of the second before a crash may be lost: this store does not wait for the disk. So bob comes anew.
    bob, entered = await join(server, "bob")
    bob.drop()
    await other.ask("resume", resumeToken=entered["resumeToken"])
    (state,) = (await done(server, ONLINE, WHO))["QueryResult"]
    assert (state["To_Account"], state["State"]) == ("ann", "Online")
    for command, body in CHANGES.items():
        await done(server, command, body)
    await other.close()


@scenario(
    70225,
    cause="A write to the login-state store met others, and the conflict was still there after all retries.",
    how="Lets another process write to its SQLite file all the time, or every write to its PostgreSQL table fail as one"
    " that met another; then a user logs in.",
    part="login-state store",
)
async def test_a_login_state_that_conflicts(
    server: RunningServer, wire: Wire, stores: Stores, unchanged: Unchanged
) -> None:
    before = await asyncio.to_thread(stores.login_state.sql, LOGINS)
    async with unchanged(), conflicting(stores.login_state, "logins"):
        assert "other writes were in the way" in await refused_login(wire, server, 70225)
        await answers(server)
    assert set(await asyncio.to_thread(stores.login_state.sql, LOGINS)) <= set(before)
    await wire.login(server, "ann")


@scenario(
    70231,
    cause="The counters behind lock-out and rate limits are not available, and nobody is let in uncounted.",
    how="Stops their PostgreSQL or moves their SQLite file away, then renames a table, then locks them; each time a"
    " user logs in and an administrator calls the REST.",
    part="counters",
)
async def test_counters_that_are_gone(server: RunningServer, wire: Wire, stores: Stores, unchanged: Unchanged) -> None:
    counters = stores.counters
    for broken in (unreachable(counters), missing(counters, "windows"), locked(counters)):
        async with unchanged(), broken:
            text = await refused_login(wire, server, 70231)
            assert "the counters behind lock-out and rate limits are not available" in text
            answer = await refused_call(server, 70231, CHECK, {"CheckItem": [ANN]})
            assert "the counters" in answer["ErrorInfo"]
    await wire.login(server, "ann")
    await answers(server)
