"""A WebSocket's two tasks: one reads and judges, one writes what waits. The rules are in ``connection``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from starlette.websockets import WebSocket, WebSocketDisconnect

from parlour.signaling.connection import Closing, Connection, Refusal
from parlour.signaling.link import Link
from parlour.signaling.outbox import Outbox
from parlour.signaling.service import SignalingService

FLUSH_TIMEOUT = 2.0
"""Seconds that a closing socket has to take what waits for it."""


async def serve_socket(websocket: WebSocket, service: SignalingService, abort: Callable[[], None]) -> None:
    """Serve an upgraded socket to its end. ``abort`` drops the TCP connection of a client that reads nothing."""
    await websocket.accept()
    source = f"{websocket.client.host}:{websocket.client.port}" if websocket.client else "unknown"
    connection = Connection(service.limits.connection, service.clock())
    outbox = Outbox(service.limits.send_queue)
    closing = asyncio.Event()
    link = Link(connection, outbox, source, lambda _: closing.set())
    service.opened(link)
    code = 1006
    writer = asyncio.create_task(_write(websocket, link, outbox))
    keeper = asyncio.create_task(_keep(link, connection, closing, service, abort, writer))
    try:
        code = await _read(websocket, link, connection, service)
    finally:
        service.closed(link, code)
        outbox.end(discard=True)
        for task in (keeper, writer):
            task.cancel()
        await asyncio.gather(keeper, writer, return_exceptions=True)


async def _read(websocket: WebSocket, link: Link, connection: Connection, service: SignalingService) -> int:
    """Read until the socket is gone. Returns the close code."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return int(message.get("code", 1005))
        if link.closing is not None:
            continue
        match connection.receive(message.get("text"), service.clock()):
            case Refusal(request_id, error):
                link.refuse(request_id, error)
            case Closing() as closing:
                link.finish(closing)
            case request:
                await service.handle(link, request)


async def _write(websocket: WebSocket, link: Link, outbox: Outbox) -> None:
    """Send what waits; after the last, say goodbye as the link decided."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await outbox.drain(websocket.send_text)
        if link.closing is not None:
            await websocket.close(link.closing.code, link.closing.reason[:120])


async def _keep(
    link: Link,
    connection: Connection,
    closing: asyncio.Event,
    service: SignalingService,
    abort: Callable[[], None],
    writer: asyncio.Task[None],
) -> None:
    """Close what is silent for too long, and abort what does not take its goodbye."""
    while not closing.is_set():
        deadline = connection.deadline
        if deadline is None:
            break
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, deadline - service.clock())):
                await closing.wait()
        overdue = connection.overdue(service.clock())
        if overdue is not None:
            link.finish(overdue)
    await asyncio.wait({writer}, timeout=FLUSH_TIMEOUT)
    if not writer.done():
        abort()
