"""The check of received pictures is itself checked: it knows the film, and refuses what is not the film."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from PIL import Image

from tests.browser.films import SAME_FILM, Film, Picture, film, similarity, which_film

BUNNY = "bigbuckbunny"


def _through(codec: str, of: Film, bit_rate: int) -> list[Picture]:
    """The film's first pictures after a lossy video codec."""
    stream_file = io.BytesIO()
    with av.open(stream_file, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=of.rate, options={"deadline": "realtime", "cpu-used": "-6"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = of.width, of.height, "yuv420p", bit_rate
        for number, planes in enumerate(of.planes()[:41]):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    stream_file.seek(0)
    with av.open(stream_file) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize(("codec", "bit_rate"), [("libvpx", 500_000), ("libvpx", 100_000), ("libx264", 500_000)])
def test_the_film_is_known_after_a_lossy_codec(codec: str, bit_rate: int) -> None:
    bunny = film(BUNNY)
    received = _through(codec, bunny, bit_rate)[10::20]
    figures = [similarity(picture, bunny) for picture in received]
    assert min(figures) >= SAME_FILM, figures


@pytest.mark.parametrize("other", ["bikes", "carphone_pristine"])
def test_another_film_is_refused(other: str) -> None:
    figures = [similarity(picture, film(BUNNY)) for picture in film(other).frames[::12]]
    assert max(figures) < SAME_FILM - 0.1, figures


def test_the_mirrored_film_and_the_film_upside_down_are_refused() -> None:
    bunny = film(BUNNY)
    for turned in (bunny.frames[::12, :, ::-1], bunny.frames[::12, ::-1]):
        figures = [similarity(np.ascontiguousarray(picture), bunny) for picture in turned]
        assert max(figures) < SAME_FILM - 0.1, figures


def test_a_test_pattern_noise_and_one_colour_are_refused() -> None:
    bunny = film(BUNNY)
    bars = np.repeat(np.array([[255, 255, 0], [0, 255, 255], [0, 255, 0], [255, 0, 255]], np.uint8)[None], 180, 0)
    pattern = np.asarray(Image.fromarray(bars).resize((320, 180), Image.Resampling.NEAREST))
    noise = np.random.default_rng(7).integers(0, 256, (180, 320, 3), np.uint8)
    black = np.zeros((180, 320, 3), np.uint8)
    green = np.full((180, 320, 3), (0, 135, 0), np.uint8)
    figures = [similarity(picture, bunny) for picture in (pattern, noise, black, green)]
    assert max(figures) < SAME_FILM - 0.1, figures


def test_the_film_without_its_colours_or_with_wrong_ones_is_refused() -> None:
    bunny = film(BUNNY)
    for picture in bunny.frames[::20]:
        swapped = np.ascontiguousarray(picture[:, :, ::-1])
        grey = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
        assert max(similarity(swapped, bunny), similarity(grey, bunny)) < SAME_FILM - 0.1


def test_each_film_is_told_from_the_others() -> None:
    films = [film(name, 320, 180) for name in (BUNNY, "bikes", "carphone_pristine")]
    films.append(films[0].mirrored())
    for one in films:
        assert {which_film(picture, films) for picture in one.frames[::20]} == {one.name}
    assert which_film(np.zeros((180, 320, 3), np.uint8), films) is None
