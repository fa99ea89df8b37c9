"""What the media core is given and gives: handles, limits, and what it tells of its peers."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from parlour.sdp.model import LocalTransport

# RFC 8445 §5.3 asks for 24 and 128 random bits; the fragment also keeps strangers from finding a transport.
_ICE_CHARS = string.ascii_letters + string.digits
_UFRAG_LENGTH = 12
_PWD_LENGTH = 24

CONNECTION_ENDS = {
    "made-room": "connections for media over TCP were closed to make room for others",
    "source-full": "connections for media over TCP were refused: their source has as many as it may",
    "full": "connections for media over TCP were refused: there are as many as there may be",
    "no-descriptor": "connections for media over TCP wait: the system has no descriptor left for them",
    "stuck": "connections for media over TCP were closed: their peers did not take what they were sent",
    "no-check": "connections for media over TCP were closed: nobody said in time whose they are",
    "not-a-check": "connections for media over TCP were closed: the first that came by them was no check",
    "frame-too-long": "connections for media over TCP were closed: a frame was longer than any check",
    "too-many-checks": "connections for media over TCP were closed: none of many checks was genuine",
}
"""What the log says of connections that ended, by the shard's reason; of one reason once in ten seconds."""


class MediaFullError(Exception):
    """A shard has as many transports as it may, or every shard has as much to do as it can."""


@dataclass(frozen=True, slots=True)
class Policed:
    """A peer sent more than it may: packets that were dropped since the last time, and its limit."""

    packets: int
    bits_per_second: int


@dataclass(frozen=True, slots=True)
class SourceSent:
    """A subscriber gets something else of a picture than is wanted, or what is wanted again. Rates in bits a second."""

    consumer: int
    source: int | None
    """The place of the source that it gets; None: nothing of it is sent."""
    why: Literal["missing", "bandwidth"] | None
    """Why that is not what is wanted: it is not sent, or the path does not carry it, or not all of its frames."""
    needed: int
    """What the one that is wanted needs; 0 while it is not sent."""
    available: int
    """What there was for pictures."""


@dataclass(frozen=True, slots=True)
class Level:
    """How loud a watched producer is, as its packets tell (RFC 6464)."""

    producer: int
    volume: int
    """0 (silence) to 100, linear in decibels; a voice begins at about 10."""
    speaks: bool
    """Whether somebody speaks, or did a moment ago. What stays as loud as it was is no speech."""
    spoken: float
    """Seconds for which somebody spoke since the track began."""


@dataclass(frozen=True, slots=True)
class TcpLimits:
    """How many connections for media (ICE-TCP) one shard takes.

    In total, of one source (an IPv4 address or the first 64 bits of an IPv6 one), and of one source before a genuine
    check came by them. Each is at least 1.
    """

    connections: int = 4_000
    per_source: int = 1_000
    strangers_per_source: int = 100

    def arguments(self) -> dict[str, int]:
        """As the engine takes them."""
        return {
            "tcp_connections": self.connections,
            "tcp_connections_per_source": self.per_source,
            "tcp_strangers_per_source": self.strangers_per_source,
        }


@dataclass(frozen=True, slots=True)
class TransportHandle:
    """A transport and our end of it, as a description tells the peer."""

    id: int
    local: LocalTransport


@dataclass(slots=True)
class Watched:
    """A transport that somebody has: where it is, and whom to call for what happens to it."""

    shard: int
    on_connected: Callable[[str], None] | None
    on_closed: Callable[[str], None] | None
    on_producer_started: Callable[[int], None] | None
    on_policed: Callable[[Policed], None] | None
    on_source: Callable[[SourceSent], None] | None
    on_level: Callable[[Level], None] | None
    on_silent: Callable[[], None] | None
    next_ssrc: int = field(default_factory=lambda: secrets.randbits(32))


def ice_credentials() -> tuple[str, str]:
    """A fresh user fragment and password."""
    return _ice_chars(_UFRAG_LENGTH), _ice_chars(_PWD_LENGTH)


def _ice_chars(length: int) -> str:
    return "".join(secrets.choice(_ICE_CHARS) for _ in range(length))
