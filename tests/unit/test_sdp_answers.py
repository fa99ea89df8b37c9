"""Session descriptions: what real stacks answered to our offers."""

from __future__ import annotations

import re

import pytest
from parlour.sdp import (
    AcceptedLine,
    SdpError,
    read_downlink_answer,
)
from parlour.sdp.reader import read_description

from tests.unit import sdp_downlink
from tests.unit.sdp_recordings import recorded


@pytest.mark.parametrize("stack", ["aiortc", "chromium", "firefox"])
def test_recorded_answers_take_what_their_stack_can_play(stack: str) -> None:
    for revision, lines in enumerate(sdp_downlink.lines(), 1):
        answer = read_downlink_answer(recorded("answer", f"{stack}-lifecycle-{revision}"), lines)
        assert answer.remote is not None
        active = {line.mid: line for line in lines if line.active}
        # This Firefox had no H264 decoder: it refuses, and the rest goes on.
        playable = {
            mid: line for mid, line in active.items() if not (stack == "firefox" and line.track.codec == "h264")
        }
        assert answer.accepted == {
            mid: AcceptedLine(
                mid,
                line.track.rtx_payload_type,
                1,
                None if stack == "aiortc" else 2,
                red_payload_type=line.track.red_payload_type if stack == "chromium" else None,
            )
            for mid, line in playable.items()
        }
        assert answer.refused >= set(active) - set(playable)
        if stack != "firefox":
            assert answer.refused <= {line.mid for line in lines if line.rejected}


def test_an_answer_may_leave_out_repair_and_the_extensions() -> None:
    lines = sdp_downlink.lines()[0]
    text = recorded("answer", "chromium-lifecycle-1")
    text = (
        text.replace("SAVPF 97 98", "SAVPF 97")
        .replace("a=rtpmap:98 rtx/90000\r\n", "")
        .replace("a=fmtp:98 apt=97\r\n", "")
    )
    text = re.sub(r"a=extmap:1 .*\r\n", "", text)
    assert read_downlink_answer(text, lines).accepted["1"] == AcceptedLine("1", None, None, 2)
    without_numbers = re.sub(r"a=extmap:2 .*\r\n", "", text)
    assert read_downlink_answer(without_numbers, lines).accepted["1"].twcc_extension is None
    without_reports = text.replace("a=rtcp-fb:97 transport-cc\r\n", "")
    assert read_downlink_answer(without_reports, lines).accepted["1"].twcc_extension is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a=setup:active", "a=setup:actpass", "must be active or passive, not 'actpass'"),
        ("a=setup:active", "a=setup:holdconn", "holdconn is not for DTLS"),
        ("a=mid:1", "a=mid:5", "BUNDLE|is not the"),
        ("m=video", "m=audio", "is not the"),
    ],
)
def test_an_answer_that_does_not_fit_its_offer_is_refused(old: str, new: str, expected: str) -> None:
    text = recorded("answer", "chromium-lifecycle-1").replace(old, new)
    with pytest.raises(SdpError, match=expected):
        read_downlink_answer(text, sdp_downlink.lines()[0])
    with pytest.raises(SdpError, match="m-lines"):
        read_downlink_answer(recorded("answer", "chromium-lifecycle-1"), sdp_downlink.lines()[1])


def test_an_answer_that_takes_nothing_has_no_remote_end() -> None:
    text = re.sub(r"m=(audio|video) \d+", r"m=\1 0", recorded("answer", "chromium-lifecycle-1"))
    answer = read_downlink_answer(text, sdp_downlink.lines()[0])
    assert (answer.remote, answer.accepted, answer.refused) == (None, {}, frozenset({"0", "1"}))


def test_the_library_reads_our_offers_back_as_they_were_meant() -> None:
    for offer, lines in zip(sdp_downlink.revisions(), sdp_downlink.lines(), strict=True):
        description = read_description(offer)
        for section, line in zip(description.sections, lines, strict=True):
            assert section.direction == ("sendonly" if line.active else "inactive")
            assert section.ssrcs == [s for s in (line.track.ssrc, line.track.rtx_ssrc) if s and line.active]
            assert section.setup == "actpass"
