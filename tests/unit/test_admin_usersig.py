"""``POST /api/v1/usersig`` over HTTP: what it issues, and the status and code of every refusal."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from parlour.accounts.refusal import AccountRefusedError
from parlour.admin import AdminSettings
from parlour.errors import ErrorCode, entry_of
from parlour.usersig import AppKeys, sign_v2, verify

from tests.unit.admin_memory import ADMIN, APP, KEY, USER_SIG, Json, MemoryRest, running

PATH = "/api/v1/usersig"
CREDENTIAL = "Basic " + base64.b64encode(f"{ADMIN}:{USER_SIG}".encode()).decode()
GOOD = {"sdkAppId": APP, "userId": "ann", "expire": 3600}


@pytest.fixture
async def rest() -> AsyncIterator[MemoryRest]:
    async with running(AdminSettings(usersig_endpoint=True)) as found:
        yield found


async def ask(rest: MemoryRest, body: object = GOOD, *, user: str = ADMIN, sig: str = USER_SIG) -> httpx.Response:
    return await rest.client.post(PATH, json=body, auth=(user, sig))


def refused(answer: httpx.Response, status: int, code: int) -> Json:
    """The error of a refusal."""
    error: Json = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code), error
    assert set(error) == {"code", "key", "message", "remedy"}
    assert error["key"] == ErrorCode(code).name
    entry = entry_of(code)
    assert entry is not None
    assert error["remedy"] == entry.remedy
    assert error["message"]
    assert answer.headers["cache-control"] == "no-store"
    return error


async def test_an_administrator_gets_a_usersig_that_verifies(rest: MemoryRest) -> None:
    answer = await ask(rest)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers
    issued = answer.json()
    now = int(time.time())
    verify(issued.pop("userSig"), sdk_app_id=APP, user_id="ann", keys=AppKeys((KEY,), ()), now=now)
    assert abs(issued["issuedAt"] - now) < 5
    assert issued == {
        "sdkAppId": APP,
        "userId": "ann",
        "issuedAt": issued["issuedAt"],
        "expiresAt": issued["issuedAt"] + 3600,
    }
    assert rest.memory.counted == ["usersig"]


async def test_a_week_is_the_lifetime_when_none_is_asked_for(rest: MemoryRest) -> None:
    issued = (await ask(rest, {"sdkAppId": APP, "userId": "ann"})).json()
    assert issued["expiresAt"] - issued["issuedAt"] == 604_800


async def test_it_is_off_unless_it_was_opened() -> None:
    async with running() as rest:
        for answer in (await ask(rest), await rest.client.get(PATH)):
            assert "admin.usersig_endpoint" in refused(answer, 404, 60009)["message"]


async def test_only_a_post_is_taken(rest: MemoryRest) -> None:
    for method in ("GET", "PUT", "OPTIONS", "DELETE"):
        answer = await rest.client.request(method, PATH)
        refused(answer, 405, 60009)
        assert answer.headers["allow"] == "POST"


CREDENTIALS = {
    "none": None,
    "another-scheme": "Bearer abc",
    "no-base64": "Basic !!!",
    "nothing": "Basic",
    "no-colon": "Basic " + base64.b64encode(b"administrator").decode(),
    "no-usersig": "Basic " + base64.b64encode(b"administrator:").decode(),
    "no-user": "Basic " + base64.b64encode(b":eJw").decode(),
    "not-utf-8": "Basic " + base64.b64encode(b"\xff:eJw").decode(),
    "a-userid-too-long": "Basic " + base64.b64encode(b"a" * 33 + b":eJw").decode(),
}


@pytest.mark.parametrize("header", CREDENTIALS.values(), ids=CREDENTIALS.keys())
async def test_without_a_readable_credential_it_is_401_with_a_challenge(rest: MemoryRest, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await rest.client.post(PATH, json=GOOD, headers=headers)
    refused(answer, 401, 70019)
    assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_a_credential_that_is_refused_is_401_with_the_code_of_its_check(rest: MemoryRest) -> None:
    now = int(time.time())
    for user, sig, code in (
        (ADMIN, "abc", 70003),
        (ADMIN, sign_v2(APP, ADMIN, KEY, expire=10, now=now - 20), 70001),
        (ADMIN, sign_v2(APP, ADMIN, "f" * 64, expire=10, now=now), 70009),
        ("bob", USER_SIG, 70013),
    ):
        answer = await ask(rest, user=user, sig=sig)
        assert sig not in str(refused(answer, 401, code))
        assert answer.headers["www-authenticate"]


async def test_who_is_no_administrator_or_has_no_active_app_is_403(rest: MemoryRest) -> None:
    bob = sign_v2(APP, "bob", KEY, expire=60, now=int(time.time()))
    refused(await ask(rest, user="bob", sig=bob), 403, 70403)
    rest.memory.app = replace(rest.memory.app, state="suspended")
    refused(await ask(rest), 403, 60016)
    refused(await ask(rest, GOOD | {"sdkAppId": 5}), 404, 70020)


async def test_an_app_without_a_secret_key_is_403(rest: MemoryRest) -> None:
    rest.memory.fault = AccountRefusedError(ErrorCode.VERIFICATION_METHOD_MISSING, "The app has no secret key.")
    refused(await ask(rest), 403, 70015)


async def test_rates_are_429_and_broken_stores_503(rest: MemoryRest) -> None:
    for code in (60007, 60011):
        rest.memory.refuse_request = ErrorCode(code)
        answer = await ask(rest)
        refused(answer, 429, code)
        assert answer.headers["retry-after"] == "1"
    rest.memory.refuse_request = None
    for code in (70169, 70201, 70203, 70207, 70208, 70212, 70222, 70225, 70231):
        rest.memory.fault = AccountRefusedError(ErrorCode(code), "The store is down.")
        refused(await ask(rest), 503, code)
    rest.memory.fault = RuntimeError("boom")
    assert "boom" not in refused(await ask(rest), 500, 70401)["message"]


BODIES: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 70101),
    "no-json": (b"sdkAppId=1", 60003),
    "a-member-twice": (b'{"sdkAppId":1400000001,"userId":"ann","userId":"bob"}', 60003),
    "a-list": (b"[]", 60003),
    "no-app": (b'{"userId":"ann"}', 70402),
    "an-app-in-quotes": (b'{"sdkAppId":"1400000001","userId":"ann"}', 70402),
    "no-user": (b'{"sdkAppId":1400000001}', 70402),
    "a-user-with-a-nul": (b'{"sdkAppId":1400000001,"userId":"a\\u0000"}', 70402),
    "a-user-of-33-bytes": (b'{"sdkAppId":1400000001,"userId":"' + b"a" * 33 + b'"}', 70402),
    "expire-0": (b'{"sdkAppId":1400000001,"userId":"ann","expire":0}', 70402),
    "expire-in-two-years": (b'{"sdkAppId":1400000001,"userId":"ann","expire":63072000}', 70402),
}


@pytest.mark.parametrize(("content", "code"), BODIES.values(), ids=BODIES.keys())
async def test_a_body_that_does_not_fit_is_400(rest: MemoryRest, content: bytes, code: int) -> None:
    refused(await rest.client.post(PATH, content=content, auth=(ADMIN, USER_SIG)), 400, code)


async def test_a_body_that_is_too_large_is_413_and_one_that_is_too_slow_408() -> None:
    async with running(AdminSettings(usersig_endpoint=True, body_timeout=0.2)) as rest:
        refused(await rest.client.post(PATH, content=b" " * 10_000_000, auth=(ADMIN, USER_SIG)), 413, 60008)
        reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
        credential = CREDENTIAL.encode()
        writer.write(b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nAuthorization: " + credential + b"\r\n")
        writer.write(b"Content-Length: 60\r\n\r\n{")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":60008' in answer
