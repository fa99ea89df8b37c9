"""The robot's picture and sound survive the codecs of a call."""

import av
import numpy as np
import pytest
from parlour.client import EncodedFrame
from parlour.client.card import FPS, NOTE_SECONDS, TestCard, melody, note_of, read_number
from parlour.client.codecs import (
    AUDIO_CLOCK,
    PACKET_SAMPLES,
    VIDEO_CLOCK,
    AudioEncoder,
    Decoder,
    VideoEncoder,
    missing_codecs,
)

WALL = 1_700_000_000.0


def video_frame(codec, data):
    return EncodedFrame("video", codec, 0, VIDEO_CLOCK, False, True, data)


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_the_number_of_every_picture_can_be_read_after_decoding(codec):
    card, decoder = TestCard(), Decoder(codec)
    encoder = VideoEncoder(640, 360, fps=FPS, bitrate=500_000, codec=codec)
    seen = []
    for number in range(0xABCDE0, 0xABCDE0 + 30):
        data = encoder.encode(card.draw(number, WALL + number / FPS), number * 6000)
        seen += [read_number(picture) for picture in decoder.pictures(video_frame(codec, data))]
    assert seen == list(range(0xABCDE0, 0xABCDE0 + 30))


def test_a_requested_keyframe_comes_with_the_next_picture_and_no_other():
    card = TestCard()
    encoder = VideoEncoder(640, 360, fps=FPS, bitrate=500_000)
    keyframes = []
    for number in range(20):
        if number == 12:
            encoder.request_keyframe()
        data = encoder.encode(card.draw(number, WALL), number * 6000)
        if data[0] & 1 == 0:  # RFC 6386 §9.1: the first bit is 0 in a keyframe
            keyframes.append(number)
    assert keyframes == [0, 12]


def test_the_picture_moves_and_its_clock_runs():
    card = TestCard()
    first = card.draw(1, WALL).copy()
    second = card.draw(1, WALL + 1).copy()
    assert not np.array_equal(first[130:210, 60:480], second[130:210, 60:480])
    assert not np.array_equal(first[258:306], second[258:306])
    assert np.array_equal(first[:20], second[:20])


def test_each_second_begins_with_its_note_and_is_silent_after_it():
    encoder, decoder = AudioEncoder(), Decoder("opus")
    packets = [
        encoder.encode(melody(WALL + n * PACKET_SAMPLES / AUDIO_CLOCK, PACKET_SAMPLES, AUDIO_CLOCK)) for n in range(150)
    ]
    frames = [EncodedFrame("audio", "opus", n * 960, AUDIO_CLOCK, False, True, data) for n, data in enumerate(packets)]
    sound = np.concatenate([decoder.sound(frame) for frame in frames], axis=1)[0]
    for second in range(3):
        samples = sound[second * AUDIO_CLOCK :][:AUDIO_CLOCK]
        note = samples[: int(NOTE_SECONDS * AUDIO_CLOCK)]
        rest = samples[int((NOTE_SECONDS + 0.1) * AUDIO_CLOCK) : int(0.9 * AUDIO_CLOCK)]
        assert np.sqrt(np.mean(note**2)) > 50 * np.sqrt(np.mean(rest**2))
        spectrum = np.abs(np.fft.rfft(note * np.hanning(note.size)))
        loudest = np.argmax(spectrum) * AUDIO_CLOCK / note.size
        assert abs(loudest - note_of(int(WALL) + second)) < 6


def test_the_codecs_of_the_demo_extra_are_all_there():
    assert missing_codecs() is None
    assert missing_codecs("h264") is None


def test_a_missing_codec_is_a_sentence(monkeypatch):
    monkeypatch.setattr(av, "codecs_available", {"libopus"})
    assert "without libvpx" in (missing_codecs() or "")
