"""Work that is not paid yet makes its own client wait, in a full room as in a small one, and closes nobody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from tests.attacks.raw import TEXT, Raw, frame
from tests.wire import Wire, join, offer

if TYPE_CHECKING:
    from tests.attacks.conftest import ServedProcess, StartProcess

MEGABYTE = 2**20
MEMBERS = 300
MUTE_PRICE = MEMBERS / 25
RATE, BURST = 50, 400
"""Units of work that a second pays for, and how many are free: the defaults."""


async def crowd(server: ServedProcess, members: int = MEMBERS) -> tuple[Wire, list[Wire]]:
    """Ann, who publishes, and the others of a room of so many."""
    others = []
    for first in range(0, members - 1, 10):  # some at a time, as they come in life
        names = [f"user{number}" for number in range(first, min(first + 10, members - 1))]
        others += [wire for wire, _ in await asyncio.gather(*(join(server, name) for name in names))]
    ann, _ = await join(server, "ann")
    await ann.ask("publish", sdp=offer(), audioMid="0", videoMid="1")
    for wire in others:
        while (await wire.event())["type"] != "stream-added":
            pass
    return ann, others


@contextlib.asynccontextmanager
async def pinging(wire: Wire) -> AsyncIterator[None]:
    """Another member's pings, beside what is done meanwhile: each is answered soon."""
    slowest, over = 0.0, asyncio.Event()

    async def ping() -> None:
        nonlocal slowest
        while not over.is_set():
            started = time.monotonic()
            await wire.ask("ping")
            slowest = max(slowest, time.monotonic() - started)
            await asyncio.sleep(0.1)

    pings = asyncio.create_task(ping())
    try:
        yield
    finally:
        over.set()
        await asyncio.wait_for(pings, 20)
    assert slowest < 2.0, f"a ping took {slowest:.2f} s"  # this test shares the machine, and its loop the 300 sockets


def mute(number: int) -> str:
    """The request with that id: to mute if it is odd, else to unmute."""
    return json.dumps({"id": number, "type": "mute", "audio": bool(number % 2)})


async def test_twenty_mutes_a_second_in_a_room_of_300_reach_everybody_and_close_nobody(serve: StartProcess) -> None:
    server = await serve()
    ann, others = await crowd(server)
    count, first = 61, 1_000_001
    async with pinging(others[0]):
        for number in range(first, first + count):
            await ann.socket.send(mute(number))
            await asyncio.sleep(0.05)
        answers = await ann.answered(count)
        assert answers == [{"id": number, "ok": {}} for number in range(first, first + count)]
        for wire in others:
            told = [(await wire.event())["audioMuted"] for _ in range(count)]
            assert told == [bool(number % 2) for number in range(first, first + count)]
    assert await ann.ask("ping") == {}


async def test_a_flood_of_mutes_makes_no_more_work_than_is_paid_for_and_piles_up_nowhere(serve: StartProcess) -> None:
    server = await serve()
    ann, others = await crowd(server)
    await ann.close()
    memory = server.memory
    mal = await Raw.open(server.signaling_url)
    mal.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    login = {"id": 1, "type": "login", "sdkAppId": server.app, "userId": "mal", "userSig": server.user_sig("mal")}
    await mal.send(frame(TEXT, json.dumps(login).encode()))
    ticket = json.loads(await mal.text())["ok"]["ticket"]
    await mal.send(frame(TEXT, json.dumps({"id": 2, "type": "enter", "ticket": ticket, "roomId": 1}).encode()))
    publish = {"id": 3, "type": "publish", "sdp": offer(), "audioMid": "0"}
    await mal.send(frame(TEXT, json.dumps(publish).encode()))
    while (await others[0].event()).get("stream", {}).get("userId") != "mal":
        pass
    async with pinging(others[1]):
        started = time.monotonic()
        piece = b"".join(frame(TEXT, mute(number).encode()) for number in range(200))
        sent = 0  # the kernels' two buffers, what one read brings and what is read ahead are some 400 kB
        while time.monotonic() < started + 5:
            assert await mal.send(piece), "an honest client may have as much to wait for: none is closed"
            sent += mal.writer.transport.get_write_buffer_size() == 0
        await others[0].ask("ping")
        took, told = time.monotonic() - started, others[0].events.qsize()
        assert told <= (BURST + RATE * took) / MUTE_PRICE + 1
        assert sent * len(piece) < 640 * 1024, "what is not read stays with the sender"
    assert server.memory - memory < 32 * MEGABYTE
    mal.close()


async def test_who_leaves_while_requests_wait_is_gone_at_once(serve: StartProcess) -> None:
    server = await serve(LIMITS__MESSAGES_PER_SECOND=5, LIMITS__MESSAGE_BURST=100)
    ann, [bob, *_] = await crowd(server, 60)
    for number in range(80):
        await ann.socket.send(mute(number))
    await ann.socket.close(1000)
    events = []
    while not events or events[-1]["type"] != "peer-leave":
        events.append(await bob.event())
    assert len([event for event in events if event["type"] == "mute-changed"]) < 60, "what waited was not done first"


async def test_pings_behind_requests_that_wait_are_answered_before_them(serve: StartProcess) -> None:
    server = await serve(LIMITS__MESSAGES_PER_SECOND=5, LIMITS__MESSAGE_BURST=100)
    ann, _others = await crowd(server, 60)
    for number in range(1_000_000, 1_000_080):
        await ann.socket.send(mute(number))
    pong = await ann.socket.ping()
    await asyncio.wait_for(pong, 20)
    assert 0 < len(ann.strays) < 79
    await ann.answered(len(ann.strays) + 1)
