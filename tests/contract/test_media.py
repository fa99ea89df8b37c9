"""Media through a real server between two peers on aiortc, a stack that shares no code with ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from tests.peers.aiortc_peer import AiortcPeer

if TYPE_CHECKING:
    from parlour.media.counters import RouterCounters

    from tests.conftest import RunningServer


async def router(server: RunningServer) -> RouterCounters:
    return (await server.media.snapshot())["shards"][0]["router"]


async def peer(server: RunningServer, user_id: str, room: int | str = 1) -> AiortcPeer:
    made = AiortcPeer(server.url)
    await made.join(server.app, user_id, server.user_sig(user_id), room)
    return made


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_sound_and_picture_cross_between_two_peers(server: RunningServer, codec: str) -> None:
    ann, bob = await peer(server, "ann"), await peer(server, "bob")
    try:
        await ann.publish(AudioStreamTrack(), VideoStreamTrack(), codec=codec)
        await bob.expect(lambda event: event["type"] == "stream-added")
        await bob.subscribe("ann")
        video, audio = await bob.track("ann", "video"), await bob.track("ann", "audio")
        async with asyncio.timeout(30):
            for _ in range(10):
                frame = await video.recv()
                assert (frame.width, frame.height) == (640, 480)
                await audio.recv()
    finally:
        await ann.close()
        await bob.close()


async def test_a_peer_that_goes_away_is_told_and_its_stream_comes_back_with_restart(server: RunningServer) -> None:
    ann, bob = await peer(server, "ann"), await peer(server, "bob")
    try:
        await ann.publish(VideoStreamTrack())
        await bob.subscribe("ann")
        before = await bob.track("ann", "video")
        async with asyncio.timeout(30):
            await before.recv()
            assert ann.uplink is not None
            await ann.uplink.close()
        failed = await ann.expect(lambda event: event["type"] == "media-failed")
        assert failed == {"type": "media-failed", "link": "uplink", "reason": "peer-closed"}
        bob.events = asyncio.Queue()
        await ann.publish(VideoStreamTrack())
        again = await bob.expect(lambda event: event["type"] == "downlink-offer")
        assert [track["mid"] for track in again["tracks"]] == ["0"], "the same m-line carries it"
    finally:
        await ann.close()
        await bob.close()


async def test_who_unsubscribes_gets_no_more_packets(server: RunningServer) -> None:
    ann, bob = await peer(server, "ann"), await peer(server, "bob")
    try:
        await ann.publish(AudioStreamTrack(), VideoStreamTrack())
        await bob.subscribe("ann", audio=False)
        await (await bob.track("ann", "video")).recv()
        assert len((await router(server))["consumers"]) == 1
        await bob.request("unsubscribe", userId="ann")
        assert (await router(server))["consumers"] == []
        await bob.subscribe("ann", video=False)
        await (await bob.track("ann", "audio")).recv()
    finally:
        await ann.close()
        await bob.close()
    # Closing the sockets took everything with it.
    async with asyncio.timeout(5):
        while (await router(server))["transports"]:
            pass
