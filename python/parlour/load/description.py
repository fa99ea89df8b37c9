"""The session descriptions of a load peer: offers of what it sends, answers to what it is offered."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from parlour.load.errors import LoadError
from parlour.load.patterns import Track
from parlour.sdp import SdpError
from parlour.sdp.reader import CodecLine, Section, read_description

TWCC_URI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
TWCC_ID = 3
PAYLOAD_TYPES = {"audio": 111, "video": 96}
RTPMAPS = {"audio": "opus/48000/2", "video": "VP8/90000"}
CODECS = {"audio": "opus", "video": "vp8"}
FEEDBACK = {"audio": ("transport-cc",), "video": ("transport-cc", "ccm fir", "nack", "nack pli")}

_CANDIDATE = re.compile(r"(?m)^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host\b", re.IGNORECASE)


def _token(length: int) -> str:
    return secrets.token_hex(length // 2)


@dataclass(frozen=True)
class Local:
    """Our end of one transport."""

    fingerprint: str
    ufrag: str = field(default_factory=lambda: _token(8))
    pwd: str = field(default_factory=lambda: _token(24))


@dataclass(frozen=True)
class Remote:
    """The server's end of one transport, as its description has it. ``address``: where it is, as IP and port."""

    address: tuple[str, int]
    ufrag: str
    pwd: str
    fingerprint: str
    twcc_extension: int | None
    sections: tuple[Section, ...]

    @property
    def repair_payload_types(self) -> tuple[int, ...]:
        """Of retransmissions (RFC 4588)."""
        codecs = (codec for section in self.sections for codec in section.codecs)
        return tuple(codec.payload_type for codec in codecs if codec.name == "rtx")


def read(text: str, host: str) -> Remote:
    """Read a server's offer or answer; of its candidates the one at ``host`` is taken, else the first.

    Raises LoadError when it lacks what a transport needs.
    """
    try:
        description = read_description(text)
    except SdpError as error:
        raise LoadError(f"the server's session description cannot be used: {error}") from error
    section = description.transport_section
    addresses = [(ip, int(port)) for ip, port in _CANDIDATE.findall(text) if _is_address(ip)]
    if not addresses:
        raise LoadError("the server's session description has no UDP host candidate")
    if not (section.ufrag and section.pwd and section.fingerprint):
        raise LoadError("the server's session description lacks ice-ufrag, ice-pwd or a SHA-256 fingerprint")
    chosen = next((address for address in addresses if address[0] == host), addresses[0])
    twcc = (
        one.extensions.get(TWCC_URI)
        for one in description.sections
        if any("transport-cc" in codec.feedback for codec in one.codecs)
    )
    numbers = [number for number in twcc if number is not None]
    return Remote(
        chosen, section.ufrag, section.pwd, section.fingerprint, numbers[0] if numbers else None, description.sections
    )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False  # an mDNS name
    return True


def offer(local: Local, tracks: Sequence[Track], ssrcs: Sequence[int]) -> str:
    """Offer to send these tracks; their mids are their places."""
    sections = []
    for mid, (track, ssrc) in enumerate(zip(tracks, ssrcs, strict=True)):
        payload_type = PAYLOAD_TYPES[track.kind]
        lines = _section(
            local, track.kind, str(mid), payload_type, "sendonly", FEEDBACK[track.kind], {TWCC_URI: TWCC_ID}
        )
        sections.append([*lines, f"a=msid:load {track.kind}", f"a=ssrc:{ssrc} cname:load"])
    return _description(sections, [str(mid) for mid in range(len(tracks))])


def answer(local: Local, remote: Remote) -> str:
    """Take everything that the offer sends, as a browser takes it. What is lost is never asked for: it is counted."""
    sections, bundle = [], []
    for section in remote.sections:
        codec = _known(section)
        if codec is None or section.rejected:
            sections.append(
                [f"m={section.kind} 0 {section.protocol} {(*section.payload_types, 0)[0]}", f"a=mid:{section.mid}"]
            )
            continue
        sends = section.direction in {"sendonly", "sendrecv"}
        extensions = {uri: number for uri, number in section.extensions.items() if uri == TWCC_URI}
        feedback = [wanted for wanted in FEEDBACK[section.kind] if wanted in codec.feedback]
        direction = "recvonly" if sends else "inactive"
        lines = _section(local, section.kind, section.mid, codec.payload_type, direction, feedback, extensions)
        sections.append(_with_repair(lines, section, codec))
        bundle.append(section.mid)
    return _description(sections, bundle)


def _known(section: Section) -> CodecLine | None:
    return next((codec for codec in section.codecs if codec.name == CODECS.get(section.kind)), None)


def _with_repair(lines: list[str], section: Section, codec: CodecLine) -> list[str]:
    """The same section, with the retransmissions of that codec (RFC 4588 §8.6) where they are offered."""
    apt = str(codec.payload_type)
    repairs = [one.payload_type for one in section.codecs if one.name == "rtx" and one.parameter("apt") == apt]
    if not repairs:
        return lines
    media, *rest = lines
    added = (f"a=rtpmap:{repairs[0]} rtx/90000", f"a=fmtp:{repairs[0]} apt={apt}")
    return [f"{media} {repairs[0]}", *rest, *added]


def _section(
    local: Local,
    kind: str,
    mid: str,
    payload_type: int,
    direction: str,
    feedback: Sequence[str],
    extensions: dict[str, int],
) -> list[str]:
    return [
        f"m={kind} 9 UDP/TLS/RTP/SAVPF {payload_type}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        f"a={direction}",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.pwd}",
        f"a=fingerprint:sha-256 {local.fingerprint}",
        "a=setup:active",
        f"a=rtpmap:{payload_type} {RTPMAPS[kind]}",
        *(f"a=rtcp-fb:{payload_type} {text}" for text in feedback),
        *(f"a=extmap:{number} {uri}" for uri, number in extensions.items()),
    ]


def _description(sections: Sequence[Sequence[str]], bundle: Sequence[str]) -> str:
    head = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    if bundle:
        head.append(f"a=group:BUNDLE {' '.join(bundle)}")
    return "".join(f"{line}\r\n" for part in (head, *sections) for line in part)
