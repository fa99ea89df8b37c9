"""``parlour demo`` as a person runs it: a process, one link, a robot in room 1, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from parlour.client import Client
from parlour.client.card import read_number
from parlour.client.codecs import Decoder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import RunningServer

PYTHON = Path(__file__).parents[2] / "python"


@dataclass
class Demo:
    """A running demo: its process, its link and what it said before the link."""

    process: asyncio.subprocess.Process
    link: str
    said: str = ""

    @property
    def url(self) -> str:
        return self.link.partition("/demo/")[0]

    async def user_sig(self, user_id: str, token: str | None = None) -> tuple[int, dict[str, Any]]:
        """What ``POST /demo/usersig`` answers: status and body."""
        body = json.dumps({"token": token or self.link.partition("#token=")[2], "userId": user_id}).encode()
        request = urllib.request.Request(f"{self.url}/demo/usersig", body, {"content-type": "application/json"})

        def ask() -> tuple[int, dict[str, Any]]:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)

        return await asyncio.to_thread(ask)

    async def stop(self, number: int = signal.SIGINT) -> str:
        """Send a signal; returns what came on stdout after the link."""
        self.process.send_signal(number)
        async with asyncio.timeout(20):
            rest, said = await self.process.communicate()
        self.said += said.decode()
        return rest.decode()


async def spawn(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    path = os.pathsep.join(filter(None, [environment.pop("first", ""), str(PYTHON)]))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "parlour", "demo", *arguments),
        env=os.environ | {"PYTHONPATH": path} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def demo(data: Path, *arguments: str, **environment: str) -> AsyncIterator[Demo]:
    process = await spawn("--port", "0", "--media-port", "0", "--data", str(data), *arguments, **environment)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            link = await process.stdout.readline()
        yield Demo(process, link.decode().rstrip("\n"))
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_the_link_leads_to_a_call_with_the_robot(tmp_path: Path) -> None:
    async with demo(tmp_path) as running:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/demo/#token=[\w-]{20,}", running.link)
        status, answer = await running.user_sig("ann")
        assert status == 200
        async with Client(running.url, answer["sdkAppId"], "ann", answer["userSig"]) as ann, asyncio.timeout(20):
            await ann.join(1)
            stream = await ann.subscribe("robot")
            decoder, numbers = Decoder("vp8"), []
            async for frame in stream.video():
                numbers += [read_number(picture) for picture in decoder.pictures(frame)]
                if len(numbers) >= 10:
                    break
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert (await running.user_sig("ann", "another-token"))[0] == 403
        assert await running.stop() == ""
    assert running.process.returncode == 0
    assert "Robot in room 1" in running.said
    assert "Traceback" not in running.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_after_a_signal_its_ports_are_free_and_its_key_is_kept(tmp_path: Path, number: int) -> None:
    async with demo(tmp_path) as first:
        _, answer = await first.user_sig("ann")
        await first.stop(number)
    assert first.process.returncode == 0
    port, found = int(first.url.rpartition(":")[2]), re.search(r"media on UDP and TCP (\d+)", first.said)
    assert found
    with socket.create_server(("127.0.0.1", port)), socket.socket(type=socket.SOCK_DGRAM) as media:
        media.bind(("127.0.0.1", int(found[1])))
    async with (
        demo(tmp_path, "--no-robot") as second,
        Client(second.url, answer["sdkAppId"], "ann", answer["userSig"]) as ann,
    ):
        assert second.link.partition("#")[2] != first.link.partition("#")[2]
        await ann.join(1)
        assert not ann.room.members


async def test_without_codecs_it_says_so_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "av.py").write_text("raise ImportError('blocked', name='av')")
    async with demo(tmp_path / "data", first=str(tmp_path)) as running:
        assert (await running.user_sig("ann"))[0] == 200
        await running.stop()
    assert "No robot: av is not installed: pip install av numpy pillow" in running.said


async def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = await spawn("--port", port, "--media-port", "0", "--data", str(tmp_path))
        async with asyncio.timeout(30):
            out, said = await process.communicate()
    assert process.returncode == 1
    assert out == b""
    assert f"port {port}" in said.decode()
    assert len(said.decode().strip().splitlines()) == 1


async def test_its_routes_are_no_part_of_an_ordinary_server(server: RunningServer) -> None:
    request = urllib.request.Request(f"{server.url}/demo/usersig", b"{}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        await asyncio.to_thread(urllib.request.urlopen, request, timeout=10)
    assert refused.value.code in {404, 405}
