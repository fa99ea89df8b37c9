"""Bodies of the account REST on the wire: too large, too slow, cut off, of any type, one after the other."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator

import pytest
from parlour.admin import AdminSettings

from tests.unit.admin_memory import MemoryRest, running

IMPORT = "im_open_login_svc/account_import"
OK = {"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0}


@pytest.fixture
async def rest() -> AsyncIterator[MemoryRest]:
    async with running() as found:
        yield found


async def send(rest: MemoryRest, *parts: bytes, pause: float = 0, path: str = IMPORT) -> bytes:
    """All that comes back over a bare socket until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
    query = "&".join(f"{name}={value}" for name, value in rest.parameters.items())
    writer.write(f"POST /v4/{path}?{query} HTTP/1.1\r\nHost: x\r\n".encode())
    for part in parts:
        writer.write(part)
        if pause:
            await asyncio.sleep(pause)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def test_a_body_over_the_limit_is_60008_and_is_not_read_on(rest: MemoryRest) -> None:
    for content in (b" " * (1024 * 1024 + 1), b'{"UserID":"' + b"a" * 10_000_000 + b'"}'):
        started = time.monotonic()
        answer = await rest.raw(IMPORT, content)
        assert (answer["ErrorCode"], "1048576 bytes" in answer["ErrorInfo"]) == (60008, True)
        assert time.monotonic() - started < 3
    assert (await rest.raw(IMPORT, b'{"UserID":"ann"}' + b" " * (1024 * 1024 - 16)))["ErrorCode"] == 0


async def test_a_body_whose_announced_length_is_over_the_limit_is_refused_before_it_comes(rest: MemoryRest) -> None:
    answer = await send(rest, b"Content-Length: 9999999999\r\n\r\n")
    assert b'"ErrorCode":60008' in answer
    assert b"connection: close" in answer.lower()


async def test_a_body_in_chunks_without_end_is_refused_at_the_limit(rest: MemoryRest) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in itertools.repeat(None, 200):
            yield b" " * 65536

    assert (await rest.client.post(f"/v4/{IMPORT}", params=rest.parameters, content=chunks())).json()[
        "ErrorCode"
    ] == 60008


async def test_a_body_that_trickles_is_60008_at_the_deadline() -> None:
    async with running(AdminSettings(body_timeout=0.3)) as rest:
        started = time.monotonic()
        answer = await send(rest, b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\n{    \r\n")
        assert b'"ErrorCode":60008' in answer
        assert b"after 0.3 seconds" in answer
        answer = await send(rest, b"Content-Length: 16\r\n\r\n", b'{"User')
        assert b'"ErrorCode":60008' in answer
        assert time.monotonic() - started < 5


async def test_a_client_that_goes_away_in_the_middle_of_its_body_leaves_nothing_behind(
    rest: MemoryRest, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", rest.port)
    query = "&".join(f"{name}={value}" for name, value in rest.parameters.items())
    writer.write(f'POST /v4/{IMPORT}?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{"UserID"'.encode())
    await writer.drain()
    writer.close()
    assert await rest.call(IMPORT, {"UserID": "bob"}) == OK
    assert set(rest.memory.accounts) == {"bob"}
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_content_types_are_not_looked_at(rest: MemoryRest) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "image/png", "", "application/json; charset=gbk"):
        answer = await rest.client.post(
            f"/v4/{IMPORT}", params=rest.parameters, content=b'{"UserID":"ann"}', headers={"Content-Type": kind}
        )
        assert answer.json() == OK


async def test_a_connection_is_kept_for_the_next_call_after_a_refusal(rest: MemoryRest) -> None:
    good, bad = b'{"UserID":"ann"}', b"x" * 1000
    query = "&".join(f"{name}={value}" for name, value in rest.parameters.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port)
    for path, body, code in ((f"/v4/{IMPORT}", bad, 60012), (f"/v4/{IMPORT}?{query}", good, 0)):
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert f'"ErrorCode":{code}'.encode() in await reader.readexactly(length)
    writer.close()
