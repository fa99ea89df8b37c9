"""The load: connections that each send a request, wait for its answer, check it, and send the next (a closed loop).

No pipelining, no HTTP library: a request is bytes that were made before, so that the generator is never what is
measured; ``bench.null_server`` shows how much it can do. An answer that is not the expected one ends the bench.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

NextRequest = Callable[[], bytes]
"""The next request, whole; called by all connections in turn."""

IsRight = Callable[[bytes], bool]
"""Whether an answer is the expected one; it gets the whole of it, an HTTP head included."""

UPGRADE = (
    b"GET /v1/ws?v=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class WrongAnswerError(Exception):
    """The server answered something else than what was asked for."""


@dataclass
class Load:
    """One run: what all its connections share. ``done`` counts answers until ``end``."""

    next_request: NextRequest
    is_right: IsRight
    loop: asyncio.AbstractEventLoop
    running: bool = True
    done: int = 0
    busy: int = 0
    took: array[float] = field(default_factory=lambda: array("d"))
    failure: BaseException | None = None
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    moving: asyncio.Event = field(default_factory=asyncio.Event)
    """There was an answer, or there will be none."""

    def answered(self, answer: bytes, began: float) -> None:
        """Check and count an answer."""
        if not self.is_right(answer):
            self.fail(WrongAnswerError(f"The server answered {answer[:500]!r}."))
        elif self.running:
            self.done += 1
            self.took.append(time.perf_counter() - began)
            self.moving.set()

    def fail(self, failure: BaseException) -> None:
        """End the run; the first failure is the one that is told."""
        self.failure = self.failure or failure
        self.running = False
        self.idle.set()
        self.moving.set()

    def starts(self) -> None:
        """A connection has a request under way."""
        self.busy += 1

    def rests(self) -> None:
        """A connection has none any more, and asks for none."""
        self.busy -= 1
        if self.busy == 0:
            self.idle.set()


class _Client(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self.load = load
        self.received = b""
        self.began = 0.0
        self.resting = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.resting:
            self.load.fail(exc or ConnectionError(f"The server closed a connection: {self.received[:200]!r}."))

    def start(self) -> None:
        """Send the first request."""
        self.load.starts()
        self.next()

    def next(self) -> None:
        """Send another request, unless the run is over."""
        if not self.load.running:
            self.rest()
            return
        self.began = time.perf_counter()
        self.transport.write(self.load.next_request())

    def rest(self) -> None:
        """Send no more."""
        self.resting = True
        self.load.rests()
        self.transport.close()


class HttpClient(_Client):
    """A keep-alive connection."""

    def data_received(self, data: bytes) -> None:
        self.received = data = self.received + data if self.received else data
        head = data.find(b"\r\n\r\n")
        if head < 0:
            return
        at = data.find(b"content-length: ", 0, head)
        if at < 0:
            self.load.fail(WrongAnswerError(f"An answer has no length: {data[:500]!r}."))
            return
        if len(data) < head + 4 + int(data[at + 16 : data.find(b"\r", at)]):
            return
        self.received = b""
        self.load.answered(data, self.began)
        self.next()


class OpenSocketClient(_Client):
    """A WebSocket that is opened once and logs in again and again."""

    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self.open = load.loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(UPGRADE)

    def data_received(self, data: bytes) -> None:
        self.received = data = self.received + data if self.received else data
        if not self.open.done():
            head, whole_head, rest = data.partition(b"\r\n\r\n")
            if whole_head and head.startswith(b"HTTP/1.1 101 "):
                self.received = rest
                self.open.set_result(None)
            elif whole_head:
                self.load.fail(WrongAnswerError(f"The server did not upgrade: {data[:500]!r}."))
            return
        whole, self.received = frames(data)
        for opcode, payload in whole:
            if opcode != 1:
                self.load.fail(WrongAnswerError(f"The server sent a frame {opcode}: {payload[:200]!r}."))
                return
            self.load.answered(payload, self.began)
            self.next()


class NewSocketClient(OpenSocketClient):
    """A WebSocket for one login: connect, upgrade, log in, close. The next one is opened when this one is closed."""

    def __init__(self, load: Load, port: int) -> None:
        super().__init__(load)
        self._port = port
        self.began = time.perf_counter()

    def data_received(self, data: bytes) -> None:
        was_open = self.open.done()
        if not was_open:
            super().data_received(data)
            if self.open.done():
                self.transport.write(self.load.next_request())
            return
        whole, self.received = frames(self.received + data)
        for opcode, payload in whole:
            if opcode == 1:
                self.load.answered(payload, self.began)
                self.transport.write(CLOSE)
            else:
                self.resting = True
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.load.running:
            open_another(self.load, self._port)
        else:
            self.load.rests()


def open_another(load: Load, port: int) -> None:
    """Open the next socket of a loop that has a new one for each login."""

    async def connect() -> None:
        try:
            await load.loop.create_connection(lambda: NewSocketClient(load, port), "127.0.0.1", port)
        except OSError as error:
            load.fail(error)

    task = load.loop.create_task(connect())
    _opening.add(task)
    task.add_done_callback(_opening.discard)


_opening: set[asyncio.Task[None]] = set()


def frame(payload: bytes, *, opcode: int = 1, masked: bool = True) -> bytes:
    """A WebSocket frame (RFC 6455, section 5.2), its last one.

    The mask of our own is zero, so that the payload stands as it is; a server unmasks it all the same.
    """
    bit = 0x80 if masked else 0
    size = len(payload)
    length = bytes([bit | size]) if size < 126 else bytes([bit | 126]) + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + (b"\0\0\0\0" if masked else b"") + payload


CLOSE = frame(b"\x03\xe8", opcode=8)
"""Close with 1000: the client is done."""


def frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames in what was received, opcode and payload (still masked), and what is left over."""
    found, at = [], 0
    while len(data) - at >= 2:
        size, start = data[at + 1] & 0x7F, at + 2
        if size == 126:
            if len(data) - at < 4:
                break
            size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        if data[at + 1] & 0x80:
            start += 4
        if len(data) < start + size:
            break
        found.append((data[at] & 0x0F, data[start : start + size]))
        at = start + size
    return found, data[at:]
