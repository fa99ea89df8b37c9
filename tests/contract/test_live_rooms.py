"""Live rooms on the wire: anchors and an audience, who hears of whom, and changing the role."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.conftest import RunningServer, StartServer
from tests.contract.test_private_map_key import ALL, COME_IN, ticket
from tests.contract.test_signaling import publish
from tests.scenarios.calls import account_code
from tests.wire import Json, Wire, join

INVALID_OPERATION, SWITCH_ROLE_FAILED = 0x1001, 0x404A
ANCHOR = {"scene": "live", "role": "anchor"}
AUDIENCE = {"scene": "live", "role": "audience"}


@pytest.fixture
async def server(start_server: StartServer) -> RunningServer:
    return await start_server()


async def test_the_audience_is_told_to_nobody_and_hears_of_anchors_and_their_streams(server: RunningServer) -> None:
    ann, _ = await join(server, "ann", **ANCHOR)
    bob, entered = await join(server, "bob", **AUDIENCE)
    assert entered["snapshot"]["members"] == [{"userId": "ann"}]
    cid, entered = await join(server, "cid", **AUDIENCE)
    assert entered["snapshot"]["members"] == [{"userId": "ann"}], "bob is not shown"
    dee, entered = await join(server, "dee", **ANCHOR)
    assert entered["snapshot"]["members"] == [{"userId": "ann"}]
    for wire in (ann, bob, cid):
        assert await wire.event() == {"type": "peer-join", "userId": "dee"}
    await publish(dee)
    await cid.ask("leave")
    await bob.ask("subscribe", userId="dee", streamType="main")
    await dee.ask("leave")
    seen = [(await bob.event())["type"] for _ in range(4)]
    assert seen == ["stream-added", "downlink-offer", "stream-removed", "peer-leave"]
    assert [(await ann.event())["type"] for _ in range(3)] == ["stream-added", "stream-removed", "peer-leave"]
    assert await ann.quiet()


async def test_the_audience_may_not_publish_until_it_is_an_anchor(server: RunningServer) -> None:
    ann, _ = await join(server, "ann", **ANCHOR)
    bob, _ = await join(server, "bob", **AUDIENCE)
    refused = await bob.refused("publish", sdp="v=0")
    assert (refused.code, "audience" in str(refused)) == (INVALID_OPERATION, True)
    for _ in range(2):  # said twice it is done once
        await bob.ask("switch-role", role="anchor")
    assert await ann.event() == {"type": "peer-join", "userId": "bob"}
    await publish(bob)
    assert (await ann.event())["type"] == "stream-added"
    await ann.ask("subscribe", userId="bob", streamType="main")
    assert (await ann.event())["type"] == "downlink-offer"
    await bob.ask("switch-role", role="audience")
    assert [(await ann.event())["type"] for _ in range(2)] == ["stream-removed", "peer-leave"]
    assert (await bob.refused("publish", sdp="v=0")).code == INVALID_OPERATION
    assert await ann.quiet()


async def test_calls_have_no_roles_and_a_room_keeps_its_mode(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    assert (await ann.refused("switch-role", role="audience")).code == INVALID_OPERATION
    bob = await Wire.open(server)
    login = (await bob.login(server, "bob"))["ticket"]
    for asked in (AUDIENCE, ANCHOR, {"scene": "rtc", "role": "audience"}):
        assert (await bob.refused("enter", ticket=login, roomId=1, **asked)).code == INVALID_OPERATION
    # The room is as it was, and another is of the mode of who opens it.
    await bob.ask("enter", ticket=login, roomId=2, **ANCHOR)
    assert await ann.quiet()


async def test_a_session_that_is_taken_up_again_is_told_its_role(server: RunningServer) -> None:
    bob, entered = await join(server, "bob", **AUDIENCE)
    bob.drop()
    again = await Wire.open(server)
    resumed = await again.ask("resume", resumeToken=entered["resumeToken"])
    assert resumed["role"] == "audience"
    await again.ask("switch-role", role="anchor")
    again.drop()
    third = await Wire.open(server)
    assert "role" not in await third.ask("resume", resumeToken=resumed["resumeToken"]), "left out, it is anchor"


@pytest.fixture
async def strict(start_server: StartServer) -> AsyncIterator[RunningServer]:
    """A server whose app asks for a privateMapKey."""
    server = await start_server()
    await server.storage.change_app(server.app, advanced_permission=True)
    yield server


async def test_who_becomes_an_anchor_shows_a_ticket_that_is_good_now(strict: RunningServer) -> None:
    good = ticket(strict, "bob", privileges=COME_IN)
    bob, _ = await join(strict, "bob", **AUDIENCE, privateMapKey=good)
    late = ticket(strict, "bob", end=int(time.time()) - 10)
    for key, code in (("", -10018), (late, -10019), (ticket(strict, "ann"), -10019)):
        refused = await bob.refused("switch-role", role="anchor", privateMapKey=key)
        account_code(refused, SWITCH_ROLE_FAILED, code)
        assert (await bob.refused("publish", sdp="v=0")).code == INVALID_OPERATION, "the role is what it was"
    await bob.ask("switch-role", role="anchor", privateMapKey=ticket(strict, "bob", privileges=ALL))
    await publish(bob)
    # To become audience takes no ticket.
    await bob.ask("switch-role", role="audience")


async def test_hundreds_look_on_and_hear_nothing_of_each_other(start_server: StartServer) -> None:
    server = await start_server(accounts__logins_per_second=0, limits__strangers_per_source=5_000)
    ann, _ = await join(server, "ann", **ANCHOR)
    crowd: list[tuple[Wire, Json]] = []
    for _ in range(20):
        number = len(crowd)
        crowd += await asyncio.gather(*(join(server, f"user-{number + more}", **AUDIENCE) for more in range(20)))
    assert all(entered["snapshot"]["members"] == [{"userId": "ann"}] for _, entered in crowd)
    assert await ann.quiet()
    await publish(ann)
    for wire, _ in crowd:
        assert (await wire.event())["type"] == "stream-added"
        assert wire.events.empty()
