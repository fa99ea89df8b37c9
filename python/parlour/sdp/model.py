"""What a session description says, as plain data. The media façade and the SDP functions share it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from parlour.protocol.words import Codec, Kind

MediaProtocol = Literal["udp", "tcp"]

Setup = Literal["active", "passive"]
"""Who says hello first in DTLS (RFC 5763 §5): who is ``active``."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A host candidate of ours, component 1 (RFC 8445 §5.1.1); over TCP a passive one (RFC 6544)."""

    ip: str
    port: int
    protocol: MediaProtocol = "udp"


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """Our end of one ICE-lite, DTLS-SRTP transport. ``fingerprint`` is SHA-256 as SDP writes it: ``AB:CD:…``."""

    ufrag: str
    pwd: str
    fingerprint: str
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoteTransport:
    """The peer's end. ``fingerprint`` is SHA-256 in the upper-case, colon-separated form of RFC 8122 §5.

    ``setup`` is what the peer is in the DTLS handshake: the client (``active``), or the server that waits for ours.
    """

    ufrag: str
    pwd: str
    fingerprint: str
    setup: Setup = "active"


@dataclass(frozen=True, slots=True)
class TrackSpec:
    """One negotiated RTP stream on one m-line: how its packets look on the wire of that transport.

    ``ssrc`` / ``rtx_ssrc`` are None when an offer does not announce them (packets are then found by MID).
    ``*_extension`` are the RTP header extension ids (RFC 8285), None when not negotiated. ``fmtp`` is the codec's
    parameter text, as offered. ``remb``: the sender obeys bit rate estimates (draft-alvestrand-rmcat-remb-03), beside
    transport-wide feedback or without it. ``rids`` name the encodings of simulcast (RFC 8853), the biggest first; there
    are none or at least two, and then no SSRCs, as each packet tells its encoding. ``dependency_descriptor_extension``
    is there where both forms of header extensions may be mixed as well: its longest values need the two-byte form.
    ``level_extension`` tells how loud a packet's sound is (RFC 6464). ``red_payload_type`` is that of sound with copies
    of what was before it (RFC 2198), and ``red_first`` whether the sender would rather send that.
    """

    mid: str
    kind: Kind
    codec: Codec
    payload_type: int
    rtx_payload_type: int | None = None
    ssrc: int | None = None
    rtx_ssrc: int | None = None
    mid_extension: int | None = None
    twcc_extension: int | None = None
    nack: bool = False
    pli: bool = False
    fmtp: str = ""
    remb: bool = False
    rids: tuple[str, ...] = ()
    rid_extension: int | None = None
    repaired_rid_extension: int | None = None
    dependency_descriptor_extension: int | None = None
    level_extension: int | None = None
    red_payload_type: int | None = None
    red_first: bool = field(default=False, compare=False)

    @property
    def has_small(self) -> bool:
        """Whether the same video is sent in a smaller encoding as well."""
        return len(self.rids) > 1
