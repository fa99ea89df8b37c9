"""Candidates of clients in every spelling: counted by their kind, and none of them ever used."""

from __future__ import annotations

import re
import time

import pytest
from parlour.sdp import SdpError, read_uplink_offer, write_uplink_answer
from parlour.sdp.candidates import candidate_kind
from parlour.sdp.model import Candidate, LocalTransport

from tests.unit.test_sdp import CHROMIUM

LOCAL = LocalTransport("ufrag", "p" * 24, ":".join(["AB"] * 32), (Candidate("192.0.2.1", 8081),))
HOST = "1 1 udp 2130706431 {} {} typ host"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (HOST.format("192.0.2.7", 5000), "udp"),
        (HOST.format("2001:db8::7", 5000) + " generation 0 network-id 1", "udp"),
        ("1 2 UDP 1 192.0.2.7 5000 typ srflx raddr 10.0.0.1 rport 9", "udp"),
        (HOST.format("0.0.0.0", 5000), "unspecified"),
        (HOST.format("::", 9), "unspecified"),
        (HOST.format("127.0.0.1", 5000), "loopback"),
        (HOST.format("fe80::1", 5000), "link_local"),
        (HOST.format("169.254.1.1", 5000), "link_local"),
        (HOST.format("fe80::1%eth0", 5000), "zone"),
        (HOST.format("2001:db8::1%25eth0", 5000), "zone"),
        (HOST.format("::ffff:192.0.2.7", 5000), "mapped"),
        (HOST.format("192.0.2.7", 0), "port_0"),
        (HOST.format("6d3e5c0a-1f1b-4b0e-9b1a-6f3c5c1f0a11.local", 5000), "mdns"),
        (HOST.format("victim.example.com", 5000), "name"),
        (HOST.format("localhost", 5000), "name"),
        ("1 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active", "tcp"),
        ("1 1 tcp 1518280447 192.0.2.7 8443 typ host tcptype passive", "tcp"),
        ("1 1 tcp 1518280447 192.0.2.7 8443 typ host", "malformed"),
        ("1 1 sctp 1 192.0.2.7 5000 typ host", "other"),
        (HOST.format("192.0.2", 5000), "malformed"),
        (HOST.format("192.0.2.256", 5000), "malformed"),
        (HOST.format("192.0.2.7", 65536), "malformed"),
        (HOST.format("192.0.2.7", -1), "malformed"),
        (HOST.format("192.0.2.7", "٣"), "malformed"),
        (HOST.format("[2001:db8::7]", 5000), "malformed"),
        (HOST.format("192.0.2.7/24", 5000), "malformed"),
        ("1 1 udp 9999999999 192.0.2.7 5000 typ host", "malformed"),
        ("1 1 udp 1 192.0.2.7 5000 typ guess", "malformed"),
        ("1 1 udp 1 192.0.2.7 5000", "malformed"),
        ("1  1 udp 1 192.0.2.7 5000 typ host", "malformed"),
        ("", "malformed"),
        ("x" * 4000, "malformed"),
        (" " * 4000, "malformed"),
    ],
)
def test_a_candidate_is_of_one_kind_whatever_it_says(value: str, kind: str) -> None:
    assert candidate_kind(value) == kind


def test_candidates_are_counted_and_lead_nowhere() -> None:
    lines = [HOST.format(address, 5000) for address in ("0.0.0.0", "fe80::1%eth0", "victim.example.com", "192.0.2.7")]
    text = CHROMIUM + "".join(f"a=candidate:{line}\r\n" for line in [*lines, "garbage"]) + "a=end-of-candidates\r\n"
    text = re.sub(r"a=candidate:(?!1 1 udp|garbage).*\r\n", "", text)
    offer = read_uplink_offer(text)
    assert offer.candidates == {"unspecified": 1, "zone": 1, "name": 1, "udp": 1, "malformed": 1}
    answer = write_uplink_answer(offer, LOCAL, ["0", "1"], session_id=1, version=1)
    assert set(re.findall(r"a=candidate:\d+ \d udp \d+ (\S+)", answer)) == {"192.0.2.1"}
    assert "victim" not in answer


def test_as_many_as_a_description_has_room_for_cost_little_and_more_are_refused() -> None:
    many = "".join(f"a=candidate:{HOST.format('victim.example.com', number)}\r\n" for number in range(800))
    began = time.perf_counter()
    offer = read_uplink_offer(CHROMIUM + many)
    assert time.perf_counter() - began < 5
    assert offer.candidates["name"] == 800
    with pytest.raises(SdpError, match=r"characters|lines"):
        read_uplink_offer(CHROMIUM + many * 3)
