"""Joins of real browsers while somebody, who knows their addresses but sees nothing of what is said, forges DTLS."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from parlour.media import MediaCore
from parlour.sdp.uplink import read_uplink_offer, write_uplink_answer

from tests.browser.harness import Browsers
from tests.browser.test_checks import ANSWER, OFFER, page_of

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

JOINS = 10
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


@contextmanager
def spray(sources: list[tuple[str, int]], target: tuple[str, int]) -> Iterator[list[int]]:
    """Send forged datagrams that say they are from these addresses until the block ends; yields how many, in a list."""
    stop, sent, chance = threading.Event(), [0], random.Random(1)

    def run() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            while not stop.wait(0.001):
                for host, port in sources:
                    datagram = forged(chance)
                    udp = struct.pack(">HHHH", port, target[1], 8 + len(datagram), 0) + datagram
                    addresses = socket.inet_aton(host) + socket.inet_aton(target[0])
                    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0)
                    raw.sendto(head + addresses + udp, target)
                    sent[0] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


async def test_forged_dtls_from_its_own_address_keeps_no_browser_out(browsers: Browsers) -> None:
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
                ports = set(map(int, re.findall(r"a=candidate:\S+ \d+ udp \d+ \S+ (\d+) typ host", sdp, re.IGNORECASE)))
                assert ports, sdp
                mids = [line.mid for line in offer.lines]
                answer = write_uplink_answer(offer, transport.local, mids, session_id=1, version=1)
                with spray([("127.0.0.1", port) for port in ports], ("127.0.0.1", core.ports[0])) as sent:
                    await page.evaluate(ANSWER, answer)
                    await connected(core)
                assert sent[0] > 0
                await page.evaluate("window.connection.close()")
                core.remove_transport(transport.id)
            drops = (await core.snapshot())["shards"][0]["router"]["drops"]
            assert drops["dtls-out-of-turn"] > JOINS, drops
    finally:
        await core.close()


async def connected(core: MediaCore) -> None:
    """Wait until the transport that was added last has its keys."""
    async with asyncio.timeout(20):
        while True:
            transports = (await core.snapshot())["shards"][0]["router"]["transports"]
            if transports[-1]["state"] == "connected":
                return
            await asyncio.sleep(0.05)
