"""Codes of what the server signs for itself: the ticket of a login, and the token that resumes a session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.conftest import RunningServer, StartServer
from tests.databases import AnyDatabase
from tests.peers.third_parties import until
from tests.scenarios.calls import ENTER_REFUSED, LOGIN_REFUSED, account_code, done, refused_login
from tests.scenarios.conftest import Unchanged
from tests.scenarios.registry import scenario
from tests.wire import Wire, join

KICK = "im_open_login_svc/kick"
BEFORE_THE_TAG = 70  # the tag at a token's end has 64 hex digits after a full stop


def changed(token: str) -> str:
    """The token with one letter of its payload replaced."""
    other = "A" if token[-BEFORE_THE_TAG] != "A" else "B"
    return token[:-BEFORE_THE_TAG] + other + token[1 - BEFORE_THE_TAG :]


@scenario(
    70221,
    cause="The session that is to be resumed was ended: its user was kicked, or entered the room again, or left it.",
    how="Resumes a session after its user was kicked, after the user has entered the room again, and after leaving.",
    part="login state",
)
async def test_a_session_that_is_over(start_server: StartServer, unchanged: Unchanged) -> None:
    server = await start_server()
    bob, _ = await join(server, "bob")
    ann, entered = await join(server, "ann")
    await done(server, KICK, {"UserID": "ann"})
    await ann.closed()
    wire = await Wire.open(server)
    async with unchanged():
        refused = await wire.refused("resume", resumeToken=entered["resumeToken"])
    assert "the user was kicked: log in again" in account_code(refused, LOGIN_REFUSED, 70221)

    ann, entered = await join(server, "ann")
    again, entered_again = await join(server, "ann")
    await ann.closed()
    async with unchanged():
        refused = await wire.refused("resume", resumeToken=entered["resumeToken"])
    assert "the same user entered the room again" in account_code(refused, LOGIN_REFUSED, 70221)

    await again.close()
    left = 0
    while left < 3:  # for the kick, for the second entry, for the last leaving
        left += (await bob.event())["type"] == "peer-leave"
    async with unchanged():
        refused = await wire.refused("resume", resumeToken=entered_again["resumeToken"])
    assert "the user left the room" in account_code(refused, LOGIN_REFUSED, 70221)

    ann, entered = await join(server, "ann")
    ann.drop()
    await wire.ask("resume", resumeToken=entered["resumeToken"])
    for open_wire in (wire, bob):
        await open_wire.close()


@scenario(
    70236,
    cause="The resume token was changed on its way, or another server signed it.",
    how="Resumes a session with a token of which one letter was changed, and with the ticket of the login instead.",
    part="login state",
)
async def test_a_resume_token_that_was_changed(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    ann = await Wire.open(server)
    ticket = (await ann.login(server, "ann"))["ticket"]
    entered = await ann.ask("enter", ticket=ticket, roomId=1)
    ann.drop()
    token = entered["resumeToken"]
    async with unchanged():
        for wrong in (changed(token), token[:-1], ticket, "nonsense"):
            text = account_code(await wire.refused("resume", resumeToken=wrong), LOGIN_REFUSED, 70236)
            assert "resume token is not one" in text
            assert wrong not in text
    resumed = await wire.ask("resume", resumeToken=token)
    assert resumed["sessionId"] == entered["sessionId"]


@scenario(
    70346,
    cause="The ticket of the login was changed, or belongs to another login.",
    how="Enters a room with a ticket of which one letter was changed, and with somebody else's.",
    part="ticket check",
)
async def test_a_ticket_that_was_changed(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    bob = await Wire.open(server)
    of_bob = (await bob.login(server, "bob"))["ticket"]
    ticket = (await wire.login(server, "ann"))["ticket"]
    async with unchanged():
        for wrong, words in (
            (changed(ticket), "not one that this server signed"),
            (ticket[:-1], "not one that this server signed"),
            (of_bob, "belongs to another login"),
        ):
            text = account_code(await wire.refused("enter", ticket=wrong, roomId=1), ENTER_REFUSED, 70346)
            assert words in text
            assert wrong not in text
    await wire.ask("enter", ticket=ticket, roomId=1)
    await bob.close()


@scenario(
    70347,
    cause="The ticket of the login is too old.",
    how="Enters a room after the one second that tickets are good for by the settings; then at a server that gives a"
    " minute.",
    part="ticket check",
)
async def test_a_ticket_that_expired(start_server: StartServer, unchanged: Unchanged) -> None:
    server = await start_server(limits__ticket_lifetime=1)
    wire = await Wire.open(server)
    login = await wire.login(server, "ann")
    await until(lambda: time.time() > login["ticketExpiresAt"])
    async with unchanged():
        refused = await wire.refused("enter", ticket=login["ticket"], roomId=1)
    assert "the ticket expired" in account_code(refused, ENTER_REFUSED, 70347)
    await wire.close()

    await server.stop()
    patient = await start_server(limits__ticket_lifetime=60)
    wire, _ = await join(patient, "ann")
    await wire.close()


@asynccontextmanager
async def lost(database: AnyDatabase) -> AsyncIterator[None]:
    """The row with the key that signs tickets is gone."""
    ((key,),) = await asyncio.to_thread(database.sql, "SELECT value FROM meta WHERE name = 'token_secret'")
    await asyncio.to_thread(database.sql, "DELETE FROM meta WHERE name = 'token_secret'")
    try:
        yield
    finally:
        await asyncio.to_thread(database.sql, f"INSERT INTO meta (name, value) VALUES ('token_secret', '{key}')")


@scenario(
    70348,
    cause="The server has lost the key that signs tickets.",
    how="Takes the row token_secret out of the table meta; then a user logs in, another who had logged in before enters"
    " a room, and a third resumes a session.",
    part="account store",
)
async def test_the_key_of_tickets_is_lost(
    server: RunningServer, wire: Wire, database: AnyDatabase, unchanged: Unchanged
) -> None:
    ticket = (await wire.login(server, "ann"))["ticket"]
    bob, entered = await join(server, "bob")
    bob.drop()
    third = await Wire.open(server)
    async with unchanged(), lost(database):
        assert "the key that signs tickets is not available" in await refused_login(third, server, 70348, "carol")
        account_code(await wire.refused("enter", ticket=ticket, roomId=1), ENTER_REFUSED, 70348)
        account_code(await third.refused("resume", resumeToken=entered["resumeToken"]), LOGIN_REFUSED, 70348)
    await wire.ask("enter", ticket=ticket, roomId=1)
    await third.ask("resume", resumeToken=entered["resumeToken"])
    await third.close()
