"""What a downlink is made of: remote tracks, the m-lines that carry them, and an offer without answer."""

from __future__ import annotations

from dataclasses import dataclass

from parlour.protocol.messages import DownlinkOffer
from parlour.protocol.words import Kind, StreamType
from parlour.sdp import DownlinkLine, TrackSpec

TrackKey = tuple[str, StreamType, Kind]
"""A remote track: whose, of which stream, audio or video."""


@dataclass(frozen=True, slots=True)
class RemoteTrack:
    """A track that could be received. ``producers`` are its encodings, the biggest first.

    There are none while its publisher's uplink is down.
    """

    track: TrackSpec
    producers: tuple[int, ...]
    stream_id: str
    cname: str


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
    renamed: bool
    """Whether it has new ICE credentials for the connection that there is."""
