"""uvicorn's WebSocket protocol with bounds on what costs us without being a message.

Pings are answered below the application, so that a flood of them would neither be counted nor, when the client does not
read its pongs, be bounded. The same holds for fragments without content. One read can bring ten thousand frames: they
are parsed in pieces, each when it is the connection's turn and the application has taken what came before.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request

from parlour.doorkeeper import Slot
from parlour.protocol.messages import CloseCode
from parlour.token_bucket import TokenBucket
from parlour.work_queue import WorkQueue

LINGER = 2.0
"""Seconds between our last word and the end of the TCP connection, for a client to read it."""

MAX_FRAGMENTS = 1024
"""Of one message."""

MAX_LINE = 8000
"""Bytes of a field of the upgrade; websockets takes lines of 8192, their ends and what stands around them included."""

FIRST_PIECE = 256
LARGEST_PIECE = 64 * 1024
"""Bytes that the parser gets at a time: few while frames end in them, twice as many each time inside a long one."""

MAX_HELD = 512 * 1024
"""Bytes that may wait to be parsed. Reading stops at the first; what one read brings is below."""

AHEAD = 64
AHEAD_BYTES = 64 * 1024
"""Messages, and their bytes, behind which pings are answered while the application takes none. With as many waiting,
reading stops, and what more the peer sends stays with it."""

MAX_LATE_PINGS = 64
"""Pings of a peer that does not take what was sent to it; it gets the last pong once it does (RFC 6455 §5.5.3)."""

STATE_KEY = "parlour_socket"
"""Where the application finds this protocol, as a ``SocketControl``, in the scope's state."""


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """Counts control frames, bounds fragments, and ends every connection for good some seconds after its close.

    It is the application's ``SocketControl``. uvicorn sends the pings; we count whatever comes back as a sign of life.
    """

    control_rate: float = 50.0
    control_burst: int = 200
    work_queue: WorkQueue | None = None
    """Shared by all connections of a server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = LINGER
        self._control = TokenBucket(self.control_rate, self.control_burst, time.monotonic())
        self._fragments = 0
        self._discarding = False
        self._work_queue = WorkQueue() if self.work_queue is None else self.work_queue
        self._asked = self._user = False
        self._held = bytearray()
        self._piece = FIRST_PIECE
        self._slot: Slot | None = None
        self._sizes: deque[int] = deque()
        """Bytes of each message in the queue."""
        self._on_gone: Callable[[], None] | None = None
        """Set while the application takes no message."""
        self._gone = False
        self._late_pings = 0
        self._late_pong = b""
        self.heard: Callable[[], None] = lambda: None

    # --- for the application ---

    def abort(self) -> None:
        """Drop the connection."""
        self.transport.abort()

    def on_heard(self, heard: Callable[[], None]) -> None:
        """Call ``heard`` at each sign of life that is no message."""
        self.heard = heard

    def read_ahead(self, on_gone: Callable[[], None] | None) -> None:
        """No message is taken until this is called with None; ``on_gone`` is called if the peer goes meanwhile."""
        self._on_gone = on_gone
        if self._gone:
            self._forget_messages()
        self._ask()
        self._pace_reading()

    def signed_in(self) -> None:
        """Its user logged in."""
        self._user = True
        if self._slot is not None:
            self._slot.signed_in()

    def come_from(self, source: str) -> bool:
        """It comes from there, by the word of a proxy that is trusted. False when that is one too many."""
        return self._slot is None or self._slot.come_from(source)

    # --- the connection ---

    def take_slot(self, slot: Slot | None) -> None:
        """Hold the connection's place among all from now on."""
        self._slot = slot
        if slot is not None:
            slot.busy = False
            slot.served()
            slot.close = self.transport.abort

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        self._held.clear()
        if self._slot is not None:
            self._slot.release()
        super().connection_lost(exc)
        self._peer_gone()

    def handle_close(self, event: Frame) -> None:
        """Take the peer's close frame."""
        super().handle_close(event)
        self._peer_gone()

    def _peer_gone(self) -> None:
        self._gone = True
        if self._on_gone is not None:
            self._forget_messages()

    def _forget_messages(self) -> None:
        """Leave in the queue only that the peer is gone; whether its last requests were carried out it cannot know."""
        ends = [event for event in self._queued() if event["type"] != "websocket.receive"]
        self._sizes.clear()
        for event in ends:
            self.queue.put_nowait(event)
        if self._on_gone is not None:
            self._on_gone()

    def _queued(self) -> Iterator[ASGIReceiveEvent]:
        while not self.queue.empty():
            yield self.queue.get_nowait()

    def send_keepalive_ping(self) -> None:
        """Ping, unless the peer has not even taken what was sent before."""
        if self.writable.is_set():
            super().send_keepalive_ping()
        else:
            self.schedule_ping()

    def data_received(self, data: bytes) -> None:
        """Bytes came; after a failure they are thrown away, so that the peer gets to read why."""
        if self._discarding:
            return
        if not self.handshake_initiated:  # the head, which is bounded and has had its turn
            super().data_received(data)
            return
        self._held += data
        if len(self._held) > MAX_HELD:
            self.transport.abort()
        elif self._user and not self._asked and self.queue.empty():
            self._parse()
        else:
            self._ask()
            self._pace_reading()

    async def receive(self) -> ASGIReceiveEvent:
        """What came next, for the application; what waits behind it is parsed in its turn."""
        message = await self.queue.get()
        if message["type"] == "websocket.receive":
            self._sizes.popleft()
        self._ask()
        self._pace_reading()
        return message

    def _ask(self) -> None:
        """Parse in a turn to come, unless the application has to take something first."""
        if self._held and not self._asked and self._takes():
            self._asked = True
            self._work_queue.ask(self._in_turn, user=self._user)

    def _takes(self) -> bool:
        """Whether a message more may be parsed: nobody takes any after our close."""
        if self.close_sent or self.queue.empty():
            return True
        return self._on_gone is not None and len(self._sizes) < AHEAD and sum(self._sizes) < AHEAD_BYTES

    def _in_turn(self) -> None:
        self._asked = False
        self._parse()

    def _parse(self) -> None:
        if self._discarding or self.transport.is_closing():
            self._held.clear()
            return
        piece = bytes(self._held[: self._piece])
        del self._held[: self._piece]
        self._piece = min(self._piece * 2, LARGEST_PIECE)  # unless a frame ends in this one
        super().data_received(piece)
        self._ask()
        self._pace_reading()

    def _pace_reading(self) -> None:
        """Read while nothing waits that was read before, and what nobody takes any more."""
        paused = not self._discarding and (bool(self._held) or not self._takes())
        if paused != self.read_paused and not self.transport.is_closing():
            self.read_paused = paused
            if paused:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def handle_ping(self) -> None:
        """Answer a ping, if there were not too many; of those that come before the peer takes more, the last."""
        self._late_pings += not self.writable.is_set()
        if self._late_pings > MAX_LATE_PINGS or not self._control.take(time.monotonic()):
            self._fail(CloseCode.TOO_MANY, "too many pings")
            return
        self.heard()
        if self.writable.is_set():
            super().handle_ping()
            return
        # All pongs of a piece are there with its first ping.
        self._late_pong = b"".join(self.conn.data_to_send()) or self._late_pong

    def resume_writing(self) -> None:
        """The peer took what was sent."""
        super().resume_writing()
        pong, self._late_pong, self._late_pings = self._late_pong, b"", 0
        if pong and not (self.close_sent or self.transport.is_closing()):
            self.transport.write(pong)

    def handle_pong(self, event: Frame) -> None:
        """Take a pong for a sign of life, also one to no ping (RFC 6455 §5.5.3), if there were not too many."""
        if not self._control.take(time.monotonic()):
            self._fail(CloseCode.TOO_MANY, "too many pongs")
            return
        self.heard()
        super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment."""
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS:
            self._fail(CloseCode.TOO_MANY, "too many fragments")
            return
        self.heard()
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """Pass a whole message on; a text has to be UTF-8 (RFC 6455 §8.1)."""
        self._fragments = 0
        if self.curr_msg_data_type == "text":
            whole = b"".join(self.frames)
            try:
                whole.decode()
            except UnicodeDecodeError:
                self.frames = []
                self._fail(1007, "a text is not UTF-8")
                return
            self.frames = [whole]
        size, before = sum(map(len, self.frames)), self.queue.qsize()
        super().send_receive_event_to_app()
        if self.queue.qsize() > before:
            self._sizes.append(size)

    def handle_parser_exception(self) -> None:
        """What came is no WebSocket, or too big. The close frame says so; the peer gets time to read it."""
        sent = self.conn.close_sent
        self._end(sent.code if sent is not None else 1002, sent.reason if sent is not None else "")

    def _fail(self, code: int, reason: str) -> None:
        if self._discarding:
            return
        self.conn.fail(code, reason)
        self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        if self._discarding:
            return
        self._discarding = self.close_sent = True
        self.frames = []
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self._peer_gone()
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(LINGER, self.transport.abort)

    def handle_events(self) -> None:
        """Events of one read; after a failure the rest of them is forgotten."""
        for event in self.conn.events_received():
            self._piece = FIRST_PIECE
            if self._discarding:
                return
            if isinstance(event, Request):
                self.handle_connect(event)
                continue
            if not isinstance(event, Frame):
                continue
            match event.opcode:
                case Opcode.CONT:
                    self.handle_cont(event)
                case Opcode.TEXT:
                    self.handle_text(event)
                case Opcode.BINARY:
                    self.handle_bytes(event)
                case Opcode.PING:
                    self.handle_ping()
                case Opcode.PONG:
                    self.handle_pong(event)
                case Opcode.CLOSE:
                    self.handle_close(event)

    async def run_asgi(self) -> None:
        """Run the application; when it is done the connection ends within a bounded time, whatever the peer does."""
        self.scope["state"][STATE_KEY] = self
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(LINGER, self.transport.abort)
