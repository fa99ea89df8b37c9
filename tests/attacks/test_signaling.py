"""Attacks on the signaling channel: each is answered clearly, costs bounded memory, and disturbs nobody."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import websockets
from parlour.usersig import sign_v2

from tests.attacks.raw import BINARY, CONTINUE, PING, TEXT, Raw, frame, garbage
from tests.wire import Wire, join, offer

if TYPE_CHECKING:
    from tests.attacks.conftest import ServedProcess, StartProcess

MEGABYTE = 2**20
PING_TEXT = json.dumps({"id": 1, "type": "ping"}).encode()


@contextlib.asynccontextmanager
async def undisturbed(server: ServedProcess, growth: int = 64 * MEGABYTE) -> AsyncIterator[None]:
    """Two users in a call next door: every event arrives, in order and soon; memory stays where it was."""
    ann, _ = await join(server, "ann", "next door")
    bob, _ = await join(server, "bob", "next door")
    await ann.ask("publish", sdp=offer(), audioMid="0", videoMid="1")
    assert (await ann.event())["type"] == "peer-join"
    assert (await bob.event())["type"] == "stream-added"
    memory, slowest, count = server.memory, 0.0, 0
    over = asyncio.Event()

    async def talk() -> None:
        nonlocal slowest, count
        while not (over.is_set() and count >= 3):
            count += 1
            started = time.monotonic()
            await ann.ask("mute", audio=bool(count % 2))
            event = await bob.event()
            slowest = max(slowest, time.monotonic() - started)
            assert (event["type"], event["audioMuted"]) == ("mute-changed", bool(count % 2))
            await asyncio.sleep(0.05)

    talking = asyncio.create_task(talk())
    try:
        yield
    finally:
        over.set()
        await asyncio.wait_for(talking, 20)
    # The attacker, this test and the server share the machine: a stall would be seconds.
    assert slowest < 2.0, f"an event took {slowest:.2f} s"
    assert server.memory - memory < growth
    assert len(server.log) < 200, "a flood must not flood the log"
    await ann.close()
    await bob.close()


async def test_a_message_of_10_megabytes_is_refused_at_its_header(serve: StartProcess) -> None:
    server = await serve()
    async with undisturbed(server, growth=24 * MEGABYTE):
        for claim in (10 * MEGABYTE, 2**40, 2**63 - 1):
            raw = await Raw.open(server.signaling_url)
            await raw.send(frame(TEXT, b"x" * 1000, claim=claim))
            assert await raw.close_code() == 1009
        raw = await Raw.open(server.signaling_url)
        await raw.send(frame(TEXT, b"x" * 200_000, final=False))
        await raw.send(frame(CONTINUE, b"x" * 200_000))
        assert await raw.close_code() == 1009, "fragments count together"
        raw = await Raw.open(server.signaling_url)
        await raw.send(b"".join(frame(TEXT, b"x" * MEGABYTE) for _ in range(10)))
        raw.close()


GARBAGE = {
    "text": (frame(TEXT, b"garbage"), 4400),
    "deep": (frame(TEXT, b"[" * 100_000), 4400),
    "huge number": (frame(TEXT, b'{"id":' + b"9" * 100_000 + b"}"), 4400),
    "binary": (frame(BINARY, PING_TEXT), 4400),
    "not UTF-8": (frame(TEXT, b"\xff\xfe\x80"), 1007),
    "unmasked": (b"\x81\x05hello", 1002),
    "reserved opcode": (frame(3, b"reserved"), 1002),
    "long ping": (frame(PING, b"x" * 126), 1002),
    "fragment of nothing": (frame(CONTINUE, b"alone"), 1002),
    "noise": (b"\xff" * 64, 1002),
}


async def test_v17_3_2_garbage_closes_its_own_socket(serve: StartProcess) -> None:
    server = await serve()
    async with undisturbed(server):
        for name, (sent, code) in GARBAGE.items():
            raw = await Raw.open(server.signaling_url)
            await raw.send(sent)
            assert await raw.close_code() == code, name


async def test_noise_instead_of_http_and_after_the_upgrade(serve: StartProcess) -> None:
    server = await serve()
    async with undisturbed(server):
        for number in range(100):
            raw = await Raw.open(server.signaling_url, upgrade=bool(number % 2))
            await raw.send(garbage(5000))
            raw.close()
    assert not [line for line in server.log if "Traceback" in line]


async def test_v17_3_1_10_000_messages_a_second(serve: StartProcess) -> None:
    server = await serve()
    async with undisturbed(server):
        for _ in range(5):
            raw = await Raw.open(server.signaling_url)
            flood = frame(TEXT, PING_TEXT) * 1000
            for _ in range(10):
                if not await raw.send(flood):
                    break
            assert await raw.close_code() == 4429


async def test_a_flood_of_pings_pongs_and_empty_fragments(serve: StartProcess) -> None:
    server = await serve()
    async with undisturbed(server):
        for flood in (frame(PING, b"x" * 100), frame(10), frame(CONTINUE, final=False)):
            raw = await Raw.open(server.signaling_url)
            await raw.send(frame(TEXT, final=False) if flood[0] & 0x0F == CONTINUE else b"")
            for _ in range(100):
                if not await raw.send(flood * 1000):
                    break
            assert await raw.close_code() == 4429


async def returns_to(server: ServedProcess, descriptors: int) -> None:
    """Wait until the server has no more open descriptors than that (and a few for its threads)."""
    deadline = time.monotonic() + 10
    while server.descriptors > descriptors + 4:
        assert time.monotonic() < deadline, "descriptors do not come back"
        await asyncio.sleep(0.1)


async def test_clients_that_never_read_are_dropped(serve: StartProcess) -> None:
    server = await serve(LIMITS__MESSAGES_PER_SECOND=100_000, LIMITS__MESSAGE_BURST=1_000_000)
    descriptors = server.descriptors
    async with undisturbed(server):
        pings = await Raw.open(server.signaling_url, receive_buffer=2048)
        assert await pings.hung_up(frame(PING, b"x" * 125) * 100)
        requests = await Raw.open(server.signaling_url, receive_buffer=2048)
        assert await requests.hung_up(frame(TEXT, PING_TEXT) * 20), "each is refused with a text that nobody reads"
    await returns_to(server, descriptors)


async def test_many_sockets_that_say_nothing_are_closed_and_cost_nothing_afterwards(serve: StartProcess) -> None:
    server = await serve(LIMITS__LOGIN_TIMEOUT=2)
    descriptors = server.descriptors
    async with undisturbed(server, growth=48 * MEGABYTE):
        sockets = [await Raw.open(server.signaling_url) for _ in range(300)]
        codes = await asyncio.gather(*(raw.close_code() for raw in sockets))
        assert set(codes) == {4408}
        for raw in sockets:
            raw.close()
    await returns_to(server, descriptors)


async def test_a_compression_bomb_finds_no_compression(serve: StartProcess) -> None:
    server = await serve()
    socket = await websockets.connect(server.signaling_url, compression="deflate")
    assert socket.protocol.extensions == []
    bomb = zlib.compress(b"0" * 50 * MEGABYTE)
    with contextlib.suppress(websockets.ConnectionClosed):
        await socket.send(bomb)
        await socket.recv()
    assert socket.close_code == 4400


NONSENSE = {
    "empty": "",
    "noise": "\x00\x01\x02",
    "10,000 m-lines": "v=0\r\n" + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" * 7000,
    "one long line": "v=0\r\na=" + "x" * 200_000,
    "carriage returns": offer().replace("\r\n", "\r"),
    "duplicate mids": offer().replace("a=mid:1", "a=mid:0"),
    "payload type above 127": offer().replace("SAVPF 96", "SAVPF 196"),
    "every line twice": "\r\n".join(line + "\r\n" + line for line in offer().split("\r\n")),
    "codec lines": offer() + "a=rtcp-fb:96 nack pli\r\n" * 9000,
}


async def test_an_sdp_of_nonsense_is_refused_and_the_session_goes_on(serve: StartProcess) -> None:
    server = await serve(LIMITS__MESSAGE_BURST=1000)
    async with undisturbed(server):
        eve, _ = await join(server, "eve", "hers")
        for text in NONSENSE.values():
            refusal = await eve.refused("publish", sdp=text, audioMid="0", videoMid="1")
            assert refusal.code == 0x1000
            assert len(refusal.error["message"]) < 400
        mal, _ = await join(server, "mal", "hers")
        await eve.ask("publish", sdp=offer(), audioMid="0", videoMid="1")
        await mal.event()
        await mal.ask("subscribe", userId="eve")
        await mal.event()
        for text in NONSENSE.values():
            assert (await mal.refused("downlink-answer", revision=1, sdp=text)).code == 0x1000
        for name in ("eve", "mal"):
            again, _ = await join(server, name, "hers")
            await again.close()


def packed(fields: dict[str, object]) -> str:
    """A UserSig of any content, in the right wrapping."""
    return packed_bytes(json.dumps(fields).encode())


def packed_bytes(content: bytes) -> str:
    text = base64.b64encode(zlib.compress(content)).decode()
    return text.replace("+", "*").replace("/", "-").replace("=", "_")


async def test_bad_logins_get_the_code_of_what_is_wrong(serve: StartProcess) -> None:
    server = await serve(LIMITS__MESSAGE_BURST=1000, LOCKOUT__FAILURES=0)
    good = server.user_sig("eve")
    now = int(time.time())
    attempts: list[tuple[object, object, int]] = [
        (server.app, "", 70002),
        (server.app, "!!!", 70003),
        (server.app, good[: len(good) // 8 * 4], 70004),
        (server.app, packed({"TLS.ver": "2.0"}), 70008),
        (server.app, server.user_sig("eve", age=7200), 70001),
        (server.app, server.user_sig("ann"), 70013),
        (server.app, sign_v2(server.app + 1, "eve", server.key, now=now), 70014),
        (server.app, sign_v2(server.app, "eve", "f" * 64, now=now), 70009),
        (server.app, packed_bytes(b"0" * 10 * MEGABYTE), 70004),
        (server.app, "A" * 200_000, 70004),
        (99, good, -8),
        (-1, good, -8),
        (2**53, good, -8),
    ]
    async with undisturbed(server):
        eve = await Wire.open(server)
        for app, user_sig, code in attempts:
            refusal = await eve.refused("login", sdkAppId=app, userId="eve", userSig=user_sig)
            assert refusal.code == 0x4001
            assert refusal.extra == code, f"{str(user_sig)[:40]}"
            assert len(refusal.error["message"]) < 500
        for user_id in ("", "x" * 33, "é" * 17, "nul\x00"):
            assert (await eve.refused("login", sdkAppId=server.app, userId=user_id, userSig=good)).extra == 70402
        await eve.login(server, "eve")
    assert not [line for line in server.log if good in line], "no signature in the log"


async def test_strange_names_stay_data(serve: StartProcess) -> None:
    server = await serve()
    names = [
        "../../etc/passwd",
        "%s%n%x",
        "a\r\nforged: line",
        "\u202egnp.exe",
        "'; drop table apps",
        "{0.a}",
    ]
    watcher, _ = await join(server, "watcher", "inn")
    for name in names:
        wire, _ = await join(server, name, "inn")
        assert await watcher.event() == {"type": "peer-join", "userId": name}
        await wire.ask("publish", sdp=offer(), audioMid="0", videoMid="1")
        assert (await watcher.event())["stream"]["userId"] == name
    for name in names:
        await watcher.ask("subscribe", userId=name)
    sdp = (await watcher.event())["sdp"]
    assert not [name for name in names if name in sdp], "a name never reaches an SDP"
    assert len(server.log) > len(names)
    for line in server.log:
        json.loads(line)


async def test_a_storm_of_one_identity_ends_with_its_last_session_alone(serve: StartProcess) -> None:
    server = await serve()
    async with undisturbed(server):
        watcher, _ = await join(server, "watcher", "storm")
        storm = [await join(server, "eve", "storm") for _ in range(60)]
        last, _ = storm[-1]
        assert await last.ask("ping") == {}
        codes = await asyncio.gather(*(wire.closed() for wire, _ in storm[:-1]))
        assert {code for code, _ in codes} == {4409}
        _late, entered = await join(server, "late", "storm")
        assert entered["snapshot"]["members"] == [{"userId": "watcher"}, {"userId": "eve"}]
        joins = [(await watcher.event())["type"] for _ in range(60 + 59 + 1)]
        assert joins.count("peer-join") - joins.count("peer-leave") == 2


async def test_flapping_subscriptions_cost_one_offer_at_a_time(serve: StartProcess) -> None:
    server = await serve(LIMITS__MESSAGE_BURST=5000, LIMITS__MESSAGES_PER_SECOND=5000)
    async with undisturbed(server):
        eve, _ = await join(server, "eve", "flap")
        mal, _ = await join(server, "mal", "flap")
        await eve.ask("publish", sdp=offer(), audioMid="0", videoMid="1")
        await mal.event()
        for _ in range(1000):
            await mal.ask("subscribe", userId="eve")
            await mal.ask("unsubscribe", userId="eve")
        offers = [await mal.event() for _ in range(mal.events.qsize())]
        assert [event["type"] for event in offers] == ["downlink-offer"]
