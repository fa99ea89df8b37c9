"""The Rust core as Python sees it. Commands go down and return at once; events come up in batches.

Ids of transports, producers and consumers are chosen by the caller and are unique in the process.
"""

from typing import Final, Literal, TypedDict, final

Codec = Literal["opus", "vp8", "h264"]
Kind = Literal["audio", "video"]

class MediaEvent(TypedDict):
    """One event of the core. ``type`` says which of the other members are there."""

    type: Literal["transport-connected", "transport-closed", "producer-started", "command-refused"]
    transport: int
    """The transport it is about (all types)."""
    reason: str
    """``transport-closed``, ``command-refused``: a stable lower-case name, for instance ``consent-expired``."""
    srtp_profile: str
    """``transport-connected``: ``AEAD_AES_256_GCM``, ``AEAD_AES_128_GCM`` or ``AES128_CM_HMAC_SHA1_80``."""
    object: int
    """``producer-started``, ``command-refused``: id of the producer or consumer (0: the transport itself)."""

@final
class MediaEngine:
    """The media shards: threads with one UDP port each. One per process is usual; several are allowed."""

    fingerprint: Final[str]
    """SHA-256 of the DTLS certificate as SDP writes it: ``AB:CD:…`` (RFC 8122)."""
    ports: Final[list[int]]
    """The UDP port of each shard, in shard order."""

    def __init__(self, *, bind: str, port: int, shards: int = 1) -> None:
        """Bind ``shards`` UDP ports from ``port`` up (0: any) and start the threads.

        Raises OSError (with errno) when a port is taken or the address is not ours.
        """

    def event_fd(self) -> int:
        """A file descriptor that is readable while events wait. Owned by the engine."""

    def drain_events(self) -> list[MediaEvent]:
        """All waiting events, oldest first."""

    def add_transport(self, *, shard: int, transport: int, local_ufrag: str, local_pwd: str) -> None:
        """Make an ICE-lite, DTLS-passive transport that waits for its peer."""

    def set_remote(self, transport: int, *, remote_ufrag: str, fingerprint: str) -> None:
        """Say who the peer is: its ICE user fragment and the SHA-256 fingerprint of its certificate."""

    def remove_transport(self, transport: int) -> None:
        """Close it (DTLS close_notify is sent) with all its producers and consumers."""

    def add_producer(
        self,
        *,
        producer: int,
        transport: int,
        kind: Kind,
        codec: Codec,
        mid: str,
        payload_type: int,
        rtx_payload_type: int | None,
        ssrc: int | None,
        rtx_ssrc: int | None,
        mid_extension: int | None,
        twcc_extension: int | None,
        nack: bool,
        pli: bool,
    ) -> None:
        """An incoming track. Packets find it by SSRC, else by the MID extension, else by payload type."""

    def remove_producer(self, producer: int) -> None:
        """Stop the incoming track and every consumer of it."""

    def add_consumer(
        self,
        *,
        consumer: int,
        transport: int,
        producer: int,
        mid: str,
        payload_type: int,
        rtx_payload_type: int | None,
        ssrc: int,
        rtx_ssrc: int | None,
        mid_extension: int | None,
        cname: str,
    ) -> None:
        """Forward a producer to a transport under an SSRC of its own; asks for a keyframe when video starts."""

    def remove_consumer(self, consumer: int) -> None:
        """Stop forwarding."""

    def set_consumer_paused(self, consumer: int, paused: bool) -> None:
        """Pause or go on; going on asks for a keyframe."""

    def snapshot(self, timeout: float = 1.0) -> bytes:
        """Counters of every shard, transport, producer and consumer as JSON. Blocks up to ``timeout`` seconds.

        Raises TimeoutError when a shard does not answer.
        """

    def close(self) -> None:
        """Stop the threads and free the ports. Idempotent."""
