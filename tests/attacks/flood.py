"""Floods of HTTP without a login, in a process of their own: ``python -m tests.attacks.flood KIND HOST PORT SECONDS
reading|deaf CONNECTIONS``.

Prints one JSON object at the end: how many connections it made, on how many of them the server never hung up, how many
bytes it took, and the status lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator

PIECE = 64 * 1024

PATIENCE = 50.0
"""Seconds after the end of a flood within which the server has to have hung up on what it should not listen to."""


def header_lines() -> Iterator[bytes]:
    """A head whose fields never end."""
    yield b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    for number in itertools.count():
        yield b"".join(b"X-%d: some value or other\r\n" % (number * 1000 + at) for at in range(1000))


def header_value() -> Iterator[bytes]:
    """A field whose value never ends."""
    yield b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: "
    yield from itertools.repeat(b"a" * PIECE)


def header_name() -> Iterator[bytes]:
    """A field whose name never ends."""
    yield b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    yield from itertools.repeat(b"a" * PIECE)


def target() -> Iterator[bytes]:
    """A request whose target never ends."""
    yield b"GET /"
    yield from itertools.repeat(b"a" * PIECE)


def empty_lines() -> Iterator[bytes]:
    """Lines before a request, which a parser skips."""
    yield from itertools.repeat(b"\r\n" * (PIECE // 2))


def pipelined() -> Iterator[bytes]:
    """Requests without waiting for an answer."""
    yield from itertools.repeat(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)


def endless_body() -> Iterator[bytes]:
    """A body that nobody asked for and that never ends."""
    yield b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield from itertools.repeat(b"10000\r\n" + b"a" * PIECE + b"\r\n")


def chunk_extension() -> Iterator[bytes]:
    """A chunk whose extension never ends."""
    yield b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;name="
    yield from itertools.repeat(b"a" * PIECE)


def trailers() -> Iterator[bytes]:
    """Fields behind a body that never end."""
    yield b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    for number in itertools.count():
        yield b"".join(b"X-%d: some value or other\r\n" % (number * 1000 + at) for at in range(1000))


def commands() -> Iterator[bytes]:
    """Calls of the account REST that an unknown app refuses, after it was looked up."""
    call = b"POST /v4/im_open_login_svc/account_import?sdkappid=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    yield from itertools.repeat(call * 500)


def messages() -> Iterator[bytes]:
    """Small messages to a WebSocket that never logs in: thousands fit into one read."""
    yield next(upgrade_with_more())
    text = b'{"id":1,"type":"ping"}'
    yield from itertools.repeat((bytes([0x81, 0x80 | len(text)]) + bytes(4) + text) * 1000)


def upgrade_with_more() -> Iterator[bytes]:
    """A WebSocket whose client does not wait for the upgrade and never logs in."""
    yield (
        b"GET /v1/ws?v=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    yield from itertools.repeat((b"\x89\xfd\0\0\0\0" + b"a" * 125) * 500)


def connects() -> Iterator[bytes]:
    """Nothing: connect, hang up, and again."""
    yield b""


KINDS = {
    "header_lines": header_lines,
    "header_value": header_value,
    "header_name": header_name,
    "target": target,
    "empty_lines": empty_lines,
    "pipelined": pipelined,
    "commands": commands,
    "messages": messages,
    "endless_body": endless_body,
    "chunk_extension": chunk_extension,
    "trailers": trailers,
    "upgrade_with_more": upgrade_with_more,
    "connects": connects,
}
ANSWERED = {"pipelined", "commands"}
"""Requests as they should be: whoever reads the answers may go on for ever. The others are to be hung up on."""


class Flood:
    """So many connections at full speed, each made anew when the server hangs up."""

    def __init__(self, kind: str, host: str, port: int, seconds: float, *, reading: bool, width: int) -> None:
        self.kind, self.host, self.port, self.reading, self.width = kind, host, port, reading, width
        self.until = time.monotonic() + seconds
        self.connections = self.kept = self.sent = 0
        self.answers: Counter[str] = Counter()

    async def run(self) -> None:
        await asyncio.gather(*(self.one() for _ in range(self.width)))

    async def one(self) -> None:
        while time.monotonic() < self.until:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                await self.connection()
            await asyncio.sleep(0.001)

    async def connection(self) -> None:
        sock = socket.socket()
        if not self.reading:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(sock, (self.host, self.port))
            self.connections += 1
            reader = asyncio.create_task(self.read(sock)) if self.reading else None
            try:
                patience = 0.0 if self.kind in ANSWERED else PATIENCE
                async with asyncio.timeout_at(loop.time() + self.until + patience - time.monotonic()):
                    for piece in KINDS[self.kind]():
                        await loop.sock_sendall(sock, piece)
                        self.sent += len(piece)
            except TimeoutError:
                self.kept += 1
            finally:
                if reader is not None:
                    await asyncio.wait({reader}, timeout=0.2)
                    reader.cancel()
                    await asyncio.gather(reader, return_exceptions=True)
        finally:
            sock.close()

    async def read(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        first = b""
        while data := await loop.sock_recv(sock, PIECE):
            if len(first) < 12:
                first += data[:12]
                if len(first) >= 12:
                    self.answers[first[:12].decode("latin-1")] += 1


def main() -> None:
    """Attack as told by the command line; politely towards the machine's other work."""
    os.nice(19)
    kind, host, port, seconds, reading, width = sys.argv[1:]
    flood = Flood(kind, host, int(port), float(seconds), reading=reading == "reading", width=int(width))
    asyncio.run(flood.run())
    said = {"connections": flood.connections, "kept": flood.kept, "sent": flood.sent, "answers": flood.answers}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
