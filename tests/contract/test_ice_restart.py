"""ICE restarts over the wire: new credentials for the connections there are, and nobody else is told of anything."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time

import websockets
from parlour.protocol.messages import CloseCode

from tests.conftest import RunningServer
from tests.wire import Wire, answer_to, join, offer

INVALID_PARAMETER, INVALID_OPERATION = 0x1000, 0x1001
UFRAG = re.compile(r"a=ice-ufrag:(\S+)")


def ufrag(sdp: str) -> str:
    return str(UFRAG.findall(sdp)[0])


def moved(sdp: str, name: str) -> str:
    """The same offer with other ICE credentials."""
    return re.sub(r"a=ice-pwd:\S+", f"a=ice-pwd:{name:x<24}", re.sub(r"a=ice-ufrag:\S+", f"a=ice-ufrag:{name}", sdp))


async def publish(wire: Wire, **fields: object) -> dict[str, str]:
    return await wire.ask("publish", **{"sdp": offer(), "audioMid": "0", "videoMid": "1", **fields})


async def restarts(server: RunningServer) -> int:
    return (await server.media.snapshot())["shards"][0]["router"]["paths"]["restarts"]


async def test_an_uplink_goes_on_with_new_credentials_and_nobody_is_told(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    bob, _ = await join(server, "bob")
    published = await publish(ann)
    assert (await bob.event())["type"] == "stream-added"
    first = await ann.ask("uplink-ice-restart", sdp=moved(offer(), "abcd"))
    assert ufrag(first["sdp"]) != ufrag(published["sdp"])
    assert first["sdp"].count("a=recvonly") == published["sdp"].count("a=recvonly") == 2
    # Asked again, since the answer was lost, it is the same restart.
    assert ufrag((await ann.ask("uplink-ice-restart", sdp=moved(offer(), "abcd")))["sdp"]) == ufrag(first["sdp"])
    second = await ann.ask("uplink-ice-restart", sdp=moved(offer(), "efgh"))
    assert ufrag(second["sdp"]) != ufrag(first["sdp"])
    # A change of tracks may come with new credentials as well.
    again = await publish(ann, sdp=moved(offer(), "ijkl"))
    assert (ufrag(again["sdp"]) != ufrag(second["sdp"]), again["streamId"]) == (True, published["streamId"])
    assert await bob.quiet()
    assert await restarts(server) == 3


async def test_an_ice_restart_of_nothing_or_of_another_connection_is_refused(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    assert (await ann.refused("uplink-ice-restart", sdp=offer())).code == INVALID_OPERATION
    assert await ann.ask("downlink-ice-restart") == {"revision": 0}
    await publish(ann)
    assert (await ann.refused("uplink-ice-restart", sdp="nonsense")).code == INVALID_PARAMETER
    other = await ann.refused("uplink-ice-restart", sdp=offer("firefox-audio-video"))
    assert (other.code, "another connection" in str(other)) == (INVALID_OPERATION, True)
    assert await restarts(server) == 0


async def test_a_downlink_is_offered_with_new_credentials_whoever_asks(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    bob, entered = await join(server, "bob")
    await publish(ann)
    await publish(bob)
    await bob.event()
    await bob.ask("subscribe", userId="ann")
    first = await bob.event()
    await bob.ask("downlink-answer", revision=1, sdp=answer_to(first["sdp"]))
    assert await bob.ask("downlink-ice-restart") == {"revision": 2}
    second = await bob.event()
    assert (second["type"], second["revision"], second.get("restart", False)) == ("downlink-offer", 2, False)
    assert ufrag(second["sdp"]) != ufrag(first["sdp"])
    assert second["tracks"] == first["tracks"]
    await bob.ask("downlink-answer", revision=2, sdp=moved(answer_to(second["sdp"]), "client-elsewhere"))
    # A session that comes back from another address: both connections, by the server's word; from the same, nothing.
    bob.drop()
    await bob.closed()
    here = await Wire.open(server)
    resumed = await here.ask("resume", resumeToken=entered["resumeToken"])
    assert await here.quiet()
    here.drop()
    await here.closed()
    there = await Wire.open(server, local_addr=("127.0.0.9", 0))
    await there.ask("resume", resumeToken=resumed["resumeToken"])
    events = {event["type"]: event for event in [await there.event(), await there.event()]}
    assert events["ice-restart-wanted"]["reason"] == "moved"
    assert ufrag(events["downlink-offer"]["sdp"]) != ufrag(second["sdp"])
    await there.ask("uplink-ice-restart", sdp=moved(offer(), "abcd"))
    assert await there.quiet()
    assert [(await ann.event())["type"] for _ in range(2)] == ["peer-join", "stream-added"]
    assert await ann.quiet(), "she notices nothing"


async def test_a_storm_of_restarts_is_priced_counted_and_ends_its_own_socket_alone(server: RunningServer) -> None:
    """1,000 a second: the first cost what they cost, then the socket waits unread, and too many messages close it."""
    ann, _ = await join(server, "ann")
    bob, _ = await join(server, "bob")
    await publish(ann)
    await publish(bob)
    await bob.event()
    numbers = itertools.count(1000)
    began = time.monotonic()

    async def storm() -> None:
        for number in itertools.islice(numbers, 5000):
            sdp = moved(offer(), f"storm{number}")
            await ann.socket.send(json.dumps({"id": number, "type": "uplink-ice-restart", "sdp": sdp}))
            await asyncio.sleep(0.001)

    storming = asyncio.create_task(storm())
    slowest = 0.0
    while time.monotonic() - began < 4:
        asked = time.monotonic()
        await bob.ask("mute", audio=True)
        slowest = max(slowest, time.monotonic() - asked)
        await asyncio.sleep(0.05)  # within what she may send herself
    storming.cancel()
    await asyncio.wait({storming})
    if storming.done() and not storming.cancelled():
        assert isinstance(storming.exception(), websockets.ConnectionClosed)
    done, seconds = await restarts(server), time.monotonic() - began
    # 50 units of work a second and 400 at once; each is nine and what its description costs to read.
    assert 0 < done <= (400 + 50 * seconds) / 9 + 1, f"{done} in {seconds:.1f} s"
    assert slowest < 2, "the room next door waits"
    assert ann.socket.close_code in {None, CloseCode.TOO_MANY}
    print(f"{done} restarts in {seconds:.1f} s, slowest answer next door {1000 * slowest:.0f} ms")
