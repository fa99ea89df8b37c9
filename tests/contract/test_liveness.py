"""Liveness hangs on pongs, not on what a page's timers do: who answers the server's pings is alive."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time

import pytest
import websockets

from tests.attacks.raw import PING, PONG, TEXT, Raw, frame
from tests.conftest import RunningServer, StartServer
from tests.contract.test_serve import Command, free_ports
from tests.wire import join, offer


@pytest.fixture
async def hasty(start_server: StartServer) -> RunningServer:
    """A server that pings every half second and gives up after two."""
    return await start_server(signaling__heartbeat_interval=0.5, signaling__socket_timeout=2)


async def test_a_client_that_says_nothing_but_answers_pings_stays(hasty: RunningServer) -> None:
    ann, _ = await join(hasty, "ann")
    bob, _ = await join(hasty, "bob")
    assert (await ann.event())["type"] == "peer-join"
    await asyncio.sleep(
        6
    )  # three times what silence gets: the client's library answers pings, and nothing else is sent
    assert ann.events.empty(), "bob is still there"
    for wire in (ann, bob):
        await wire.ask("ping")
        await wire.close()


async def test_a_client_that_answers_no_ping_is_closed_with_4408(hasty: RunningServer) -> None:
    raw = await Raw.open(hasty.signaling_url)
    sig = hasty.user_sig("ann")
    login = f'{{"id":1,"type":"login","sdkAppId":{hasty.app},"userId":"ann","userSig":"{sig}"}}'
    await raw.send(frame(TEXT, login.encode()))
    started = time.monotonic()
    assert await raw.close_code() == 4408
    assert time.monotonic() - started > 1.9


async def test_pongs_do_not_stand_for_a_login(start_server: StartServer) -> None:
    server = await start_server(
        limits__login_timeout=2, signaling__heartbeat_interval=0.2, signaling__socket_timeout=30
    )
    started = time.monotonic()
    async with websockets.connect(server.signaling_url) as socket:
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 20)
        assert socket.close_code == 4408
    assert time.monotonic() - started < 15


async def test_unasked_pongs_are_signs_of_life_and_a_flood_of_them_is_not(hasty: RunningServer) -> None:
    raw = await Raw.open(hasty.signaling_url)
    sig = hasty.user_sig("ann")
    login = f'{{"id":1,"type":"login","sdkAppId":{hasty.app},"userId":"ann","userSig":"{sig}"}}'
    await raw.send(frame(TEXT, login.encode()))
    ended = asyncio.create_task(raw.close_code())
    for _ in range(16):
        await raw.send(frame(PONG))
        await asyncio.sleep(0.3)
        assert not ended.done()
    await raw.send(frame(PONG) * 1000)
    assert await ended == 4429


async def test_a_server_that_was_stopped_for_a_while_takes_its_own_sleep_for_nobodys_silence(
    hasty: RunningServer,
) -> None:
    ann, _ = await join(hasty, "ann")
    loop_is_held = time.monotonic() + 4
    while time.monotonic() < loop_is_held:  # what SIGSTOP does to the server's loop, and to the client's here
        os.sched_yield()
    await asyncio.sleep(2.5)
    await ann.ask("ping")
    await ann.close()


async def test_a_server_that_was_sent_sigstop_keeps_its_sockets(tmp_path: object) -> None:
    command = await Command.start(
        *free_ports(tmp_path),  # type: ignore[arg-type]
        PARLOUR_SIGNALING__HEARTBEAT_INTERVAL="1",
        PARLOUR_SIGNALING__SOCKET_TIMEOUT="3",
        PARLOUR_LIMITS__LOGIN_TIMEOUT="600",
    )
    port = (await command.line()).split(":")[2].split(" ")[0]
    async with websockets.connect(f"ws://127.0.0.1:{port}/v1/ws?v=1", ping_interval=None) as socket:
        await socket.send('{"id": 1, "type": "ping"}')
        assert "error" in await socket.recv()
        command.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(6)
        await socket.send('{"id": 2, "type": "ping"}')
        command.process.send_signal(signal.SIGCONT)
        assert '"id":2' in str(await asyncio.wait_for(socket.recv(), 20))
    command.process.send_signal(signal.SIGTERM)
    assert (await command.end())[0] == 0


async def test_a_slow_client_that_pings_gets_its_pong_once_it_reads(start_server: StartServer) -> None:
    """What waits for it is more than the kernel and the write buffer take, so that the pong waits, too."""
    server = await start_server(
        limits__messages_per_second=100_000, limits__message_burst=100_000, limits__send_queue=100_000
    )
    bob, _ = await join(server, "bob")
    ann = await Raw.open(server.signaling_url)
    login = {"id": 1, "type": "login", "sdkAppId": server.app, "userId": "ann", "userSig": server.user_sig("ann")}
    await ann.send(frame(TEXT, json.dumps(login).encode()))
    ticket = json.loads(await ann.text())["ok"]["ticket"]
    await ann.send(frame(TEXT, json.dumps({"id": 2, "type": "enter", "ticket": ticket, "roomId": 1}).encode()))
    await ann.text()
    publish = {"id": 3, "type": "publish", "sdp": offer(), "audioMid": "0", "videoMid": "1"}
    await ann.send(frame(TEXT, json.dumps(publish).encode()) * 1200, timeout=60)
    await ann.send(b"".join(frame(PING, b"%d" % number) for number in range(3)))
    await ann.send(frame(TEXT, b'{"id":4,"type":"mute","audio":true}'))
    while (await bob.event())["type"] != "mute-changed":
        pass  # all of it was taken, and of the answers ann has read none
    size, pongs, text = 0, [], b""
    async with asyncio.timeout(60):
        while b'"id":4' not in text:
            opcode, payload = await ann.read()
            pongs += [payload] if opcode == PONG else []
            text, size = (payload, size + len(payload)) if opcode == TEXT else (text, size)
    assert size > 2**20
    assert pongs[-1:] == [b"2"]
    ann.close()
