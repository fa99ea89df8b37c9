"""One socket's rules, with the clock in the test's hand; and the message decoder against anything at all."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parlour.errors import ErrorCode, RtcError
from parlour.protocol.messages import ANSWERS, CloseCode, DownlinkAnswer, Empty, Enter, Login, Mute, Ping, SwitchRole
from parlour.signaling.codec import MalformedError, decode_request, encode_error, encode_ok
from parlour.signaling.connection import (
    ACCOUNT_COST,
    COST_UNIT,
    LONGEST_WAIT,
    SDP_UNIT,
    TELL_UNIT,
    Closing,
    Connection,
    ConnectionLimits,
    Refusal,
    State,
)
from parlour.signaling.outbox import BURST_FACTOR, MAX_BYTES, Outbox
from parlour.token_bucket import TokenBucket

from tests.fuzzing import examples

LIMITS = ConnectionLimits(
    message_bytes=2000, messages_per_second=10, message_burst=20, login_timeout=10, socket_timeout=30
)
LOGIN = '{"id":1,"type":"login","sdkAppId":1,"userId":"ann","userSig":"x"}'
ENTER = '{"id":2,"type":"enter","ticket":"t","roomId":5}'
PING = '{"id":3,"type":"ping"}'
LEAVE = '{"id":4,"type":"leave"}'
MUTE = '{"id":6,"type":"mute","audio":true}'
RESUME = '{"id":5,"type":"resume","resumeToken":"t"}'


def connection() -> Connection:
    return Connection(LIMITS, 0.0)


def test_what_may_be_said_when() -> None:
    subject = connection()
    allowed = {
        State.NEW: {LOGIN, RESUME},
        State.AUTHENTICATED: {LOGIN, ENTER, PING, LEAVE},
        State.IN_ROOM: {PING, LEAVE},
    }

    def check() -> None:
        for text in (LOGIN, ENTER, PING, LEAVE, RESUME):
            subject._messages = TokenBucket(10, 20, 1000.0)
            got = subject.receive(text, 1000.0)
            if text in allowed[subject.state]:
                assert not isinstance(got, Refusal | Closing), text
            else:
                assert isinstance(got, Refusal)
                assert got.error.code == 0x1001

    check()
    subject.logged_in()
    check()
    subject.entered()
    check()
    subject.left()
    assert isinstance(subject.receive(ENTER, 2000.0), Enter)


def test_an_illegal_transition_is_a_bug_and_raises() -> None:
    subject = connection()
    with pytest.raises(RuntimeError):
        subject.left()
    subject.close(CloseCode.REMOVED, "gone")
    with pytest.raises(RuntimeError):
        subject.logged_in()
    with pytest.raises(RuntimeError):
        subject.receive(PING, 1.0)


def test_the_burst_is_free_and_the_rate_is_kept() -> None:
    subject = connection()
    subject.logged_in()
    for _ in range(20):
        assert isinstance(subject.receive(PING, 0.0), Ping)
    assert isinstance(subject.receive(PING, 0.1), Ping), "one tenth of a second is one message"
    got = subject.receive(PING, 0.1)
    assert isinstance(got, Closing)
    assert got.code is CloseCode.TOO_MANY
    assert subject.deadline is None


def test_a_rate_within_the_limit_is_never_closed() -> None:
    subject = connection()
    subject.logged_in()
    for number in range(1000):
        assert isinstance(subject.receive(PING, number / 10), Ping)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x" * 2001, CloseCode.TOO_BIG),
        (None, CloseCode.MALFORMED),
        ("", CloseCode.MALFORMED),
        ("{", CloseCode.MALFORMED),
        ("[]", CloseCode.MALFORMED),
        ("null", CloseCode.MALFORMED),
        ('"login"', CloseCode.MALFORMED),
        ("{}", CloseCode.MALFORMED),
        ('{"id":-1,"type":"ping"}', CloseCode.MALFORMED),
        ('{"id":"1","type":"ping"}', CloseCode.MALFORMED),
        ('{"id":9007199254740992,"type":"ping"}', CloseCode.MALFORMED),
        ('{"id":1e400,"type":"ping"}', CloseCode.MALFORMED),
        ("[" * 2000, CloseCode.MALFORMED),
        ('{"id":1,"type":"\\ud800"}', CloseCode.MALFORMED),
    ],
)
def test_what_is_no_message_closes_the_socket(text: str | None, code: CloseCode) -> None:
    subject = connection()
    got = subject.receive(text, 0.0)
    assert isinstance(got, Closing)
    assert got.code is code
    assert subject.state is State.CLOSED


def test_a_message_whose_fields_are_wrong_is_answered() -> None:
    got = connection().receive('{"id":9,"type":"login","sdkAppId":"1","userId":"a"}', 0.0)
    assert isinstance(got, Refusal)
    assert (got.request_id, got.error.code) == (9, 0x1000)
    assert "sdkAppId" in got.error.message


def test_login_and_heartbeat_have_their_deadlines() -> None:
    subject = connection()
    assert subject.deadline == 10.0
    subject.receive(PING, 5.0)
    assert subject.deadline == 10.0, "a refused message is no login"
    assert subject.overdue(9.9) is None
    late = subject.overdue(10.0)
    assert late is not None
    assert late.code is CloseCode.TIMED_OUT
    subject = connection()
    subject.logged_in()
    subject.receive(PING, 20.0)
    assert subject.deadline == 50.0
    assert subject.overdue(49.9) is None
    silent = subject.overdue(50.0)
    assert silent is not None
    assert silent.code is CloseCode.TIMED_OUT


def test_a_long_message_makes_the_next_wait_as_reading_it_is_work() -> None:
    limits = ConnectionLimits(message_bytes=10_000_000, messages_per_second=50, message_burst=20)
    long = json.dumps({"id": 1, "type": "ping", "x": "y" * 50 * COST_UNIT})
    subject = Connection(limits, 0.0)
    subject.logged_in()
    assert subject.wait(0.0) == 0
    assert isinstance(subject.receive(long, 0.0), Ping)
    assert subject.wait(0.0) == pytest.approx((50 - 20) / 50)
    assert subject.wait(0.5) == pytest.approx(0.1)
    assert subject.wait(0.6) == pytest.approx(0)


def test_work_makes_the_next_request_wait_and_closes_nothing_however_much_it_is() -> None:
    """Twenty mutes a second in a room of 300, each read when it may be: 13 s of them."""
    subject = Connection(ConnectionLimits(), 0.0)
    subject.logged_in()
    subject.entered()
    now, longest, mutes = 0.0, 0.0, 260
    for number in range(mutes):
        now = max(now, number / 20)
        wait = subject.wait(now)
        now, longest = now + wait, max(longest, wait)
        assert isinstance(subject.receive(MUTE, now), Mute)
        subject.owe(told=300)
    work = mutes * 300 / TELL_UNIT
    assert now >= (work - 400) / 50 - longest, "no more than the burst and what the time since has paid for"
    assert longest <= 300 / TELL_UNIT / 50 + 1e-9, "what one request waits for is the work of the one before"


@pytest.mark.parametrize(("rate", "burst"), [(50.0, 400), (1.0, 400), (1_000_000.0, 1)])
def test_no_request_waits_longer_than_our_sdks_wait_for_an_answer(rate: float, burst: int) -> None:
    """At the edge: the longest offer that is read at all, in a room so large that everything in it costs the most."""
    subject = Connection(ConnectionLimits(messages_per_second=rate, message_burst=burst), 0.0)
    subject.logged_in()
    subject.entered()
    for now in (0.0, 100.0, 101.6):
        assert isinstance(subject.receive(MUTE, now), Mute)
        subject.owe(told=1_000_000_000, renegotiated=1_000_000_000, lines=512)
        wait = subject.wait(now)
        assert 0 < wait <= LONGEST_WAIT + 1e-9
        assert subject.wait(now + wait) == pytest.approx(0, abs=1e-6)
    shortest = min(seconds for _, seconds in answer_timeouts())
    assert shortest - LONGEST_WAIT >= 0.5, "and half a second for the way"


def answer_timeouts() -> list[tuple[str, float]]:
    """Every time-out of a request in the sources of the SDKs, in seconds."""
    root = Path(__file__).parents[2]
    found = []
    for path in [*root.glob("web/sdk/src/**/*.ts"), *root.glob("python/parlour/client/*.py")]:
        unit = 1000 if path.suffix == ".ts" else 1
        for name, value in re.findall(r"\b([A-Z_]*TIMEOUT)\b[^=\n]*= ([\d_.]+)", path.read_text()):
            found.append((name, float(value) / unit))
    assert {"LEAVE_TIMEOUT", "RESUME_ANSWER_TIMEOUT", "PING_TIMEOUT", "ANSWER_TIMEOUT"} <= {name for name, _ in found}
    return found


def test_a_client_that_is_not_read_is_not_taken_for_a_silent_one() -> None:
    subject = Connection(ConnectionLimits(socket_timeout=1), 0.0)
    subject.logged_in()
    subject.owe(told=1_000_000)
    assert subject.wait(0.0) == LONGEST_WAIT
    assert subject.overdue(LONGEST_WAIT + 0.9) is None
    assert subject.overdue(LONGEST_WAIT + 1.1) is not None


async def test_the_outbox_drops_who_does_not_read_but_not_a_burst() -> None:
    outbox = Outbox(3)
    for number in range(3 * BURST_FACTOR):
        assert outbox.put(str(number)), "nobody is blocked: many events in one moment are fine"
    assert not outbox.put("one more")
    sent: list[str] = []
    stuck = asyncio.Event()

    async def send(text: str) -> None:
        sent.append(text)
        if text == "47":
            await stuck.wait()

    drain = asyncio.create_task(outbox.drain(send))
    await asyncio.sleep(0)
    assert sent == [str(number) for number in range(48)]
    assert [outbox.put("x") for _ in range(4)] == [True, True, True, False]
    stuck.set()
    outbox.end()
    await drain
    assert sent[48:] == ["x", "x", "x"]
    assert outbox.put("after the end")
    assert len(outbox) == 0


def test_the_outbox_is_bounded_in_bytes_too() -> None:
    outbox = Outbox(256)
    assert outbox.put("x" * MAX_BYTES)
    assert not outbox.put("x")


def test_every_request_has_an_answer_and_errors_carry_all_fields() -> None:
    assert len(ANSWERS) == 17
    assert json.loads(encode_ok(7, Empty())) == {"id": 7, "ok": {}}
    error = json.loads(encode_error(None, RtcError(ErrorCode.INVALID_OPERATION, "why")))
    assert error["id"] is None
    assert set(error["error"]) == {"code", "extraCode", "key", "message", "name"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "id",
        "type",
        "sdkAppId",
        "userId",
        "userSig",
        "ticket",
        "roomId",
        "stringRoom",
        "sdp",
        "audioMid",
        "restart",
        "videoType",
    ]
)
TYPES = st.sampled_from(["login", "enter", "resume", "publish", "subscribe", "set-video-type", "mute", "leave", "ping"])


@settings(max_examples=examples(500), deadline=None)
@given(st.dictionaries(FIELDS, JSON | TYPES, max_size=8).map(json.dumps) | JSON.map(json.dumps) | st.text(max_size=200))
def test_any_text_is_a_request_or_malformed(text: str) -> None:
    try:
        request = decode_request(text)
    except MalformedError as malformed:
        assert malformed.error.code == 0x1000
        assert len(malformed.error.message) < 400
        json.loads(encode_error(malformed.request_id, malformed.error))
    else:
        assert request.id >= 0


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_a_damaged_message_is_a_request_or_malformed(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([LOGIN, ENTER, PING, RESUME]))
    at = data.draw(st.integers(0, len(text)))
    text = text[:at] + data.draw(st.text(max_size=6)) + text[at + data.draw(st.integers(0, 6)) :]
    subject = connection()
    got = subject.receive(text, 0.0)
    assert isinstance(got, Refusal | Closing | Login | Enter) or got.id >= 0


def test_to_become_an_anchor_costs_what_to_enter_does_and_to_become_audience_a_message() -> None:
    limits = ConnectionLimits(messages_per_second=50, message_burst=20)

    def wait_after(role: str) -> float:
        subject = Connection(limits, 0.0)
        subject.logged_in()
        subject.entered()
        text = json.dumps({"id": 1, "type": "switch-role", "role": role})
        for _ in range(6):
            assert isinstance(subject.receive(text, 0.0), SwitchRole)
        return subject.wait(0.0)

    assert wait_after("audience") == 0
    assert wait_after("anchor") == pytest.approx((6 * ACCOUNT_COST - 20) / 50)


def test_an_answer_that_the_server_asked_for_costs_nothing_however_long_and_one_that_it_refused_its_length() -> None:
    subject = Connection(ConnectionLimits(messages_per_second=50, message_burst=20), 0.0)
    subject.logged_in()
    subject.entered()
    text = json.dumps({"id": 1, "type": "downlink-answer", "revision": 1, "sdp": "x\r\n" * 20_000})
    for _ in range(12):
        request = subject.receive(text, 0.0)
        assert isinstance(request, DownlinkAnswer)
        subject.answered(request, asked_for=True)
        assert subject.wait(0.0) == 0
    request = subject.receive(text, 0.0)
    assert isinstance(request, DownlinkAnswer)
    subject.answered(request, asked_for=False)
    assert subject.wait(0.0) == pytest.approx((len(text) // COST_UNIT + 60_000 / SDP_UNIT - 20) / 50)


def test_an_answer_that_the_server_asked_for_is_taken_whatever_was_spent_before_it() -> None:
    """Its length is no reason to close, nor to let what comes after it wait."""
    subject = Connection(ConnectionLimits(messages_per_second=1, message_burst=20), 0.0)
    subject.logged_in()
    subject.entered()
    subject.owe(told=20 * TELL_UNIT)
    for _ in range(19):
        assert isinstance(subject.receive(PING, 0.0), Ping)
    request = subject.receive(
        json.dumps({"id": 1, "type": "downlink-answer", "revision": 1, "sdp": "x" * 200_000}), 0.0
    )
    assert isinstance(request, DownlinkAnswer)
    subject.answered(request, asked_for=True)
    assert subject.wait(0.0) == 0
