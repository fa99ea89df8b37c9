"""Session descriptions: what real stacks offered, our answers, and everything that is wrong."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parlour.sdp import (
    Candidate,
    LocalTransport,
    SdpError,
    TrackSpec,
    downlink_format,
    read_downlink_answer,
    read_uplink_offer,
    write_uplink_answer,
)
from parlour.sdp.reader import read_description
from parlour.sdp.uplink import h264_profile
from parlour.signaling.lines import PAYLOAD_TYPES

from tests.fuzzing import examples
from tests.unit import sdp_downlink
from tests.unit.sdp_recordings import HERE, recorded

LOCAL = LocalTransport("serverfrag", "s" * 24, ":".join(["AB"] * 32), (Candidate("192.0.2.7", 8081),))
H264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="


OFFERS = sorted(path.stem for path in (HERE / "sdp_offers").glob("*.sdp"))
ANSWERS = sorted(path.stem for path in (HERE / "sdp_answers").glob("*.sdp"))
CHROMIUM = recorded("offer", "chromium-audio-video")


# --- offers of real stacks ---


def test_recordings_of_three_stacks_are_there() -> None:
    assert {name.split("-")[0] for name in OFFERS} == {name.split("-")[0] for name in ANSWERS} == {
        "aiortc", "chromium", "firefox",
    }  # fmt: skip


@pytest.mark.parametrize("name", OFFERS)
def test_every_recorded_offer_is_read_and_answered(name: str) -> None:
    offer = read_uplink_offer(recorded("offer", name))
    kinds = [line.kind for line in offer.lines]
    assert kinds == ["audio", "video", "video"][: len(kinds)]
    used = [line.mid for line in offer.lines if line.sends]
    answer = read_description(write_uplink_answer(offer, LOCAL, used, session_id=1, version=1))
    assert [section.mid for section in answer.sections] == [line.mid for line in offer.lines]
    assert list(answer.bundle) == used
    for section, line in zip(answer.sections, offer.lines, strict=True):
        assert line.track is not None
        assert (section.setup, section.direction, section.rtcp_mux) == ("passive", "recvonly", True)
        assert (section.ufrag, section.pwd, section.fingerprint) == (LOCAL.ufrag, LOCAL.pwd, LOCAL.fingerprint)
        formats = (line.track.payload_type, line.track.red_payload_type, line.track.rtx_payload_type)
        wanted = [one for one in formats if one is not None]
        assert list(section.payload_types) == wanted
        assert set(section.payload_types) <= set(map(int, line.payloads.split()))


@pytest.mark.parametrize(
    ("name", "mid", "expected"),
    [
        (
            "chromium-audio-video", "0",
            TrackSpec(
                "0", "audio", "opus", 111, None, None, None, 4, 3, False, False, "minptime=10;useinbandfec=1",
                level_extension=1, red_payload_type=63,
            ),
        ),
        ("chromium-audio-video", "1", TrackSpec("1", "video", "vp8", 96, 97, None, None, 4, 3, True, True, remb=True)),
        (
            "firefox-audio-video", "0",
            TrackSpec(
                "0", "audio", "opus", 109, None, None, None, 3, 7, False, False,
                "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1", level_extension=1,
            ),
        ),
        ("firefox-audio-video", "1",
         TrackSpec("1", "video", "vp8", 120, 124, None, None, 3, 7, True, True, remb=True)),
        ("aiortc-audio-video", "1", TrackSpec("1", "video", "vp8", 97, 98, None, None, 1, None, True, True, remb=True)),
    ],
)  # fmt: skip
def test_the_first_common_codec_with_its_repair_and_extensions_is_taken(
    name: str, mid: str, expected: TrackSpec
) -> None:
    text = recorded("offer", name)
    track = read_uplink_offer(text).track(mid)
    sources = [int(ssrc) for ssrc in re.findall(r"a=ssrc-group:FID (\d+) (\d+)", text)[0]] if mid == "1" else []
    if mid == "1":
        assert [track.ssrc, track.rtx_ssrc] == sources
    else:
        assert f"a=ssrc:{track.ssrc} cname" in text
    assert replace(track, ssrc=None, rtx_ssrc=None) == expected


def test_the_answer_is_the_one_a_browser_expects() -> None:
    answer = write_uplink_answer(read_uplink_offer(CHROMIUM), LOCAL, ["0", "1"], session_id=7, version=2)
    lines = answer.split("\r\n")
    assert lines[:4] == ["v=0", "o=- 7 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    for line in (
        "a=ice-lite", "a=group:BUNDLE 0 1", "a=candidate:1 1 udp 2130706431 192.0.2.7 8081 typ host",
        "a=end-of-candidates", "m=audio 9 UDP/TLS/RTP/SAVPF 111 63",
        "a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111", "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
        "a=rtcp-fb:111 transport-cc", "a=rtcp-fb:96 transport-cc", "a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli",
        "a=rtcp-fb:96 ccm fir", "a=fmtp:97 apt=96", "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    ):  # fmt: skip
        assert lines.count(line) == 1 + (line.startswith("a=extmap")), line
    assert "a=rtcp-fb:111 nack" not in lines
    assert lines.count("a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level") == 1, "of sound alone"


def test_tcp_is_offered_behind_udp_as_passive_candidates_that_every_udp_one_is_preferred_to() -> None:
    addresses = ("192.0.2.7", "2001:db8::7")
    candidates = tuple(Candidate(ip, 8081, protocol) for protocol in ("udp", "tcp") for ip in addresses)
    answer = write_uplink_answer(
        read_uplink_offer(CHROMIUM), replace(LOCAL, candidates=candidates), ["0", "1"], session_id=7, version=2
    )
    told = [line.split() for line in answer.split("\r\n") if line.startswith("a=candidate:")]
    assert [words[2] for words in told] == ["udp", "udp", "tcp", "tcp"]
    assert [words[8:] for words in told] == [[], [], ["tcptype", "passive"], ["tcptype", "passive"]]
    assert [words[4] for words in told] == [*addresses, *addresses]
    assert len({words[0] for words in told}) == 4, "each has a foundation of its own"
    priorities = [int(words[3]) for words in told]
    assert priorities == sorted(set(priorities), reverse=True)
    # RFC 6544 §4.2: the type preference, and in the local preference the direction, which of a passive one is 4.
    assert priorities[2] == 90 << 24 | (4 << 13 | 8191 - 2) << 8 | 255


@pytest.mark.parametrize("name", ["chromium-audio-video", "firefox-audio-video", "aiortc-audio-video"])
def test_estimates_are_answered_of_video_and_feedback_about_each_packet_where_it_is_offered(name: str) -> None:
    offer = read_uplink_offer(recorded("offer", name))
    answer = write_uplink_answer(offer, LOCAL, ["0", "1"], session_id=1, version=1)
    feedback = {line.split(" ", 1)[1] for line in answer.split("\r\n") if line.startswith("a=rtcp-fb:")}
    told = feedback & {"transport-cc", "goog-remb"}
    assert told == ({"goog-remb"} if name.startswith("aiortc") else {"transport-cc", "goog-remb"})
    assert offer.track("1").remb
    assert not offer.track("0").remb


def test_an_m_line_without_a_stream_is_inactive_and_one_without_our_codecs_is_rejected() -> None:
    text = recorded("offer", "chromium-audio-video-screen")
    head, audio, first, second = re.split(r"(?=m=)", text)
    second = re.sub(r"(?m)^a=rtpmap:\d+ (VP8|H264|VP9|AV1)/90000\r\n", "", second)
    offer = read_uplink_offer(head + audio + first + second)
    answer = read_description(write_uplink_answer(offer, LOCAL, ["1"], session_id=1, version=1))
    assert [section.direction for section in answer.sections] == ["inactive", "recvonly", "inactive"]
    assert [section.rejected for section in answer.sections] == [False, False, True]
    assert answer.bundle == ("0", "1")
    with pytest.raises(SdpError, match="no codec in common"):
        offer.track("2")


@pytest.mark.parametrize(
    ("payloads", "fmtp", "taken"),
    [
        ("111 63", "111/111", "111 63"),
        ("63 111", "111/111", "63 111"),
        ("111 63", "111/111/111", "111 63"),
        ("111 63", "9/9", "111"),
        ("111 63", "111/9", "111"),
        ("111 63", "", "111"),
    ],
)
def test_sound_with_copies_is_taken_beside_sound_without_and_first_where_it_is_offered_first(
    payloads: str, fmtp: str, taken: str
) -> None:
    text = CHROMIUM.replace("SAVPF 111 63", f"SAVPF {payloads}").replace("a=fmtp:63 111/111", f"a=fmtp:63 {fmtp}")
    offer = read_uplink_offer(text)
    track = offer.track("0")
    assert (track.codec, track.payload_type) == ("opus", 111)
    assert track.red_payload_type == (63 if "63" in taken else None)
    otherwise = read_uplink_offer(CHROMIUM).track("0")
    assert track == replace(otherwise, red_payload_type=track.red_payload_type), "the order is no difference"
    answer = write_uplink_answer(offer, LOCAL, ["0"], session_id=1, version=1)
    assert f"m=audio 9 UDP/TLS/RTP/SAVPF {taken}\r\n" in answer


def test_h264_needs_packetization_mode_1_and_keeps_its_profile() -> None:
    text = re.sub(r"a=rtpmap:96 VP8/90000\r\n", "", CHROMIUM).replace("packetization-mode=1", "packetization-mode=0", 1)
    track = read_uplink_offer(text).track("1")
    assert (track.codec, track.payload_type, track.rtx_payload_type) == ("h264", 108, 109)
    assert track.fmtp == H264 + "42e01f"


@pytest.mark.parametrize("ufrag", ["1234", "0012", "12e4", "1E10", "25e00501", "1_00", "+123", "0x1f", "infi", "nan+"])
def test_an_ice_fragment_that_looks_like_a_number_stays_as_it_is(ufrag: str) -> None:
    text = re.sub(r"a=ice-ufrag:\S+", "a=ice-ufrag:" + ufrag, CHROMIUM)
    assert read_uplink_offer(text).remote.ufrag == ufrag


def test_a_mid_that_looks_like_a_number_stays_as_it_is() -> None:
    text = CHROMIUM.replace("a=mid:0", "a=mid:007").replace("BUNDLE 0", "BUNDLE 007")
    offer = read_uplink_offer(text)
    assert offer.track("007").mid == "007"
    assert "a=mid:007\r\n" in write_uplink_answer(offer, LOCAL, ["007"], session_id=1, version=1)


def test_parameters_of_the_session_count_where_an_m_line_has_none() -> None:
    head, audio, video = re.split(r"(?=m=)", CHROMIUM)
    moved = re.findall(r"a=(?:ice-ufrag|ice-pwd|fingerprint|setup):[^\r]*\r\n", audio)
    strip = re.compile(r"a=(?:ice-ufrag|ice-pwd|fingerprint|setup):[^\r]*\r\n")
    text = head + "".join(moved) + strip.sub("", audio) + strip.sub("", video)
    assert read_uplink_offer(text).remote == read_uplink_offer(CHROMIUM).remote


def test_line_ends_without_carriage_return_are_fine() -> None:
    assert read_uplink_offer(CHROMIUM.replace("\r\n", "\n")) == read_uplink_offer(CHROMIUM)


def test_an_m_line_of_firefox_with_port_0_is_not_rejected_when_it_is_bundle_only() -> None:
    text = recorded("offer", "firefox-audio-video-screen")
    assert "m=video 0 " in text
    assert "a=bundle-only" in text
    assert read_uplink_offer(text).track("2").codec == "vp8"


# --- several encodings, and codecs of layers ---

SMALL = recorded("offer", "chromium-audio-video-small")


@pytest.mark.parametrize("stack", ["chromium", "firefox"])
def test_both_encodings_are_taken_and_told_apart_by_their_rids_alone(stack: str) -> None:
    offer = read_uplink_offer(recorded("offer", f"{stack}-audio-video-small"))
    track = offer.track("1")
    assert (track.codec, track.rids, track.has_small) == ("vp8", ("big", "small"), True)
    assert (track.ssrc, track.rtx_ssrc) == (None, None), "Firefox tells all, and not which is whose"
    numbers = [track.rid_extension, track.repaired_rid_extension]
    assert numbers == ([10, 11] if stack == "chromium" else [9, 10])
    answer = write_uplink_answer(offer, LOCAL, ["0", "1"], session_id=1, version=1).split("\r\n")
    for line in (
        "a=rid:big recv", "a=rid:small recv", "a=simulcast:recv big;small",
        f"a=extmap:{numbers[0]} urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        f"a=extmap:{numbers[1]} urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    ):  # fmt: skip
        assert answer.count(line) == 1, line
    assert track.dependency_descriptor_extension is None, "its payload would no longer say of its layers"
    assert not offer.track("0").rids


def simulcast(line: str, *rids: str) -> str:
    """An offer of those encodings instead of the recorded ones."""
    text = re.sub(r"a=(rid|simulcast):[^\r]*\r\n", "", SMALL)
    return text + "".join(f"a=rid:{rid}\r\n" for rid in rids) + f"a=simulcast:{line}\r\n"


@pytest.mark.parametrize(
    ("line", "rids", "taken"),
    [
        ("send a;b;c", ("a send", "b send", "c send"), ("a", "b", "c")),
        ("send a;b;c;d", ("a send", "b send", "c send", "d send"), ("a", "b", "c")),
        ("send a,b;~c", ("a send", "b send", "c send max-width=160;max-height=90"), ("a", "c")),
        ("recv x send a;b", ("a send", "b send", "x recv"), ("a", "b")),
        ("send a;b recv x", ("a send", "b send", "x recv"), ("a", "b")),
        ("send a;b;c", ("a send pt=96", "b send pt=102", "c send pt=96,102"), ("a", "c")),
        ("send a;b", ("a send",), ()),
        ("send a", ("a send",), ()),
        ("recv a;b", ("a recv", "b recv"), ()),
    ],
)
def test_of_encodings_the_first_three_that_can_be_taken_are(
    line: str, rids: tuple[str, ...], taken: tuple[str, ...]
) -> None:
    offer = read_uplink_offer(simulcast(line, *rids))
    assert offer.track("1").rids == taken
    assert ("a=simulcast:recv" in write_uplink_answer(offer, LOCAL, ["1"], session_id=1, version=1)) == bool(taken)


@pytest.mark.parametrize("gone", ["rtp-stream-id", "sdes:mid"])
def test_encodings_that_packets_do_not_name_are_not_taken(gone: str) -> None:
    text = re.sub(rf"a=extmap:\d+ urn:ietf:params:rtp-hdrext:(sdes:)?{gone}\r\n", "", SMALL)
    track = read_uplink_offer(text).track("1")
    assert (track.rids, track.rid_extension) == ((), None)


def only(codec: str, text: str = SMALL) -> str:
    others = {"VP8", "H264", "VP9", "AV1"} - {codec}
    return re.sub(rf"a=rtpmap:\d+ ({'|'.join(others)})/90000\r\n", "", text)


@pytest.mark.parametrize(
    ("codec", "fmtp", "rids"),
    [
        ("H264", H264 + "42001f", ("big", "small")),
        ("VP9", "profile-id=0", ()),
        ("AV1", "level-idx=5;profile=0;tier=0", ()),
    ],
)
def test_codecs_of_layers_come_as_one_encoding_with_the_descriptor_of_their_frames(
    codec: str, fmtp: str, rids: tuple[str, ...]
) -> None:
    offer = read_uplink_offer(only(codec))
    track = offer.track("1")
    assert (track.codec, track.fmtp, track.rids) == (codec.lower(), fmtp, rids)
    assert track.dependency_descriptor_extension == (None if codec == "H264" else 12)
    answer = write_uplink_answer(offer, LOCAL, ["1"], session_id=1, version=1)
    assert f" {codec}/90000" in answer
    assert ("a=simulcast:recv big;small" in answer) == bool(rids)


@pytest.mark.parametrize(("said", "taken"), [("nowhere", False), ("session", True), ("audio", False), ("video", True)])
def test_descriptors_are_taken_from_who_can_send_long_ones_and_that_is_said_back(said: str, taken: bool) -> None:
    mixed = "a=extmap-allow-mixed\r\n"
    session, audio, video = re.split("(?=m=)", only("AV1").replace(mixed, ""))
    text = "".join(
        part + (mixed if said == name else "")
        for name, part in (("session", session), ("audio", audio), ("video", video))
    )
    offer = read_uplink_offer(text)
    assert offer.track("1").dependency_descriptor_extension == (12 if taken else None)
    answer = write_uplink_answer(offer, LOCAL, ["0", "1"], session_id=1, version=1)
    session, audio, video = re.split("(?=m=)", answer)
    assert [mixed in part for part in (session, audio, video)] == [False, False, taken]
    assert ("#dependency-descriptor" in video) == taken


def test_a_profile_of_vp9_or_av1_that_nobody_knows_is_no_codec_in_common() -> None:
    for codec, parameter in (("VP9", r"profile-id=\d"), ("AV1", r"profile=\d")):
        text = re.sub(parameter, lambda found: found[0][:-1] + "9", only(codec))
        with pytest.raises(SdpError, match="no codec in common"):
            read_uplink_offer(text).track("1")


# --- what is wrong ---


def swap(old: str, new: str, count: int = -1) -> str:
    assert old in CHROMIUM
    return CHROMIUM.replace(old, new, count)


WRONG = {
    "empty": ("", "does not begin with v=0"),
    "nonsense": ("nonsense", "does not begin with v=0"),
    "no m-line": ("v=0\r\n", "no m-line"),
    "carriage returns alone": (swap("\r\n", "\r"), "longer than"),
    "few carriage returns alone": (swap("a=mid:0\r\n", "a=mid:0\r"), "printable"),
    "a line without equals sign": (swap("a=mid:0", "mid:0"), "not of the form"),
    "duplicate mids": (swap("a=mid:1", "a=mid:0"), "same mid"),
    "a long mid": (swap("a=mid:1", "a=mid:" + "x" * 17), "longer than 16"),
    "a mid with a space": (swap("a=mid:1", "a=mid:a b"), "mid in line"),
    "an empty mid": (swap("a=mid:1", "a=mid:"), "mid in line"),
    "BUNDLE of a stranger": (swap("BUNDLE 0 1", "BUNDLE 0 7"), "BUNDLE"),
    "payload type 128": (swap("SAVPF 96 97", "SAVPF 128 97"), "above 127"),
    "payload type of many digits": (swap("SAVPF 96 97", "SAVPF " + "9" * 3000), "payload types"),
    "payload type twice": (swap("SAVPF 96 97", "SAVPF 96 96"), "twice"),
    "a payload type mapped twice": (swap("a=rtpmap:97 rtx", "a=rtpmap:96 rtx"), "twice"),
    "no payload types": (swap("SAVPF 111 63 9 0 8 13 110 126", "SAVPF"), "payload types|malformed"),
    "a port above 65535": (swap("m=audio 9", "m=audio 99999"), "malformed"),
    "a port that is a word": (swap("m=audio 9", "m=audio x"), "malformed"),
    "no ICE fragment": (re.sub(r"a=ice-ufrag:.*\r\n", "", CHROMIUM), "ice-ufrag"),
    "a short ICE password": (re.sub(r"a=ice-pwd:.*", "a=ice-pwd:short", CHROMIUM), "ice-pwd"),
    "no fingerprint": (re.sub(r"a=fingerprint:.*\r\n", "", CHROMIUM), "fingerprint"),
    "only a SHA-1 fingerprint": (swap("a=fingerprint:sha-256", "a=fingerprint:sha-1"), "fingerprint"),
    "a fingerprint too short": (re.sub(r"(a=fingerprint:sha-256 ..):..", r"\1", CHROMIUM), "fingerprint"),
    "a DTLS role of connections": (swap("a=setup:actpass", "a=setup:holdconn"), "holdconn is not for DTLS"),
    "a DTLS role that is none": (swap("a=setup:actpass", "a=setup:server"), "a=setup must be"),
    "no rtcp-mux": (swap("a=rtcp-mux\r\n", ""), "rtcp-mux"),
    "no mid": (swap("a=mid:1\r\n", "").replace("BUNDLE 0 1", "BUNDLE 0"), "no a=mid"),
    "an SSRC of 33 bits": (re.sub(r"a=ssrc:\d+ cname", "a=ssrc:4294967296 cname", CHROMIUM), "SSRC"),
    "a control character": (swap("a=mid:1", "a=mid:\x001"), "printable"),
    "a line separator": (swap("a=mid:1", "a=mid:1\u2028a=mid:2"), "printable"),
    "a vertical tab": (swap("a=mid:1", "a=mid:1\x0ba=mid:2"), "printable"),
    "a profile that is no number": (
        swap("a=rtpmap:96 VP8/90000\r\n", "").replace("profile-level-id=42001f", "profile-level-id=x\"y'"),
        "profile-level-id",
    ),
    "a long line": (CHROMIUM + "a=x:" + "y" * 5000 + "\r\n", "longer than"),
    "many lines": (CHROMIUM + "a=x\r\n" * 10_000, "more than"),
    "10 MB": (CHROMIUM + "a=x:yyyyyyyyyyyy\r\n" * 550_000, "characters"),
    "an RTX group of words": (re.sub(r"FID \d+ \d+", "FID a b", CHROMIUM), "SSRC"),
    "many codec lines": (CHROMIUM + "a=fmtp:1 x\r\n" * 1600, "about codecs"),
    "many SSRCs": (CHROMIUM + "".join(f"a=ssrc:{n} cname:x\r\n" for n in range(70)), "SSRCs"),
    "33 m-lines": (CHROMIUM + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" * 31, "more than 32 m-lines"),
    "1,000 m-lines": (CHROMIUM + "m=audio 9 x 0\r\n" * 1_000, "more than 32 m-lines"),
    "a rid with a slash": (CHROMIUM + "a=rid:a/b send\r\n", "rid in line"),
    "a long rid": (CHROMIUM + "a=rid:" + "x" * 17 + " send\r\n", "longer than 16"),
    "many rids": (CHROMIUM + "".join(f"a=rid:r{n} send\r\n" for n in range(17)), "more than 16 rids"),
    "a rid of impossible payload types": (CHROMIUM + "a=rid:a send pt=x\r\n", "payload type"),
    "simulcast of nothing": (CHROMIUM + "a=simulcast:send\r\n", "simulcast in line"),
    "simulcast in two ways": (CHROMIUM + "a=simulcast:send a;b send c\r\n", "simulcast in line"),
    "simulcast of many": (CHROMIUM + "a=simulcast:send " + ";".join("abcdefghijklmnopq") + "\r\n", "more than 16 rids"),
    "simulcast with a rid twice": (CHROMIUM + "a=simulcast:send a;a\r\n", "twice"),
    "simulcast of a long rid": (CHROMIUM + "a=simulcast:send a;" + "x" * 17 + "\r\n", "longer than 16"),
    "64 KiB and one": (CHROMIUM + "a=x:" + "y" * (65_533 - len(CHROMIUM)), "at most 65536"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_with_a_sentence_and_at_once(name: str) -> None:
    text, expected = WRONG[name]
    started = time.process_time()
    with pytest.raises(SdpError, match=expected) as refusal:
        read_uplink_offer(text)
    assert time.process_time() - started < 1.0
    assert refusal.value.code == 0x1000
    assert len(refusal.value.message) < 300
    assert refusal.value.message.isprintable()


def test_the_worst_text_within_the_bounds_costs_little() -> None:
    lines = "a=extmap:1 x y z\r\n" * 1400 + "a=ssrc-group:XX 1 2\r\n" * 400
    text = CHROMIUM + lines
    started = time.process_time()
    read_uplink_offer(text)
    assert time.process_time() - started < 0.5


def test_a_profile_that_no_decoder_knows_is_no_codec_in_common() -> None:
    def offered(profile: str) -> str:
        text = re.sub(r"a=rtpmap:\d+ (VP8|VP9|AV1)/90000\r\n", "", CHROMIUM)
        return re.sub(r"profile-level-id=\w+", f"profile-level-id={profile}", text)

    with pytest.raises(SdpError, match="no codec in common"):
        read_uplink_offer(offered("ab1234")).track("1")
    assert read_uplink_offer(offered("64001F")).track("1").fmtp == H264 + "64001f"


def test_the_formats_of_downlinks_are_fewer_than_their_payload_types() -> None:
    formats = {""}
    for profile in (f"{number:04x}{level}" for number in range(0x10000) for level in ("0b", "1f", "20", "34", "ff")):
        if h264_profile(profile) is not None:
            formats.add(downlink_format(TrackSpec("1", "video", "h264", 96, fmtp=H264 + profile)))
    two_of_opus = 2
    assert 2 * (len(formats) + two_of_opus) <= len(PAYLOAD_TYPES)


# --- anything at all ---

ALPHABET = st.characters(codec="utf-8")
LINES = st.sampled_from([*CHROMIUM.split("\r\n"), *SMALL.split("\r\n")])
FOREIGN = st.one_of(st.text(ALPHABET, max_size=40), st.from_regex(r"[a-z]=[ -~]{0,40}", fullmatch=True))
MUTATED = st.lists(st.one_of(LINES, LINES, FOREIGN), max_size=60)


def survives(text: str) -> None:
    try:
        offer = read_uplink_offer(text)
    except SdpError:
        return
    answer = write_uplink_answer(offer, LOCAL, [line.mid for line in offer.lines], session_id=1, version=1)
    again = read_description(answer)
    assert len(again.sections) == len(offer.lines)
    assert "\n" not in answer.replace("\r\n", "")


@settings(max_examples=examples(400), deadline=None)
@given(MUTATED)
def test_shuffled_and_foreign_lines_are_read_or_refused(lines: list[str]) -> None:
    survives("v=0\r\n" + "\r\n".join(lines))


@settings(max_examples=examples(400), deadline=None)
@given(st.data())
def test_an_offer_with_damage_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    text = CHROMIUM
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        until = min(len(text), at + data.draw(st.integers(0, 12)))
        text = text[:at] + data.draw(st.text(ALPHABET, max_size=12)) + text[until:]
    survives(text)


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_an_answer_with_damage_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    text = recorded("answer", data.draw(st.sampled_from(ANSWERS)))
    at = data.draw(st.integers(0, len(text)))
    text = text[:at] + data.draw(st.text(ALPHABET, max_size=12)) + text[at + data.draw(st.integers(0, 12)) :]
    for lines in sdp_downlink.lines():
        try:
            answer = read_downlink_answer(text, lines)
        except SdpError:
            continue
        assert set(answer.accepted) <= {line.mid for line in lines if line.active}
