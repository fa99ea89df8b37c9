"""The signaling channel: requests and their answers, events, heartbeat, over one WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.frames import CloseCode as WsCloseCode

from parlour.errors import ErrorCode, RtcError
from parlour.protocol import messages as m

Ok = TypeVar("Ok", bound=m.Message)

REQUEST_TIMEOUT = 15.0
"""Ours: seconds after which a request without an answer fails with 0x404B."""

PING_TIMEOUT = 10.0
"""Ours: the same for a ping."""

MESSAGE_LIMIT = 4 * 2**20
"""Ours: the largest message taken from a server; the snapshot and offer of a full room are far below."""


class ChannelLostError(RtcError):
    """The channel was lost before the answer came: what was asked for was done, or not."""


class AnswerTimeoutError(ChannelLostError):
    """No answer came in time; the channel is given up."""


class _Head(msgspec.Struct, rename="camel"):
    """What tells an answer from an event."""

    id: int | None = None
    type: str | None = None
    ok: msgspec.Raw = msgspec.Raw()
    error: m.ErrorBody | None = None


_head = msgspec.json.Decoder(_Head)
_event: msgspec.json.Decoder[m.AnyEvent] = msgspec.json.Decoder(m.AnyEvent)
_encoder = msgspec.json.Encoder()


def websocket_url(server_url: str) -> str:
    """The signaling address of a server given by an http, https, ws or wss origin."""
    parts = urlsplit(server_url)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise RtcError(
            ErrorCode.INVALID_PARAMETER, f"{server_url!r} is not an http, https, ws or wss address of a server"
        )
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{m.SIGNALING_PATH}?v={m.PROTOCOL_VERSION}"


def received(error: m.ErrorBody) -> RtcError:
    """The exception for an error that the server sent."""
    return RtcError.received(
        code=error.code, extra_code=error.extra_code, key=error.key, message=error.message, name=error.name
    )


class Channel:
    """One WebSocket to the server. ``on_event`` is called for each event in order, ``on_lost`` once at the end.

    ``on_lost(code, reason)`` is not called after :meth:`close`.
    """

    def __init__(
        self, on_event: Callable[[m.AnyEvent], None], on_lost: Callable[[int, str], None], *, max_delay: float = 10.0
    ) -> None:
        self._on_event = on_event
        self._on_lost = on_lost
        self._max_delay = max_delay
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._heart: asyncio.Task[None] | None = None
        self._last_request = 0.0

    async def open(self, server_url: str) -> None:
        """Connect. Raises RtcError 0x4002 when nobody answers there."""
        url = websocket_url(server_url)
        try:
            self._socket = await websockets.connect(
                url,
                max_size=MESSAGE_LIMIT,
                open_timeout=self._max_delay,
                close_timeout=2,
                ping_interval=None,
                proxy=None,
                compression=None,
            )
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            raise RtcError(
                ErrorCode.SIGNAL_CHANNEL_ERROR, f"no signaling channel to {server_url}: {error or 'timed out'}"
            ) from error
        self._reader = asyncio.create_task(self._read(self._socket))

    @property
    def local_address(self) -> str:
        """The IP address of this side: the one that reaches the server."""
        if self._socket is None:
            raise _lost("closed")
        host: str = self._socket.local_address[0]
        return host.partition("%")[0].removeprefix("::ffff:")

    async def request(self, request: m.Request, answer: type[Ok], timeout: float | None = None) -> Ok:
        """Send a request (its ``id`` is set here) and return its answer. Raises RtcError when it is refused.

        Without an answer in ``timeout`` seconds (``REQUEST_TIMEOUT``) the channel is given up.
        """
        if self._socket is None:
            raise _lost("closed")
        seconds = REQUEST_TIMEOUT if timeout is None else timeout
        loop = asyncio.get_running_loop()
        number = next(self._ids)
        waiting: asyncio.Future[msgspec.Raw] = loop.create_future()
        self._waiting[number] = waiting
        self._last_request = loop.time()
        try:
            async with asyncio.timeout(seconds):
                await self._socket.send(_encoder.encode(msgspec.structs.replace(request, id=number)), text=True)
            async with asyncio.timeout(seconds):
                raw = await waiting
        except TimeoutError as error:
            kind = request.__struct_config__.tag
            what = f"{kind} was not answered in {seconds:g} s"
            self.give_up(what)
            raise AnswerTimeoutError(ErrorCode.API_CALL_TIMEOUT, what) from error
        except websockets.ConnectionClosed as error:
            raise _lost(str(error)) from error
        finally:
            self._waiting.pop(number, None)
            forget(waiting)
        try:
            return msgspec.json.decode(raw, type=answer)
        except msgspec.ValidationError as error:
            kind = request.__struct_config__.tag
            raise RtcError(
                ErrorCode.SIGNAL_CHANNEL_ERROR, f"the answer to {kind} is not the protocol: {error}"
            ) from error

    def start_heartbeat(self, interval: float) -> None:
        """Send a ping whenever nothing else was asked for ``interval`` seconds."""
        if self._heart is not None:
            self._heart.cancel()
        self._heart = asyncio.create_task(self._beat(interval))

    def give_up(self, why: str) -> None:
        """The other side is silent although nobody said so: the channel is lost, at once."""
        socket, self._socket = self._socket, None
        if socket is None:
            return
        for task in (self._reader, self._heart):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        self._fail_waiting(why)
        goodbye = asyncio.create_task(_goodbye(socket))
        _goodbyes.add(goodbye)
        goodbye.add_done_callback(_goodbyes.discard)
        self._on_lost(m.ClientCloseCode.GIVEN_UP, why)

    async def close(self, code: int = m.ClientCloseCode.LEFT) -> None:
        """Close the socket and end the tasks; ``LEFT`` ends the session. Idempotent."""
        socket, self._socket = self._socket, None
        tasks = [task for task in (self._reader, self._heart) if task is not None]
        self._reader = self._heart = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if socket is not None:
            await socket.close(code)
        self._fail_waiting()

    async def _read(self, socket: ClientConnection) -> None:
        code: int = WsCloseCode.ABNORMAL_CLOSURE
        reason = ""
        try:
            async for text in socket:
                self._take(text)
        except websockets.ConnectionClosed:
            pass
        except msgspec.DecodeError as error:
            code, reason = WsCloseCode.PROTOCOL_ERROR, f"the server sent what is not the protocol: {error}"
        except Exception as fault:
            # Seen by nobody otherwise: the task that reads would just be gone.
            code, reason = m.ClientCloseCode.FAULT, f"a fault of the client: {type(fault).__name__}: {fault}"
        if socket.close_code is not None and code == WsCloseCode.ABNORMAL_CLOSURE:
            code, reason = socket.close_code, socket.close_reason or ""
        if self._heart is not None:
            self._heart.cancel()
        self._socket = None
        self._fail_waiting(f"{code} {reason}".rstrip())
        with contextlib.suppress(OSError, websockets.WebSocketException):
            await socket.close(code if code == m.ClientCloseCode.FAULT else m.ClientCloseCode.LEFT)
        self._on_lost(code, reason)

    def _take(self, text: str | bytes) -> None:
        head = _head.decode(text)
        if head.type is not None:
            self._on_event(_event.decode(text))
            return
        waiting = self._waiting.get(-1 if head.id is None else head.id)
        if waiting is None or waiting.done():
            return  # its asker gave up
        if head.error is not None:
            waiting.set_exception(received(head.error))
        else:
            waiting.set_result(head.ok.copy() if head.ok else msgspec.Raw(b"{}"))

    def _fail_waiting(self, why: str = "closed") -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(_lost(why))
        self._waiting.clear()

    async def _beat(self, interval: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = self._last_request + interval
            if loop.time() < due:
                await asyncio.sleep(due - loop.time())
                continue
            try:
                await self.request(m.Ping(id=0), m.Empty, PING_TIMEOUT)
            except RtcError:
                return


_goodbyes: set[asyncio.Task[None]] = set()


async def _goodbye(socket: ClientConnection) -> None:
    with contextlib.suppress(OSError, websockets.WebSocketException):
        await socket.close(m.ClientCloseCode.GIVEN_UP, "no sign of life")


def forget(future: asyncio.Future[Any]) -> None:
    """Nobody waits for this any more; what comes of it, or came just now, is not to be complained about."""
    if future.done() and not future.cancelled():
        future.exception()
    future.cancel()


def _lost(why: str) -> ChannelLostError:
    return ChannelLostError(
        ErrorCode.SIGNAL_CHANNEL_ERROR, f"the signaling channel was lost before the answer came ({why})"
    )
