"""Encoders and decoders for the frames of a call, on PyAV (the extra ``demo``), which is imported when first used."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from parlour.client.peer_connection import EncodedFrame
from parlour.protocol.words import Codec

if TYPE_CHECKING:
    import av
    import numpy as np
    from numpy.typing import NDArray

VIDEO_CLOCK = 90_000
"""Ticks a second of video timestamps (RFC 7741 §4.1, RFC 6184 §5.1)."""
AUDIO_CLOCK = 48_000
"""Ticks a second of Opus timestamps (RFC 7587 §4.1)."""
PACKET_SAMPLES = 960
"""Samples of one Opus packet: 20 ms."""

_ENCODERS = {"vp8": "libvpx", "h264": "libx264"}
_OPTIONS = {
    "vp8": {"deadline": "realtime", "cpu-used": "8", "error-resilient": "1", "lag-in-frames": "0"},
    "h264": {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"},
}


class CodecsMissingError(RuntimeError):
    """PyAV, or a codec in it, is not there; the text says what to do."""


def missing_codecs(video: Literal["vp8", "h264"] = "vp8") -> str | None:
    """A sentence about what is missing for encoding and drawing, or None when all is there."""
    try:
        import av
        import numpy as np  # noqa: F401
        import PIL  # noqa: F401
    except ImportError as error:
        return f"{error.name} is not installed: pip install av numpy pillow"
    missing = [name for name in (_ENCODERS[video], "libopus") if name not in av.codecs_available]
    if missing:
        return f"this PyAV ({av.__version__}) was built without {' and '.join(missing)}: install one from PyPI's wheels"
    return None


def _require(video: Literal["vp8", "h264"] = "vp8") -> None:
    problem = missing_codecs(video)
    if problem is not None:
        raise CodecsMissingError(problem)


class VideoEncoder:
    """Encodes pictures for a call: no delay, no frame that waits for another."""

    def __init__(
        self, width: int, height: int, *, fps: int, bitrate: int, codec: Literal["vp8", "h264"] = "vp8"
    ) -> None:
        _require(codec)
        import av

        self.codec = codec
        context: av.VideoCodecContext = av.CodecContext.create(_ENCODERS[codec], "w")  # type: ignore[assignment]
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = Fraction(1, VIDEO_CLOCK)
        context.framerate = Fraction(fps)
        context.bit_rate = bitrate
        context.gop_size = 3600  # keyframes come when they are asked for
        context.thread_count = 1
        context.options = {**_OPTIONS[codec], "maxrate": str(bitrate), "bufsize": str(bitrate // 2)}
        self._context = context
        self._next_keyframe = True

    def request_keyframe(self) -> None:
        """Make the next picture a keyframe. From any thread."""
        self._next_keyframe = True

    def encode(self, planes: NDArray[np.uint8], timestamp: int) -> bytes:
        """One picture, as the I420 planes in one array of 1.5 height rows. Returns the encoded frame.

        Empty when the encoder dropped the picture to keep its rate.
        """
        import av

        picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        picture.pts, picture.time_base = timestamp, Fraction(1, VIDEO_CLOCK)
        if self._next_keyframe:
            self._next_keyframe = False
            picture.pict_type = av.video.frame.PictureType.I
        return b"".join(bytes(packet) for packet in self._context.encode(picture))


def level_of(samples: NDArray[np.int16]) -> int:
    """How loud sound is, in decibels below the loudest there is: 0 to 127, which is silence (RFC 6464 §3)."""
    import numpy as np

    power = float(np.mean(np.square(samples, dtype=np.float64))) if samples.size else 0.0
    return 127 if power == 0 else min(127, max(0, round(-10 * math.log10(power / 32768**2))))


class AudioEncoder:
    """Encodes sound at 48 kHz, mono, as Opus packets of 20 ms."""

    def __init__(self, *, bitrate: int = 32_000) -> None:
        _require()
        import av

        context = av.CodecContext.create("libopus", "w")
        context.sample_rate, context.layout, context.format = AUDIO_CLOCK, "mono", "s16"
        context.bit_rate = bitrate
        context.options = {"application": "audio", "frame_duration": "20"}
        self._context = context
        self._samples = 0

    def encode(self, samples: NDArray[np.int16]) -> bytes:
        """The Opus packet of 960 samples."""
        import av

        sound = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        sound.sample_rate, sound.pts = AUDIO_CLOCK, self._samples
        self._samples += samples.size
        return b"".join(bytes(packet) for packet in self._context.encode(sound))


class Decoder:
    """Decodes the frames of one track."""

    def __init__(self, codec: Codec) -> None:
        _require()
        import av

        self._context: Any = av.CodecContext.create({"opus": "libopus"}.get(codec, codec), "r")
        self._context.thread_count = 1

    def pictures(self, frame: EncodedFrame) -> list[NDArray[np.uint8]]:
        """The pictures in an encoded frame, as I420 planes in one array of 1.5 height rows.

        Raises av.error.InvalidDataError when it cannot be decoded: ask for a keyframe then.
        """
        return [picture.to_ndarray(format="yuv420p") for picture in self._decode(frame)]

    def sound(self, frame: EncodedFrame) -> NDArray[np.float32]:
        """The samples of an Opus packet, 48 kHz, one row a channel, between -1 and 1."""
        import numpy as np

        parts = []
        for part in self._decode(frame):
            samples = part.to_ndarray()
            if not part.format.is_planar:
                samples = samples.reshape(-1, len(part.layout.channels)).T
            if samples.dtype == np.int16:
                samples = samples.astype(np.float32) / 32768
            parts.append(samples)
        return np.concatenate(parts, axis=1) if parts else np.zeros((1, 0), np.float32)

    def _decode(self, frame: EncodedFrame) -> list[Any]:
        import av

        return list(self._context.decode(av.Packet(frame.data)))
