"""A WebSocket's two tasks: one reads and judges, one writes what waits. The rules are in ``connection``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from parlour.accounts.sources import counted_source
from parlour.signaling.channel import Channel
from parlour.signaling.connection import Closing, Connection, Refusal
from parlour.signaling.outbox import Outbox
from parlour.signaling.service import SignalingService
from parlour.supervisor import record_death

STALL = 1.0
"""Seconds by which a deadline may be missed before it counts as ours: this process slept, not the peer."""

FLUSH_TIMEOUT = 2.0
"""Seconds that a closing socket has to take what waits for it."""


class SocketControl(Protocol):
    """What the server below can do with a socket that ASGI has no words for."""

    def abort(self) -> None:
        """Drop the TCP connection of a client that reads nothing."""

    def on_heard(self, heard: Callable[[], None]) -> None:
        """Call ``heard`` at each sign of life that is no message: pings, pongs, fragments."""

    def read_ahead(self, on_gone: Callable[[], None] | None) -> None:
        """The application takes no message for a while: pings behind a few of them are to be answered all the same.

        ``on_gone`` is called when the peer goes; the messages it left are forgotten. None: messages are taken again.
        """

    def signed_in(self) -> None:
        """The user logged in."""

    def come_from(self, source: str) -> bool:
        """The socket comes from that address, whatever its TCP peer is. False when it is one too many of there."""


class NoControl:
    """Under another ASGI server than ours: its own means have to do."""

    def abort(self) -> None:
        """The socket ends when the application does."""

    def on_heard(self, heard: Callable[[], None]) -> None:
        """Only messages are heard."""

    def read_ahead(self, on_gone: Callable[[], None] | None) -> None:
        """What is not taken is not read."""

    def signed_in(self) -> None:
        """Nobody counts."""

    def come_from(self, source: str) -> bool:
        """Nobody counts."""
        return True


async def serve_socket(websocket: WebSocket, service: SignalingService, control: SocketControl) -> None:
    """Serve a socket to its end."""
    if websocket.client is not None and not control.come_from(counted_source(websocket.client.host)):
        text = "There are too many connections from your address; close some, or wait.\n"
        await websocket.send_denial_response(PlainTextResponse(text, status_code=503, headers={"Retry-After": "10"}))
        return
    await websocket.accept()
    source = f"{websocket.client.host}:{websocket.client.port}" if websocket.client else "unknown"
    connection = Connection(service.limits.connection, service.clock())
    control.on_heard(lambda: connection.heard(service.clock()))
    outbox = Outbox(service.limits.send_queue)
    closing, ending = asyncio.Event(), asyncio.Event()

    def on_closing(_: Closing) -> None:
        closing.set()
        ending.set()

    channel = Channel(connection, outbox, source, on_closing)
    service.opened(channel)
    code = 1006
    writer = asyncio.create_task(_write(websocket, channel, outbox))
    keeper = asyncio.create_task(_keep(channel, connection, closing, service, control, writer))
    for task in (writer, keeper):
        task.add_done_callback(lambda task: _ended(task, control))
    try:
        code = await _read(websocket, channel, connection, ending, service, control)
    finally:
        service.closed(channel, code)
        outbox.end(discard=True)
        for task in (keeper, writer):
            task.cancel()
        await asyncio.gather(keeper, writer, return_exceptions=True)


def _ended(task: asyncio.Task[None], control: SocketControl) -> None:
    """A socket without its writer or its keeper looks alive and is not: its client is to notice, and the operator."""
    if not task.cancelled() and (error := task.exception()) is not None:
        record_death("a socket", error)
        control.abort()


async def _read(
    websocket: WebSocket,
    channel: Channel,
    connection: Connection,
    ending: asyncio.Event,
    service: SignalingService,
    control: SocketControl,
) -> int:
    """Read until the socket is gone, at the pace of what its requests cost. Returns the close code."""
    stranger = True
    while True:
        wait = connection.wait(service.clock())
        if wait > 0:
            control.read_ahead(ending.set)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await ending.wait()
            control.read_ahead(None)
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return int(message.get("code", 1005))
        if channel.closing is not None:
            continue
        match connection.receive(message.get("text"), service.clock()):
            case Refusal(request_id, error):
                channel.refuse(request_id, error)
            case Closing() as closing:
                channel.finish(closing)
            case request:
                await service.handle(channel, request)
                if stranger and channel.login is not None:
                    stranger = False
                    control.signed_in()


async def _write(websocket: WebSocket, channel: Channel, outbox: Outbox) -> None:
    """Send what waits; after the last, say goodbye as the channel decided."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await outbox.drain(websocket.send_text)
        if channel.closing is not None:
            await websocket.close(channel.closing.code, channel.closing.reason[:120])


async def _keep(
    channel: Channel,
    connection: Connection,
    closing: asyncio.Event,
    service: SignalingService,
    control: SocketControl,
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
        if service.clock() - deadline > STALL:
            # We were stopped or starved past the deadline. What the peer sent meanwhile is there, and is read first.
            await asyncio.sleep(STALL)
        overdue = connection.overdue(service.clock())
        if overdue is not None:
            channel.finish(overdue)
    await asyncio.wait({writer}, timeout=FLUSH_TIMEOUT)
    if not writer.done():
        control.abort()
