"""Connections without a login end by themselves, are bounded in number, and running out of descriptors is told."""

from __future__ import annotations

import asyncio
import json
import resource
import ssl
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from tests.attacks.raw import Raw
from tests.attacks.test_http_floods import connections_end, unharmed
from tests.wire import Wire, join

if TYPE_CHECKING:
    from tests.attacks.conftest import ServedProcess, StartProcess

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(server: ServedProcess, begin: bytes = b"") -> Stream:
    """A bare TCP connection that has said so much."""
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(begin)
    return reader, writer


async def rest(stream: Stream, within: float = 30) -> bytes:
    """What the server says until it hangs up."""
    reader, writer = stream
    try:
        return await asyncio.wait_for(reader.read(), within)
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


def warnings(server: ServedProcess, event: str) -> list[dict[str, object]]:
    """The log's lines of that event."""
    found = [json.loads(line) for line in server.log if line.startswith("{")]
    return [line for line in found if line["event"].startswith(event)]


async def hung_up(streams: list[Stream]) -> int:
    """How many of them the server has ended."""
    await asyncio.sleep(0)
    return sum(reader.at_eof() or reader.exception() is not None for reader, _ in streams)


STAGES = {
    "silent": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: x\r\nX-Half: ",
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
    "answered": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
}


async def test_a_connection_that_says_nothing_is_there_after_9_seconds_and_gone_after_12(serve: StartProcess) -> None:
    server = await serve()
    async with unharmed(server):
        started = time.monotonic()
        streams = [await connect(server) for _ in range(400)]
        await asyncio.sleep(started + 9 - time.monotonic())
        assert await hung_up(streams) == 0
        deadline = time.monotonic() + 5
        while await hung_up(streams) < len(streams):
            assert time.monotonic() < deadline, "silent connections stay"
            await asyncio.sleep(0.05)
        assert time.monotonic() - started < 14
    for _, writer in streams:
        writer.transport.abort()


@pytest.mark.parametrize("stage", list(STAGES))
async def test_a_connection_ends_in_time_whatever_it_waits_for(serve: StartProcess, stage: str) -> None:
    server = await serve(LIMITS__REQUEST_TIMEOUT=1, ADMIN__BODY_TIMEOUT=1)
    descriptors = server.descriptors
    said = await rest(await connect(server, STAGES[stage]))
    assert said[:12] == {"half a head": b"HTTP/1.1 408", "answered": b"HTTP/1.1 200"}.get(stage, said[:12])
    await connections_end(server, descriptors)


@pytest.mark.parametrize("stage", ["half a head", "half a body"])
async def test_bytes_that_drip_do_not_win_time(serve: StartProcess, stage: str) -> None:
    server = await serve(LIMITS__REQUEST_TIMEOUT=2, ADMIN__BODY_TIMEOUT=2)
    reader, writer = await connect(server, STAGES[stage])
    started = time.monotonic()
    ended = asyncio.create_task(reader.read())
    while not ended.done():
        assert time.monotonic() - started < 15, "a byte now and then keeps a connection for ever"
        writer.write(b"a")
        await asyncio.wait({ended}, timeout=0.2)
    await asyncio.gather(ended, return_exceptions=True)
    assert time.monotonic() - started > 1.9
    writer.transport.abort()


async def test_a_tls_handshake_that_is_not_finished_ends_in_time(serve: StartProcess) -> None:
    server = await serve(LIMITS__REQUEST_TIMEOUT=1, TLS_SELF_SIGNED="true")
    descriptors = server.descriptors
    for begin in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"):
        assert b"HTTP" not in await rest(await connect(server, begin))
    await connections_end(server, descriptors)
    context = ssl._create_unverified_context()
    async with httpx.AsyncClient(base_url=server.url, verify=context) as client:
        assert (await client.get("/healthz")).status_code == 200
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(server.url).port, ssl=context)
    writer.write(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200)
    assert (await rest((reader, writer))).startswith(b"HTTP/1.1 431")
    assert not [line for line in server.log if "Traceback" in line]


async def test_an_answer_that_nobody_reads_ends_its_connection(serve: StartProcess) -> None:
    server = await serve(LIMITS__REQUEST_TIMEOUT=1)
    descriptors = server.descriptors
    memory = server.memory
    streams = []
    for _ in range(50):
        raw = await Raw.open(server.url, upgrade=False, receive_buffer=2048)
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await raw.send(b"GET /sdk/trtc.js HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        streams.append(raw)
    await connections_end(server, descriptors, within=20)
    assert server.memory - memory < 96 * 2**20
    for raw in streams:
        raw.close()


async def test_over_its_share_of_connections_without_a_login_a_source_loses_its_oldest_and_users_come_in(
    serve: StartProcess,
) -> None:
    server = await serve(LIMITS__STRANGERS_PER_SOURCE=20)
    ann, _ = await join(server, "ann")
    streams = [await connect(server) for _ in range(60)]
    bob, _ = await join(server, "bob")
    assert (await ann.event())["type"] == "peer-join"
    deadline = time.monotonic() + 5
    while await hung_up(streams) < 40:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert await hung_up(streams[-19:]) == 0, "the youngest stay"
    assert len(warnings(server, "connections closed to make room")) == 1, "one line a window"
    for wire in (ann, bob):
        await wire.ask("ping")
        await wire.close()
    for _, writer in streams:
        writer.transport.abort()


async def test_over_the_total_a_stranger_goes_and_nobody_who_is_signed_in(serve: StartProcess) -> None:
    server = await serve(LIMITS__CONNECTIONS=20)
    users = [(await join(server, f"user{number}"))[0] for number in range(10)]
    streams = [await connect(server) for _ in range(30)]
    for wire in users:
        await wire.ask("ping")
    more = [(await join(server, f"more{number}"))[0] for number in range(10)]
    late = await connect(server)
    assert (await rest(late)).startswith(b"HTTP/1.1 503"), "all places belong to users who are signed in"
    assert len(warnings(server, "connections refused")) == 1
    for wire in more[1:] + users:
        await wire.close()
    assert await more[0].quiet() is False
    await more[0].close()
    wire, _ = await join(server, "late")
    await wire.close()
    for _, writer in streams:
        writer.transport.abort()


async def test_behind_a_trusted_proxy_sockets_are_counted_by_the_address_that_it_names(serve: StartProcess) -> None:
    server = await serve(LIMITS__STRANGERS_PER_SOURCE=5, TRUSTED_PROXIES="127.0.0.1")

    async def from_(address: str) -> Wire:
        return await Wire.open(server, additional_headers={"X-Forwarded-For": address})  # type: ignore[arg-type]

    others = [await from_(f"198.51.100.{number}") for number in range(12)]
    flood = [await from_(f"2001:db8:1:2::{number}") for number in range(1, 9)]
    for wire in flood[:3]:
        await wire.closed()
    for wire in others + flood[3:]:
        assert wire.socket.state.name == "OPEN"
        await wire.close()


async def test_without_descriptors_the_log_says_so_users_go_on_and_it_recovers(serve: StartProcess) -> None:
    server = await serve()
    ann, _ = await join(server, "ann")
    before = server.descriptors
    # Far below what the server counted on at its start, as if something else in it had used them up.
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (before + 12, hard))
    streams: list[Stream] = []
    with ExitStack() as stack:
        for _ in range(60):
            streams.append(await connect(server))
            stack.callback(streams[-1][1].transport.abort)
        for _ in range(20):
            await ann.ask("ping")
        deadline = time.monotonic() + 10
        while not warnings(server, "connections refused: no descriptors left"):
            assert time.monotonic() < deadline, "nothing in the log"
            await asyncio.sleep(0.05)
        used = processor_time(server)
        await asyncio.sleep(1)
        assert processor_time(server) - used < 0.5, "accepting in vain must not spin"
    async with httpx.AsyncClient(base_url=server.url) as client:
        deadline = time.monotonic() + 10
        while True:
            try:
                assert (await client.get("/healthz")).status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline, "it does not recover"
                await asyncio.sleep(0.1)
    assert len(warnings(server, "connections refused: no descriptors left")) <= 3
    await ann.close()


def processor_time(server: ServedProcess) -> float:
    """Seconds of processor that the server has used."""
    with open(f"/proc/{server.process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def test_with_128_descriptors_it_serves_as_many_as_it_can_and_says_that_they_are_few(serve: StartProcess) -> None:
    server = await serve(descriptors=128)
    ann, _ = await join(server, "ann")
    streams = [await connect(server) for _ in range(200)]
    bob, _ = await join(server, "bob")
    assert warnings(server, "fewer connections than the settings allow")
    assert len(warnings(server, "connections closed to make room")) == 1
    assert server.descriptors < 128
    for wire in (ann, bob):
        await wire.ask("ping")
        await wire.close()
    for _, writer in streams:
        writer.transport.abort()
