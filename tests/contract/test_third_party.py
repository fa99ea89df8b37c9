"""Third-party verification by an endpoint: a real HTTPS server on loopback, well-behaved and otherwise."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from parlour.accounts.verification import VerificationSettings
from parlour.accounts.verification.endpoint import parse_answer, signature
from parlour.accounts.verification.failure import CallFailedError, visible
from parlour.accounts.verification.judge import MAX_CALLS_PER_APP, MAX_CALLS_PER_SOURCE
from parlour.storage.model import EndpointVerification

from tests.fuzzing import examples
from tests.peers.https_peer import Answer, Request, head, reply
from tests.peers.third_parties import APP, CREDENTIAL, FAILED, LATE, NOW, SECRET, Parties, at, refusal, until

PAGE = Path(__file__).resolve().parents[2] / "docs" / "third-party.md"


@pytest.fixture
async def parties(tmp_path: Path) -> AsyncIterator[Parties]:
    async with AsyncExitStack() as stack:
        yield Parties(stack, tmp_path)


# The endpoint: question and answer


async def test_a_credential_that_the_endpoint_accepts_is_accepted(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": True, "more": [1]}))
    await parties.judge().judge(APP, "änn", CREDENTIAL, at(peer.url("/check?tenant=7")))
    (request,) = peer.requests
    assert (request.method, request.path) == ("POST", "/check?tenant=7")
    assert request.headers["host"] == f"localhost:{peer.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    members = request.members
    nonce = members.pop("nonce")
    assert members == {"sdkAppId": APP, "userId": "änn", "credential": CREDENTIAL, "time": NOW}
    assert re.fullmatch("[0-9a-f]{32}", nonce)


async def test_every_request_is_signed_over_its_time_and_body_and_has_a_nonce_of_its_own(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": True}))
    judge = parties.judge()
    for _ in range(3):
        await judge.judge(APP, "ann", CREDENTIAL, at(peer.url()))
    for request in peer.requests:
        assert request.headers["x-parlour-timestamp"] == str(NOW)
        assert request.headers["x-parlour-signature"] == signature(SECRET, NOW, request.body)
    assert len({request.members["nonce"] for request in peer.requests}) == 3


# printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
OPENSSL_SAYS = "a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"


def test_the_signature_is_what_openssl_says_it_is() -> None:
    assert signature("key", NOW, b'{"a":1}') == "v1=" + OPENSSL_SAYS


async def test_connections_are_used_again(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": True}))
    judge = parties.judge()
    for _ in range(5):
        await judge.judge(APP, "ann", CREDENTIAL, at(peer.url()))
    assert (peer.connections, len(peer.requests)) == (1, 5)


async def test_a_no_is_70018_with_its_reason(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": False, "reason": "the session of ann has ended"}))
    refused = await refusal(parties.judge(), at(peer.url()))
    assert refused.code == FAILED
    assert refused.detail == "the verification endpoint refused the credential: the session of ann has ended"


async def test_a_no_needs_no_reason(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": False}))
    refused = await refusal(parties.judge(), at(peer.url()))
    assert (refused.code, refused.detail) == (FAILED, "the verification endpoint refused the credential")


async def test_a_reason_is_cut_and_shows_what_does_not_print(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": False, "reason": "a\r\n\x1b[31m\u202e\ud800" + "x" * 9000}))
    refused = await refusal(parties.judge(), at(peer.url()))
    assert r"a\r\n\x1b[31m\u202e\ud800xxx" in refused.detail
    assert len(refused.detail) < 300


async def test_a_reason_that_quotes_the_credential_does_not_carry_it_on(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": False, "reason": f"unknown: {CREDENTIAL}!"}))
    refused = await refusal(parties.judge(), at(peer.url()))
    assert refused.detail.endswith("refused the credential: unknown: [credential]!")


async def test_an_empty_credential_is_70019_and_nobody_is_asked(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": True}))
    refused = await refusal(parties.judge(), at(peer.url()), credential="")
    assert refused.code == 70019
    assert peer.connections == 0


async def test_a_credential_of_unreasonable_length_is_refused_before_anybody_is_asked(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": True}))
    refused = await refusal(parties.judge(), at(peer.url()), credential="x" * 16385)
    assert (refused.code, peer.connections) == (FAILED, 0)
    assert "16385 characters; 16384 are allowed" in refused.detail


async def test_a_credential_that_is_not_valid_unicode_arrives_as_it_is(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": True}))
    await parties.judge().judge(APP, "ann", 'a\x00"\ud800\n', at(peer.url()))
    assert peer.requests[0].members["credential"] == 'a\x00"\ud800\n'


# The endpoint: broken answers


async def _closes_at_once(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.close()


def raw(content: bytes, *, then_close: bool = True) -> Answer:
    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        if then_close:
            await writer.drain()
            writer.close()

    return answer


BROKEN: dict[str, tuple[Answer, str]] = {
    "a redirect": (reply({"ok": True}, 302, Location="https://localhost/"), "status 302; redirects are not followed"),
    "a redirect that keeps the method": (reply({"ok": True}, 307, Location="/"), "status 307; redirects are not"),
    "an error": (reply({"ok": True}, 500), "status 500 instead of 200"),
    "unauthorized": (reply({"ok": True}, 401), "status 401 instead of 200"),
    "another success": (reply({"ok": True}, 202), "status 202 instead of 200"),
    "no content": (raw(head(204)), "status 204 instead of 200"),
    "another protocol": (raw(head(101, Upgrade="x", Connection="upgrade")), "or did not answer in HTTP"),
    "an empty body": (reply(b""), "an answer that is not JSON"),
    "HTML": (reply(b"<html>ok</html>"), "an answer that is not JSON"),
    "not UTF-8": (reply(b'{"ok": true, "a": "\xff"}'), "an answer that is not UTF-8"),
    "UTF-16": (reply('{"ok": true}'.encode("utf-16")), "an answer that is not UTF-8"),
    "something after the object": (reply(b'{"ok": true} {}'), "an answer that is not JSON"),
    "a list": (reply([True]), "an answer that is JSON but not an object"),
    "the bare word": (reply(True), "an answer that is JSON but not an object"),
    "no verdict": (reply({"OK": True}), "without the member 'ok'"),
    "a verdict in a text": (reply({"ok": "true"}), "neither true nor false"),
    "a verdict in a number": (reply({"ok": 1}), "neither true nor false"),
    "no and yes": (reply(b'{"ok": false, "ok": true}'), "the member 'ok' twice"),
    "a reason that is none": (reply({"ok": False, "reason": {}}), "whose 'reason' is not a text"),
    "NaN": (reply(b'{"ok": true, "x": NaN}'), "holds NaN"),
    "too deep": (reply(b'{"ok": true, "x": ' + b"[" * 20000 + b"]" * 20000 + b"}"), "nested too deeply"),
    "a number without end": (reply(b'{"ok": true, "x": ' + b"9" * 30000 + b"}"), "not JSON"),
    "too much": (reply({"ok": True, "x": "y" * 70000}), "more than 65536 bytes"),
    "a length that is a lie": (raw(head(Content_Length=10**12) + b"x" * 200000), "more than 65536 bytes"),
    "compressed": (reply({"ok": True}, Content_Encoding="gzip"), "a compressed answer"),
    "no answer": (_closes_at_once, "closed the connection early or did not answer in HTTP"),
    "half a head": (raw(b"HTTP/1.1 200 OK\r\nContent-"), "closed the connection early or did not answer in HTTP"),
    "half a body": (raw(head(Content_Length=12) + b'{"ok": t'), "closed the connection early or did not answer in"),
    "another language": (raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "closed the connection early or did not answer in HTTP"),
    "a head without end": (raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300000), "or did not answer in HTTP"),
    "two lengths": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 12\r\n\r\n{"), "in HTTP"),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_broken_answer_is_70018_and_says_what_is_wrong(parties: Parties, case: str) -> None:
    answer, phrase = BROKEN[case]
    peer = await parties.peer(answer)
    refused = await refusal(parties.judge(), at(peer.url()))
    assert refused.code == FAILED == 70018
    assert refused.detail.startswith("the verification endpoint ")
    assert phrase in refused.detail
    assert len(peer.requests) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
ANSWERS = VALUES | st.fixed_dictionaries({"ok": st.booleans() | VALUES}, optional={"reason": st.text() | VALUES})


@settings(max_examples=examples(300))
@given(st.binary(max_size=200) | ANSWERS.map(lambda value: json.dumps(value).encode()))
@example(b'{"ok": true}')
@example(b'{"ok": false, "reason": "\\ud800"}')
def test_whatever_an_endpoint_answers_is_a_verdict_or_a_problem_on_one_short_line(body: bytes) -> None:
    try:
        verdict = parse_answer(body)
    except CallFailedError as error:
        assert error.problem.isprintable()
        assert len(error.problem) < 200
    else:
        document = json.loads(body)
        assert document["ok"] is verdict.ok
        assert document.get("reason", "") == verdict.reason
        assert visible(verdict.reason).isprintable()
        assert len(visible(verdict.reason)) <= 200


# The deadline


async def _says_nothing(_: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _drips(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(head(Content_Length=60000))
    for _byte in range(60000):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def _drips_its_head(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _byte in range(60000):
        writer.write(b"y")
        await writer.drain()
        await asyncio.sleep(0.01)


async def _says_wait_without_end(_: Request, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0)


@pytest.mark.parametrize("answer", [_says_nothing, _drips, _drips_its_head, _says_wait_without_end])
async def test_the_deadline_covers_the_whole_call(parties: Parties, answer: Answer) -> None:
    peer = await parties.peer(answer)
    judge = parties.judge(timeout=0.5)
    started = time.monotonic()
    refused = await refusal(judge, at(peer.url()))
    took = time.monotonic() - started
    assert refused.code == LATE == 70017
    assert refused.detail == "the verification endpoint did not answer within 0.5 s: try again"
    assert 0.45 < took < 2.9, "the ordinary deadline is another one"


async def test_the_deadline_covers_a_handshake_that_never_ends(parties: Parties) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        refused = await refusal(parties.judge(timeout=0.5), at(f"https://localhost:{silent.getsockname()[1]}/"))
        assert refused.code == LATE
        assert time.monotonic() - started < 2.9


async def test_the_deadline_covers_a_name_that_nobody_answers_for(parties: Parties) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    refused = await refusal(parties.judge(timeout=0.5, resolve=resolve), at("https://silent.example/"))
    assert refused.code == LATE


async def test_the_ordinary_deadline_is_three_seconds() -> None:
    assert VerificationSettings() == VerificationSettings(timeout=3.0, allow_private=False, ca_file=None)


async def test_a_stuck_endpoint_disturbs_no_other_app_and_its_own_calls_are_bounded(parties: Parties) -> None:
    stuck, good = await parties.peer(_says_nothing), await parties.peer(reply({"ok": True}))
    judge = parties.judge(timeout=20)
    waiting = [
        asyncio.create_task(judge.judge(APP, f"user{n}", CREDENTIAL, at(stuck.url()), source=f"192.0.2.{n}"))
        for n in range(MAX_CALLS_PER_APP + 10)
    ]
    await until(lambda: len(stuck.requests) == MAX_CALLS_PER_APP)

    started = time.monotonic()
    await judge.judge(APP + 1, "ann", CREDENTIAL, at(good.url()))
    assert time.monotonic() - started < 10

    assert len(stuck.requests) == MAX_CALLS_PER_APP
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await judge.judge(APP, "ann", CREDENTIAL, at(good.url()))


async def test_credentials_over_which_an_endpoint_broods_use_up_no_turn_of_users_elsewhere(parties: Parties) -> None:
    async def broods(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.members["credential"] == "slow":
            await asyncio.Event().wait()
        await reply({"ok": True})(request, writer)

    peer = await parties.peer(broods)
    judge = parties.judge(timeout=20)
    crowd = [
        asyncio.create_task(judge.judge(APP, f"user{n}", "slow", at(peer.url()), source="192.0.2.1"))
        for n in range(2 * MAX_CALLS_PER_APP)
    ]
    await until(lambda: len(peer.requests) == MAX_CALLS_PER_SOURCE)
    await judge.judge(APP, "ann", CREDENTIAL, at(peer.url()), source="192.0.2.2")
    assert len(peer.requests) == MAX_CALLS_PER_SOURCE + 1
    for task in crowd:
        task.cancel()
    await asyncio.wait(crowd)


async def test_a_call_that_is_given_up_leaves_no_connection_behind(parties: Parties) -> None:
    peer = await parties.peer(_says_nothing)
    judge = parties.judge(timeout=0.3)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert (await refusal(judge, at(peer.url()))).code == LATE
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before + 5)  # the peer's own ends are still open


# The page


async def test_the_endpoint_on_the_page_runs_as_it_stands(parties: Parties) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    certificate, key = parties.authority.files("localhost")
    environment = {"VERIFICATION_SECRET": SECRET, "PORT": str(port), "CERTIFICATE": str(certificate), "KEY": str(key)}
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", snippet, env=os.environ | environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: listens(port), 20)
        parties.now = time.time()
        judge = parties.judge()
        url = f"https://localhost:{port}/"
        await judge.judge(APP, "ann", "session-of-ann", at(url))
        for user, credential in (("bob", "session-of-ann"), ("ann", "another")):
            refused = await refusal(judge, at(url), credential, user)
            assert refused.detail == "the verification endpoint refused the credential: no such session"
        unsigned_for_it = await refusal(judge, EndpointVerification(url, "another secret"), "session-of-ann")
        assert unsigned_for_it.detail == "the verification endpoint answered with status 401 instead of 200"
        parties.now -= 301
        replayed = await refusal(judge, at(url), "session-of-ann")
        assert replayed.detail == "the verification endpoint answered with status 401 instead of 200"
    finally:
        server.kill()
        await server.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
