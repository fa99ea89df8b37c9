"""One socket's rules, with the clock in the test's hand; and the message decoder against anything at all."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parlour.errors import ErrorCode, RtcError
from parlour.signaling.codec import MalformedError, decode_request, encode_error, encode_ok
from parlour.signaling.connection import Closing, Connection, ConnectionLimits, Refusal, State
from parlour.signaling.messages import ANSWERS, CloseCode, DownlinkAnswer, Empty, Enter, Login, Ping
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
            subject._bucket = TokenBucket(10, 20, 1000.0)
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


def test_a_long_message_costs_several_but_one_of_the_longest_is_always_possible() -> None:
    limits = ConnectionLimits(message_bytes=10_000_000, messages_per_second=1, message_burst=20)
    long = json.dumps({"id": 1, "type": "ping", "x": "y" * 1_000_000})
    subject = Connection(limits, 0.0)
    subject.logged_in()
    assert isinstance(subject.receive(long, 0.0), Ping)
    assert isinstance(subject.receive(long, 1.0), Closing)


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
    assert len(ANSWERS) == 12
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
    ["id", "type", "sdkAppId", "userId", "userSig", "ticket", "roomId", "stringRoom", "sdp", "audioMid", "restart"]
)
TYPES = st.sampled_from(["login", "enter", "resume", "publish", "subscribe", "mute", "leave", "ping"])


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


def test_an_answer_that_the_server_asked_for_costs_nothing_however_long_and_one_that_it_refused_its_length() -> None:
    subject = Connection(ConnectionLimits(messages_per_second=1, message_burst=20), 0.0)
    subject.logged_in()
    subject.entered()
    text = json.dumps({"id": 1, "type": "downlink-answer", "revision": 1, "sdp": "x" * 60_000})
    for _ in range(12):
        request = subject.receive(text, 0.0)
        assert isinstance(request, DownlinkAnswer)
        subject.answered(request, asked_for=True)
    request = subject.receive(PING, 0.0)
    assert isinstance(request, Ping)
    answer = subject.receive(PING, 100.0)
    assert isinstance(answer, Ping)
    request = subject.receive(text, 100.0)
    assert isinstance(request, DownlinkAnswer)
    subject.answered(request, asked_for=False)
    closing = subject.receive(PING, 100.0)
    assert isinstance(closing, Closing)
    assert closing.code is CloseCode.TOO_MANY
