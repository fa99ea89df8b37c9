"""Media through a real server between two peers on aiortc, a stack that shares no code with ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from tests.peers.aiortc_peer import AiortcPeer

if TYPE_CHECKING:
    from tests.conftest import RunningServer


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
