"""What runs in the background does not die unseen, and a stop ends in bounded time whatever hangs."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from parlour.cli.output import Refused
from parlour.cli.serve import STOP_TIMEOUT, stop_bounded
from parlour.storage import LoginStates, Storage
from parlour.supervisor import Supervisor, bounded
from parlour.usersig import sign_v2

from tests.attacks.raw import TEXT, Raw, frame
from tests.conftest import APP, RunningServer, StartServer
from tests.contract.test_serve import Command, free_ports
from tests.wire import Wire, join

STOPS_WITHIN = 25.0
"""Seconds; the promise is about 13, the machine is shared."""


async def until(there: Callable[[], bool], what: str, within: float = 20) -> None:
    deadline = time.monotonic() + within
    while not there():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


async def test_background_work_that_dies_is_logged_under_an_incident_and_started_again(
    start_server: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server = await start_server(rooms__resume_timeout=0.3)
    service = server._service
    assert service is not None
    rooms, broken = service.rooms, BrokenRooms()
    service.rooms = broken  # type: ignore[assignment]
    await until(lambda: broken.asked > 0, "nobody looks after sessions")
    service.rooms = rooms
    died = re.compile(r"background work died.*incident")
    await until(lambda: died.search(capsys.readouterr().out) is not None, "its death is not told")
    ann, _ = await join(server, "ann")
    bob, _ = await join(server, "bob")
    ann.drop()  # whose time without a socket ends by that work alone
    assert (await bob.event())["type"] == "peer-leave"
    await bob.close()


async def test_a_reader_of_rooms_that_fails_is_logged_once_and_nobody_in_the_room_notices(
    server: RunningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    service = server._service
    assert service is not None

    def fail() -> None:
        raise RuntimeError("broken for a test")

    service.rooms.listen(lambda app, room: room.read(limit=8, on_news=fail))
    ann, _ = await join(server, "ann")
    bob, _ = await join(server, "bob")
    assert (await ann.event())["type"] == "peer-join"
    await bob.close()
    assert (await ann.event())["type"] == "peer-leave"
    assert len(re.findall(r"background work died.*a reader of room", capsys.readouterr().out)) == 1
    await ann.close()


class BrokenRooms:
    """Rooms that nobody can go through."""

    asked = 0

    def __iter__(self) -> Iterator[object]:
        self.asked += 1
        raise RuntimeError("broken for a test")


async def test_health_is_denied_while_background_work_dies_again_and_again(server: RunningServer) -> None:
    async def dies() -> None:
        raise RuntimeError("broken for a test")

    async with httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/healthz")).json()["status"] == "ok"
        server._supervisor.start("a work", dies)
        await until(lambda: server._supervisor.failing == ("a work",), "its deaths are not counted")
        answer = await client.get("/healthz")
        assert answer.status_code == 503
        assert answer.json()["failing"] == ["a work"]


async def test_a_work_that_returns_counts_as_dead(capsys: pytest.CaptureFixture[str]) -> None:
    supervisor, runs = Supervisor(), 0

    async def returns() -> None:
        nonlocal runs
        runs += 1

    supervisor.start("a work", returns)
    await until(lambda: runs >= 2, "it is not started again")
    assert re.search(r"background work died.*incident", capsys.readouterr().out)
    await supervisor.stop()


# --- stopping ---


async def served(tmp_path: Path, **environment: str) -> tuple[Command, str, str]:
    """A server process with an app: the command, its host and port, and the app's key."""
    async with await Storage.open(tmp_path) as storage:
        app = await storage.create_app(APP, now=int(time.time()))
    command = await Command.start(*free_ports(tmp_path), **environment)
    address = re.findall(r"http://(\S+) ", await command.line())[0]
    return command, address, app.keys.secrets[0]


async def stops(command: Command) -> tuple[int, str]:
    started = time.monotonic()
    command.process.send_signal(signal.SIGTERM)
    out_err = await asyncio.wait_for(command.process.communicate(), STOPS_WITHIN)
    assert time.monotonic() - started < STOPS_WITHIN
    assert command.process.returncode is not None
    return command.process.returncode, out_err[1].decode()


async def login(address: str, key: str, user: str = "ann") -> Raw:
    """A socket on which somebody is logging in; nobody waits for the answer."""
    raw = await Raw.open(f"ws://{address}/v1/ws?v=1")
    sig = sign_v2(APP, user, key, expire=3600, now=int(time.time()))
    await raw.send(
        frame(TEXT, f'{{"id":1,"type":"login","sdkAppId":{APP},"userId":"{user}","userSig":"{sig}"}}'.encode())
    )
    return raw


HANGING = """
import asyncio, pathlib, time

async def forever(applicant):
    pathlib.Path(__file__).with_name("called").touch()
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

def thread(applicant):
    pathlib.Path(__file__).with_name("called").touch()
    time.sleep(3600)
"""


@pytest.mark.parametrize("verifier", ["forever", "thread"])
async def test_a_verifier_that_never_answers_does_not_hold_the_stop_up(tmp_path: Path, verifier: str) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "hanging.py").write_text(HANGING)
    command, address, key = await served(
        tmp_path / "data", PYTHONPATH=str(plugins), PARLOUR_PLUGINS__VERIFIERS=f"hanging:{verifier}"
    )
    raw = await login(address, key)
    await until((plugins / "called").exists, "the verifier is not called")
    _, said = await stops(command)
    assert "Traceback" not in said
    raw.close()


async def test_a_store_that_hangs_does_not_hold_the_stop_up(tmp_path: Path) -> None:
    command, address, key = await served(tmp_path, PARLOUR_LIMITS__STORE_TIMEOUT="600")
    with closing(sqlite3.connect(tmp_path / "counters.db", isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        raws = [await login(address, key, f"user{number}") for number in range(5)]
        await asyncio.sleep(0.5)
        _, said = await stops(command)
    assert "not closed in time" in said
    for raw in raws:
        raw.close()


async def test_clients_that_never_read_do_not_hold_the_stop_up(tmp_path: Path) -> None:
    command, address, key = await served(tmp_path)
    raws = []
    for number in range(5):
        raw = await Raw.open(f"http://{address}/", upgrade=False, receive_buffer=2048)
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await raw.send(b"GET /sdk/trtc.js HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
        raws += [raw, await login(address, key, f"user{number}")]
    status, said = await stops(command)
    assert status == 0, said
    for raw in raws:
        raw.close()


class SlowStop:
    """A server that stops when it is let."""

    def __init__(self) -> None:
        self.begun, self.let, self.stopped = asyncio.Event(), asyncio.Event(), False

    async def stop(self) -> None:
        self.begun.set()
        await self.let.wait()
        self.stopped = True


async def test_two_signals_at_once_are_one_request_to_stop_in_good_order() -> None:
    server, signalled = SlowStop(), asyncio.Event()
    stopping = asyncio.create_task(stop_bounded(server, signalled))  # type: ignore[arg-type]
    await server.begun.wait()
    signalled.set()  # who signals a process and its group, as `timeout` does, sends the second one right behind
    await until(lambda: not signalled.is_set(), "the second signal is not taken")
    assert not stopping.done()
    server.let.set()
    await stopping
    assert server.stopped


async def test_a_later_signal_stops_at_once_and_the_log_does_not_speak_of_seconds_that_did_not_pass(
    capsys: pytest.CaptureFixture[str],
) -> None:
    server, signalled = SlowStop(), asyncio.Event()
    bounds: Any = SimpleNamespace(stop=partial(bounded, "a store", server.stop, 3600))
    stopping = asyncio.create_task(stop_bounded(bounds, signalled))
    await server.begun.wait()
    signalled.set()
    await until(lambda: not signalled.is_set(), "the second signal is not taken")
    signalled.set()
    insisted = time.monotonic()
    with pytest.raises(Refused, match="stopped before it had closed everything"):
        await stopping
    assert time.monotonic() - insisted < STOP_TIMEOUT / 2
    assert not server.stopped
    said = capsys.readouterr().out
    assert "the stop was cut short" in said
    assert "3600" not in said


async def test_a_stop_in_the_same_process_is_bounded_too(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(_: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(LoginStates, "close", hangs)
    wire = await Wire.open(server)
    started = time.monotonic()
    await server.stop()
    assert time.monotonic() - started < STOPS_WITHIN
    await wire.closed()
