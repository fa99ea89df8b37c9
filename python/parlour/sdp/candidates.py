"""What a client's ``a=candidate`` lines say (RFC 8839 §5.1). None of them is ever sent to.

A lite agent waits for checks and answers where they come from (RFC 8445 §2.5), so a candidate can lead us nowhere:
neither to a victim that somebody names, nor to a name that has to be looked up. They are counted by their kind, since
what a client could not find out about itself is the first thing to ask when its checks do not come.
"""

from __future__ import annotations

import ipaddress
from typing import Literal

CandidateKind = Literal[
    "udp",
    "tcp",
    "mdns",
    "name",
    "unspecified",
    "loopback",
    "link_local",
    "zone",
    "mapped",
    "port_0",
    "other",
    "malformed",
]
"""``udp`` and ``tcp`` are addresses as they should be; ``mdns`` is what browsers say in place of one that is nobody's
business (draft-ietf-rtcweb-mdns-ice-candidates), ``name`` another host name, ``mapped`` an IPv4 address in the dress of
an IPv6 one, ``other`` another transport."""

_TYPES = frozenset({"host", "srflx", "prflx", "relay"})
_TCP_TYPES = frozenset({"active", "passive", "so"})
_LONGEST = 512
"""Characters that are looked at; browsers write some 150."""


def candidate_kind(value: str) -> CandidateKind:
    """The kind of what follows ``a=candidate:``, whatever that is."""
    words = value.split(" ", 32) if len(value) <= _LONGEST else []
    if len(words) < 8 or words[6] != "typ" or words[7] not in _TYPES or not all(words[:8]):
        return "malformed"
    component, transport, priority, address, port = (words[1], words[2].lower(), *words[3:6])
    if not (_is_number(component, 256) and _is_number(priority, 2**32 - 1) and _is_number(port, 65_535)):
        return "malformed"
    if transport not in {"udp", "tcp"}:
        return "other"
    if transport == "tcp" and not _TCP_TYPES & set(words[8:]):
        return "malformed"  # RFC 6544 §4.5
    kind = _address_kind(address)
    if kind is not None:
        return kind
    # An active TCP candidate has no port that means anything: browsers write 9 (RFC 6544 §4.5).
    if port == "0":
        return "port_0"
    return "udp" if transport == "udp" else "tcp"


def _is_number(text: str, most: int) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= 10 and int(text) <= most


def _address_kind(text: str) -> CandidateKind | None:
    """What is odd about an address; None: nothing."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        if text.lower().endswith(".local"):
            return "mdns"
        is_name = all(part.replace("-", "").isalnum() for part in text.removesuffix(".").split(".")) and text.isascii()
        return "name" if is_name and not text.replace(".", "").isdecimal() else "malformed"
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return "zone"
        if address.ipv4_mapped is not None:
            return "mapped"
    if address.is_unspecified:
        return "unspecified"
    if address.is_loopback:
        return "loopback"
    return "link_local" if address.is_link_local else None
