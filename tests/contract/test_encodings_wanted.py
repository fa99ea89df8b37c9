"""Which encodings of a video are taken, as its publisher is told, from wishes and subscriptions over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from parlour.signaling import encodings

from tests.wire import Wire, join, offer

if TYPE_CHECKING:
    from tests.conftest import RunningServer
    from tests.wire import Json

NONE: list[str] = []
SMALL = ["small"]
BOTH = ["big", "small"]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody takes is paused soon."""
    monkeypatch.setattr(encodings, "PATIENCE", 0.2)


async def publish(wire: Wire, name: str = "chromium-audio-video-small", **fields: object) -> None:
    await wire.ask("publish", sdp=offer(name), audioMid="0", videoMid="1", **fields)


async def wanted(wire: Wire) -> list[str]:
    """The rids in the next event that is of these."""
    while (event := await wire.event())["type"] != "encodings-wanted":
        pass
    assert event["streamType"] == "main"
    rids: list[str] = event["rids"]
    return rids


def told(wire: Wire) -> list[Json]:
    """What has come by now and was not asked for yet."""
    events = [wire.events.get_nowait() for _ in range(wire.events.qsize())]
    return [event for event in events if event["type"] == "encodings-wanted"]


async def resumed(server: RunningServer, token: str) -> tuple[Wire, str]:
    wire = await Wire.open(server)
    return wire, (await wire.ask("resume", resumeToken=token))["resumeToken"]


@pytest.mark.usefixtures("hurried")
async def test_a_publisher_is_told_what_is_taken_and_a_first_subscriber_wakes_it(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    await publish(ann)
    assert await wanted(ann) == NONE
    bob, _ = await join(server, "bob")
    await bob.ask("subscribe", userId="ann", video=False)
    assert await ann.quiet() is False, "bob has joined"
    assert told(ann) == []
    await bob.ask("subscribe", userId="ann")
    assert await wanted(ann) == BOTH, "though bob has no transport yet"
    await bob.ask("set-video-type", userId="ann", videoType="small")
    assert await wanted(ann) == SMALL
    eve, _ = await join(server, "eve")
    await eve.ask("subscribe", userId="ann")
    assert await wanted(ann) == BOTH
    await eve.ask("leave")
    assert await wanted(ann) == SMALL
    await bob.ask("set-video-type", userId="ann", videoType="big")
    assert await wanted(ann) == BOTH
    await bob.ask("unsubscribe", userId="ann")
    assert await wanted(ann) == NONE


@pytest.mark.usefixtures("hurried")
async def test_who_subscribes_to_the_small_one_wakes_no_more_than_that(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    await publish(ann)
    assert await wanted(ann) == NONE
    bob, entered = await join(server, "bob")
    await bob.ask("set-video-type", userId="ann", videoType="small")
    await bob.ask("subscribe", userId="ann")
    assert await wanted(ann) == SMALL
    bob.drop()
    await bob.closed()
    bob, _ = await resumed(server, entered["resumeToken"])
    await ann.quiet()
    assert told(ann) == [], "who lost the socket still receives"
    await bob.close()
    assert await wanted(ann) == NONE


@pytest.mark.usefixtures("hurried")
async def test_after_a_resume_and_on_a_new_connection_it_is_told_again(server: RunningServer) -> None:
    ann, entered = await join(server, "ann")
    await publish(ann)
    assert await wanted(ann) == NONE
    ann.drop()
    await ann.closed()
    bob, _ = await join(server, "bob")
    await bob.ask("subscribe", userId="ann")
    ann, token = await resumed(server, entered["resumeToken"])
    assert await wanted(ann) == BOTH, "it had no socket when they were wanted again"
    await bob.ask("set-video-type", userId="ann", videoType="small")
    assert await wanted(ann) == SMALL
    await publish(ann, restart=True)
    assert [event["rids"] for event in told(ann)] == [SMALL], "before the answer: a new connection begins with it"
    ann.drop()
    await ann.closed()
    ann, _ = await resumed(server, token)
    assert await wanted(ann) == SMALL
    await publish(ann)
    assert told(ann) == [], "what is published already goes on"


@pytest.mark.usefixtures("hurried")
async def test_what_is_published_anew_begins_with_all_and_one_encoding_alone_is_never_spoken_of(
    server: RunningServer,
) -> None:
    cyd, _ = await join(server, "cyd")
    await publish(cyd, "chromium-audio-video")
    ann, _ = await join(server, "ann")
    await publish(ann)
    assert await wanted(ann) == NONE
    await ann.ask("unpublish")
    await publish(ann)
    assert told(ann) == []
    assert await wanted(ann) == NONE
    await publish(ann, "chromium-audio-video", restart=True)
    bob, _ = await join(server, "bob")
    for user in ("ann", "cyd"):
        await bob.ask("subscribe", userId=user)
    await publish(bob)
    assert await wanted(bob) == NONE, "time enough for the others"
    for publisher in (ann, cyd):
        await publisher.quiet()
        assert told(publisher) == []


async def test_wishes_that_change_all_the_time_are_no_news_to_the_publisher(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    await publish(ann)
    bob, _ = await join(server, "bob")
    await bob.ask("subscribe", userId="ann")
    for number in range(200):
        await bob.ask("set-video-type", userId="ann", videoType="big" if number % 2 else "small")
    for _ in range(20):
        await bob.ask("unsubscribe", userId="ann")
        await bob.ask("subscribe", userId="ann")
    await ann.quiet()
    assert told(ann) == []
