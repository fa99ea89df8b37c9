"""The robot's picture and sound: a test card with a running clock, and a note each second."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import ImageFont

# What a person reads stays within the middle 4:3, as pages crop pictures to their tiles.
WIDTH, HEIGHT, FPS = 640, 360, 15
NUMBER_BITS, NUMBER_CELL = 24, 16
"""The number of the picture, as black and white squares along the bottom edge, most significant first."""

# 75 % bars in BT.601 luma and chroma, studio range, from white to blue.
_BARS = [
    (180, 128, 128),
    (162, 44, 142),
    (131, 156, 44),
    (112, 72, 58),
    (84, 184, 198),
    (65, 100, 212),
    (35, 212, 114),
]
_WHITE, _BLACK, _PANEL = 225, 16, 24
# A pentatonic walk: any two notes of it sound well together.
_NOTES = [392.0, 440.0, 523.25, 587.33, 659.25, 587.33, 523.25, 440.0]
NOTE_SECONDS = 0.25


class TestCard:
    """Draws pictures of 640x360: I420 planes in one array of 540 rows, drawn over each time."""

    __test__ = False  # pytest takes the name for a test

    def __init__(self, title: str = "Parlour robot") -> None:
        from PIL import ImageFont

        self._planes = np.zeros((HEIGHT * 3 // 2, WIDTH), np.uint8)
        self._draw_background(title, ImageFont.load_default(22))
        self._still = self._planes.copy()
        big = ImageFont.load_default(64)
        self._glyphs = {char: _text(char, big, width=40) for char in "0123456789"}
        self._glyphs |= {char: _text(char, big, width=20) for char in ":."}
        rows, columns = np.mgrid[-48:48, -48:48]
        self._turn = (np.arctan2(columns, -rows) / (2 * math.pi)) % 1.0
        self._disc = rows**2 + columns**2 < 44**2

    def draw(self, number: int, wall: float) -> NDArray[np.uint8]:
        """The picture with that number, at that Unix time. Valid until the next call."""
        planes, luma = self._planes, self._planes[:HEIGHT]
        planes[:] = self._still
        local = time.localtime(wall)
        clock = f"{local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}.{int(wall % 1 * 10)}"
        left = 96
        for char in clock:
            glyph = self._glyphs[char]
            np.maximum(
                luma[130:210, left : left + glyph.shape[1]], glyph, out=luma[130:210, left : left + glyph.shape[1]]
            )
            left += glyph.shape[1]
        hand = luma[122:218, 456:552]
        hand[self._disc & (self._turn <= wall % 1)] = _WHITE
        across = (WIDTH - 48) * (0.5 - 0.5 * math.cos(wall * math.pi / 2))
        left = int(across) // 2 * 2
        luma[258:306, left : left + 48] = 145
        self._chroma(0)[129:153, left // 2 : left // 2 + 24] = 54
        self._chroma(1)[129:153, left // 2 : left // 2 + 24] = 190
        for bit in range(NUMBER_BITS):
            one = number >> (NUMBER_BITS - 1 - bit) & 1
            luma[HEIGHT - NUMBER_CELL :, bit * NUMBER_CELL : (bit + 1) * NUMBER_CELL] = _WHITE if one else _BLACK
        return planes

    def _chroma(self, plane: int) -> NDArray[np.uint8]:
        quarter = HEIGHT // 4
        start = HEIGHT + plane * quarter
        return self._planes[start : start + quarter].reshape(HEIGHT // 2, WIDTH // 2)

    def _draw_background(self, title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> None:
        luma = self._planes[:HEIGHT]
        for column in range(WIDTH):
            values = _BARS[min(column * len(_BARS) // WIDTH, len(_BARS) - 1)]
            luma[:, column] = values[0]
            for plane in (0, 1):
                self._chroma(plane)[:, column // 2] = values[1 + plane]
        luma[110:230] = _PANEL
        luma[HEIGHT - 2 * NUMBER_CELL :] = _BLACK
        luma[HEIGHT - 2 * NUMBER_CELL : HEIGHT - NUMBER_CELL] = np.linspace(_BLACK, 235, WIDTH, dtype=np.uint8)
        for plane in (0, 1):
            self._chroma(plane)[55:115] = 128
            self._chroma(plane)[(HEIGHT - 2 * NUMBER_CELL) // 2 :] = 128
        label = _text(title, font, width=8 * ((len(title) * 12 + 24) // 8), height=36)
        luma[28:64, 96 : 96 + label.shape[1]] = np.maximum(label, _PANEL)
        for plane in (0, 1):
            self._chroma(plane)[14:32, 48 : 48 + label.shape[1] // 2] = 128


def _text(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, *, width: int, height: int = 80
) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    image = Image.new("L", (width, height), 0)
    ImageDraw.Draw(image).text((width / 2, height / 2), text, fill=_WHITE, font=font, anchor="mm")
    return np.asarray(image)


def read_number(planes: NDArray[np.uint8]) -> int:
    """The number of a (decoded) picture."""
    number = 0
    for bit in range(NUMBER_BITS):
        cell = planes[HEIGHT - NUMBER_CELL + 4 : HEIGHT - 4, bit * NUMBER_CELL + 4 : (bit + 1) * NUMBER_CELL - 4]
        number = number << 1 | int(cell.mean() > (_WHITE + _BLACK) / 2)
    return number


def note_of(second: int) -> float:
    """The pitch, in Hz, of the note that begins with that Unix second."""
    return _NOTES[second % len(_NOTES)]


def melody(start: float, count: int, rate: int) -> NDArray[np.int16]:
    """``count`` samples of the robot's sound from the Unix time ``start`` on: one soft note a second."""
    at = start + np.arange(count) / rate
    second = np.floor(at)
    since = at - second
    pitch = np.array([note_of(int(s)) for s in np.unique(second)])[np.unique(second, return_inverse=True)[1]]
    envelope = np.minimum(since / 0.01, 1) * np.clip((NOTE_SECONDS - since) / (NOTE_SECONDS - 0.03), 0, 1) ** 2
    wave = np.sin(2 * np.pi * pitch * since) + 0.25 * np.sin(4 * np.pi * pitch * since)
    return np.asarray(wave * envelope * 6000, np.int16)
