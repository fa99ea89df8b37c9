"""The TCP connections that cross a path, and the packets that end them from between (RFC 9293, section 3.5.2)."""

from __future__ import annotations

_TCP = 6
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
Flow = tuple[bytes, bytes]  # where from and where to: address and port, in network order


class Flows:
    """Watches what is delivered; its resets have the very sequence number that the receiver expects (RFC 5961)."""

    def __init__(self) -> None:
        self._next: dict[Flow, int] = {}

    def deliver(self, packet: bytes) -> None:
        """A packet has reached its end."""
        if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != _TCP:
            return
        at = (packet[0] & 15) * 4
        flow = (packet[12:16] + packet[at : at + 2], packet[16:20] + packet[at + 2 : at + 4])
        flags = packet[at + 13]
        if flags & _RST:
            self._next.pop(flow, None)
            self._next.pop(flow[::-1], None)
            return
        sequence = int.from_bytes(packet[at + 4 : at + 8])
        length = int.from_bytes(packet[2:4]) - at - (packet[at + 12] >> 4) * 4
        after = (sequence + length + bool(flags & _SYN) + bool(flags & _FIN)) % 2**32
        before = self._next.get(flow)
        if before is None or flags & _SYN or (after - before) % 2**32 < 2**31:
            self._next[flow] = after

    def resets(self) -> list[bytes]:
        """A reset for each end of each connection, as if the other end had sent it; the connections are forgotten."""
        packets = [_reset(flow, number, self._next.get(flow[::-1], 0)) for flow, number in self._next.items()]
        self._next.clear()
        return packets


def _reset(flow: Flow, sequence: int, acknowledged: int) -> bytes:
    (source, destination) = flow
    tcp = source[4:] + destination[4:] + sequence.to_bytes(4) + acknowledged.to_bytes(4)
    tcp += bytes((5 << 4, _RST | _ACK)) + bytes(6)
    pseudo = source[:4] + destination[:4] + bytes((0, _TCP)) + len(tcp).to_bytes(2)
    tcp = tcp[:16] + _checksum(pseudo + tcp) + tcp[18:]
    header = bytes((0x45, 0)) + (20 + len(tcp)).to_bytes(2) + bytes(4) + bytes((64, _TCP)) + bytes(2)
    header += source[:4] + destination[:4]
    return header[:10] + _checksum(header) + header[12:] + tcp


def _checksum(data: bytes) -> bytes:
    """The Internet checksum (RFC 1071)."""
    total = sum(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2)
