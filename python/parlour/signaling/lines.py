"""What a downlink is made of: remote tracks, the m-lines that carry them, and an offer without answer."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from parlour.protocol.messages import DownlinkOffer
from parlour.protocol.words import Kind, StreamType
from parlour.sdp import DownlinkLine, TrackSpec, downlink_format

PAYLOAD_TYPES = (*range(96, 128), *range(35, 64))
"""The dynamic ones (RFC 3551 §6) and, after them, those that rtcp-mux leaves free (RFC 5761 §4)."""

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


def lines_lacking(lines: Sequence[Line], missing: Sequence[TrackKey], kept: Container[TrackKey | None]) -> int:
    """How many m-lines would have to be made for these tracks: a free one carries a track of its kind."""
    more = 0
    for kind in ("audio", "video"):
        wanted = sum(1 for key in missing if key[2] == kind)
        free = sum(
            1 for line in lines if line.offered.kind == kind and not line.offered.rejected and line.key not in kept
        )
        more += max(0, wanted - free)
    return more


class PayloadTypes:
    """The payload types of a connection: two for a codec and format, the second for its RTX or, of sound, for that with
    copies (RFC 2198). There are fewer formats than pairs.
    """

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], tuple[int, int]] = {}

    def of(self, track: TrackSpec) -> tuple[int, int]:
        """Those of a track, the same each time."""
        key = (track.codec, downlink_format(track))
        if key not in self._given:
            used = 2 * len(self._given)
            self._given[key] = (PAYLOAD_TYPES[used], PAYLOAD_TYPES[used + 1])
        return self._given[key]

    def clear(self) -> None:
        """Forget them: another connection has its own."""
        self._given.clear()
