"""The check of received sound is itself checked: it knows the speech, and refuses what is not the speech."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from tests.browser.speech import COMPARED_RATE, RATE, SAME_SPEECH, SENTENCES, Samples, correlation, read_wave, speech


def _through_opus(samples: Samples) -> Samples:
    """The sound after Opus at a call's bit rate."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=RATE, layout="mono")
        stream.bit_rate = 40_000
        for at in range(0, len(samples) - 960, 960):
            frame = av.AudioFrame.from_ndarray((samples[None, at : at + 960] * 32767).astype(np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = RATE, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)


def _sent(name: str) -> Samples:
    samples, rate = read_wave(speech(name).path)
    assert rate == RATE
    return samples


@pytest.mark.parametrize("name", SENTENCES)
def test_speech_is_known_after_opus_wherever_the_recording_begins(name: str) -> None:
    received = _through_opus(_sent(name))
    turned = np.roll(received, 3 * RATE + 1234)[: 4 * RATE]
    assert correlation(turned, RATE, speech(name)) >= SAME_SPEECH + 0.15


@pytest.mark.parametrize("name", SENTENCES)
def test_the_speech_of_others_is_refused(name: str) -> None:
    figures = {other: correlation(_sent(other), RATE, speech(name)) for other in SENTENCES if other != name}
    assert max(figures.values()) < SAME_SPEECH - 0.1, figures


def test_noise_a_tone_reversed_speech_and_silence_are_refused() -> None:
    alice = speech("alice")
    time = np.arange(4 * RATE) / RATE
    noise = np.random.default_rng(7).normal(0, 0.2, 4 * RATE).astype(np.float32)
    tone = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    reversed_speech = np.ascontiguousarray(alice.samples[::-1])
    assert correlation(noise, RATE, alice) < SAME_SPEECH - 0.1
    assert correlation(tone, RATE, alice) < SAME_SPEECH - 0.1
    assert correlation(reversed_speech, COMPARED_RATE, alice) < SAME_SPEECH - 0.1
    assert correlation(np.zeros(4 * RATE, np.float32), RATE, alice) == 0


def test_two_voices_at_once_are_not_taken_for_one() -> None:
    both = _sent("alice")[: 4 * RATE] + _sent("bob")[: 4 * RATE]
    apart = correlation(_sent("alice")[: 4 * RATE], RATE, speech("alice"))
    assert correlation(both, RATE, speech("alice")) < apart
