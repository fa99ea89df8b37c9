"""Joins of real browsers while somebody, who knows their addresses but sees nothing of what is said, forges DTLS."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from parlour.media import MediaCore
from parlour.sdp.uplink import read_uplink_offer, write_uplink_answer

from tests.browser.harness import Browsers
from tests.browser.test_checks import ANSWER, OFFER, page_of
from tests.peers.ortc_peer import OrtcPeer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

JOINS = 10
SO_RCVBUFFORCE = 33
GATHERED = """async () => {
  const connection = window.connection;
  if (connection.iceGatheringState !== 'complete') {
    await new Promise((done) => { connection.onicegatheringstatechange =
      () => { if (connection.iceGatheringState === 'complete') done(); }; });
  }
  return connection.localDescription.sdp;
}"""


def record(kind: int, epoch: int, number: int, body: bytes) -> bytes:
    """A DTLS record (RFC 6347 §4.1)."""
    return struct.pack(">BHH", kind, 0xFEFD, epoch) + number.to_bytes(6) + len(body).to_bytes(2) + body


def fragment(kind: int, seq: int, length: int, offset: int, body: bytes) -> bytes:
    """A piece of a handshake message (RFC 6347 §4.2.2)."""
    return (
        struct.pack(">B", kind)
        + length.to_bytes(3)
        + seq.to_bytes(2)
        + offset.to_bytes(3)
        + len(body).to_bytes(3)
        + body
    )


def forged(chance: random.Random) -> bytes:
    """An alert, a piece of a message of the client or a whole one, the change of cipher, or something sealed."""
    kind, seq = chance.choice([(1, 0), (11, 1), (16, 2), (15, 3)])
    body = chance.randbytes(chance.randrange(1, 80))
    offset = chance.choice([0, chance.randrange(300)])
    piece = fragment(kind, seq, offset + len(body) + chance.randrange(1, 300), offset, body)
    key_exchange = b"\x41\x04" + chance.randbytes(64)
    verify = b"\x04\x03\x00\x47\x30\x45" + chance.randbytes(69)
    pair = [(16, 2, key_exchange), (15, 3, verify)]
    whole = [record(22, 0, seq, fragment(kind, seq, len(body), 0, body)) for kind, seq, body in pair]
    number = chance.randrange(50)
    return chance.choice([
        record(21, 0, number, bytes([2, 40])), record(21, 0, number, bytes([1, 0])), record(22, 0, number, piece),
        whole[0], whole[1], b"".join(whole), record(22, 0, 1, fragment(11, 1, 3, 0, bytes(3))),
        record(20, 0, number, b"\x01"), record(22, 1, 0, chance.randbytes(40)),
    ])  # fmt: skip


def forged_hello(chance: random.Random) -> bytes:
    """A whole ClientHello of DTLS 1.2 that could be anybody's (RFC 5246 §7.4.1.2, RFC 6347 §4.2.1)."""
    groups, algorithms = b"\x00\x02\x00\x17", b"\x00\x02\x04\x03"
    extensions = [(23, b""), (10, groups), (13, algorithms), (14, b"\x00\x04\x00\x08\x00\x07\x00")]
    said = b"".join(struct.pack(">HH", kind, len(body)) + body for kind, body in extensions)
    body = b"\xfe\xfd" + chance.randbytes(32) + b"\x00\x00" + b"\x00\x04\xc0\x2b\xc0\x2c" + b"\x01\x00"
    body += struct.pack(">H", len(said)) + said
    return record(22, 0, chance.randrange(50), fragment(1, 0, len(body), 0, body))


def send_as(raw: socket.socket, source: tuple[str, int], target: tuple[str, int], datagram: bytes) -> None:
    """Send a datagram that says it is from `source`."""
    udp = struct.pack(">HHHH", source[1], target[1], 8 + len(datagram), 0) + datagram
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0)
    raw.sendto(head + addresses + udp, target)


@contextmanager
def spray(
    sources: list[tuple[str, int]], target: tuple[str, int], forge: Callable[[random.Random], bytes]
) -> Iterator[list[int]]:
    """Send forged datagrams that say they are from these addresses until the block ends; yields how many, in a list."""
    begun, stop, sent, chance = threading.Event(), threading.Event(), [0], random.Random(1)

    def run() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            while not stop.wait(0.001):
                for source in sources:
                    send_as(raw, source, target, forge(chance))
                    sent[0] += 1
                begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert begun.wait(10)
        yield sent
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("forge", [forged, forged_hello])
async def test_forged_dtls_from_its_own_address_keeps_no_browser_out(
    browsers: Browsers, forge: Callable[[random.Random], bytes]
) -> None:
    core = MediaCore(bind="127.0.0.1", port=0)
    await core.start()
    try:
        async with page_of("chromium", browsers) as page:
            for _ in range(JOINS):
                transport = core.create_transport(0)
                await page.evaluate(OFFER)
                sdp = await page.evaluate(GATHERED)
                offer = read_uplink_offer(sdp)
                core.set_remote(transport.id, offer.remote)
                ports = ports_of(sdp)
                mids = [line.mid for line in offer.lines]
                answer = write_uplink_answer(offer, transport.local, mids, session_id=1, version=1)
                with spray([("127.0.0.1", port) for port in ports], ("127.0.0.1", core.ports[0]), forge) as sent:
                    await page.evaluate(ANSWER, answer)
                    await connected(core)
                assert sent[0] > 0
                await page.evaluate("window.connection.close()")
                core.remove_transport(transport.id)
            router = (await core.snapshot())["shards"][0]["router"]
            if forge is forged_hello:
                # Of each join the browser's own hello was worked on and its second flight, and nothing that was forged.
                assert router["handshakes"]["worked"] <= 2 * JOINS, router
            else:
                assert router["drops"]["dtls-out-of-turn"] > JOINS, router
    finally:
        await core.close()


def ports_of(sdp: str) -> set[int]:
    """The UDP ports of the host candidates."""
    ports = set(map(int, re.findall(r"a=candidate:\S+ \d+ udp \d+ \S+ (\d+) typ host", sdp, re.IGNORECASE)))
    assert ports, sdp
    return ports


def hellos_with_a_cookie(received: socket.socket, port: int) -> int:
    """How many datagrams to that port begin a ClientHello with number 1 (RFC 6347 §4.2.2), of those that came."""
    count = 0
    while True:
        try:
            packet = received.recv(65536)
        except BlockingIOError:
            return count
        udp = packet[(packet[0] & 15) * 4 :]
        begins = udp[8:9] == b"\x16" and udp[21:22] == b"\x01" and udp[25:30] == b"\x00\x01\x00\x00\x00"
        count += begins and struct.unpack(">H", udp[2:4]) == (port,)


@pytest.mark.parametrize("peer", ["chromium", "firefox", "aiortc"])
async def test_a_peer_in_whose_name_somebody_spoke_brings_the_cookie_that_it_is_asked_for(
    browsers: Browsers, peer: str
) -> None:
    core = MediaCore(bind="0.0.0.0", port=0)
    await core.start()
    received = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    # It gets what comes for everybody on this machine.
    received.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
    received.setblocking(False)
    try:
        transport = core.create_transport(0)
        # They are on this machine, at any of the addresses of the server.
        hosts = {candidate.ip for candidate in transport.local.candidates if ":" not in candidate.ip}

        def speak_as(ports: set[int]) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
                for host in hosts:
                    for port in ports:
                        alert = record(21, 0, 0, b"\x02\x28")
                        send_as(raw, (host, port), (host, core.ports[0]), alert)

        if peer == "aiortc":
            other = OrtcPeer()
            speak_as(await other.gather())
            core.set_remote(transport.id, other.parameters)
            await other.connect(transport.local)
            await connected(core)
            await other.close()
        else:
            async with page_of(peer, browsers) as page:
                await page.evaluate(OFFER)
                sdp = await page.evaluate(GATHERED)
                offer = read_uplink_offer(sdp)
                core.set_remote(transport.id, offer.remote)
                speak_as(ports_of(sdp))
                mids = [line.mid for line in offer.lines]
                await page.evaluate(ANSWER, write_uplink_answer(offer, transport.local, mids, session_id=1, version=1))
                await connected(core)
        assert hellos_with_a_cookie(received, core.ports[0]) > 0
    finally:
        received.close()
        await core.close()


async def connected(core: MediaCore) -> None:
    """Wait until the transport that was added last has its keys."""
    async with asyncio.timeout(20):
        while True:
            transports = (await core.snapshot())["shards"][0]["router"]["transports"]
            if transports[-1]["state"] == "connected":
                return
            await asyncio.sleep(0.05)
