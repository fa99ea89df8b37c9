"""Which addresses the server connects to on behalf of an app: public ones, unless the operator allows more.

An address is judged by where its packets end up. IPv6 has several forms that carry an IPv4 address, and each of them is
another spelling of 127.0.0.1 or of a cloud's 169.254.169.254; the carried address is what is judged.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import NamedTuple

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


class _Range(NamedTuple):
    network: IPNetwork
    what: str
    may_be_allowed: bool = False


# IANA's special-purpose address registries (RFC 6890), by what they are for. Python's is_global and its relatives
# differ between releases: what matters here is written down, and is_global only adds to it.
_RANGES = [
    _Range(ip_network("0.0.0.0/8"), "an unspecified address"),
    _Range(ip_network("127.0.0.0/8"), "a loopback address", may_be_allowed=True),
    _Range(ip_network("10.0.0.0/8"), "a private address", may_be_allowed=True),
    _Range(ip_network("172.16.0.0/12"), "a private address", may_be_allowed=True),
    _Range(ip_network("192.168.0.0/16"), "a private address", may_be_allowed=True),
    _Range(ip_network("100.100.100.200/32"), "a cloud's metadata service"),
    _Range(ip_network("168.63.129.16/32"), "a cloud's metadata service"),
    _Range(ip_network("100.64.0.0/10"), "a shared address (RFC 6598)", may_be_allowed=True),
    _Range(ip_network("169.254.0.0/16"), "a link-local address"),  # the metadata services of clouds live here
    _Range(ip_network("192.0.0.0/24"), "a reserved address"),
    _Range(ip_network("192.88.99.0/24"), "a reserved address"),  # RFC 7526
    _Range(ip_network("224.0.0.0/4"), "a multicast address"),
    _Range(ip_network("240.0.0.0/4"), "a reserved address"),
    _Range(ip_network("::/128"), "an unspecified address"),
    _Range(ip_network("::1/128"), "a loopback address", may_be_allowed=True),
    _Range(ip_network("fd00:ec2::254/128"), "a cloud's metadata service"),
    _Range(ip_network("fc00::/7"), "a private address", may_be_allowed=True),
    _Range(ip_network("fe80::/10"), "a link-local address"),
    _Range(ip_network("fec0::/10"), "a reserved address"),  # site-local, RFC 3879
    _Range(ip_network("ff00::/8"), "a multicast address"),
    _Range(ip_network("3fff::/20"), "a reserved address"),  # documentation, RFC 9637
]
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that IANA has assigned so far


class _Carrier(NamedTuple):
    network: IPv6Network
    carried: Callable[[IPv6Address], IPv4Address]
    in_use: bool


def _last_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)


def _sixtofour_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) >> 80 & 0xFFFF_FFFF)


def _teredo_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(~int(address) & 0xFFFF_FFFF)  # RFC 4380 §4: the client's address with every bit inverted


_CARRIERS = [
    _Carrier(IPv6Network("::ffff:0:0/96"), _last_bits, in_use=True),  # IPv4-mapped, RFC 4291 §2.5.5.2
    _Carrier(IPv6Network("64:ff9b::/96"), _last_bits, in_use=True),  # NAT64, RFC 6052 §2.1
    _Carrier(IPv6Network("2002::/16"), _sixtofour_bits, in_use=True),  # 6to4, RFC 3056 §2
    _Carrier(IPv6Network("::/96"), _last_bits, in_use=False),  # IPv4-compatible, RFC 4291 §2.5.5.1
    _Carrier(IPv6Network("2001::/32"), _teredo_bits, in_use=False),  # Teredo, RFC 4380
]


def objection(address: IPAddress, *, allow_private: bool) -> str | None:
    """What speaks against connecting to this address, as in "a loopback address"; None if nothing does."""
    for reserved in _RANGES:
        # A network of the other version contains no address of this one.
        if address in reserved.network:
            return None if reserved.may_be_allowed and allow_private else reserved.what
    if isinstance(address, IPv4Address):
        return None if address.is_global else "a reserved address"
    for carrier in _CARRIERS:
        if address in carrier.network:
            inner = objection(carrier.carried(address), allow_private=allow_private)
            return inner if inner or carrier.in_use else "an address of a tunnel that is out of use"
    if address not in _GLOBAL_UNICAST or not address.is_global:
        return "a reserved address"
    return None
