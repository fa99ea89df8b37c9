"""The SDK's two connections through the media core, negotiated with the server's own SDP functions, over real UDP."""

import asyncio
import itertools

import numpy as np
import pytest
from parlour.client.card import FPS, TestCard, melody, note_of, read_number
from parlour.client.codecs import AUDIO_CLOCK, PACKET_SAMPLES, AudioEncoder, Decoder, VideoEncoder
from parlour.client.peer_connection import PeerConnection
from parlour.client.streams import LocalStream, LocalTrack, RemoteStream
from parlour.media import MediaCore
from parlour.sdp import (
    DownlinkLine,
    TrackSpec,
    read_downlink_answer,
    read_uplink_offer,
    write_downlink_offer,
    write_uplink_answer,
)

WALL = 1_700_000_000.0


@pytest.fixture
async def core():
    core = MediaCore(bind="127.0.0.1", port=0)
    await core.start()
    yield core
    await core.close()


class Call:
    """One uplink and one downlink connection on a core. ``renegotiate`` offers ``lines`` as a server would."""

    def __init__(self, core, codec):
        self.core = core
        self.up, self.down = (
            PeerConnection("127.0.0.1", ["opus", codec]),
            PeerConnection("127.0.0.1", ["opus", "vp8", "h264"]),
        )
        self.profiles = []
        self.downlink = core.create_transport(0, on_connected=self.profiles.append)
        self.remote = RemoteStream("ann", "main")
        self.down.on_frame = lambda mid, frame: self.remote.take(frame)
        self.lines = []
        self.versions = itertools.count(1)

    def publish(self, codec):
        """Returns the local stream and the producers with their tracks."""
        uplink = self.core.create_transport(0, on_connected=self.profiles.append)
        sdp, mids = self.up.create_offer(["audio", "video"])
        offer = read_uplink_offer(sdp)
        tracks = [offer.track(mid) for mid in mids]
        producers = [self.core.add_producer(uplink.id, track) for track in tracks]
        self.core.set_remote(uplink.id, offer.remote)
        self.up.accept_answer(write_uplink_answer(offer, uplink.local, mids, session_id=1, version=1))
        stream = LocalStream("main", LocalTrack("audio", "opus"), LocalTrack("video", codec))
        stream.place(self.up, dict(zip(("audio", "video"), mids, strict=True)))
        return stream, list(zip(producers, tracks, strict=True))

    def line(self, mid, track):
        """An m-line that carries that uplink track under numbers of our own."""
        ssrc = self.core.allocate_ssrc(self.downlink.id)
        rtx = self.core.allocate_ssrc(self.downlink.id) if track.rtx_payload_type else None
        spec = TrackSpec(
            mid, track.kind, track.codec, track.payload_type, track.rtx_payload_type, ssrc, rtx, 1, None,
            track.nack, track.pli, track.fmtp,
        )  # fmt: skip
        return DownlinkLine(spec, True, stream_id="s1", cname="ann")

    def renegotiate(self, lines):
        """Offer the lines; returns what the client took."""
        text = write_downlink_offer(self.downlink.local, lines, session_id=2, version=next(self.versions))
        answer = read_downlink_answer(self.down.accept_offer(text), lines)
        self.core.set_remote(self.downlink.id, answer.remote)
        return answer

    def forward(self, producers):
        lines = [self.line(str(n), track) for n, (_, track) in enumerate(producers)]
        answer = self.renegotiate(lines)
        assert set(answer.accepted) == {line.mid for line in lines}
        for (producer, _), line in zip(producers, lines, strict=True):
            self.remote.place(line.kind, self.down, line.mid)
            self.core.add_consumer(self.downlink.id, [producer], line.track, cname="ann")

    def close(self):
        self.up.close()
        self.down.close()


@pytest.fixture
async def call(core, request):
    call = Call(core, request.param)
    yield call
    call.close()


async def perform(stream, codec):
    """Send card and melody like the robot, at three times its pace of pictures."""
    card, video, audio = TestCard(), VideoEncoder(640, 360, fps=FPS, bitrate=500_000, codec=codec), AudioEncoder()
    stream.on_keyframe_request = video.request_keyframe
    for number in itertools.count():
        stream.write_video(video.encode(card.draw(number, WALL + number / FPS), number * 6000), number * 6000)
        sound = melody(WALL + number * PACKET_SAMPLES / AUDIO_CLOCK, PACKET_SAMPLES, AUDIO_CLOCK)
        stream.write_audio(audio.encode(sound), number * PACKET_SAMPLES)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(("call", "codec"), [("vp8", "vp8"), ("h264", "h264")], indirect=["call"])
async def test_card_and_melody_cross_the_core(call, codec):
    stream, producers = call.publish(codec)
    call.up.on_keyframe_request = lambda mid: stream.on_keyframe_request()
    async with asyncio.timeout(30):
        await stream.connected()
        performing = asyncio.create_task(perform(stream, codec))
        call.forward(producers)
        decoder, numbers = Decoder(codec), []
        async for frame in call.remote.video():
            assert frame.codec == codec
            numbers += [read_number(picture) for picture in decoder.pictures(frame)]
            if len(numbers) >= 50:
                break
        listener, heard, times = Decoder("opus"), [], []
        async for frame in call.remote.audio():
            heard.append(listener.sound(frame)[0])
            times.append(frame.timestamp)
            if len(heard) >= 60:
                break
        performing.cancel()
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert set(np.diff(times)) == {PACKET_SAMPLES}
    assert loudest_pitch(np.concatenate(heard)) in {note_of(int(WALL) + second) for second in range(9)}
    assert all(profile.startswith("AEAD_AES_") for profile in call.profiles)


def loudest_pitch(sound):
    """The note of the walk that is nearest to the strongest frequency; 0 when none is near."""
    spectrum = np.abs(np.fft.rfft(sound))
    strongest = np.argmax(spectrum) * AUDIO_CLOCK / sound.size
    near = [note_of(second) for second in range(8) if abs(note_of(second) - strongest) < 10]
    return near[0] if near else 0
