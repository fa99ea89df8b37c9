"""From text to plain data, with bounds (RFC 8866).

The library ``sdp-transform`` reads what has structure: m-lines, rtpmap, fmtp, rtcp-fb, extmap. Identifiers are read
here, because the library turns whatever looks like a number into one, and an ICE user fragment may be ``12e4``. Lines
that nobody needs are never shown to it, and others not in any number, which bounds its work.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sdp_transform

from parlour.sdp.candidates import CandidateKind, candidate_kind
from parlour.sdp.errors import SdpError

MAX_LINE = 4_096
MAX_SECTIONS = 512
MAX_PER_SECTION = 64
"""SSRC lines and header extensions, each."""
MAX_MID = 16
"""What a one-byte RTP header extension can carry (RFC 8285 §4.2)."""
MAX_RID = 16
"""The same."""
MAX_RIDS = 16
"""Of one m-line: what is read, of which fewer are taken."""

_STRUCTURED = re.compile(r"m=|a=(?:rtpmap|fmtp|rtcp-fb|extmap):")
_PRINTABLE = re.compile(r"[ -~]*")
_TOKEN = re.compile(r"[!#-'*+\-.0-9A-Z^_`a-z{|}~]+")
_RID = re.compile(r"[A-Za-z0-9_\-]+")  # RFC 8851 §10
_UFRAG = re.compile(r"[A-Za-z0-9+/\-_=]{4,256}")
_PWD = re.compile(r"[A-Za-z0-9+/\-_=]{22,256}")
_SHA256 = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){31}")
_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a description is read; what is over is refused before it is worked on.

    ``structured`` are the lines that the library reads, which cost the most: some 30 µs each.
    """

    characters: int
    lines: int
    structured: int
    sections: int = MAX_SECTIONS


LARGEST = Bounds(characters=262_144, lines=16_384, structured=8_192)


@dataclass(frozen=True, slots=True)
class CodecLine:
    """One payload type of an m-line: rtpmap, fmtp and feedback together. ``name`` is lower case."""

    payload_type: int
    name: str
    clock_rate: int
    channels: int
    fmtp: str
    feedback: frozenset[str]

    def parameter(self, name: str) -> str | None:
        """A parameter of the fmtp, its name in any case."""
        for part in self.fmtp.split(";"):
            key, _, value = part.strip().partition("=")
            if key.lower() == name:
                return value
        return None


@dataclass(slots=True)
class Section:
    """One m-line with what is below it. What it does not say itself is taken from the session."""

    index: int
    kind: str = ""
    port: int = 0
    protocol: str = ""
    payload_types: tuple[int, ...] = ()
    mid: str = ""
    direction: str = "sendrecv"
    setup: str = ""
    ufrag: str = ""
    pwd: str = ""
    fingerprint: str = ""
    rtcp_mux: bool = False
    bundle_only: bool = False
    codecs: tuple[CodecLine, ...] = ()
    extensions: dict[str, int] = field(default_factory=dict)
    mixed: bool = False
    """Whether header extensions may have the one form in one packet and the other in another (RFC 8285 §6)."""
    ssrcs: list[int] = field(default_factory=list)
    repairs: dict[int, int] = field(default_factory=dict)
    """SSRC of the media to SSRC of its RTX (RFC 5576 FID groups)."""
    rids: dict[str, frozenset[int]] = field(default_factory=dict)
    """What is sent under a name of its own (RFC 8851), and in which payload types; none stands for any."""
    simulcast: tuple[str, ...] = ()
    """Those of them that are encodings of the same picture (RFC 8853), the most preferred first."""

    @property
    def rejected(self) -> bool:
        """Port 0 (RFC 3264 §6), unless that only says "in the BUNDLE or not at all" (RFC 9143 §6)."""
        return self.port == 0 and not self.bundle_only


@dataclass(frozen=True, slots=True)
class Description:
    """A whole session description. ``bundle`` are the mids of the BUNDLE group, its tag first (RFC 9143)."""

    bundle: tuple[str, ...]
    sections: tuple[Section, ...]
    candidates: Counter[CandidateKind] = field(default_factory=Counter)
    """How many candidates there are of each kind."""

    def section(self, mid: str) -> Section | None:
        """The section with that mid."""
        return next((section for section in self.sections if section.mid == mid), None)

    @property
    def transport_section(self) -> Section:
        """The section whose ICE and DTLS parameters count: the BUNDLE tag's, else the first that is not rejected."""
        tagged = self.section(self.bundle[0]) if self.bundle else None
        if tagged is not None and not tagged.rejected:
            return tagged
        return next((section for section in self.sections if not section.rejected), self.sections[0])


def read_description(text: str, bounds: Bounds = LARGEST) -> Description:
    """Read a description. Raises SdpError for what is malformed or over its bounds."""
    session = Section(-1)
    bundle: tuple[str, ...] = ()
    sections: list[Section] = []
    structured: list[str] = []
    here = session
    candidates: Counter[CandidateKind] = Counter()
    for number, line in _lines(text, bounds):
        if _STRUCTURED.match(line):
            structured.append(line)
            if len(structured) > bounds.structured:
                raise SdpError(f"it has more than {bounds.structured} lines about codecs")
        if line.startswith("m="):
            if len(sections) == bounds.sections:
                raise SdpError(f"it has more than {bounds.sections} m-lines")
            here = Section(
                len(sections),
                setup=session.setup,
                ufrag=session.ufrag,
                pwd=session.pwd,
                fingerprint=session.fingerprint,
                direction=session.direction,
                mixed=session.mixed,
            )
            sections.append(here)
        elif line.startswith("a=group:BUNDLE ") and here is session and not bundle:
            bundle = tuple(line[15:].split())
        elif line.startswith("a=candidate:"):
            candidates[candidate_kind(line[12:])] += 1
        elif line.startswith("a="):
            _read_attribute(here, line[2:], number)
    if not sections:
        raise SdpError("it has no m-line")
    try:
        parsed: list[dict[str, Any]] = sdp_transform.parse("\n".join(structured))["media"]
    except (ValueError, TypeError, OverflowError) as error:
        raise SdpError(f"an attribute has an impossible value ({type(error).__name__})") from error
    for section, media in zip(sections, parsed, strict=True):
        _fill(section, media)
    _check_mids(sections, bundle)
    return Description(bundle, tuple(sections), candidates)


def _lines(text: str, bounds: Bounds) -> Iterator[tuple[int, str]]:
    """Numbered lines; those that matter are printable ASCII without stray carriage returns."""
    if len(text) > bounds.characters:
        raise SdpError(f"it has {len(text)} characters; at most {bounds.characters} are allowed")
    lines = text.split("\n", bounds.lines)
    if len(lines) > bounds.lines:
        raise SdpError(f"it has more than {bounds.lines} lines")
    if not lines[0].startswith("v=0"):
        raise SdpError("it does not begin with v=0")
    for number, ended in enumerate(lines, 1):
        line = ended.removesuffix("\r")
        if len(line) > MAX_LINE:
            raise SdpError(f"line {number} is longer than {MAX_LINE} characters")
        if line and (len(line) < 2 or line[1] != "=" or not "a" <= line[0] <= "z"):
            raise SdpError(f"line {number} is not of the form <letter>=<value>")
        if line[:2] in {"a=", "m="}:
            if not _PRINTABLE.fullmatch(line):
                raise SdpError(f"line {number} has a character that is not printable ASCII")
            yield number, line


def _read_attribute(here: Section, attribute: str, number: int) -> None:
    name, _, value = attribute.partition(":")
    match name:
        case "mid":
            here.mid = _checked(value, _TOKEN, "mid", number)
            if len(value) > MAX_MID:
                raise SdpError(f"the mid in line {number} is longer than {MAX_MID} characters")
        case "ice-ufrag":
            here.ufrag = _checked(value, _UFRAG, "ice-ufrag", number)
        case "ice-pwd":
            here.pwd = _checked(value, _PWD, "ice-pwd", number)
        case "setup":
            here.setup = value
        case "fingerprint":
            method, _, digits = value.partition(" ")
            if method.lower() == "sha-256":
                here.fingerprint = _checked(digits.upper(), _SHA256, "SHA-256 fingerprint", number)
        case "rtcp-mux":
            here.rtcp_mux = True
        case "extmap-allow-mixed":
            here.mixed = True
        case "bundle-only":
            here.bundle_only = True
        case "ssrc":
            _read_ssrc(here, value, number)
        case "ssrc-group":
            semantics, *members = value.split() or [""]
            if semantics == "FID" and len(members) == 2 and len(here.repairs) < MAX_PER_SECTION:
                first, second = _ssrc(members[0], number), _ssrc(members[1], number)
                if first != second:
                    here.repairs.setdefault(first, second)
        case "rid":
            _read_rid(here, value, number)
        case "simulcast":
            here.simulcast = _simulcast(value, number)
        case _ if name in _DIRECTIONS:
            here.direction = name


def _read_rid(here: Section, value: str, number: int) -> None:
    """``<rid> send [pt=<payload types>;…]`` (RFC 8851 §10). Other restrictions are the sender's business."""
    rid, _, rest = value.partition(" ")
    direction, _, restrictions = rest.partition(" ")
    if direction != "send":
        return
    _check_rid(rid, number)
    if len(here.rids) == MAX_RIDS:
        raise SdpError(f"m-line {here.index + 1} has more than {MAX_RIDS} rids")
    payload_types = next((part[3:] for part in restrictions.split(";") if part.startswith("pt=")), "")
    numbers = payload_types.split(",") if payload_types else []
    if not all(one.isdecimal() and len(one) < 4 for one in numbers):
        raise SdpError(f"the rid in line {number} has an impossible payload type")
    here.rids.setdefault(rid, frozenset(map(int, numbers)))


def _check_rid(rid: str, number: int) -> None:
    if len(rid) > MAX_RID:
        raise SdpError(f"the rid in line {number} is longer than {MAX_RID} characters")
    _checked(rid, _RID, "rid", number)


def _simulcast(value: str, number: int) -> tuple[str, ...]:
    """The rids in ``send`` of ``[recv <rids>] send <rids>``: of alternatives the first, paused ones as well."""
    words = value.split(" ")
    if len(words) not in {2, 4} or not set(words[::2]) <= {"send", "recv"} or len(set(words[::2])) * 2 != len(words):
        raise SdpError(f"the simulcast in line {number} is malformed")
    told = dict(zip(words[::2], words[1::2], strict=True)).get("send")
    found = [one.split(",", 1)[0].removeprefix("~") for one in told.split(";", MAX_RIDS)] if told else []
    if len(found) > MAX_RIDS:
        raise SdpError(f"the simulcast in line {number} has more than {MAX_RIDS} rids")
    for rid in found:
        _check_rid(rid, number)
    if len(set(found)) != len(found):
        raise SdpError(f"the simulcast in line {number} has a rid twice")
    return tuple(found)


def _read_ssrc(here: Section, value: str, number: int) -> None:
    ssrc = _ssrc(value.partition(" ")[0], number)
    if ssrc not in here.ssrcs:
        if len(here.ssrcs) == MAX_PER_SECTION:
            raise SdpError(f"m-line {here.index + 1} has more than {MAX_PER_SECTION} SSRCs")
        here.ssrcs.append(ssrc)


def _ssrc(text: str, number: int) -> int:
    if not text.isdecimal() or len(text) > 10 or int(text) >= 2**32:
        raise SdpError(f"the SSRC in line {number} is no 32-bit number")
    return int(text)


def _checked(value: str, pattern: re.Pattern[str], what: str, number: int) -> str:
    if not pattern.fullmatch(value):
        raise SdpError(f"the {what} in line {number} is malformed")
    return value


def _fill(section: Section, media: dict[str, Any]) -> None:
    """Take over what the library read. It gives an int for what looks like one, else text."""
    where = f"m-line {section.index + 1}"
    section.kind = str(media.get("type", ""))
    section.protocol = str(media.get("protocol", ""))
    port = media.get("port")
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise SdpError(f"{where} is malformed")
    section.port = port
    if section.kind not in {"audio", "video"}:
        return
    payloads = str(media.get("payloads", "")).split()
    if not payloads or not all(payload.isdecimal() and len(payload) < 4 for payload in payloads):
        raise SdpError(f"{where} has no list of payload types")
    section.payload_types = tuple(map(int, payloads))
    if max(section.payload_types) > 127 or len(set(section.payload_types)) != len(section.payload_types):
        raise SdpError(f"{where} has a payload type above 127 or one twice")
    section.codecs = _codecs(section, media, where)
    for extension in media.get("ext", [])[:MAX_PER_SECTION]:
        number, uri = extension.get("value"), extension.get("uri")
        usable = isinstance(number, int) and 1 <= number <= 14  # one-byte headers, RFC 8285 §4.2
        if usable and isinstance(uri, str) and extension.get("direction") not in {"recvonly", "inactive"}:
            section.extensions.setdefault(uri, number)


def _codecs(section: Section, media: dict[str, Any], where: str) -> tuple[CodecLine, ...]:
    """The codecs of a section in the order of its m-line: the offerer's preference."""
    maps: dict[int, dict[str, Any]] = {}
    for rtpmap in media.get("rtp", []):
        payload_type = rtpmap.get("payload")
        if payload_type in maps:
            raise SdpError(f"{where} maps payload type {payload_type} twice")
        if isinstance(payload_type, int):
            maps[payload_type] = rtpmap
    formats = {entry.get("payload"): str(entry.get("config", "")) for entry in media.get("fmtp", [])}
    feedback: dict[object, set[str]] = {}
    for entry in media.get("rtcpFb", []):
        text = " ".join(str(entry[part]) for part in ("type", "subtype") if entry.get(part) is not None)
        feedback.setdefault(entry.get("payload"), set()).add(text)
    everywhere = feedback.get("*", set())
    codecs = []
    for payload_type in section.payload_types:
        rtpmap = maps.get(payload_type, {})
        rate, channels = rtpmap.get("rate"), rtpmap.get("encoding", 1)
        if isinstance(rate, int):
            codecs.append(
                CodecLine(
                    payload_type,
                    str(rtpmap.get("codec", "")).lower(),
                    rate,
                    channels if isinstance(channels, int) else 1,
                    formats.get(payload_type, ""),
                    frozenset(everywhere | feedback.get(payload_type, set())),
                )
            )
    return tuple(codecs)


def _check_mids(sections: list[Section], bundle: tuple[str, ...]) -> None:
    mids = [section.mid for section in sections if section.mid]
    if len(set(mids)) != len(mids):
        raise SdpError("two m-lines have the same mid")
    stranger = next((mid for mid in bundle if mid not in set(mids)), None)
    if stranger is not None:
        raise SdpError("the BUNDLE group names a mid that no m-line has")
