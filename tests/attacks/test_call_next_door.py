"""A real call goes on while the media port and the signaling channel are attacked: it loses no packet."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import time
from typing import TYPE_CHECKING

from aioice import stun
from aiortc import RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack

from tests.attacks.raw import TEXT, Raw, frame
from tests.attacks.test_media_port import client_hello
from tests.peers.aiortc_peer import AiortcPeer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.attacks.conftest import ServedProcess, StartProcess

STORM = 20_000
BURST = 250  # datagrams at once; the receive buffer of the server is shared with the call, as on any machine
ATTACKERS = 8
JOINING = 12


async def drained(track: MediaStreamTrack) -> None:
    """Receive a track until the test ends."""
    while True:
        await track.recv()


async def received(peer: AiortcPeer) -> tuple[int, int]:
    """How many packets the peer has received and how many of them it misses."""
    assert peer.downlink is not None
    packets = lost = 0
    for receiver in peer.downlink.getReceivers():
        for entry in (await receiver.getStats()).values():
            if entry.type == "inbound-rtp":
                packets += entry.packetsReceived
                lost += entry.packetsLost
    return packets, lost


def storm(port: int) -> None:
    """Random bytes, cut-off STUN, RTP of strangers and ClientHello fragments in any order, from several addresses."""
    chance = random.Random(7)
    strangers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(ATTACKERS)]
    stun = bytes.fromhex("000100502112a442") + bytes(12) + chance.randbytes(80)
    hello = client_hello(chance)
    for number in range(STORM):
        kinds = (
            chance.randbytes(chance.randrange(1, 1400)),
            stun[: chance.randrange(1, len(stun))],
            b"\x80\x60" + chance.randbytes(200),
            chance.choice(hello),
        )
        strangers[number % ATTACKERS].sendto(kinds[number % len(kinds)], ("127.0.0.1", port))
        if number % BURST == 0:
            time.sleep(0.02)  # the pace of the storm: 12,500 a second at the most
    for stranger in strangers:
        stranger.close()


async def floods(server: ServedProcess) -> None:
    """Sockets that speak garbage, and sockets that speak too fast."""
    ping = json.dumps({"id": 1, "type": "ping"}).encode()
    for _ in range(5):
        raw = await Raw.open(server.signaling_url)
        await raw.send(frame(TEXT, b"{no json " * 200))
        assert await raw.close_code() == 4400
        raw = await Raw.open(server.signaling_url)
        await raw.send(frame(TEXT, ping) * 1_000)
        assert await raw.close_code() == 4429


def wrong_passwords(port: int, username: str) -> None:
    """Checks with the user fragments of a real transport and a wrong password, from many addresses."""
    check = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    check.attributes["USERNAME"] = username
    check.attributes["PRIORITY"] = 1
    check.attributes["ICE-CONTROLLING"] = 1
    check.attributes["USE-CANDIDATE"] = None
    check.add_message_integrity(b"x" * 24)
    check.add_fingerprint()
    for gust in range(STORM // BURST):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((f"127.0.{1 + gust}.1", 0))
            for _ in range(BURST):
                stranger.sendto(bytes(check), ("127.0.0.1", port))
        time.sleep(0.02)


def ufrag(description: RTCSessionDescription) -> str:
    """The user fragment that a description names (RFC 8839, section 5.4)."""
    found = re.search(r"a=ice-ufrag:(\S+)", description.sdp)
    assert found is not None
    return found[1]


async def connected(peer: AiortcPeer) -> None:
    """Wait until what a peer publishes has a way."""
    uplink = peer.uplink
    assert uplink is not None
    changed = asyncio.Event()
    uplink.on("connectionstatechange", changed.set)
    async with asyncio.timeout(30):
        while uplink.connectionState != "connected":
            await changed.wait()
            changed.clear()


async def joins(server: ServedProcess, count: int) -> None:
    """So many peers shake hands at once, are connected, and leave."""
    peers = [AiortcPeer(server.url) for _ in range(count)]
    for number, peer in enumerate(peers):
        await peer.join(server.app, f"guest{number}", server.user_sig(f"guest{number}"))
    await asyncio.gather(*(peer.publish(AudioStreamTrack()) for peer in peers))
    await asyncio.gather(*(connected(peer) for peer in peers))
    await asyncio.gather(*(peer.close() for peer in peers))


async def loses_nothing_during(server: ServedProcess, trouble: Callable[[AiortcPeer], Awaitable[None]]) -> None:
    """A call of sound and video goes on beside some trouble, which gets its publisher."""
    ann, bob = AiortcPeer(server.url), AiortcPeer(server.url)
    await ann.join(server.app, "ann", server.user_sig("ann"))
    await bob.join(server.app, "bob", server.user_sig("bob"))
    await ann.publish(AudioStreamTrack(), VideoStreamTrack())
    await bob.subscribe("ann")
    tracks = [await bob.track("ann", kind) for kind in ("audio", "video")]
    for track in tracks:
        await asyncio.wait_for(track.recv(), 15)
    readers = [asyncio.create_task(drained(track)) for track in tracks]
    memory, (before, lost_before) = server.memory, await received(bob)

    started = time.monotonic()
    await trouble(ann)
    seconds = time.monotonic() - started

    after, lost = await received(bob)
    assert lost - lost_before <= 0, f"{lost - lost_before} packets of the call were lost"
    assert after - before >= 40 * seconds, f"{after - before} packets in {seconds:.1f} s; sound alone is 50 a second"
    assert not any(reader.done() for reader in readers), "the call ended"
    assert server.memory - memory < 32 * 2**20
    assert len(server.log) < 100, "a storm must not flood the log"
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    await ann.close()
    await bob.close()


async def test_a_call_loses_nothing_while_strangers_attack(serve: StartProcess) -> None:
    server = await serve()

    async def attack(_: AiortcPeer) -> None:
        await asyncio.gather(asyncio.to_thread(storm, server.media_ports[0]), floods(server))

    await loses_nothing_during(server, attack)


async def test_a_call_loses_nothing_while_its_password_is_guessed_and_a_guest_joins_meanwhile(
    serve: StartProcess,
) -> None:
    server = await serve()

    async def guess(ann: AiortcPeer) -> None:
        assert ann.uplink is not None
        username = ":".join(ufrag(half) for half in (ann.uplink.remoteDescription, ann.uplink.localDescription))
        await asyncio.gather(asyncio.to_thread(wrong_passwords, server.media_ports[0], username), joins(server, 1))

    await loses_nothing_during(server, guess)


async def test_a_call_loses_nothing_while_a_dozen_join_at_once(serve: StartProcess) -> None:
    server = await serve()
    await loses_nothing_during(server, lambda _: joins(server, JOINING))
