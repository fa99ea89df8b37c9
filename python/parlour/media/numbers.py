"""The figures of the media core to watch, typed: rows that come once a second, bounded by transports and tracks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from parlour.media.counters import SocketCounters, TcpCounters


class LatencyCounts(Struct, frozen=True):
    """Forwarded packets by how long they were here: those between two bounds, the last beyond all of them."""

    counts: list[int]
    sum_us: int


class ShardNumbers(Struct, frozen=True):
    """One shard."""

    shard: int
    socket: SocketCounters
    tcp: TcpCounters | None
    """None: media does not come over TCP."""
    latency: LatencyCounts
    handshakes_waiting: int
    transports: int
    producers: int
    consumers: int
    drops: dict[str, int]


class Shards(Struct, frozen=True):
    """All shards. ``latency_bounds_us`` are the upper bounds of their histograms."""

    events_waiting: int
    latency_bounds_us: list[int]
    shards: list[ShardNumbers]


class TransportNumbers(Struct, array_like=True, frozen=True):
    """One transport. Rates are bits a second, times milliseconds; None: not known, or nothing is sent to it."""

    id: int
    shard: int
    state: Literal["new", "checking", "handshaking", "connected"]
    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int
    rtt_ms: float | None
    policed: int
    estimate: int | None
    acknowledged: int | None
    feedback_rtt_ms: float | None
    """With what the peer waits before it tells."""
    loss: float | None
    queue_ms: float | None
    drops: dict[str, int]


class Given(Struct, array_like=True, frozen=True):
    """What the subscribers of a track got together, since somebody first asked."""

    packets: int
    bytes: int
    nacked: int
    retransmitted: int
    keyframe_requests: int
    frames: int
    freezes: int
    frozen_ms: int


class Standing(Struct, array_like=True, frozen=True):
    """How the subscribers of a track stand now; loss (0 to 1), jitter and round trip are those of the worst one."""

    receiving: int
    thinned: int
    """Those of them that do not get all the temporal layers that they want."""
    paused: int
    starved: int
    """Their path carries nothing of it."""
    fraction_lost: float
    jitter_ms: float
    rtt_ms: float | None
    why: dict[str, int]
    """How many do not get what they want, by the reason."""


class ProducerNumbers(Struct, array_like=True, frozen=True):
    """One encoding of an incoming track, and what became of it."""

    id: int
    transport: int
    kind: Literal["audio", "video"]
    rid: str
    packets: int
    bytes: int
    lost: int
    share_lost: float
    jitter_ms: float
    repaired: int
    nacks_sent: int
    keyframe_requests: int
    keyframes: int
    frames: int
    freezes: int
    frozen_ms: int
    consumers: int
    given: Given
    standing: Standing


class MediaNumbers(Struct, frozen=True):
    """All of it at about one moment."""

    shards: Shards
    transports: list[TransportNumbers]
    producers: list[ProducerNumbers]


shards_of = msgspec.json.Decoder(Shards).decode
transports_of = msgspec.json.Decoder(list[TransportNumbers]).decode
producers_of = msgspec.json.Decoder(list[ProducerNumbers]).decode


async def numbers_of(shards: bytes, transports: Sequence[bytes], producers: Sequence[bytes]) -> MediaNumbers:
    """All of them, as the engine gives them, in pieces: what else there is to do goes on between them."""
    read_transports: list[TransportNumbers] = []
    read_producers: list[ProducerNumbers] = []
    for text in transports:
        read_transports += transports_of(text)
        await asyncio.sleep(0)
    for text in producers:
        read_producers += producers_of(text)
        await asyncio.sleep(0)
    return MediaNumbers(shards_of(shards), read_transports, read_producers)
