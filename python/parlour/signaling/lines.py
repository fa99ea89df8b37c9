"""The m-lines of one client's downlink: what each carries, and as what it was offered."""

from __future__ import annotations

from dataclasses import dataclass

from parlour.protocol.messages import DownlinkOffer
from parlour.protocol.words import Kind, StreamType
from parlour.sdp import DownlinkLine

TrackKey = tuple[str, StreamType, Kind]
"""A remote track: whose, of which stream, audio or video."""


@dataclass(slots=True, eq=False)
class Line:
    """One m-line. ``key`` is None while it is free; ``producers`` are what ``offered`` was made for.

    ``source`` is the place of the one among them that is forwarded; ``paused``: none of them is.
    """

    offered: DownlinkLine
    key: TrackKey | None = None
    producers: tuple[int, ...] = ()
    consumer: int | None = None
    source: int = 0
    paused: bool = False


@dataclass(frozen=True, slots=True)
class PendingOffer:
    """An offer without answer: its message, and the lines as they were then."""

    message: DownlinkOffer
    lines: tuple[DownlinkLine, ...]
