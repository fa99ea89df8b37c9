"""The Rust core as Python sees it. Commands go down and return at once; events come up in batches.

Ids of transports, producers and consumers are chosen by the caller and are unique in the process.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Literal, Self, TypedDict, final, type_check_only

from parlour.protocol.words import Codec, Kind

__all__ = ["ClientTransport", "LoadGenerator", "LoadPattern", "MediaEngine", "NullReflector", "interface_addresses"]

def interface_addresses() -> list[tuple[str, str, bool]]:
    """The IP addresses of every interface that is up, loopback included, without zones. Raises OSError."""

@type_check_only
class TransportConnected(TypedDict):
    """The DTLS handshake ended with the announced certificate; media may flow."""

    type: Literal["transport-connected"]
    transport: int
    srtp_profile: Literal["AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES128_CM_HMAC_SHA1_80"]

@type_check_only
class TransportClosed(TypedDict):
    """A transport is gone with all its producers and consumers. Commands that name it raise LookupError now."""

    type: Literal["transport-closed"]
    transport: int
    reason: str
    """A stable lower-case name, for instance ``consent-expired``."""

@type_check_only
class ProducerStarted(TypedDict):
    """The first media packet of an incoming track came."""

    type: Literal["producer-started"]
    transport: int
    object: int
    """Id of the producer."""

@type_check_only
class ProducerLevel(TypedDict):
    """How loud a watched track is. Comes while it can be heard, and once more when it cannot."""

    type: Literal["producer-level"]
    transport: int
    object: int
    """Id of the producer."""
    volume: int
    """0 to 100."""
    speaks: bool
    spoken: float
    """Seconds for which somebody spoke since the track began."""

@type_check_only
class IngressPoliced(TypedDict):
    """A transport sends more than it may. Comes again every 10 s while it does."""

    type: Literal["ingress-policed"]
    transport: int
    packets: int
    """Packets dropped since the last such event."""
    bits_per_second: int
    """What it may send."""

@type_check_only
class PathSilent(TypedDict):
    """A peer leaves three of our checks in a row unanswered on the path in use. Again when it answered meanwhile."""

    type: Literal["path-silent"]
    transport: int

@type_check_only
class ConsumerSource(TypedDict):
    """A subscriber gets something else of a picture than is wanted, or what is wanted again."""

    type: Literal["consumer-source"]
    transport: int
    object: int
    """Id of the consumer."""
    source: int | None
    """The place of the source that it gets; None: nothing of it is sent."""
    why: Literal["missing", "bandwidth"] | None
    """Why that is not the one that is wanted."""
    needed: int
    """Bits a second of the one that is wanted; 0 while it is not sent."""
    available: int
    """Bits a second that there were for pictures."""

@type_check_only
class ConnectionsEnded(TypedDict):
    """Connections for media were refused or closed for a reason that strangers can cause. Comes again every 10 s."""

    type: Literal["connections-ended"]
    transport: int
    """0: it concerns none."""
    reason: str
    """A stable lower-case name, for instance ``no-check``."""
    count: int
    """How many since the last such event."""

@type_check_only
class CommandRefused(TypedDict):
    """A command contradicted the core's state; nothing was changed."""

    type: Literal["command-refused"]
    transport: int
    """0: it named none that is known."""
    object: int
    """Id of the producer or consumer; 0: the transport itself."""
    reason: str
    """A stable lower-case name, for instance ``duplicate-ufrag``."""

@final
class MediaEngine:
    """The media shards: threads with one UDP port each. One per process is usual; several are allowed.

    Commands never block. They raise LookupError for an id that does not exist (any more), ValueError for one in use,
    BlockingIOError when a shard's ring is full or thousands of events wait (fetch them, and try again in a moment),
    RuntimeError after :meth:`close` and in a fork. Removing what is gone already does nothing.
    """

    fingerprint: Final[str]
    """SHA-256 of the DTLS certificate as SDP writes it: ``AB:CD:…`` (RFC 8122)."""
    ports: Final[list[int]]
    """The port of each shard, in shard order."""

    def __new__(
        cls,
        *,
        bind: str,
        port: int,
        shards: int = 1,
        max_transports: int = 10_000,
        ingress_bitrate: int = 20_000_000,
        ingress_burst: float = 0.5,
        adapts: bool = True,
        segments: bool = True,
        tcp_connections: int = 0,
        tcp_connections_per_source: int = 1_000,
        tcp_strangers_per_source: int = 100,
    ) -> Self:
        """Bind ``shards`` UDP ports from ``port`` up (0: any block that is free) and start the threads.

        A shard takes ``max_transports``, each of which may send ``ingress_bitrate`` bits per second, and as much as it
        saved in ``ingress_burst`` seconds beside. With ``adapts`` what goes to a peer is fitted into what its path
        carries. With ``segments`` the kernel cuts runs of datagrams (UDP_SEGMENT), where it can.

        With ``tcp_connections`` each shard also listens for TCP on the number of its port (RFC 6544), and takes so many
        connections, so many of one source, and so many of one source before a genuine check came by them.

        Raises OSError (with errno, and where in its ``filename``) when a port is taken or the address is not ours.
        """

    def event_fd(self) -> int:
        """A file descriptor that is readable while events wait. Owned by the engine, gone after :meth:`close`."""

    def drain_events(
        self,
    ) -> list[
        TransportConnected
        | TransportClosed
        | ProducerStarted
        | ProducerLevel
        | IngressPoliced
        | ConsumerSource
        | PathSilent
        | ConnectionsEnded
        | CommandRefused
    ]:
        """All waiting events; those of one shard in their order. None once closed. None is ever lost."""

    def drain_deaths(self) -> list[tuple[int, list[TransportClosed]]]:
        """The shards that died since this was asked last, with the closings of what was on each.

        Until :meth:`revive` what is meant for them raises BlockingIOError.
        """

    def revive(self, shard: int) -> None:
        """Start another shard in the place and on the port of one that died. Raises OSError."""

    def processor_times(self) -> list[float]:
        """Seconds for which each shard's thread has worked so far."""

    def add_transport(self, *, shard: int, transport: int, local_ufrag: str, local_pwd: str) -> None:
        """Make an ICE-lite transport that waits for its peer. OverflowError when the shard is full."""

    def set_remote(
        self, transport: int, *, remote_ufrag: str, remote_pwd: str, fingerprint: str, is_dtls_client: bool = False
    ) -> None:
        """Say who the peer is: its ICE user fragment and password, the SHA-256 fingerprint of its certificate.

        Its password is the key of our own checks: no address gets media before one was answered from there, or the
        DTLS handshake went through with it. Told again, fragment and password may differ and the certificate may not.
        """

    def restart_ice(self, transport: int, *, local_ufrag: str, local_pwd: str) -> None:
        """New credentials of ours for the same connection (RFC 8445 §9). The peer's come with ``set_remote``; until a
        path is proven under them all goes on under the old ones.
        """

    def remove_transport(self, transport: int) -> None:
        """Close it (DTLS close_notify is sent) with all its producers and consumers. ``transport-closed`` follows."""

    def add_producer(
        self,
        *,
        producer: int,
        transport: int,
        kind: Kind,
        codec: Codec,
        mid: str,
        rid: str,
        payload_type: int,
        red_payload_type: int | None,
        rtx_payload_type: int | None,
        ssrc: int | None,
        rtx_ssrc: int | None,
        mid_extension: int | None,
        rid_extension: int | None,
        repaired_rid_extension: int | None,
        twcc_extension: int | None,
        dependency_descriptor_extension: int | None,
        level_extension: int | None,
        nack: bool,
        pli: bool,
        remb: bool,
    ) -> None:
        """An incoming track. Packets find it by SSRC, else by the MID extension, else by payload type.

        ``rid``: one of several encodings of an m-line, each a producer of its own, which packets find by MID and RID.

        ``red_payload_type``: of sound with copies of what was before it (RFC 2198).

        ``level_extension``: the extension with the level of its sound (RFC 6464), by which speakers are known.

        ``remb``: its sender heeds estimates of the bit rate it may send: all that it goes by without
        ``twcc_extension``, and the most that it sends with it.
        """

    def remove_producer(self, producer: int) -> None:
        """Stop the incoming track, and every consumer that has no other source."""

    def watch_level(self, producer: int, every: float | None) -> None:
        """Tell how loud an incoming track is, every so many seconds at most and 0.05 at the least; None: no more."""

    def add_consumer(
        self,
        *,
        consumer: int,
        transport: int,
        producers: list[int],
        source: int,
        temporal: int | None,
        mid: str,
        payload_type: int,
        red_payload_type: int | None,
        rtx_payload_type: int | None,
        ssrc: int,
        rtx_ssrc: int | None,
        mid_extension: int | None,
        twcc_extension: int | None,
        dependency_descriptor_extension: int | None,
        pads: bool,
        rank: int,
        cname: str,
    ) -> None:
        """Forward a producer to a transport under an SSRC of its own; asks for a keyframe when video starts.

        ``producers`` may be up to three encodings of the same, from the biggest to the smallest, of which ``source``
        is wanted first, with the temporal layers up to ``temporal`` (None: all). While it is missing another comes. Of
        the pictures that share a path those with a lower ``rank`` (0 to 255) are served first.

        ``red_payload_type``: what it takes sound with copies under; it gets these while some of the sound is lost.

        ``twcc_extension``: the subscriber reports on transport-wide numbers, which its packets carry in this extension.
        """

    def remove_consumer(self, consumer: int) -> None:
        """Stop forwarding."""

    def set_consumer_source(self, consumer: int, source: int, temporal: int | None) -> None:
        """Which of its producers is wanted, and up to which temporal layer. It keeps what it has until a keyframe."""

    def set_consumer_paused(self, consumer: int, paused: bool) -> None:
        """Pause or go on; going on asks for a keyframe."""

    def snapshot(self, timeout: float = 1.0) -> bytes:
        """Counters of every shard, transport, producer and consumer as JSON. Blocks up to ``timeout`` seconds.

        Its form is :class:`parlour.media.MediaCounters`.

        Raises TimeoutError when a shard does not answer.
        """

    def numbers(self, timeout: float = 1.0) -> tuple[bytes, list[bytes], list[bytes]]:
        """Figures to watch as JSON: of the shards, and rows of transports and of producers, some hundred to a text.

        Their form is :mod:`parlour.media.numbers`. Blocks up to ``timeout`` seconds; raises TimeoutError when a shard
        does not answer. One caller at a time: what subscribers got is counted from one call to the next.
        """

    def close(self) -> None:
        """Do what was commanded, stop the threads and free the ports. Idempotent; in a fork it does nothing."""

@type_check_only
class ConnectedEvent(TypedDict):
    """ICE and DTLS are through: frames written from now on are sent."""

    type: Literal["connected"]

@type_check_only
class IceEvent(TypedDict):
    """The path to the other side changed its state. ``disconnected`` may pass; who waits for it decides how long."""

    type: Literal["ice"]
    state: Literal["checking", "connected", "disconnected"]

@type_check_only
class TrackEvent(TypedDict):
    """An offer gave an m-line to receive on, or changed whether anything is sent there."""

    type: Literal["track"]
    mid: str
    kind: Kind
    receiving: bool

@type_check_only
class FrameEvent(TypedDict):
    """One encoded frame that arrived whole."""

    type: Literal["frame"]
    mid: str
    kind: Kind
    codec: Codec
    timestamp: int
    """RTP media time in ticks of ``clock_rate``, unwrapped."""
    clock_rate: int
    keyframe: bool
    """A video frame that decodes without earlier ones."""
    contiguous: bool
    """False when packets before this frame are missing."""
    data: bytes
    """H264 in Annex B form."""

@type_check_only
class KeyframeRequestEvent(TypedDict):
    """The other side wants a keyframe on a track we send."""

    type: Literal["keyframe-request"]
    mid: str

@type_check_only
class ClosedEvent(TypedDict):
    """The peer connection is over; the last event. ``detail`` is a sentence when it failed."""

    type: Literal["closed"]
    reason: Literal["local", "remote", "failed"]
    detail: str

_ClientEvent = ConnectedEvent | IceEvent | TrackEvent | FrameEvent | KeyframeRequestEvent | ClosedEvent

@type_check_only
class ClientTransportStats(TypedDict):
    """Counters of one :class:`ClientTransport`."""

    datagrams_sent: int
    datagrams_unsent: int
    """Datagrams that a socket did not take."""
    datagrams_received: int
    frames_sent: int
    frames_unsent: int
    """Frames that were written while nobody was connected, or in a codec that was not agreed."""
    frames_received: int
    frames_dropped: int
    """Frames that arrived and were dropped because the events are not fetched."""

@final
class ClientTransport:
    """One peer connection of a client: UDP sockets and one thread. Frames go in and out whole."""

    addresses: Final[list[tuple[str, int]]]
    """The local addresses with the ports they got: the host candidates."""

    def __new__(cls, *, addresses: Sequence[str], codecs: Sequence[Codec]) -> Self:
        """Bind a UDP socket to each of ``addresses`` and start the thread. ``codecs`` in order of preference.

        Raises OSError when an address is not ours or cannot be a candidate (0.0.0.0), ValueError for a bad name.
        """

    def event_fd(self) -> int:
        """A file descriptor that is readable while events wait. Owned by the transport, gone after ``close``."""

    def drain_events(self) -> list[_ClientEvent]:
        """All waiting events, oldest first; none once closed."""

    def create_offer(self, add: Sequence[Kind], stop: Sequence[str] = ...) -> tuple[str, list[str]]:
        """The SDP offer to send tracks of kinds ``add`` beside what is sent, and no more on the mids ``stop``.

        Returns the SDP and the mids of the added tracks. Raises RuntimeError when nothing would change.
        """

    def create_ice_restart(self) -> str:
        """The SDP offer with new ICE credentials for the connection there is (RFC 8445 §9)."""

    def move_to(self, address: str) -> None:
        """Be at another local address from the next ICE restart on. RuntimeError when it cannot be bound."""

    def accept_answer(self, sdp: str) -> None:
        """Take the answer to the last offer. Raises RuntimeError with a sentence when it does not fit."""

    def accept_offer(self, sdp: str) -> str:
        """Answer an offer, as the DTLS client. Raises RuntimeError with a sentence when it cannot be accepted."""

    def write_frame(self, mid: str, *, codec: Codec, timestamp: int, data: bytes, level: int | None = None) -> bool:
        """Queue an encoded frame. ``timestamp`` in ticks of the codec's clock: 48,000 (Opus) or 90,000 (video).

        ``level``: how loud it is, in dB below the loudest there is, up to 127 (RFC 6464); None: that is not told.
        False when it was dropped at once: the queue is full or the transport closed.
        """

    def request_keyframe(self, mid: str) -> bool:
        """Ask for a keyframe of a received track; sent at most every 500 ms."""

    def stats(self) -> ClientTransportStats:
        """Counters since the start. Raises RuntimeError once closed."""

    def close(self) -> None:
        """Say goodbye, stop the thread, free the ports. Idempotent."""

@final
class LoadPattern:
    """What a publisher of a load sends and when."""

    def __new__(cls, period: int, frames: Sequence[tuple[int, bool, Sequence[tuple[int, int]]]]) -> Self:
        """Frames that repeat every ``period`` microseconds.

        Of each: when it begins, whether it is a keyframe, and of each packet how much later it goes and its bytes from
        the RTP header on. Raises ValueError with a sentence when they cannot be sent like that.
        """

_LoadStream = tuple[Kind, int, int, int | None, LoadPattern, int]
"""Kind, SSRC, payload type, id of the transport-wide number or None, pattern, and microseconds until it begins."""

@type_check_only
class LoadStreamReport(TypedDict):
    """What came of one stream: packets each once, those missing between the first and the newest, those twice."""

    ssrc: int
    received: int
    missing: int
    duplicates: int
    frames: int
    """Whose last packet came."""

@type_check_only
class LoadPeer(TypedDict):
    """One peer. Times are those of ``time.monotonic``."""

    peer: int
    state: Literal["connecting", "connected", "failed"]
    reason: str | None
    """A sentence, when it failed."""
    srtp_profile: str | None
    connected_at: float | None
    """When ICE and DTLS were through."""
    first_picture_at: float | None
    """When a keyframe was there for the first time."""
    sent: int
    streams: list[LoadStreamReport]

@type_check_only
class LoadTotals(TypedDict):
    """Media packets of all peers since the start."""

    sent: int
    sent_bytes: int
    """From the RTP header on, without what encryption adds."""
    received: int
    missing: int
    duplicates: int
    undecryptable: int
    """Of those that were opened."""
    unsent: int
    """Not taken by the socket."""
    socket_drops: int
    """Not taken from the socket in time."""
    feedback: int
    """RTCP packets sent."""
    strangers: int
    """Malformed, or of more streams than are counted."""

@type_check_only
class LoadTimes(TypedDict):
    """Quantiles of a time in microseconds."""

    count: int
    p50: float
    p99: float
    p999: float
    max: float

@final
class LoadGenerator:
    """Many cheap peers in one thread: real ICE, DTLS and SRTP, then counting. For measuring servers.

    Methods raise RuntimeError once closed, OSError when the system has nothing left.
    """

    fingerprint: Final[str]
    """SHA-256 of the certificate of all peers: ``AB:CD:…``."""

    def __new__(cls, seed: int, *, patience: timedelta) -> Self:
        """Start the thread. ``seed``: 64 bits for numbers that may be guessed; ``patience``: a server's to answer."""

    def connect(
        self,
        remote: tuple[str, int],
        *,
        local: tuple[str, str],
        peer: tuple[str, str],
        fingerprint: str,
        outgoing: Sequence[_LoadStream] = ...,
        twcc_extension: int | None = ...,
        repair_payload_types: Sequence[int] = ...,
    ) -> int:
        """Connect a new peer to a server; returns its number.

        ``local``, ``peer``: ufrag and password of each side. ``repair_payload_types``: of incoming retransmissions
        (RFC 4588), which are not counted.
        """

    def connect_to_reflector(self, remote: tuple[str, int], *, room: int, outgoing: Sequence[_LoadStream] = ...) -> int:
        """Connect a new peer to a null reflector, to send in a room or, with nothing to send, to receive there."""

    def state(self, peer: int) -> tuple[Literal["connecting", "connected", "failed"], str | None]:
        """How far a peer is, and why it failed."""

    def start(self, peers: Sequence[int]) -> None:
        """Let peers send."""

    def stop(self, peers: Sequence[int]) -> None:
        """Let them send no more."""

    def remove(self, peers: Sequence[int]) -> None:
        """End peers without a goodbye; what they did stays in the totals."""

    def peers(self) -> list[LoadPeer]:
        """What is told of each peer."""

    def totals(self) -> LoadTotals:
        """What all did together."""

    def take_times(self) -> tuple[LoadTimes, LoadTimes]:
        """From a packet's sending to its arrival, one packet in 32; and how late packets were sent. Since last time."""

    def close(self) -> None:
        """End all peers and the thread. Idempotent."""

@type_check_only
class ReflectorStats(TypedDict):
    """Media packets that came and that left."""

    received: int
    forwarded: int

@final
class NullReflector:
    """A server that fans out what it gets, without any protocol. Ends with the object."""

    port: Final[int]

    def __new__(cls, host: str) -> Self:
        """Bind a free UDP port of that address and start a thread."""

    def stats(self) -> ReflectorStats:
        """What it has done."""
