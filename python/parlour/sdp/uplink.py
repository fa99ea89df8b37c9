"""The uplink: a client offers what it sends, we answer what we take (RFC 3264, 8829 §5.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from parlour.protocol.words import Codec
from parlour.sdp.candidates import CandidateKind
from parlour.sdp.errors import SdpError
from parlour.sdp.model import LocalTransport, RemoteTransport, Setup, TrackSpec
from parlour.sdp.reader import Bounds, CodecLine, Section, read_description
from parlour.sdp.setup import answer_to, setup_of_offer
from parlour.sdp.writer import (
    DEPENDENCY_DESCRIPTOR_URI,
    LEVEL_URI,
    MID_URI,
    REPAIRED_RID_URI,
    RID_URI,
    TWCC_URI,
    codec_lines,
    rejected_lines,
    transport_lines,
    write_description,
)

MAX_UPLINK_SECTIONS = 32
"""Two streams have four tracks; the rest is room for m-lines that a client gave up."""

UPLINK_BOUNDS = Bounds(characters=65_536, lines=2_048, structured=1_536, sections=MAX_UPLINK_SECTIONS)
"""A browser's m-line has up to 90 lines about codecs in 5,000 characters."""

H264_PROFILES = (
    (0x42, 0x4F, 0x40, "42e0"),
    (0x4D, 0x8F, 0x80, "42e0"),
    (0x58, 0xCF, 0xC0, "42e0"),
    (0x42, 0x4F, 0x00, "4200"),
    (0x58, 0xCF, 0x80, "4200"),
    (0x4D, 0xAF, 0x00, "4d00"),
    (0x64, 0xFF, 0x00, "6400"),
    (0x64, 0xFF, 0x0C, "640c"),
    (0xF4, 0xFF, 0x00, "f400"),
)
"""profile_idc, and which constraint flags have which values: Constrained Baseline, Baseline, Main, High, Constrained
High, High 4:4:4 Predictive, each with its one spelling (RFC 6184 table 5)."""

MAX_LAYERS = 3
"""Encodings of one picture that are taken; of more the last ones are not."""

SIMULCAST_CODECS = frozenset({"vp8", "h264"})
"""Those that are sent in several encodings. Others come in one, whose frames tell what may be left out of it."""

DESCRIBED_CODECS = frozenset({"vp9", "av1"})
"""Those of which a frame's descriptor is passed on. With it VP8's payload would no longer say of which layer it is."""

VP9_PROFILES = frozenset({"0", "1", "2", "3"})
AV1_PROFILES = frozenset({"0", "1", "2"})

LOW_LEVEL, HIGH_LEVEL = 0x1F, 0x34
"""3.1 and 5.2: what a downlink tells of the level, which does not say who can decode."""


@dataclass(frozen=True, slots=True)
class OfferedLine:
    """One m-line of an offer. ``track`` is what we would take of it, None when it has nothing for us."""

    mid: str
    kind: str
    protocol: str
    payloads: str
    sends: bool
    codec_names: tuple[str, ...]
    track: TrackSpec | None


@dataclass(frozen=True, slots=True)
class UplinkOffer:
    """An offer of an uplink, read and checked."""

    remote: RemoteTransport
    lines: tuple[OfferedLine, ...]
    candidates: Counter[CandidateKind] = field(default_factory=Counter)
    """How many candidates it has of each kind; none is used."""

    def track(self, mid: str) -> TrackSpec:
        """What we take of the m-line with that mid. Raises SdpError with the reason when that is nothing."""
        line = next((line for line in self.lines if line.mid == mid), None)
        if line is None:
            raise SdpError(f"no m-line has the mid {mid[:16]!a}")
        if line.track is None:
            names = ", ".join(line.codec_names[:12]) or "none"
            raise SdpError(
                f"the m-line with mid {mid} has no codec in common with us; it offers {names},"
                " and we take Opus, VP8, H264 with packetization-mode 1, VP9 and AV1"
            )
        if not line.sends:
            raise SdpError(f"the m-line with mid {mid} does not send; make its direction sendonly")
        return line.track


def read_uplink_offer(text: str, current: Setup | None = None) -> UplinkOffer:
    """Read a client's offer. Raises SdpError when it is malformed, or lacks what every uplink needs.

    ``current`` is what the client is in the DTLS of the uplink that this is offered for, if there is one.
    """
    description = read_description(text, UPLINK_BOUNDS)
    section = description.transport_section
    remote = remote_transport(section, setup_of_offer(section.setup, current))
    return UplinkOffer(remote, tuple(map(_offered_line, description.sections)), description.candidates)


def remote_transport(section: Section, setup: Setup) -> RemoteTransport:
    """The ICE and DTLS parameters of a section, with the peer's role; SdpError when one is missing."""
    for value, name in ((section.ufrag, "ice-ufrag"), (section.pwd, "ice-pwd"), (section.fingerprint, "fingerprint")):
        if not value:
            shown = "fingerprint:sha-256" if name == "fingerprint" else name
            raise SdpError(f"it has no a={shown}")
    return RemoteTransport(section.ufrag, section.pwd, section.fingerprint, setup)


def write_uplink_answer(
    offer: UplinkOffer, local: LocalTransport, used: Iterable[str], *, session_id: int, version: int
) -> str:
    """Answer: the m-lines with the mids in ``used`` are received, others that we could take stay inactive.

    Inactive rather than rejected, so that an m-line that a client gave up still carries the BUNDLE's transport.
    """
    wanted = set(used)
    media: list[dict[str, Any]] = []
    bundle: list[str] = []
    for line in offer.lines:
        if line.track is None:
            media.append(rejected_lines(line.mid, line.kind, line.protocol, line.payloads))
            continue
        lines = codec_lines(line.track, transport_cc=line.track.twcc_extension is not None)
        lines |= transport_lines(local, setup=answer_to(offer.remote.setup), candidates=not bundle)
        lines["direction"] = "recvonly" if line.mid in wanted else "inactive"
        bundle.append(line.mid)
        media.append(lines)
    return write_description(session_id, version, bundle, media)


def _offered_line(section: Section) -> OfferedLine:
    return OfferedLine(
        section.mid,
        section.kind,
        section.protocol,
        " ".join(map(str, section.payload_types)) or "0",
        section.direction in {"sendonly", "sendrecv"} and not section.rejected,
        tuple(codec.name for codec in section.codecs),
        None if section.rejected else _choose(section),
    )


def _choose(section: Section) -> TrackSpec | None:
    """The offerer's first codec that we know, with its RTX."""
    if not section.protocol.endswith("RTP/SAVPF"):
        return None
    for codec in section.codecs:
        name = known_codec(section.kind, codec)
        if name is None:
            continue
        if not section.mid:
            raise SdpError(f"m-line {section.index + 1} has no a=mid")
        if not section.rtcp_mux:
            raise SdpError(f"the m-line with mid {section.mid} has no a=rtcp-mux")
        video = name != "opus"
        rtx = next(
            (
                other.payload_type
                for other in section.codecs
                if video and other.name == "rtx" and other.parameter("apt") == str(codec.payload_type)
            ),
            None,
        )
        red = None if video else next((other for other in section.codecs if is_red_of(other, codec.payload_type)), None)
        twcc = section.extensions.get(TWCC_URI) if "transport-cc" in codec.feedback else None
        descriptor = section.extensions.get(DEPENDENCY_DESCRIPTOR_URI)
        rids = _encodings(section, name, codec.payload_type)
        ssrc = next((first for first in section.ssrcs if first in section.repairs), next(iter(section.ssrcs), None))
        if rids:
            ssrc = None  # there is one for each encoding, and nothing says which
        return TrackSpec(
            section.mid,
            "video" if video else "audio",
            name,
            codec.payload_type,
            rtx,
            ssrc,
            section.repairs.get(ssrc) if ssrc is not None and rtx is not None else None,
            section.extensions.get(MID_URI),
            twcc,
            "nack" in codec.feedback,
            video and "nack pli" in codec.feedback,
            codec_format(name, codec),
            # Beside feedback about each packet it is the most that is sent.
            remb=video and "goog-remb" in codec.feedback,
            rids=rids,
            rid_extension=section.extensions.get(RID_URI) if rids else None,
            repaired_rid_extension=section.extensions.get(REPAIRED_RID_URI) if rids else None,
            # Who cannot send the long ones would send descriptors that refer to nothing.
            dependency_descriptor_extension=descriptor if name in DESCRIBED_CODECS and section.mixed else None,
            level_extension=None if video else section.extensions.get(LEVEL_URI),
            red_payload_type=None if red is None else red.payload_type,
            red_first=red is not None and section.codecs.index(red) < section.codecs.index(codec),
        )
    return None


def _encodings(section: Section, name: Codec, payload_type: int) -> tuple[str, ...]:
    """The rids under which the section sends the same picture in that codec, biggest first; none unless several."""
    if name not in SIMULCAST_CODECS or RID_URI not in section.extensions or MID_URI not in section.extensions:
        return ()
    usable = {rid for rid, formats in section.rids.items() if not formats or payload_type in formats}
    rids = tuple(rid for rid in section.simulcast if rid in usable)[:MAX_LAYERS]
    return rids if len(rids) > 1 else ()


def is_red_of(codec: CodecLine, payload_type: int) -> bool:
    """Whether that line is sound of this payload type with copies of what was before (RFC 2198 §5)."""
    formats = codec.fmtp.split("/")
    return (codec.name, codec.clock_rate, codec.channels) == ("red", 48000, 2) and set(formats) == {str(payload_type)}


def known_codec(kind: str, codec: CodecLine) -> Codec | None:
    """Which of our codecs that line is, if any."""
    match kind, codec.name, codec.clock_rate:
        case "audio", "opus", 48000:
            return "opus" if codec.channels == 2 else None
        case "video", "vp8", 90000:
            return "vp8"
        case "video", "h264", 90000:
            usable = codec.parameter("packetization-mode") == "1" and h264_profile(_profile_level_id(codec)) is not None
            return "h264" if usable else None
        case "video", "vp9", 90000:
            return "vp9" if (codec.parameter("profile-id") or "0") in VP9_PROFILES else None
        case "video", "av1", 90000:
            return "av1" if (codec.parameter("profile") or "0") in AV1_PROFILES else None
    return None


def _profile_level_id(codec: CodecLine) -> str:
    profile = (codec.parameter("profile-level-id") or "42e01f").lower()
    if len(profile) != 6 or not set(profile) <= set("0123456789abcdef"):
        raise SdpError(f"the profile-level-id of payload type {codec.payload_type} is not six hex digits")
    return profile


def h264_profile(profile_level_id: str) -> str | None:
    """The one spelling of its first four digits; None for what is no profile that decoders know."""
    profile, flags = int(profile_level_id[:2], 16), int(profile_level_id[2:4], 16)
    return next((name for idc, mask, bits, name in H264_PROFILES if profile == idc and flags & mask == bits), None)


def codec_format(name: Codec, codec: CodecLine) -> str:
    """The fmtp in one spelling.

    Opus keeps whether it is stereo (RFC 7587 §6.1), H264 its profile and level (RFC 6184 §8.1), VP9 and AV1 their
    profile (RFC 9628 §7.1; AV1's level and tier bound a receiver, and are told as browsers tell theirs), VP8 nothing.
    """
    match name:
        case "opus":
            stereo = codec.parameter("stereo") == "1" or codec.parameter("sprop-stereo") == "1"
            return "minptime=10;useinbandfec=1" + (";stereo=1;sprop-stereo=1" if stereo else "")
        case "h264":
            return _h264_format(_profile_level_id(codec))
        case "vp9":
            return f"profile-id={codec.parameter('profile-id') or '0'}"
        case "av1":
            return f"level-idx=5;profile={codec.parameter('profile') or '0'};tier=0"
    return ""


def downlink_format(track: TrackSpec) -> str:
    """The fmtp that stands for a track where it is received: few, so that payload types never run out.

    A connection never gives a payload type another meaning (RFC 3264 §8.3.2). With level asymmetry (RFC 6184 §8.1) an
    answerer looks at the profile; of levels it is told whether it is one that every decoder has.
    """
    if track.codec != "h264":
        return track.fmtp
    profile_level_id = track.fmtp[-6:]
    level = LOW_LEVEL if int(profile_level_id[4:], 16) <= LOW_LEVEL else HIGH_LEVEL
    return _h264_format(f"{h264_profile(profile_level_id)}{level:02x}")


def _h264_format(profile_level_id: str) -> str:
    return f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile_level_id}"
