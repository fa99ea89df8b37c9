"""Requests that cost others: what one client causes is bounded by the work it makes, not by the length of its texts."""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.wire import Wire, answer_to, join, offer

if TYPE_CHECKING:
    from tests.conftest import RunningServer, StartServer

VIEWERS = 12
FIRST = 1_000_000
"""The id of the first message of a flood."""


class Book:
    """Counts what signaling asks of the media core, which still does it."""

    def __init__(self, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: dict[str, int] = {}
        for name in ("allocate_ssrc", "add_consumer", "create_transport"):
            monkeypatch.setattr(server.media, name, self._counting(name, getattr(server.media, name)))

    def _counting(self, name: str, real: Any) -> Any:
        self.calls[name] = 0

        def counted(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            return real(*arguments, **named)

        return counted


class Viewer:
    """Receives ann's stream and answers every offer at once, as a fast browser does."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.offers: list[dict[str, Any]] = []
        self._complete = asyncio.Event()
        self._task = asyncio.create_task(self._answer())

    @classmethod
    async def join(cls, server: RunningServer, user_id: str) -> Viewer:
        wire, _ = await join(server, user_id)
        viewer = cls(wire)
        await wire.ask("subscribe", userId="ann")
        return viewer

    async def _answer(self) -> None:
        while True:
            event = await self.wire.events.get()
            if event["type"] == "downlink-offer":
                self.offers.append(event)
                sdp = answer_to(event["sdp"])
                await self.wire.ask("downlink-answer", revision=event["revision"], sdp=sdp)
                if len(event["tracks"]) == 2:
                    self._complete.set()

    async def settled(self) -> None:
        """Wait until it has answered an offer with both tracks."""
        await asyncio.wait_for(self._complete.wait(), 20)


async def flood(wire: Wire, messages: list[dict[str, Any]]) -> None:
    """Send them all without waiting for answers."""
    for number, message in enumerate(messages, FIRST):
        await wire.socket.send(json.dumps({"id": number, **message}))


async def test_a_publisher_that_restarts_as_fast_as_it_can_makes_few_offers_and_ssrcs(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate is lifted here, so that what is counted is the gathering alone."""
    server = await start_server(limits__messages_per_second=100_000, limits__message_burst=100_000)
    ann, _ = await join(server, "ann")
    restart = {"type": "publish", "sdp": offer(), "audioMid": "0", "videoMid": "1", "restart": True}
    await ann.ask("publish", **{name: value for name, value in restart.items() if name != "type"})
    viewers = [await Viewer.join(server, f"viewer{number}") for number in range(VIEWERS)]
    for viewer in viewers:
        await viewer.settled()
    book = Book(server, monkeypatch)
    before = sum(len(viewer.offers) for viewer in viewers)
    loop = asyncio.get_running_loop()
    started = loop.time()
    restarts = 200
    await flood(ann, [restart] * restarts)
    await ann.ask("ping")
    took = loop.time() - started
    offers = sum(len(viewer.offers) for viewer in viewers) - before
    # An offer of two m-lines allows the next after 22 ms at the earliest, and one more is under way at the end.
    most = VIEWERS * (took / 0.022 + 2)
    assert book.calls["create_transport"] == restarts
    assert offers <= most
    assert book.calls["allocate_ssrc"] <= 3 * most
    assert book.calls["add_consumer"] <= 2 * most
    assert offers < VIEWERS * restarts / 2, "changes between two offers share the next"


@pytest.mark.parametrize(
    ("price", "flapping"),
    [
        (3 + len(offer()) // 1024, [{"type": "publish", "sdp": offer(), "audioMid": "0", "restart": True}]),
        (9 / 2 + 60 / 25, [{"type": "leave"}, {"type": "enter", "ticket": "TICKET", "roomId": 1}]),
        (9 * 20 / 21, [{"type": "leave"}, *[{"type": "login", "sdkAppId": 1, "userId": "x", "userSig": "y"}] * 20]),
        (60 / 25, [{"type": "mute", "audio": True}, {"type": "mute", "audio": False}]),
    ],
    ids=["restart", "enter and leave", "login", "mute"],
)
async def test_what_a_request_causes_makes_the_next_ones_wait(
    start_server: StartServer, price: float, flapping: list[dict[str, Any]]
) -> None:
    """Messages of one socket whose number alone would be allowed at once: each has at least that price."""
    rate, burst = 25, 200
    server = await start_server(limits__messages_per_second=rate, limits__message_burst=burst)
    witness, _ = await join(server, "witness")
    others = [(await join(server, f"user{number}"))[0] for number in range(60)]
    ann = await Wire.open(server)
    ticket = (await ann.login(server, "ann"))["ticket"]
    await ann.ask("enter", ticket=ticket, roomId=1)
    await ann.ask("publish", sdp=offer(), audioMid="0", videoMid="1")
    for other in others:
        await other.ask("subscribe", userId="ann")
    messages = [{**message, **({"ticket": ticket} if "ticket" in message else {})} for message in flapping]
    count = math.ceil((burst + 4 * rate) / price)
    started = time.monotonic()
    await flood(ann, (messages * count)[:count])
    answers = await ann.answered(count)
    took = time.monotonic() - started
    assert [answer["id"] for answer in answers] == list(range(FIRST, FIRST + count)), "in order, and nothing is closed"
    assert took >= ((count - 1) * price - burst) / rate
    assert await witness.ask("ping") == {}


async def test_an_offer_is_refused_by_its_size_before_it_is_read(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    long = offer() + "a=x:yyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 4_000
    assert 65_536 < len(long) < 262_144
    refusal = await ann.refused("publish", sdp=long, audioMid="0")
    assert (refusal.code, "at most 65536" in str(refusal)) == (0x1000, True)
    many = offer() + "m=audio 9 x 0\r\n" * 1_000
    assert "more than 32 m-lines" in str(await ann.refused("publish", sdp=many, audioMid="0"))
    assert "a=recvonly" in (await ann.ask("publish", sdp=offer(), audioMid="0"))["sdp"]
