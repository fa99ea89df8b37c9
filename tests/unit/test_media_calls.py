"""Whole transports against the media core: ICE, DTLS and SRTP by another stack, media forwarded between two peers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
import pytest_asyncio
from aiortc.rtp import RtcpPsfbPacket, RtcpSenderInfo, RtcpSrPacket
from parlour.media import MediaCore, TransportHandle
from parlour.sdp.model import TrackSpec

from tests.peers.ortc_peer import OrtcPeer
from tests.peers.stun_peer import StunPeer

PUBLISHED = TrackSpec(
    mid="0", kind="video", codec="vp8", payload_type=96, ssrc=0x1234_5678, mid_extension=3, nack=True, pli=True
)
KEYFRAME = b"\x10" + b"\x30\x01\x00\x9d\x01\x2a\x40\x01\xf0\x00"
"""A VP8 payload descriptor with the S bit (RFC 7741 §4.2) and the start of a 320×240 keyframe (RFC 6386 §9.1)."""
PLI = 1  # RFC 4585 §6.3.1


@dataclass
class Heard:
    """What the callbacks of one transport said."""

    connected: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    closed: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    started: asyncio.Queue[int] = field(default_factory=asyncio.Queue)


@pytest_asyncio.fixture
async def media() -> AsyncIterator[MediaCore]:
    core = MediaCore(bind="0.0.0.0", port=0)
    await core.start()
    yield core
    await core.close()


def listen(media: MediaCore) -> tuple[TransportHandle, Heard]:
    heard = Heard()
    handle = media.create_transport(
        media.pick_shard(),
        on_connected=heard.connected.set_result,
        on_closed=heard.closed.set_result,
        on_producer_started=heard.started.put_nowait,
    )
    return handle, heard


@pytest_asyncio.fixture
async def peers() -> AsyncIterator[list[OrtcPeer]]:
    made = [OrtcPeer(), OrtcPeer()]
    yield made
    for peer in made:
        await peer.close()


def rtp(number: int, payload: bytes, *, marker: bool = False, ssrc: int = 0x1234_5678) -> bytes:
    """A VP8 packet of a film at 30 frames a second, one packet a frame (RFC 3550 §5.1)."""
    header = bytes([0x80, 0x80 * marker | 96]) + number.to_bytes(2) + (number * 3000).to_bytes(4) + ssrc.to_bytes(4)
    return header + payload


async def test_a_film_goes_from_one_peer_to_another_under_numbers_of_our_own(
    media: MediaCore, peers: list[OrtcPeer]
) -> None:
    (uplink, above), (downlink, below) = listen(media), listen(media)
    publisher, subscriber = peers
    producer = media.add_producer(uplink.id, PUBLISHED)
    track = TrackSpec(
        mid="a", kind="video", codec="vp8", payload_type=101, mid_extension=9, ssrc=media.allocate_ssrc(downlink.id)
    )
    media.add_consumer(downlink.id, [producer], track, cname="alice")
    for peer, handle, heard in ((publisher, uplink, above), (subscriber, downlink, below)):
        media.set_remote(handle.id, peer.parameters)
        await peer.connect(handle.local)
        assert "GCM" in await asyncio.wait_for(heard.connected, 5)

    for number in range(3):
        await publisher.send_rtp(rtp(number, KEYFRAME + bytes([number]) * 500, marker=True))
    assert await asyncio.wait_for(above.started.get(), 5) == producer
    request = await publisher.receive_rtcp(RtcpPsfbPacket)
    assert (request.fmt, request.media_ssrc) == (PLI, PUBLISHED.ssrc)

    # The subscriber is served from a keyframe that starts after it is ready, or from the first one.
    await publisher.send_rtp(rtp(3, KEYFRAME + b"\x07" * 500, marker=True))
    packet, data = await subscriber.receive_rtp()
    first = packet
    while not data.endswith(b"\x07" * 500):
        following, data = await subscriber.receive_rtp()
        assert following.sequence_number == packet.sequence_number + 1 & 0xFFFF
        assert following.timestamp == packet.timestamp + 3000 & 0xFFFF_FFFF
        packet = following
    assert (first.ssrc, first.payload_type, first.marker) == (track.ssrc, 101, 1)
    assert packet.payload == KEYFRAME + b"\x07" * 500

    # The publisher's clock, told by its sender report, reaches the subscriber in one of ours (RFC 3550 §6.4.1).
    clock = RtcpSenderInfo(ntp_timestamp=0xE000_0000 << 32, rtp_timestamp=3 * 3000, packet_count=4, octet_count=2000)
    await publisher.send_rtp(bytes(RtcpSrPacket(ssrc=0x1234_5678, sender_info=clock)))
    report = await subscriber.receive_rtcp(RtcpSrPacket)
    assert report.ssrc == track.ssrc
    seconds = report.sender_info.ntp_timestamp / 2**32 - 0xE000_0000
    ticks = report.sender_info.rtp_timestamp - packet.timestamp & 0xFFFF_FFFF
    assert 0 <= seconds < 5
    assert abs(ticks - seconds * 90_000) < 90
    counters = (await media.snapshot())["shards"][0]["router"]
    assert [entry["state"] for entry in counters["transports"]] == ["connected", "connected"]
    assert counters["consumers"][0]["packets"] >= 1


async def test_a_peer_that_says_goodbye_is_told_once_and_its_commands_are_refused(
    media: MediaCore, peers: list[OrtcPeer]
) -> None:
    handle, heard = listen(media)
    media.set_remote(handle.id, peers[0].parameters)
    await peers[0].connect(handle.local)
    await asyncio.wait_for(heard.connected, 5)
    await peers[0].close()
    assert await asyncio.wait_for(heard.closed, 5) == "peer-closed"
    with pytest.raises(LookupError, match="no transport"):
        media.add_producer(handle.id, PUBLISHED)
    media.remove_transport(handle.id)


async def test_a_peer_with_another_certificate_than_announced_never_gets_keys(
    media: MediaCore, peers: list[OrtcPeer]
) -> None:
    handle, heard = listen(media)
    wrong = ":".join(f"{byte:02X}" for byte in os.urandom(32))
    media.set_remote(handle.id, replace(peers[0].parameters, fingerprint=wrong))
    connecting = asyncio.create_task(peers[0].connect(handle.local))
    assert await asyncio.wait_for(heard.closed, 5) == "fingerprint-mismatch"
    assert not heard.connected.done()
    await peers[0].close()
    await asyncio.wait([connecting], timeout=5)
    assert (await media.snapshot())["shards"][0]["router"]["transports"] == []


async def test_a_raising_callback_does_not_keep_the_events_of_others(media: MediaCore, peers: list[OrtcPeer]) -> None:
    def burst(_: object) -> None:
        raise ZeroDivisionError("a fault in a listener")

    faulty = media.create_transport(0, on_connected=burst)
    media.set_remote(faulty.id, peers[0].parameters)
    handle, heard = listen(media)
    media.set_remote(handle.id, peers[1].parameters)
    await asyncio.gather(peers[0].connect(faulty.local), peers[1].connect(handle.local))
    await asyncio.wait_for(heard.connected, 5)


async def test_closing_the_core_says_goodbye_to_a_connected_peer(media: MediaCore, peers: list[OrtcPeer]) -> None:
    handle, heard = listen(media)
    media.set_remote(handle.id, peers[0].parameters)
    await peers[0].connect(handle.local)
    await asyncio.wait_for(heard.connected, 5)
    await media.close()
    await asyncio.wait_for(peers[0].ended.wait(), 5)
    assert not heard.closed.done()


async def test_a_call_goes_on_beside_a_storm(media: MediaCore, peers: list[OrtcPeer]) -> None:
    (uplink, above), (downlink, _) = listen(media), listen(media)
    publisher, subscriber = peers
    producer = media.add_producer(uplink.id, PUBLISHED)
    ssrc = media.allocate_ssrc(downlink.id)
    track = TrackSpec(mid="a", kind="video", codec="vp8", payload_type=101, ssrc=ssrc)
    media.add_consumer(downlink.id, [producer], track, cname="alice")
    for peer, handle in ((publisher, uplink), (subscriber, downlink)):
        media.set_remote(handle.id, peer.parameters)
        await peer.connect(handle.local)
    await asyncio.wait_for(above.connected, 5)
    with StunPeer(("127.0.0.1", media.ports[0])) as stranger:
        got = []
        for number in range(100):
            for size in (1, 13, 60, 400, 1400):
                stranger.send(os.urandom(size))
            await publisher.send_rtp(rtp(number, KEYFRAME + bytes([number]) * 100, marker=True))
        while len(got) < 100:
            packet, _ = await subscriber.receive_rtp()
            got.append(packet.payload[-1])
    assert got == list(range(100))
