"""The speech that the browsers' microphones hear, and how it is recognised in what another browser received."""

from __future__ import annotations

import math
import subprocess
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from tests.browser.films import CACHE

RATE = 48_000
COMPARED_RATE = 8_000

# Speech is the speech sent when the median over its windows of the best normalised cross-correlation with what was
# sent is at least this. Measured: through a call the right speech gives 0.90 and more, and 0.68 at
# the least where four browsers share two busy cores and stretch time; other speech or noise gives at most 0.4
# (test_speech.py keeps the distance).
SAME_SPEECH = 0.60

WINDOW = 0.5  # seconds: short enough that a receiver's stretching of time does not blur it
HEARD = 0.01  # root mean square, of full scale, below which a window is silence and says nothing

SENTENCES = {
    "alice": (
        "en-gb",
        150,
        "The kettle is on, the lamps are lit, and the parlour door is open. Who comes in tonight?",
    ),
    "bob": ("en-us", 175, "Seven boats went out before dawn; five returned by noon, heavy with silver fish and songs."),
    "carol": (
        "en-gb-scotland",
        140,
        "Every clock in this house disagrees, so we dine whenever the dog is hungry.",
    ),
    "dave": ("en-us", 120, "A letter without a stamp travels slowly, but a rumour needs neither stamp nor horse."),
}

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Speech:
    """Somebody's sentence: the file for the browser, and its samples at the rate of comparison."""

    name: str
    path: Path
    samples: Samples


@cache
def speech(name: str) -> Speech:
    """The sentence of ``name`` as a 48 kHz WAV file, made by espeak-ng."""
    path = CACHE / f"speech-{name}.wav"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        voice, speed, text = SENTENCES[name]
        raw = path.with_suffix(".raw.wav")
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", str(raw), text], check=True)
        samples, rate = read_wave(raw)
        raw.unlink()
        part = path.with_suffix(".part")
        write_wave(part, resampled(samples, rate, RATE), RATE)
        part.replace(path)
    samples, rate = read_wave(path)
    return Speech(name, path, resampled(samples, rate, COMPARED_RATE))


def read_wave(path: Path) -> tuple[Samples, int]:
    """The samples of a mono WAV file as floats within -1 … 1, and its rate."""
    with wave.open(str(path)) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return data.astype(np.float32) / 32768, file.getframerate()


def write_wave(path: Path, samples: Samples, rate: int) -> None:
    """Write floats within -1 … 1 as a mono 16-bit WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def resampled(samples: Samples, rate: int, to: int) -> Samples:
    """The same sound at another sample rate."""
    common = math.gcd(rate, to)
    return np.asarray(resample_poly(samples, to // common, rate // common), np.float32)


def _best_match(window: Samples, source: Samples) -> float:
    """The greatest normalised cross-correlation of a window with any stretch of the source of the same length."""
    size = len(window)
    window = window - window.mean()
    length = 1 << (len(source) + size).bit_length()
    spectrum = np.fft.rfft(source, length) * np.conj(np.fft.rfft(window, length))
    correlation = np.fft.irfft(spectrum, length)[: len(source) - size]
    total = np.concatenate(([0.0], np.cumsum(source.astype(np.float64))))
    square = np.concatenate(([0.0], np.cumsum(source.astype(np.float64) ** 2)))
    sums, squares = total[size:] - total[:-size], square[size:] - square[:-size]
    energy = np.maximum(squares - sums**2 / size, 0)[: len(correlation)]
    quiet = energy < size * HEARD**2 / 4
    scale = np.sqrt(energy * float(np.sum(window.astype(np.float64) ** 2)))
    return float(np.max(np.where(quiet, 0, np.abs(correlation) / np.maximum(scale, 1e-9))))


def correlation(received: Samples, rate: int, sent: Speech) -> float:
    """How much what was received is the speech sent: the median over the windows that can be heard; 0 for silence.

    The browser's microphone repeats its file, so the sentence is taken as a circle.
    """
    heard = resampled(received, rate, COMPARED_RATE)
    size = int(WINDOW * COMPARED_RATE)
    source = np.concatenate((sent.samples, sent.samples[: 2 * size]))
    windows = [heard[at : at + size] for at in range(0, len(heard) - size + 1, size)]
    audible = [window for window in windows if float(np.sqrt(np.mean(window**2))) >= HEARD]
    return float(np.median([_best_match(window, source) for window in audible])) if audible else 0.0


def loudness(samples: Samples) -> float:
    """Root mean square, of full scale."""
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) if len(samples) else 0.0
