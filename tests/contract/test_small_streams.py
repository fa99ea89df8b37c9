"""Big and small streams as clients see them: what is announced, asked for, told, and kept over a lost socket."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.unit.downlink_client import answer_to
from tests.wire import Wire, join, offer

if TYPE_CHECKING:
    from tests.conftest import RunningServer
    from tests.wire import Json

REMOTE_STREAM_NOT_EXIST = 0x4010


async def publish(wire: Wire, name: str = "chromium-audio-video-small", **fields: object) -> str:
    """Publish what a browser offered; the answer."""
    answer: str = (await wire.ask("publish", sdp=offer(name), audioMid="0", videoMid="1", **fields))["sdp"]
    return answer


async def told(wire: Wire) -> Json:
    """What the next event says of the video that is received."""
    event = await wire.event()
    assert event.pop("type") == "video-received"
    return event


def received(video_type: str, reason: str = "asked for") -> Json:
    return {"userId": "ann", "streamType": "main", "videoType": video_type, "reason": reason}


async def test_a_small_stream_is_answered_and_announced_and_so_is_its_end(server: RunningServer) -> None:
    bob, _ = await join(server, "bob")
    ann, _ = await join(server, "ann")
    assert "a=simulcast:recv big;small" in await publish(ann)
    assert (await bob.event())["type"] == "peer-join"
    added = await bob.event()
    assert (added["type"], added["stream"]["small"]) == ("stream-added", True)
    late, entered = await join(server, "late")
    assert entered["snapshot"]["streams"][0]["small"] is True
    assert (await bob.event())["type"] == "peer-join"
    await publish(ann, "chromium-audio-video", restart=True)
    updated = await bob.event()
    assert (updated["type"], updated["stream"].get("small", False)) == ("stream-updated", False)
    await late.close()


async def test_the_core_has_a_producer_for_each_encoding(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    await publish(ann)
    router = (await server.media.snapshot())["shards"][0]["router"]
    assert len(router["producers"]) == 3


async def test_who_asks_for_the_small_one_is_told_what_comes_and_why(server: RunningServer) -> None:
    bob, _ = await join(server, "bob")
    ann, _ = await join(server, "ann")
    assert (await bob.event())["type"] == "peer-join"
    refusal = await bob.refused("set-video-type", userId="ann", videoType="small")
    assert refusal.code == REMOTE_STREAM_NOT_EXIST
    await publish(ann)
    assert (await bob.event())["type"] == "stream-added"
    for _ in range(2):
        assert await bob.ask("set-video-type", userId="ann", videoType="small") == {}
    await bob.ask("subscribe", userId="ann")
    first = await bob.event()
    await bob.ask("downlink-answer", revision=1, sdp=answer_to(first["sdp"]))
    assert await told(bob) == received("small")
    await bob.ask("set-video-type", userId="ann", videoType="big")
    assert await told(bob) == received("big")
    assert await bob.quiet()
    await publish(ann, "chromium-audio-video", restart=True)
    assert (await bob.event())["type"] == "stream-updated"
    await bob.ask("set-video-type", userId="ann", videoType="small")
    second = await bob.event()
    await bob.ask("downlink-answer", revision=2, sdp=answer_to(second["sdp"]))
    assert await told(bob) == received("big", "ann sends no small stream")
    await ann.ask("unpublish")
    assert [(await bob.event())["type"] for _ in range(2)] == ["downlink-offer", "stream-removed"]
    assert (await bob.refused("set-video-type", userId="ann", videoType="big")).code == REMOTE_STREAM_NOT_EXIST


@pytest.mark.parametrize("wanted", ["tiny", "", None, 1])
async def test_what_is_no_type_is_answered_as_a_wrong_field(server: RunningServer, wanted: object) -> None:
    bob, _ = await join(server, "bob")
    assert (await bob.refused("set-video-type", userId="ann", videoType=wanted)).code == 0x1000


async def test_wishes_outlive_the_socket_with_and_without_a_subscription(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    bob, entered = await join(server, "bob")
    await publish(ann)
    await bob.event()
    await bob.ask("set-video-type", userId="ann", videoType="small")
    bob.drop()
    await bob.closed()
    again = await Wire.open(server)
    resumed = await again.ask("resume", resumeToken=entered["resumeToken"])
    assert resumed["videoTypes"] == [{"userId": "ann", "streamType": "main", "videoType": "small"}]
    await again.ask("subscribe", userId="ann", audio=False)
    first = await again.event()
    await again.ask("downlink-answer", revision=1, sdp=answer_to(first["sdp"]))
    assert await told(again) == received("small")
    again.drop()
    await again.closed()
    third = await Wire.open(server)
    await third.ask("resume", resumeToken=resumed["resumeToken"])
    assert await told(third) == received("small"), "what was told may have been lost with the socket"


async def test_asking_again_and_again_changes_little_and_closes_nobody(server: RunningServer) -> None:
    bob, _ = await join(server, "bob")
    ann, _ = await join(server, "ann")
    await publish(ann)
    assert [(await bob.event())["type"] for _ in range(2)] == ["peer-join", "stream-added"]
    await bob.ask("subscribe", userId="ann", audio=False)
    first = await bob.event()
    await bob.ask("downlink-answer", revision=1, sdp=answer_to(first["sdp"]))
    for number in range(201):
        await bob.ask("set-video-type", userId="ann", videoType="big" if number % 2 else "small")
    events = [await told(bob)]
    while events[-1] != received("small") or not await bob.quiet():
        events.append(await told(bob))
    assert len(events) < 60


@pytest.mark.parametrize("codec", ["VP9", "AV1"])
async def test_codecs_of_layers_are_forwarded_as_one_encoding(server: RunningServer, codec: str) -> None:
    others = {"VP8", "H264", "VP9", "AV1"} - {codec}
    sdp = re.sub(rf"a=rtpmap:\d+ ({'|'.join(others)})/90000\r\n", "", offer("chromium-audio-video-small"))
    ann, _ = await join(server, "ann")
    bob, _ = await join(server, "bob")
    answer = (await ann.ask("publish", sdp=sdp, audioMid="0", videoMid="1"))["sdp"]
    assert f" {codec}/90000" in answer
    assert "simulcast" not in answer
    assert "small" not in (await bob.event())["stream"]
    await bob.ask("subscribe", userId="ann")
    offered = await bob.event()
    assert f" {codec}/90000" in offered["sdp"]
    await bob.ask("downlink-answer", revision=1, sdp=answer_to(offered["sdp"]))
    router = (await server.media.snapshot())["shards"][0]["router"]
    assert len(router["consumers"]) == 2
