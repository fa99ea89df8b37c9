"""Who says hello first in DTLS: what a peer offers or answers, and what we are then (RFC 4145, 5763 and 8842)."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from parlour.sdp import SdpError, read_uplink_offer, write_uplink_answer
from parlour.sdp.downlink import read_downlink_answer
from parlour.sdp.model import LocalTransport
from parlour.sdp.setup import answer_to, setup_of_answer, setup_of_offer

from tests.unit import sdp_downlink
from tests.unit.sdp_recordings import recorded
from tests.unit.test_sdp import CHROMIUM

Role = Literal["active", "passive"]
LOCAL = LocalTransport("ufrag", "p" * 24, ":".join(["AB"] * 32))


@pytest.mark.parametrize(
    ("offered", "current", "peer"),
    [
        # We are the server where we may choose, so that we pick the SRTP profile, and what we are we stay.
        ("actpass", None, "active"),
        ("actpass", "active", "active"),
        ("actpass", "passive", "passive"),
        ("active", None, "active"),
        ("passive", None, "passive"),
        ("active", "passive", "active"),
        ("", None, "active"),
        ("", "passive", "passive"),
    ],
)
def test_an_offer_says_what_the_peer_is(offered: str, current: Role | None, peer: Role) -> None:
    assert setup_of_offer(offered, current) == peer


@pytest.mark.parametrize(("answered", "peer"), [("active", "active"), ("passive", "passive"), ("", "passive")])
def test_an_answer_says_what_the_peer_is(answered: str, peer: Role) -> None:
    assert setup_of_answer(answered) == peer


@pytest.mark.parametrize("value", ["holdconn", "ACTIVE", "server", "active ", "x" * 4000])
def test_everything_else_is_refused_in_a_short_sentence(value: str) -> None:
    for read in (setup_of_offer, setup_of_answer):
        with pytest.raises(SdpError, match="a=setup") as refused:
            read(value)
        assert len(str(refused.value)) < 200
    with pytest.raises(SdpError, match="actpass"):
        setup_of_answer("actpass")


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("a=setup:actpass\r\n", "passive"),
        ("a=setup:active\r\n", "passive"),
        ("a=setup:passive\r\n", "active"),
        ("", "passive"),
    ],
)
def test_the_answer_to_an_uplink_is_the_other_half_in_every_section(line: str, ours: str) -> None:
    text = CHROMIUM.replace("a=setup:actpass\r\n", line)
    offer = read_uplink_offer(text)
    answer = write_uplink_answer(offer, LOCAL, ["0", "1"], session_id=1, version=1)
    assert set(re.findall(r"a=setup:(\S+)", answer)) == {ours}
    assert answer_to(offer.remote.setup) == ours


def test_an_uplink_that_goes_on_keeps_its_roles_when_it_is_offered_anew() -> None:
    passive = read_uplink_offer(CHROMIUM.replace("a=setup:actpass", "a=setup:passive"))
    again = read_uplink_offer(CHROMIUM, passive.remote.setup)
    assert again.remote == passive.remote
    # A change of roles is another association (RFC 8842 §4), and so another connection.
    assert read_uplink_offer(CHROMIUM.replace("a=setup:actpass", "a=setup:active")).remote != passive.remote


@pytest.mark.parametrize(("answered", "peer"), [("a=setup:active", "active"), ("a=setup:passive", "passive")])
def test_whoever_answers_our_downlink_chooses(answered: str, peer: Role) -> None:
    text = recorded("answer", "chromium-lifecycle-1").replace("a=setup:active", answered)
    remote = read_downlink_answer(text, sdp_downlink.lines()[0]).remote
    assert remote is not None
    assert remote.setup == peer
