"""A server that does nothing: HTTP requests get one fixed answer, WebSocket messages another.

It measures the load generator. Prints where it listens, as ``parlour serve --json`` does, and runs until SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import cast

import uvloop
from websockets.utils import accept_key

from bench.load import frame, frames

ACCOUNT = b'{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"ResultItem":[{"AccountStatus":"Imported"}]}'
HTTP_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ACCOUNT),
    ACCOUNT,
)
LOGIN_ANSWER = frame(b'{"id":1,"ok":{"ticket":"%b"}}' % (b"t" * 400), masked=False)
CLOSED = frame(b"\x03\xe8", opcode=8, masked=False)


class Answering(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._received = b""
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._upgraded:
            self._messages()
        elif b"\r\n\r\n" in self._received:
            head, _, body = self._received.partition(b"\r\n\r\n")
            if b"Upgrade: websocket" in head:
                self._upgrade(head, body)
            elif len(body) >= int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]):
                self._received = b""
                self._transport.write(HTTP_ANSWER)

    def _upgrade(self, head: bytes, rest: bytes) -> None:
        key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()
        self._upgraded, self._received = True, rest
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_key(key).encode()
        )
        self._messages()

    def _messages(self) -> None:
        whole, self._received = frames(self._received)
        for opcode, _ in whole:
            if opcode == 1:
                self._transport.write(LOGIN_ANSWER)
            else:
                self._transport.write(CLOSED)
                self._transport.close()


async def main() -> None:
    """Serve until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await ended.wait()


if __name__ == "__main__":
    uvloop.run(main())
