"""A room client on pion, the WebRTC stack of Go: it shares no code with the server, the browsers, str0m or aiortc.

It is built from Debian's packages (``golang-github-pion-webrtc.v3-dev``), which keep their sources below
/usr/share/gocode; nothing is downloaded.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

from tests.peers.aiortc_peer import AiortcPeer, Json, Setup

SOURCE = Path(__file__).parent / "pion"
GOCODE = Path("/usr/share/gocode")
DEADLINE = 20.0


def build(folder: Path) -> Path:
    """Compile the peer into a folder; the path of the program. It takes a minute the first time, then a moment."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    sources = folder / "gopath" / "src" / "parlour-pion-peer"
    shutil.copytree(SOURCE, sources, dirs_exist_ok=True)
    program = folder / "pion-peer"
    cache = Path(__file__).parents[2] / ".cache" / "go"
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": f"{folder / 'gopath'}:{GOCODE}",
        "GOFLAGS": "",
        "GOCACHE": os.fspath(cache),
        "CGO_ENABLED": "0",
    }
    done = subprocess.run(
        [go, "build", "-o", program, "."], cwd=sources, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"the peer on pion does not build; scripts/debian-packages says how: {done.stderr}"
    return program


class PionPeer(AiortcPeer):
    """One user in one room. What it subscribes to it publishes again."""

    def __init__(self, url: str, program: Path, *, offers: Setup, answers: Literal["auto", "client", "server"]) -> None:
        super().__init__(url)
        self._program, self._offers, self._answers_as = program, offers, answers
        self._process: asyncio.subprocess.Process | None = None
        self._told: dict[str, asyncio.Queue[Any]] = {}
        self.answered: list[str] = []
        """The answers to the server's offers."""
        self.accepted = ""
        """The server's answer to its offer."""

    async def start(self) -> None:
        """Start the program."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            self._program, self._answers_as, stdin=pipe, stdout=pipe, limit=2**20
        )
        self._spawn(self._listen(self._process))

    async def republish(self) -> None:
        """Publish what it receives."""
        told = await self._ask("offer")
        mids = await self._next("mids")
        sdp = told.replace("a=setup:actpass", f"a=setup:{self._offers}")
        answer = await self.request("publish", sdp=sdp, audioMid=mids["audio"], videoMid=mids["video"])
        self.accepted = answer["sdp"]
        await self._say("accept", sdp=self.accepted)

    async def connected(self, which: Literal["uplink", "downlink"]) -> None:
        """Wait until one of its connections is there."""
        while (state := await self._next(which)) != "connected":
            assert state in {"new", "connecting"}, f"the {which} of pion is {state}"

    async def close(self) -> None:
        """Leave and end the program."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                await asyncio.wait_for(self._process.wait(), DEADLINE)
            except TimeoutError:
                self._process.kill()
        await super().close()

    async def _answer(self, offer: Json) -> None:
        sdp = await self._ask("answer", sdp=offer["sdp"])
        self.answered.append(sdp)
        self._spawn(self._send_answer(offer["revision"], sdp))

    async def _ask(self, what: str, **more: str) -> Any:
        await self._say(what, **more)
        return await self._next(what)

    async def _say(self, what: str, **more: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **more}).encode() + b"\n")
        await self._process.stdin.drain()

    async def _next(self, what: str) -> Any:
        return await asyncio.wait_for(self._told.setdefault(what, asyncio.Queue()).get(), DEADLINE)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            for what, value in json.loads(line).items():
                self._told.setdefault(what, asyncio.Queue()).put_nowait(value)
