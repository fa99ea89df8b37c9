"""The downlink: we offer what a client receives, it answers what it takes (RFC 3264, 8829 §5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from parlour.protocol.words import Kind
from parlour.sdp.errors import SdpError
from parlour.sdp.model import LocalTransport, RemoteTransport, TrackSpec
from parlour.sdp.reader import MAX_SECTIONS, Bounds, Section, read_description
from parlour.sdp.setup import setup_of_answer
from parlour.sdp.uplink import is_red_of, known_codec, remote_transport
from parlour.sdp.writer import (
    DEPENDENCY_DESCRIPTOR_URI,
    MID_URI,
    TWCC_URI,
    codec_lines,
    transport_lines,
    write_description,
)

MAX_DOWNLINK_SECTIONS = MAX_SECTIONS


@dataclass(frozen=True, slots=True)
class DownlinkLine:
    """One m-line of our offer. ``track`` is what it carries, or carried last when it is not ``active``.

    A ``rejected`` line is one that the client refused; it keeps its place for ever, because taking it up again
    would need a new mid and saves nothing.
    """

    track: TrackSpec
    active: bool
    rejected: bool = False
    stream_id: str = ""
    cname: str = ""

    @property
    def mid(self) -> str:
        """Its mid."""
        return self.track.mid

    @property
    def kind(self) -> Kind:
        """Audio or video, for ever."""
        return self.track.kind


@dataclass(frozen=True, slots=True)
class AcceptedLine:
    """What a client takes of one m-line: which of the things we offered."""

    mid: str
    rtx_payload_type: int | None
    mid_extension: int | None
    twcc_extension: int | None
    dependency_descriptor_extension: int | None = None
    red_payload_type: int | None = None


@dataclass(frozen=True, slots=True)
class AnsweredDownlink:
    """A client's answer. ``remote`` is None when it took nothing. ``refused`` are the mids with port 0."""

    remote: RemoteTransport | None
    accepted: dict[str, AcceptedLine]
    refused: frozenset[str]


def write_downlink_offer(local: LocalTransport, lines: Sequence[DownlinkLine], *, session_id: int, version: int) -> str:
    """Offer all m-lines: active ones sendonly with their SSRCs (RFC 5576, 8830), others inactive or rejected."""
    media: list[dict[str, Any]] = []
    bundle: list[str] = []
    for line in lines:
        track = line.track
        section = codec_lines(track, transport_cc=track.twcc_extension is not None)
        if line.rejected:
            # Codec and ICE lines mean nothing here, but there are stacks that look for them in every section.
            section |= transport_lines(local, setup="actpass", candidates=False) | {"port": 0, "direction": "inactive"}
            media.append(section)
            continue
        section |= transport_lines(local, setup="actpass", candidates=not bundle)
        section["direction"] = "sendonly" if line.active else "inactive"
        bundle.append(track.mid)
        if line.active:
            if track.ssrc is None:
                raise ValueError("a track of the downlink has an SSRC")
            section["msid"] = f"{line.stream_id} {line.stream_id}-{track.kind}"
            sources = [track.ssrc] if track.rtx_ssrc is None else [track.ssrc, track.rtx_ssrc]
            section["ssrcs"] = [{"id": ssrc, "attribute": "cname", "value": line.cname} for ssrc in sources]
            if len(sources) == 2:
                section["ssrcGroups"] = [{"semantics": "FID", "ssrcs": f"{sources[0]} {sources[1]}"}]
        media.append(section)
    return write_description(session_id, version, bundle, media)


def read_downlink_answer(text: str, lines: Sequence[DownlinkLine]) -> AnsweredDownlink:
    """Read the answer to the offer made of ``lines``. Raises SdpError when it does not fit that offer."""
    description = read_description(text, _bounds(len(lines)))
    if len(description.sections) != len(lines):
        raise SdpError(f"the answer has {len(description.sections)} m-lines, the offer had {len(lines)}")
    accepted: dict[str, AcceptedLine] = {}
    refused: set[str] = set()
    for section, line in zip(description.sections, lines, strict=True):
        if section.kind != line.kind or (section.mid and section.mid != line.mid):
            raise SdpError(
                f"m-line {section.index + 1} of the answer is not the {line.kind} with mid {line.mid} offered"
            )
        if section.rejected:
            refused.add(line.mid)
        elif line.active and section.direction in {"recvonly", "sendrecv"}:
            taken = _taken(section, line.track)
            if taken is None:
                refused.add(line.mid)
            else:
                accepted[line.mid] = taken
    if all(section.rejected for section in description.sections):
        return AnsweredDownlink(None, {}, frozenset(refused))
    section = description.transport_section
    remote = remote_transport(section, setup_of_answer(section.setup))
    return AnsweredDownlink(remote, accepted, frozenset(refused))


def _bounds(lines: int) -> Bounds:
    """For an answer to so many m-lines: several times what browsers write."""
    return Bounds(8_192 + 4_096 * lines, 64 + 64 * lines, 32 + 32 * lines, lines)


def _taken(section: Section, track: TrackSpec) -> AcceptedLine | None:
    """What the section takes of the track; None when it lacks its codec, or wants it under another payload type."""
    codec = next((codec for codec in section.codecs if codec.payload_type == track.payload_type), None)
    if codec is None or known_codec(section.kind, codec) != track.codec:
        return None
    rtx = next((codec for codec in section.codecs if codec.payload_type == track.rtx_payload_type), None)
    repaired = rtx is not None and rtx.name == "rtx" and rtx.parameter("apt") == str(track.payload_type)
    red = next((codec for codec in section.codecs if codec.payload_type == track.red_payload_type), None)
    mid, twcc = section.extensions.get(MID_URI), section.extensions.get(TWCC_URI)
    descriptor = section.extensions.get(DEPENDENCY_DESCRIPTOR_URI)
    # Numbers that nobody reports on would be four bytes a packet for nothing.
    reports = twcc == track.twcc_extension and "transport-cc" in codec.feedback
    return AcceptedLine(
        track.mid,
        track.rtx_payload_type if repaired else None,
        mid if mid == track.mid_extension else None,
        twcc if reports else None,
        # The others refer to one that is too long for the one-byte form.
        descriptor if section.mixed and descriptor == track.dependency_descriptor_extension else None,
        red.payload_type if red is not None and is_red_of(red, track.payload_type) else None,
    )
