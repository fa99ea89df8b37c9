"""Where a client comes from, as lock-out counts it."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

IPV6_PREFIX = 64
"""Bits of an IPv6 address that count: whoever has one address of such a network has them all (RFC 6177)."""


@lru_cache(maxsize=1024)
def counted_source(host: str) -> str:
    """An address without its port, IPv4 in IPv6 as IPv4, an IPv6 network as its prefix; anything else as it is."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64] or "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
        address = address.ipv4_mapped
    return str(address)
