"""One socket without a login stops nobody: floods of HTTP cost bounded memory, and users' pings go on beside each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.attacks.flood import ANSWERED, KINDS
from tests.wire import Wire, join

if TYPE_CHECKING:
    from tests.attacks.conftest import ServedProcess, StartProcess

MEGABYTE = 2**20
SECONDS = 2
WIDTH = 8
"""Connections of a flood at a time."""
PROMISED = 0.1
"""Seconds that 99 of 100 pings of signed-in users take at most, whatever strangers do."""


class Users:
    """Users in a room who ping without end."""

    def __init__(self, server: ServedProcess) -> None:
        self.server = server
        self.took: list[float] = []
        self.most_memory = 0
        self.over = asyncio.Event()

    async def ping(self, wire: Wire) -> None:
        while not self.over.is_set():
            started = time.monotonic()
            await wire.ask("ping")
            self.took.append(time.monotonic() - started)
            self.most_memory = max(self.most_memory, self.server.memory)
            await asyncio.sleep(0.03)

    @property
    def p99(self) -> float:
        return sorted(self.took)[int(len(self.took) * 0.99)]


def first_at_the_processor(server: ServedProcess) -> None:
    """Let the server and this test go before the machine's other work, where we may: the promise is the server's.

    A mere priority does not do: Linux may share the processor between sessions first. All threads of the server:
    one that waits for the processor may have the interpreter's lock.
    """
    threads = [int(name) for name in os.listdir(f"/proc/{server.process.pid}/task")]
    with contextlib.suppress(PermissionError):
        for thread in threads:
            os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


@pytest.fixture(autouse=True)
def _own_priority() -> Iterator[None]:
    yield
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextlib.asynccontextmanager
async def unharmed(server: ServedProcess, growth: int = 48 * MEGABYTE) -> Any:
    """Users' pings keep the promise meanwhile, memory stays bounded, and the log is not flooded."""
    users = Users(server)
    first_at_the_processor(server)
    wires = [(await join(server, name, "next door"))[0] for name in ("ann", "bob", "cid", "dee")]
    await asyncio.gather(*(wire.ask("ping") for wire in wires for _ in range(5)))
    before, lines = server.memory, len(server.log)
    pinging = asyncio.gather(*(users.ping(wire) for wire in wires))
    try:
        yield
    finally:
        users.over.set()
        await asyncio.wait_for(pinging, 30)
    assert len(users.took) >= 150
    assert users.p99 < PROMISED, f"a ping took {users.p99 * 1000:.0f} ms at p99, {max(users.took) * 1000:.0f} at most"
    assert users.most_memory - before < growth, f"memory grew by {(users.most_memory - before) >> 20} MiB"
    assert len(server.log) - lines < 20, "a flood must not flood the log"
    for wire in wires:
        await wire.close()


async def flood(server: ServedProcess, kind: str, *, reading: bool = True, width: int = WIDTH) -> dict[str, Any]:
    """Run a flood to its end; what it says of itself."""
    parts = urlsplit(server.url)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.attacks.flood", kind, str(parts.hostname), str(parts.port), str(SECONDS)),
        *("reading" if reading else "deaf", str(width)),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ,
    )
    out, _ = await asyncio.wait_for(process.communicate(), SECONDS + 90)
    assert process.returncode == 0
    said: dict[str, Any] = json.loads(out)
    assert said["connections"] >= width
    return said


async def connections_end(server: ServedProcess, descriptors: int, within: float = 15) -> None:
    """Wait until the server has no more open descriptors than that, and a few for its databases."""
    deadline = time.monotonic() + within
    while server.descriptors > descriptors + 12:
        assert time.monotonic() < deadline, f"{server.descriptors} descriptors are open, {descriptors} were"
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_flood_without_a_login_harms_nobody_who_is_signed_in(serve: StartProcess, kind: str) -> None:
    server = await serve()
    descriptors = server.descriptors
    async with unharmed(server):
        said = await flood(server, kind)
    if kind in EXPECTED:
        assert set(said["answers"]) == {EXPECTED[kind]}, said
    assert kind in ANSWERED or said["kept"] == 0, f"the server goes on listening: {said}"
    assert kind in TAKEN or said["sent"] < said["connections"] * MOST_TAKEN, f"the server takes too much: {said}"
    await connections_end(server, descriptors)


async def test_connections_that_are_gone_take_no_place(serve: StartProcess) -> None:
    server = await serve(LIMITS__STRANGERS_PER_SOURCE=2 * WIDTH)
    async with unharmed(server):
        said = await flood(server, "connects")
    assert said["connections"] > 2 * WIDTH
    assert not [line for line in server.log if "make room" in line or "connections refused" in line]


MOST_TAKEN = 8 * MEGABYTE
"""Bytes of a connection that may leave its client: what the server takes, and the buffers of both kernels."""
TAKEN = ANSWERED | {"messages", "upgrade_with_more"}
"""What is taken for as long as it comes, or until its end was heard."""
EXPECTED = {
    "header_lines": "HTTP/1.1 431",
    "header_value": "HTTP/1.1 431",
    "header_name": "HTTP/1.1 431",
    "target": "HTTP/1.1 414",
    "empty_lines": "HTTP/1.1 431",
    "pipelined": "HTTP/1.1 200",
}


@pytest.mark.parametrize("kind", ["pipelined", "header_lines", "upgrade_with_more"])
async def test_a_flood_that_reads_no_answer_harms_nobody_who_is_signed_in(serve: StartProcess, kind: str) -> None:
    server = await serve()
    descriptors = server.descriptors
    async with unharmed(server):
        said = await flood(server, kind, reading=False)
    assert kind in ANSWERED or said["kept"] == 0, f"the server goes on listening: {said}"
    await connections_end(server, descriptors)


@pytest.mark.parametrize("kind", ["pipelined", "commands", "messages", "upgrade_with_more", "trailers"])
async def test_hundreds_of_connections_within_their_bounds_take_turns_and_harm_nobody(
    serve: StartProcess, kind: str
) -> None:
    """Each of them alone is harmless; in one turn of the event loop they would be a second's work."""
    server = await serve()
    descriptors = server.descriptors
    async with unharmed(server, growth=128 * MEGABYTE):
        await flood(server, kind, width=400)
    await connections_end(server, descriptors)
