"""A server in a process of its own, so that its memory can be watched and its event loop is its own."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from parlour.storage import Storage
from parlour.usersig import sign_v2

APP = 1400000001


@dataclass
class ServedProcess:
    """A running ``parlour serve``. ``log`` has what it wrote to stderr."""

    url: str
    signaling_url: str
    media_ports: list[int]
    key: str
    process: asyncio.subprocess.Process
    app: int = APP
    log: list[str] = field(default_factory=list)

    def user_sig(self, user_id: str, *, expire: int = 3600, age: int = 0) -> str:
        """A good UserSig; ``age`` seconds old."""
        return sign_v2(self.app, user_id, self.key, expire=expire, now=int(time.time()) - age)

    @property
    def memory(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @property
    def descriptors(self) -> int:
        """Open file descriptors."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


StartProcess = Callable[..., Awaitable[ServedProcess]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[StartProcess]:
    """Start ``parlour serve`` with settings of your own, as in the environment: ``LIMITS__MESSAGE_BYTES=…``.

    ``descriptors`` is what ``ulimit -n`` would set for it.
    """
    async with AsyncExitStack() as stack:

        async def start(*, descriptors: int | None = None, **environment: object) -> ServedProcess:
            def limited() -> None:
                if descriptors is not None:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

            data = tmp_path / "data"
            async with await Storage.open(data) as storage:
                app = await storage.create_app(APP, now=int(time.time()))
            # What an attack may not disturb is on the same shard as the attack, whatever the machine.
            variables = {f"PARLOUR_{name}": str(value) for name, value in ({"MEDIA__SHARDS": 1} | environment).items()}
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "parlour", "serve", "--json", "--log-json", "--log-level", "info",
                "--data", str(data), "--port", "0", "--media-port", "0",
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | variables,
                preexec_fn=limited,
            )  # fmt: skip
            stack.push_async_callback(stop, process)
            assert process.stdout is not None
            text = ""
            async with asyncio.timeout(90):
                while not text.endswith("}\n"):
                    line = (await process.stdout.readline()).decode()
                    assert line, "the server ended at once"
                    text += line
            said = json.loads(text)
            served = ServedProcess(said["url"], said["signaling"], said["mediaPorts"], app.keys.secrets[0], process)
            reader = asyncio.create_task(keep_log(process, served.log))
            stack.push_async_callback(ended, reader)
            return served

        yield start


async def keep_log(process: asyncio.subprocess.Process, log: list[str]) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        log.append(line.decode())


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await process.wait()
