"""What publishers send: bursts of a fixed shape, and those that were recorded from a browser."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources

from parlour._media import LoadPattern
from parlour.protocol.words import Kind

FRAME = 33_333
"""Microseconds of a picture at 30 a second."""
VIDEO_PACKETS = 8
VIDEO_BYTES = 1_100
AUDIO_FRAME = 20_000
AUDIO_BYTES = 100
"""An RTP packet of Opus at 32 kbit/s: 80 bytes and its header."""

Frames = list[tuple[int, bool, list[tuple[int, int]]]]
"""When each frame begins, whether it is a keyframe, and of each packet how much later it goes and its bytes."""


@dataclass(frozen=True)
class Pattern:
    """A shape by name. ``frames`` repeat every ``period`` microseconds."""

    name: str
    kind: Kind
    period: int
    frames: Frames

    def compiled(self) -> LoadPattern:
        """As the generator takes it."""
        return LoadPattern(self.period, self.frames)

    @property
    def packets_per_second(self) -> float:
        """Packets a second of one publisher."""
        return sum(len(packets) for _, _, packets in self.frames) / self.period * 1e6

    @property
    def bytes_per_packet(self) -> float:
        """The mean size of a packet, RTP header included."""
        sizes = [size for _, _, packets in self.frames for _, size in packets]
        return sum(sizes) / len(sizes)


BURSTS = Pattern("bursts", "video", FRAME, [(0, False, [(0, VIDEO_BYTES)] * VIDEO_PACKETS)])
"""Every frame at once."""

SPREAD = Pattern("spread", "video", FRAME, [(0, False, [(1_000 * n, VIDEO_BYTES) for n in range(VIDEO_PACKETS)])])
"""The same packets a millisecond apart: nothing to send in runs."""

SPEECH = Pattern("speech", "audio", AUDIO_FRAME, [(0, False, [(0, AUDIO_BYTES)])])
"""Opus with 20 ms a packet."""


def recorded() -> Pattern:
    """What Chromium's VP8 sent, frame by frame (``bench/record_bursts.py`` recorded it)."""
    text = resources.files(__package__).joinpath("bursts.json").read_text(encoding="utf-8")
    found = json.loads(text)
    frames: Frames = [
        (at, keyframe, [(offset, size) for offset, size in packets]) for at, keyframe, packets in found["frames"]
    ]
    return Pattern("recorded", "video", found["period"], frames)


@dataclass(frozen=True)
class Track:
    """One track of a publisher. ``phase``: microseconds after the start at which it begins."""

    pattern: Pattern
    phase: int = 0

    @property
    def kind(self) -> Kind:
        """Audio or video."""
        return self.pattern.kind
