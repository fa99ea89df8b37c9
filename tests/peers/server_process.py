"""``parlour serve`` in a process that a test may stop, kill and start again, on the same ports and data."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from parlour.storage import Storage
from parlour.usersig import sign_v2

APP = 1400000001


class ServerProcess:
    """One server over several lives of its process."""

    def __init__(self, data: Path, *, others: Mapping[str, str] | None = None, **environment: object) -> None:
        """``environment``: settings, as ``LIMITS__MESSAGE_BYTES=…``; ``others``: variables that are none of ours."""
        self._data = data
        self._environment = {f"PARLOUR_{name}": str(value) for name, value in environment.items()}
        self._environment |= others or {}
        self._process: asyncio.subprocess.Process | None = None
        self._ports = (0, 0)
        self._key = ""
        self.app = APP
        self.url = ""

    async def start(self) -> None:
        """Start it, the second time where it was before."""
        if not self._key:
            async with await Storage.open(self._data) as storage:
                self._key = (await storage.create_app(APP, now=int(time.time()))).keys.secrets[0]
        port, media_port = self._ports
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "parlour", "serve", "--json", "--log-level", "warning",
            "--data", str(self._data), "--port", str(port), "--media-port", str(media_port),
            stdout=asyncio.subprocess.PIPE, env=os.environ | self._environment,
        )  # fmt: skip
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 60)
        assert line, "the server ended at once"
        said = json.loads(line)
        self.url = said["url"]
        self.signaling_url = said["signaling"]
        self._ports = int(self.url.rpartition(":")[2]), said["mediaPorts"][0]

    def user_sig(self, user_id: str) -> str:
        """A good UserSig."""
        return sign_v2(self.app, user_id, self._key, expire=3600, now=int(time.time()))

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """Let it die at once, with nothing closed."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """End it in good order, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(self._process.wait(), 20)
