"""The media port under fire: whatever comes from strangers costs nothing that lasts and disturbs nobody."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from parlour.media import MediaCore, TransportHandle

from tests.peers.stun_peer import StunPeer, binding_request

STORM = 20_000
MEMORY_BOUND = 16 << 20
"""Bytes by which this process may grow in a storm: the slab of the receiver, once, and what Python itself takes."""


@pytest_asyncio.fixture
async def media() -> AsyncIterator[MediaCore]:
    core = MediaCore(bind="127.0.0.1", port=0)
    await core.start()
    yield core
    await core.close()


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def refused(media: MediaCore) -> dict[str, int]:
    """What the core dropped so far, by reason."""
    snapshot = await media.snapshot(timeout=10)
    return snapshot["shards"][0]["router"]["drops"]


class Neighbour:
    """An honest peer that keeps checking its transport, on a thread of its own, and wants each check answered.

    It is known before the storm begins: until then whether its check is looked at may be for the lot to decide, as it
    comes from the storm's own address, and a peer that is not known repeats its checks.
    """

    def __init__(self, media: MediaCore, transport: TransportHandle) -> None:
        self._peer = StunPeer(("127.0.0.1", media.ports[0]))
        self._local = transport.local
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self.took: list[float] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.took.append(self._peer.check(self._local))
        except BaseException as error:
            self._failure = error

    def during(self, storm: Callable[[], None]) -> None:
        """Check before the storm, and again and again while it lasts."""
        self._peer.check(self._local)
        self._thread.start()
        try:
            storm()
        finally:
            self._stop.set()
            self._thread.join()
            self._peer.close()
        if self._failure:
            raise self._failure
        assert self.took, "not one check while the storm lasted"


async def weather(media: MediaCore, datagrams: list[bytes], *, gust: int = 64) -> dict[str, int]:
    """Send a storm beside an honest neighbour. Returns what was dropped, by reason.

    Asserts that the stranger got no answer, that memory is bounded, and that nobody else noticed. Between gusts another
    peer is served: the kernel's buffer then holds a gust even where the system's limits keep it small, so that every
    datagram is one the core has to judge.
    """
    quiet, transport = media.create_transport(0), media.create_transport(0)
    neighbour = Neighbour(media, transport)
    server = ("127.0.0.1", media.ports[0])
    with StunPeer(server) as other, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        other.check(quiet.local)
        memory = resident_bytes()
        stranger.connect(server)

        def storm() -> None:
            for start in range(0, len(datagrams), gust):
                for datagram in datagrams[start : start + gust]:
                    stranger.send(datagram)
                other.check(quiet.local)

        neighbour.during(storm)
        snapshot = await media.snapshot(timeout=10)
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.recv(2048)
        other.check(quiet.local)
    grown = resident_bytes() - memory
    assert grown < MEMORY_BOUND, f"grew by {grown} bytes"
    assert max(neighbour.took) < 3
    counters = snapshot["shards"][0]
    assert counters["socket"]["panics"] == 0
    assert counters["socket"]["drops"] == {}
    assert {entry["state"] for entry in counters["router"]["transports"]} <= {"new", "checking"}
    return counters["router"]["drops"]


async def test_random_datagrams_get_silence_and_leave_nothing(media: MediaCore) -> None:
    chance = random.Random(2)
    drops = await weather(media, [chance.randbytes(chance.randrange(1, 1500)) for _ in range(STORM)])
    assert sum(drops.values()) == STORM


async def test_every_truncation_and_every_flipped_byte_of_a_check_gets_silence(media: MediaCore) -> None:
    victim = media.create_transport(0).local
    check = bytes(binding_request(victim, nominate=True))
    broken = [check[:length] for length in range(1, len(check))]
    for index in range(len(check)):
        for flip in (0x01, 0x80, 0xFF):
            broken.append(check[:index] + bytes([check[index] ^ flip]) + check[index + 1 :])
    drops = await weather(media, broken)
    assert sum(drops.values()) == len(broken)


async def test_checks_with_a_wrong_password_get_silence_and_few_of_them_are_verified(media: MediaCore) -> None:
    victim = media.create_transport(0).local
    wrong = bytes(binding_request(victim, pwd="x" * 24))
    drops = await weather(media, [wrong] * STORM)
    assert drops.keys() == {"stun-bad-integrity", "stun-over-budget"}
    assert sum(drops.values()) == STORM


async def test_who_comes_first_in_the_midst_of_a_storm_from_its_own_address_gets_in(media: MediaCore) -> None:
    victim, newcomer = media.create_transport(0).local, media.create_transport(0).local
    wrong = bytes(binding_request(victim, pwd="x" * 24))
    server, over = ("127.0.0.1", media.ports[0]), threading.Event()

    def storm() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.connect(server)
            while not over.is_set():
                stranger.send(wrong)

    thread = threading.Thread(target=storm)
    with StunPeer(server) as peer:
        thread.start()
        try:
            async with asyncio.timeout(10):
                while sum((await refused(media)).values()) < STORM:
                    pass
            await asyncio.to_thread(peer.check, newcomer, again=0.05)
        finally:
            over.set()
            thread.join()
    assert (await refused(media)).keys() == {"stun-bad-integrity", "stun-over-budget"}


def client_hello(chance: random.Random) -> list[bytes]:
    """A DTLS 1.2 ClientHello in two fragments (RFC 6347 §4.2.2), as browsers with post-quantum key shares send it."""
    body = b"\xfe\xfd" + chance.randbytes(32) + b"\x00\x00" + b"\x00\x02\xc0\x2b" + b"\x01\x00" + chance.randbytes(1300)
    records = []
    for number, (start, end) in enumerate([(0, 700), (700, len(body))]):
        fragment = body[start:end]
        handshake = (
            b"\x01" + len(body).to_bytes(3) + b"\x00\x00" + start.to_bytes(3) + len(fragment).to_bytes(3) + fragment
        )
        records.append(b"\x16\xfe\xfd\x00\x00" + number.to_bytes(6) + len(handshake).to_bytes(2) + handshake)
    return records


async def test_client_hellos_from_an_address_that_no_check_validated_get_silence(media: MediaCore) -> None:
    chance = random.Random(3)
    fragments = [fragment for _ in range(STORM // 2) for fragment in client_hello(chance)]
    chance.shuffle(fragments)
    drops = await weather(media, fragments)
    assert drops == {"unknown-source": STORM}


async def test_media_from_an_address_that_no_check_validated_is_dropped(media: MediaCore) -> None:
    chance = random.Random(4)
    packets = [bytes([0x80, 96]) + chance.randbytes(chance.randrange(10, 1200)) for _ in range(STORM // 2)]
    packets += [bytes([0x81, 200 + chance.randrange(8)]) + chance.randbytes(80) for _ in range(STORM // 2)]
    drops = await weather(media, packets)
    assert drops == {"unknown-source": STORM}


async def test_the_largest_datagrams_there_are_get_silence(media: MediaCore) -> None:
    chance = random.Random(5)
    drops = await weather(media, [chance.randbytes(65_507) for _ in range(300)], gust=2)
    assert sum(drops.values()) == 300
