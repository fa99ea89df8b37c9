"""Connections for media (ICE-TCP) under attack: 27 of the attack list, beside a call that loses nothing.

Ten thousand that say nothing, frames that claim 65,535 bytes and bring one now and then, frames of all else: each
ends by a reason that is counted, one line of the log a window tells of it; memory and descriptors stay bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest_asyncio
from aioice import stun
from parlour.media import MediaCore, TcpLimits
from parlour.media.counters import TcpCounters
from parlour.sdp.model import LocalTransport

from tests.attacks.conftest import ServedProcess, StartProcess
from tests.attacks.test_call_next_door import loses_nothing_during
from tests.attacks.test_connections import warnings
from tests.attacks.test_media_port import resident_bytes
from tests.peers.aiortc_peer import AiortcPeer
from tests.peers.stun_peer import DEADLINE, binding_request

IDLE = 10_000
SOURCES = 50
LIMITS = TcpLimits(connections=600, per_source=200, strangers_per_source=20)


@pytest_asyncio.fixture
async def media() -> AsyncIterator[MediaCore]:
    lines: list[tuple[str, dict[str, object]]] = []
    core = MediaCore(bind="127.0.0.1", port=0, tcp=LIMITS, tell=lambda event, **fields: lines.append((event, fields)))
    core.lines = lines  # type: ignore[attr-defined]
    await core.start()
    yield core
    await core.close()


async def connections(media: MediaCore) -> TcpCounters:
    counters = (await media.snapshot(timeout=10))["shards"][0]["tcp"]
    assert counters is not None
    return counters


async def until_ended(media: MediaCore, **wanted: int) -> TcpCounters:
    """Wait until so many connections have ended for these reasons; what the counters say then."""
    reasons = {name.replace("_", "-"): count for name, count in wanted.items()}
    async with asyncio.timeout(40):
        while True:
            counters = await connections(media)
            if all(counters["ended"].get(reason, 0) >= count for reason, count in reasons.items()):
                return counters
            await asyncio.sleep(0.05)


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    """A connection from one of this machine's many addresses."""
    made = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE, source_address=(source, 0))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def framed(datagram: bytes) -> bytes:
    """RFC 4571: its length, and it."""
    return len(datagram).to_bytes(2) + datagram


def answer(connection: socket.socket) -> bytes:
    """The next frame."""
    with connection.makefile("rb", buffering=0) as stream:
        head = _exactly(stream.read, 2)
        return _exactly(stream.read, int.from_bytes(head))


def _exactly(read: object, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = read(count - len(data))  # type: ignore[operator]
        assert piece, "the server hung up"
        data += piece
    return data


class Peer:
    """One that checks a transport over a connection of its own."""

    def __init__(self, port: int, local: LocalTransport) -> None:
        self.local = local
        self.connection = connect(port)

    def check(self) -> float:
        """One check; the seconds until its answer."""
        request = binding_request(self.local, nominate=True)
        began = time.monotonic()
        self.connection.sendall(framed(bytes(request)))
        said = stun.parse_message(answer(self.connection))
        assert said.transaction_id == request.transaction_id
        assert said.attributes["XOR-MAPPED-ADDRESS"] == self.connection.getsockname()
        return time.monotonic() - began


@contextlib.contextmanager
def many_descriptors() -> Iterator[None]:
    """This process holds the attackers' ends, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_ten_thousand_idle_connections_are_bounded_and_make_room_for_who_has_something_to_say(
    media: MediaCore,
) -> None:
    port = media.ports[0]
    peer = Peer(port, media.create_transport(0).local)
    assert await asyncio.to_thread(peer.check) < DEADLINE
    memory, descriptors = resident_bytes(), len(os.listdir("/proc/self/fd"))
    idle: list[socket.socket] = []

    def storm() -> None:
        for number in range(IDLE):
            idle.append(connect(port, f"127.0.1.{1 + number % SOURCES}"))
            if number % 500 == 0:
                peer.check()
            if len(idle) > 1_000:
                idle.pop(0).close()  # a machine may not have so many for both ends

    with many_descriptors():
        await asyncio.to_thread(storm)
        counters = await connections(media)
        # The peer, and what each source may have without saying whose it is, as far as there is room for all.
        assert counters["open"] <= LIMITS.connections
        assert counters["strangers"] <= LIMITS.connections - 1
        assert counters["accepted"] == IDLE + 1
        assert counters["ended"].keys() <= {"made-room", "no-check", "peer-closed"}
        assert resident_bytes() - memory < 8 << 20
        assert len(os.listdir("/proc/self/fd")) - descriptors <= 1_001 + LIMITS.connections
        newcomer = Peer(port, media.create_transport(0).local)
        assert await asyncio.to_thread(newcomer.check) < DEADLINE
        assert await asyncio.to_thread(peer.check) < DEADLINE
        for connection in idle:
            connection.close()
    await asyncio.sleep(0)  # what the shard has told is taken by the loop
    lines = [event for event, _ in media.lines]  # type: ignore[attr-defined]
    assert 1 <= len(lines) <= 20, lines
    for one in (peer, newcomer):
        one.connection.close()
    # Whatever was left of the strangers was closed by its own end, or has had its ten seconds.
    deadline = time.monotonic() + 40
    while (await connections(media))["open"]:
        assert time.monotonic() < deadline


async def test_a_frame_of_65535_that_comes_byte_by_byte_is_refused_at_its_head_and_a_slow_check_in_ten_seconds(
    media: MediaCore,
) -> None:
    port = media.ports[0]
    local = media.create_transport(0).local
    peer = Peer(port, local)
    await asyncio.to_thread(peer.check)
    long, slow, silent = connect(port), connect(port), connect(port)
    long.sendall(b"\xff\xff")
    check = framed(bytes(binding_request(local)))
    slow.sendall(check[:1])
    began = time.monotonic()
    await until_ended(media, frame_too_long=1)
    assert await asyncio.to_thread(long.recv, 1) == b""
    slow.sendall(check[1:2])
    await until_ended(media, no_check=2)
    assert 9 < time.monotonic() - began < 30
    for one in (slow, silent):
        assert await asyncio.to_thread(one.recv, 1) == b""
    # One that is known may say it, and loses that frame alone.
    peer.connection.sendall(b"\xff\xff" + bytes(60_000))
    peer.connection.sendall(bytes(5_535))
    assert await asyncio.to_thread(peer.check) < DEADLINE
    counters = await connections(media)
    assert counters["drops"] == {"frame-too-long": 1}
    assert (counters["open"], counters["strangers"]) == (1, 0)
    for one in (peer.connection, long, slow, silent):
        one.close()


async def test_whatever_comes_first_and_is_no_check_ends_a_connection_without_a_word(media: MediaCore) -> None:
    chance = random.Random(27)
    port, local = media.ports[0], media.create_transport(0).local
    peer = Peer(port, local)
    await asyncio.to_thread(peer.check)
    wrong = framed(bytes(binding_request(local, pwd="x" * 24)))
    kinds = [
        lambda: chance.randbytes(chance.randrange(1, 3_000)),
        lambda: framed(chance.randbytes(chance.randrange(0, 1_000))),
        lambda: framed(b"\x16\xfe\xfd" + chance.randbytes(200)),
        lambda: framed(b"\x80\x60" + chance.randbytes(200)),
        lambda: wrong[: chance.randrange(1, len(wrong))],
        lambda: wrong * 3,
    ]

    def storm() -> None:
        for number in range(600):
            stranger = connect(port, f"127.0.2.{1 + number % 100}")
            with contextlib.suppress(OSError):  # it may be closed while it speaks
                stranger.sendall(kinds[number % len(kinds)]())
                stranger.shutdown(socket.SHUT_WR)
                assert stranger.recv(1) == b"", "a stranger got an answer"
            stranger.close()
            if number % 50 == 0:
                peer.check()

    await asyncio.to_thread(storm)
    assert await asyncio.to_thread(peer.check) < DEADLINE
    counters = await connections(media)
    assert counters["frames_out"] == 14, "the peer's answers alone"
    assert counters["ended"].keys() <= {"not-a-check", "frame-too-long", "peer-closed", "broken"}
    assert sum(counters["ended"].values()) == 600
    drops = (await media.snapshot(timeout=10))["shards"][0]["router"]["drops"]
    assert drops.keys() <= {"stun-malformed", "stun-bad-integrity", "stun-over-budget", "stun-not-request"}
    peer.connection.close()


async def test_a_call_loses_nothing_beside_ten_thousand_idle_connections_and_frames_of_garbage(
    serve: StartProcess,
) -> None:
    server = await serve()

    def storm(port: int) -> None:
        chance = random.Random(27)
        idle: list[socket.socket] = []
        for number in range(IDLE):
            stranger = connect(port, f"127.0.3.{1 + number % SOURCES}")
            if number % 4 == 0:
                with contextlib.suppress(ConnectionError):
                    stranger.sendall(framed(chance.randbytes(1_000)))
            idle.append(stranger)
            if len(idle) > 500:
                idle.pop(0).close()
        for stranger in idle:
            stranger.close()

    async def attack(_: AiortcPeer) -> None:
        await asyncio.to_thread(storm, server.media_ports[0])

    await loses_nothing_during(server, attack)
    lines = warnings(server, "connections for media over TCP")
    assert lines
    kinds = {str(line["event"]) for line in lines}
    assert len(lines) <= 12 * len(kinds), f"{len(lines)} lines of {len(kinds)} kinds in at most two minutes"
    assert await_descriptors(server) < 200


def await_descriptors(server: ServedProcess) -> int:
    """Descriptors that the server has once those of the storm are closed."""
    end = time.monotonic() + 30
    while server.descriptors >= 200 and time.monotonic() < end:
        time.sleep(0.1)
    return server.descriptors
