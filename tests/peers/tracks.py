"""Film and speech as aiortc sends them, and what an aiortc peer received as the tests compare it."""

from __future__ import annotations

import asyncio
import fractions
import time

import av
import numpy as np
from aiortc import MediaStreamTrack

from tests.browser.films import Film, Picture
from tests.browser.speech import RATE, Samples, Speech, read_wave

VIDEO_CLOCK = 90_000
AUDIO_FRAME = RATE // 50


class _Paced(MediaStreamTrack):
    """A track whose frames are due at fixed times; a camera or microphone paces itself the same way."""

    def __init__(self, interval: float) -> None:
        super().__init__()
        self._interval = interval
        self._count = 0
        self._start = 0.0

    async def _due(self) -> int:
        """Wait until the next frame is due and return its number."""
        if self._count == 0:
            self._start = time.monotonic()
        wait = self._start + self._count * self._interval - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        self._count += 1
        return self._count - 1


class NoiseTrack(_Paced):
    """Pictures of which no encoder can guess the next, at 15 a second: they take what bit rate they are given."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__(1 / 15)
        random = np.random.default_rng(1)
        self._pictures = [random.integers(0, 256, (270, 240), dtype=np.uint8) for _ in range(8)]

    async def recv(self) -> av.VideoFrame:
        """The next picture, when it is due."""
        number = await self._due()
        frame = av.VideoFrame.from_ndarray(self._pictures[number % len(self._pictures)], format="yuv420p")
        frame.pts, frame.time_base = number * (VIDEO_CLOCK // 15), fractions.Fraction(1, VIDEO_CLOCK)
        return frame


class FilmTrack(_Paced):
    """A film, over and over."""

    kind = "video"

    def __init__(self, film: Film) -> None:
        super().__init__(1 / film.rate)
        size = film.width * film.height * 3 // 2
        data = film.path.read_bytes()
        start = data.index(b"\n") + 1
        planes = [np.frombuffer(data, np.uint8, size, at + 6) for at in range(start, len(data), size + 6)]
        self._planes = [plane.reshape(film.height * 3 // 2, film.width) for plane in planes]
        self._step = VIDEO_CLOCK // film.rate

    async def recv(self) -> av.VideoFrame:
        """The next frame, when it is due."""
        number = await self._due()
        frame = av.VideoFrame.from_ndarray(self._planes[number % len(self._planes)], format="yuv420p")
        frame.pts, frame.time_base = number * self._step, fractions.Fraction(1, VIDEO_CLOCK)
        return frame


class SpeechTrack(_Paced):
    """Somebody's speech, over and over, in frames of 20 ms."""

    kind = "audio"

    def __init__(self, speech: Speech) -> None:
        super().__init__(AUDIO_FRAME / RATE)
        samples, rate = read_wave(speech.path)
        assert rate == RATE
        whole = np.tile(samples, 2)
        self._length = len(samples)
        self._samples = (np.clip(whole, -1, 1) * 32767).astype(np.int16)

    async def recv(self) -> av.AudioFrame:
        """The next 20 ms, when they are due."""
        number = await self._due()
        at = number * AUDIO_FRAME % self._length
        frame = av.AudioFrame.from_ndarray(self._samples[None, at : at + AUDIO_FRAME], format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, number * AUDIO_FRAME
        frame.time_base = fractions.Fraction(1, RATE)
        return frame


async def pictures_of(track: MediaStreamTrack, frames: int, keep: int = 4) -> list[Picture]:
    """Receive that many frames and return the last ``keep`` of them as RGB."""
    kept: list[Picture] = []
    for number in range(frames):
        frame = await track.recv()
        if number >= frames - keep:
            kept.append(frame.to_ndarray(format="rgb24"))
    return kept


async def sound_of(track: MediaStreamTrack, seconds: float) -> Samples:
    """Receive that much sound, as mono floats at 48 kHz."""
    parts: list[Samples] = []
    while sum(map(len, parts)) < seconds * RATE:
        frame = await track.recv()
        assert frame.sample_rate == RATE
        interleaved = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
        parts.append(interleaved.mean(axis=1).astype(np.float32) / 32768)
    return np.concatenate(parts)
