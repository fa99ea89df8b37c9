"""Candidates that a client names: however many and however spelt, nothing is resolved, and nothing is sent to any."""

from __future__ import annotations

import socket

from tests.conftest import RunningServer
from tests.wire import answer_to, join, offer

SPELLINGS = (
    "0.0.0.0", "255.255.255.255", "127.0.0.1", "169.254.169.254", "224.0.0.1", "::", "::1",
    "::ffff:127.0.0.1", "::ffff:0:7f00:1", "64:ff9b::7f00:1", "fe80::1%eth0", "fe80::1%25lo", "[::1]",
    "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "a-host.example",
    "9b36eaac-bb2e-49bb-bb78-21c41c499900.local", "xn--nxasmq6b", "1.2.3.4.5", "-",
)  # fmt: skip


def with_candidates(sdp: str, port: int, count: int) -> str:
    """The description with so many candidates, one for each spelling, kind and port in turn."""
    lines = []
    for number in range(count):
        address = SPELLINGS[number % len(SPELLINGS)]
        kind = ("host", "srflx raddr 0.0.0.0 rport 0", "relay raddr :: rport 0")[number % 3]
        protocol, at = ("udp", port) if number % 2 else ("tcp", (0, port, 65535, 65536)[number % 4])
        lines.append(f"a=candidate:{number} 1 {protocol} {2**31 - number} {address} {at} typ {kind}\r\n")
    head, mark, rest = sdp.partition("a=mid:")
    return head + "".join(lines) + mark + rest


async def test_candidates_of_every_spelling_cost_nothing_and_get_nothing(server: RunningServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as victim:
        victim.bind(("127.0.0.1", 0))
        victim.setblocking(False)
        port = victim.getsockname()[1]
        ann, _ = await join(server, "ann")
        bob, _ = await join(server, "bob")
        too_many = await ann.refused("publish", sdp=with_candidates(offer(), port, 2_000), audioMid="0", videoMid="1")
        assert "lines" in str(too_many) or "characters" in str(too_many), "refused by its size, before it is read"
        flood = with_candidates(offer(), port, 400)
        await ann.ask("publish", sdp=flood, audioMid="0", videoMid="1")
        await bob.event()
        await ann.ask("uplink-ice-restart", sdp=flood.replace("a=ice-ufrag:", "a=ice-ufrag:x"))
        await bob.ask("subscribe", userId="ann")
        offered = await bob.event()
        answer = with_candidates(answer_to(offered["sdp"]), port, 40)
        await bob.ask("downlink-answer", revision=offered["revision"], sdp=answer)
        snapshot = await server.media.snapshot()
        router = snapshot["shards"][0]["router"]
        assert [one["state"] for one in router["transports"]] == ["new", "new"]
        assert (router["packets_out"], router["paths"]["checks_sent"]) == (0, 0)
        try:
            told = victim.recv(2048)
        except BlockingIOError:
            told = b""
        assert told == b""
