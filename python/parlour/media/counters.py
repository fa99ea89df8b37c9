"""The counters of the media core, typed. They are read as a whole, about once a second at most."""

from typing import Literal, TypedDict

import msgspec


class SocketCounters(TypedDict):
    """One shard's UDP socket. Messages are fewer than datagrams where the kernel coalesces (GRO) or segments (GSO)."""

    datagrams_in: int
    bytes_in: int
    messages_in: int
    receive_calls: int
    clamped_times: int
    """Times of arrival that a jump of the wall clock made useless: when the packet was read stands for them."""
    datagrams_out: int
    bytes_out: int
    messages_out: int
    send_calls: int
    gso: bool
    split_runs: int
    """Runs of datagrams that a path refused, sent again one by one."""
    panics: int
    """Faults of ours that were caught in the shard's thread."""
    drops: dict[str, int]
    """Datagrams lost at the socket, by reason; only what happened is listed."""


class TcpCounters(TypedDict):
    """Connections by which media comes to one shard (ICE-TCP)."""

    open: int
    strangers: int
    """Those of them by which no genuine check came yet."""
    accepted: int
    frames_in: int
    bytes_in: int
    frames_out: int
    bytes_out: int
    waiting: int
    """Bytes that peers did not take yet."""
    ended: dict[str, int]
    """Connections that ended or were refused, by reason; only what happened is listed."""
    drops: dict[str, int]
    """Frames and datagrams that were dropped at the connections, by reason."""


class BandwidthCounters(TypedDict):
    """What is known of the path to a subscriber, from its feedback."""

    estimate: int
    """Bits a second that may be sent."""
    acknowledged: int | None
    """Bits a second that arrived of late; None without transport-wide feedback."""
    rtt_ms: float | None
    """The round trip, with what the peer waits before it tells."""
    loss: float
    """Share lost of late, 0 to 1."""
    queue_ms: float
    """How long packets stand in a queue on the way."""


class TransportCounters(TypedDict):
    """One transport. ``state`` is ``new``, ``checking``, ``handshaking`` or ``connected``."""

    id: int
    state: str
    path: str | None
    """The peer's address in use: where media goes."""
    protocol: Literal["udp", "tcp"] | None
    """What carries it there."""
    proof: str | None
    """How the peer proved to be there: ``answer`` (to a check of ours), ``handshake`` or, weaker, ``media``."""
    srtp_profile: str | None
    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int
    rtt_ms: float | None
    policed: int
    """Packets dropped because the peer sent more than it may."""
    bandwidth: BandwidthCounters | None
    """None while nothing was forwarded to it."""


class ProducerCounters(TypedDict):
    """One incoming track. ``lost`` and ``jitter`` (timestamp units) as in RFC 3550 A.3 and A.8."""

    id: int
    transport: int
    rid: str
    """Which of several encodings of an m-line it is; empty: it is the only one."""
    ssrc: int | None
    packets: int
    bytes: int
    lost: int
    jitter: int
    repaired: int
    repeated: int
    """Packets that were asked for and came again more than once."""
    nacks_sent: int
    keyframe_requests: int
    keyframes: int
    frames: int
    freezes: int
    frozen_ms: int
    consumers: int


class ConsumerCounters(TypedDict):
    """One forwarded track. ``fraction_lost`` (0 to 1) and ``jitter`` are what the subscriber reports."""

    id: int
    transport: int
    producer: int
    """The one it forwards now."""
    source: int
    """The place of that one among its producers."""
    wanted_source: int
    temporal: int
    """The highest temporal layer it gets; 7: all."""
    wanted_temporal: int
    paused: bool
    packets: int
    bytes: int
    nacked: int
    retransmitted: int
    keyframe_requests: int
    frames: int
    freezes: int
    frozen_ms: int
    fraction_lost: float
    jitter: int
    rtt_ms: float | None
    why: str | None
    """Why it does not get what is wanted: ``missing``, ``bandwidth``, ``awaiting-keyframe`` or ``awaiting-layer``."""


class PathCounters(TypedDict):
    """Our own ICE checks, and by which proof paths came into use."""

    checks_sent: int
    checks_answered: int
    by_answer: int
    by_handshake: int
    by_media: int
    restarts: int
    """ICE restarts that were begun."""
    silences: int
    """Times that a path in use left three of our checks unanswered."""


class HandshakeCounters(TypedDict):
    """Datagrams of DTLS handshakes: those worked on, and those that wait: a turn of a shard does only a few."""

    worked: int
    waiting: int


class RouterCounters(TypedDict):
    """One shard's router: authenticated datagrams in, datagrams out, and what was dropped by reason."""

    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int
    paths: PathCounters
    handshakes: HandshakeCounters
    drops: dict[str, int]
    transports: list[TransportCounters]
    producers: list[ProducerCounters]
    consumers: list[ConsumerCounters]


class ShardCounters(TypedDict):
    """One shard."""

    shard: int
    port: int
    socket: SocketCounters
    tcp: TcpCounters | None
    """None: media does not come over TCP."""
    router: RouterCounters


class MediaCounters(TypedDict):
    """All shards at about one moment."""

    events_waiting: int
    """Events that nobody has fetched yet, none of which is lost; thousands: the event loop stood still for long."""
    shards: list[ShardCounters]


_decoder = msgspec.json.Decoder(MediaCounters)


def decode(text: bytes) -> MediaCounters:
    """Read what ``MediaEngine.snapshot`` returns. Raises ``msgspec.ValidationError`` when core and types disagree."""
    return _decoder.decode(text)
