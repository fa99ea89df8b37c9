"""Two connections of the SDK over real UDP sockets: one as uplink, one as downlink."""

import asyncio

import pytest
from parlour.client import EncodedFrame
from parlour.client.card import FPS, TestCard, read_number
from parlour.client.codecs import Decoder, VideoEncoder
from parlour.client.peer_connection import PeerConnection
from parlour.client.streams import FRAME_QUEUE, LocalStream, LocalTrack, RemoteStream


@pytest.fixture
async def connections():
    up, down = PeerConnection("127.0.0.1", ["opus", "vp8"]), PeerConnection("127.0.0.1", ["opus", "vp8"])
    yield up, down
    up.close()
    down.close()


def connect(up, down):
    sdp, mids = up.create_offer(["audio", "video"])
    up.accept_answer(down.accept_offer(sdp))
    local = LocalStream("main", LocalTrack("audio", "opus"), LocalTrack("video", "vp8"))
    local.place(up, dict(zip(("audio", "video"), mids, strict=True)))
    remote = RemoteStream("ann", "main")
    for kind, mid in zip(("audio", "video"), mids, strict=True):
        remote.place(kind, down, mid)
    down.on_frame = lambda mid, frame: remote.take(frame)
    return local, remote


def received(*, keyframe):
    return EncodedFrame("video", "vp8", 0, 90_000, keyframe, True, b"x")


async def test_pictures_cross_and_a_late_reader_gets_a_keyframe(connections):
    local, remote = connect(*connections)
    card, encoder, decoder = TestCard(), VideoEncoder(640, 360, fps=FPS, bitrate=500_000), Decoder("vp8")
    requested = asyncio.Event()

    def keyframe_requested(mid):
        requested.set()
        encoder.request_keyframe()

    connections[0].on_keyframe_request = keyframe_requested
    encoder.encode(card.draw(0, 0.0), 0)  # the first keyframe gets lost

    async def send():
        for number in range(1, 10_000):
            local.write_video(encoder.encode(card.draw(number, number / FPS), number * 6000), number * 6000)
            await asyncio.sleep(1 / 60)

    async with asyncio.timeout(20):
        await local.connected()
        sending = asyncio.create_task(send())
        numbers = []
        async for frame in remote.video():
            numbers += [read_number(picture) for picture in decoder.pictures(frame)]
            if len(numbers) == 30:
                break
        sending.cancel()
    assert requested.is_set()
    assert numbers == list(range(numbers[0], numbers[0] + 30))


async def test_muted_tracks_and_unplaced_streams_drop_what_is_written(connections):
    local, _ = connect(*connections)
    assert local.write_audio(b"x", 0)
    local.track("audio").muted = True
    assert not local.write_audio(b"x", 0)
    local.displace()
    assert not local.write_video(b"x", 0)


async def test_a_slow_reader_loses_pictures_up_to_the_next_keyframe(connections):
    _, remote = connect(*connections)
    frame = received
    remote.take(frame(keyframe=True))
    for _ in range(FRAME_QUEUE + 5):
        remote.take(frame(keyframe=False))
    remote.take(frame(keyframe=True))
    remote.end()
    assert [one.keyframe async for one in remote.video()] == [True]


async def test_the_other_side_closing_is_heard_once(connections):
    up, down = connections
    connect(up, down)
    reasons = []
    failed = asyncio.Event()
    down.on_failed = lambda reason, was_connected: (reasons.append((reason, was_connected)), failed.set())
    async with asyncio.timeout(10):
        await up.connected()
        await down.connected()
        up.close()
        await failed.wait()
    assert reasons == [("the server closed the transport", True)]
    assert not down.is_open


async def test_an_answer_that_is_none_is_refused_with_a_sentence(connections):
    up, _ = connections
    up.create_offer(["audio"])
    with pytest.raises(RuntimeError, match="unreadable answer"):
        up.accept_answer("nonsense")
