"""A WebSocket client that breaks the rules: frames by hand, at full speed, without reading if need be."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from typing import Self
from urllib.parse import urlsplit

TEXT, BINARY, CONTINUE, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, claim: int | None = None) -> bytes:
    """A masked frame (RFC 6455 §5.2); ``claim`` lies about its length. The mask of zeros changes nothing."""
    length = len(payload) if claim is None else claim
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 65536:
        size = bytes([0x80 | 126]) + struct.pack(">H", length)
    else:
        size = bytes([0x80 | 127]) + struct.pack(">Q", length)
    return bytes([(0x80 if final else 0) | opcode]) + size + b"\0\0\0\0" + payload


class Raw:
    """One TCP connection after its upgrade."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, url: str, *, upgrade: bool = True, receive_buffer: int | None = None) -> Self:
        """Connect, and upgrade. A small ``receive_buffer`` (bytes) makes not reading felt soon."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (parts.hostname, parts.port))
        limit = 2**16 if receive_buffer is None else 1024
        reader, writer = await asyncio.open_connection(sock=sock, limit=limit)
        raw = cls(reader, writer)
        if upgrade:
            writer.write(
                f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 101 " in head, head
        return raw

    async def send(self, data: bytes, timeout: float = 1) -> bool:
        """Send for that long; False when the server has hung up."""
        try:
            self.writer.write(data)
            async with asyncio.timeout(timeout):
                await self.writer.drain()
        except TimeoutError:
            return not self.writer.transport.is_closing()
        except ConnectionError:
            return False
        return True

    async def read(self) -> tuple[int, bytes]:
        """The next frame: its opcode and its payload."""
        first, second = await self.reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            [length] = struct.unpack(">H", await self.reader.readexactly(2))
        elif length == 127:
            [length] = struct.unpack(">Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(length)

    async def text(self) -> bytes:
        """The next text; what comes before it is forgotten."""
        async with asyncio.timeout(20):
            while True:
                opcode, payload = await self.read()
                if opcode == TEXT:
                    return payload

    async def close_code(self) -> int | None:
        """Read to the end; the code of the server's close frame, None when there was none."""
        code = None
        async with asyncio.timeout(20):
            try:
                while True:
                    opcode, payload = await self.read()
                    if opcode == CLOSE:
                        [code] = struct.unpack(">H", payload[:2])
                        self.writer.write(frame(CLOSE, payload))
            except (asyncio.IncompleteReadError, ConnectionError):
                return code

    async def hung_up(self, message: bytes, timeout: float = 20) -> bool:
        """Send for as long as the server takes it, reading nothing; whether it hangs up in time."""
        started = time.monotonic()
        while time.monotonic() - started < timeout:
            if not await self.send(message):
                return True
            await asyncio.sleep(0.01)
        return False

    def close(self) -> None:
        """Drop it."""
        self.writer.transport.abort()


def garbage(size: int) -> bytes:
    """Random bytes."""
    return os.urandom(size)
