"""What a test has to know of an IPv4 packet: its kind, its addresses, and how to change them (RFC 791, 1624)."""

from __future__ import annotations

import socket
from typing import Literal

Kind = Literal["tcp", "udp", "other"]
KINDS: tuple[Kind, ...] = ("tcp", "udp", "other")

_TCP, _UDP = 6, 17
_SOURCE, _DESTINATION = slice(12, 16), slice(16, 20)
_CHECKSUM_AT = {_TCP: 16, _UDP: 6}


def kind_of(packet: bytes) -> Kind:
    """The transport protocol of an IP packet; IPv6 and everything but TCP and UDP is ``other``."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return "other"
    return {_TCP: "tcp", _UDP: "udp"}.get(packet[9], "other")  # type: ignore[return-value]


def source_of(packet: bytes) -> str:
    """The address an IPv4 packet comes from."""
    return socket.inet_ntoa(packet[_SOURCE])


def destination_of(packet: bytes) -> str:
    """The address an IPv4 packet goes to."""
    return socket.inet_ntoa(packet[_DESTINATION])


def from_address(packet: bytes, address: str) -> bytes:
    """The packet as if it came from another address, its checksums right."""
    return _readdressed(packet, _SOURCE, address)


def to_address(packet: bytes, address: str) -> bytes:
    """The packet as if it went to another address, its checksums right."""
    return _readdressed(packet, _DESTINATION, address)


def _readdressed(packet: bytes, where: slice, address: str) -> bytes:
    changed = bytearray(packet)
    before, after = bytes(packet[where]), socket.inet_aton(address)
    changed[where] = after
    _mend(changed, 10, before, after)
    header, protocol = (packet[0] & 15) * 4, packet[9]
    first = int.from_bytes(packet[6:8]) & 0x1FFF == 0  # later fragments carry no transport header
    if first and (offset := _CHECKSUM_AT.get(protocol)) is not None and len(packet) >= header + offset + 2:
        none = protocol == _UDP and packet[header + 6 : header + 8] == b"\0\0"  # UDP without a checksum (RFC 768)
        if not none:
            _mend(changed, header + offset, before, after)
    return bytes(changed)


def _mend(packet: bytearray, at: int, before: bytes, after: bytes) -> None:
    """Bring a ones' complement checksum up to date after a change of four bytes (RFC 1624, equation 3)."""
    total = ~int.from_bytes(packet[at : at + 2]) & 0xFFFF
    for offset in (0, 2):
        total += (~int.from_bytes(before[offset : offset + 2]) & 0xFFFF) + int.from_bytes(after[offset : offset + 2])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    packet[at : at + 2] = (~total & 0xFFFF).to_bytes(2)
