"""uvicorn's HTTP protocol with bounds on what a request costs before anybody knows who sends it.

uvicorn and httptools have none of their own: the parser keeps a field for as long as it goes on, every field is stored,
and of pipelined requests all are. Here input is given to the parser in small pieces and counted before it is stored,
one request at a time and each piece when it is the connection's turn, and every wait for a peer has an end.

It is deaf to upgrades that are not ours, too. A client may offer to go on in another protocol (RFC 9110 §7.8: a server
may ignore that). Java's HttpClient and curl offer HTTP/2 with every request to a plain http address; httptools then
stops reading, and the body is lost.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from parlour.doorkeeper import Slot
from parlour.signaling.wsprotocol import MAX_LINE, BoundedWebSocketProtocol
from parlour.work_queue import WorkQueue

MAX_HEAD = 16 * 1024
"""Bytes of a request's line and fields together; of trailers too. More is answered 431 (RFC 6585 §5)."""

MAX_FIELDS = 100
"""Fields of a request, trailers included."""

MAX_TARGET = 8 * 1024
"""Bytes of a request's target; more is answered 414 (RFC 9110 §15.5.15)."""

PIECE = 4096
"""Bytes that the parser gets at a time: so much can be stored before it is counted."""

MAX_HELD = 512 * 1024
"""Bytes that may wait for their turn. Reading stops at the first; what one read brings is below."""

MAX_DISCARDED = 256 * 1024
"""Bytes that are read on and thrown away after a refusal, so that the peer gets to read why."""

LINGER = 2.0
"""Seconds between a refusal and the end of its connection."""

PROGRESS = 16 * 1024
"""Bytes of an answer that a peer has to take within the time for a request, or it is dropped."""

_OFFER = re.compile(rb"(?i)(?<=\n)upgrade:(?![ \t]*websocket\b)[^\r\n]*\r\n")
_HEAD_END = b"\r\n\r\n"


class _RefusedError(Exception):
    """Stops the parser; ``status`` is what the peer is told."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Flow(FlowControl):
    """Reads on only when all that was read has been parsed; ``held`` says whether something waits, and has it go on."""

    def __init__(self, transport: asyncio.Transport, held: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._held = held

    def resume_reading(self) -> None:
        """Whoever took from a body wants more: what is here already, if there is."""
        if not self._held():
            super().resume_reading()


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection. ``request_timeout`` seconds are there for a head, and anew for its body."""

    request_timeout: float = 10.0
    body_timeout: float = 10.0
    tell: Callable[..., None] = staticmethod(lambda *_, **__: None)
    """Told of refusals, as a line of the log and its fields."""
    work_queue: WorkQueue | None = None
    """Shared by all connections of a server."""

    def __init__(self, *args: Any, slot: Slot | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.slot = slot
        self._work_queue = WorkQueue() if self.work_queue is None else self.work_queue
        self._asked = False
        self._held, self._at = b"", 0
        self._reading_body = False
        self._body_left = 0
        self._tail = b""
        self._line_begins = False  # with the next piece
        self._request_over = True
        self._untold = 0  # bytes since the parser last told of something
        self._size = 0
        self._fields = 0
        self._refusal: _RefusedError | None = None
        self._deaf = False
        self._discarded = 0
        self._clock: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._unsent = 0

    # --- the connection ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer is there; its first head has to come in time."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.flow = _Flow(self.transport, self._more_held)
        if self.slot is not None:
            self.slot.close = self.transport.abort
        self._wait(self.request_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        self._stop_clocks()
        self._held, self._at = b"", 0
        if self.slot is not None:
            self.slot.release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came. They wait while a request is being answered, and go to the parser in pieces."""
        self._unset_keepalive_if_required()
        if self._deaf:
            self._discard(len(data))
            return
        self._held = self._held[self._at :] + data if self._at < len(self._held) else data
        self._at = 0
        if len(self._held) > MAX_HELD:
            self.transport.abort()
            return
        self.flow.pause_reading()
        self._ask()

    def _more_held(self) -> bool:
        if self._at >= len(self._held):
            return False
        self._ask()
        return True

    def _ask(self) -> None:
        if not self._asked:
            self._asked = True
            self._work_queue.ask(self._in_turn)

    def _in_turn(self) -> None:
        """Give the parser one piece, if what came before it has been dealt with."""
        self._asked = False
        if self._deaf or self.transport.is_closing() or self._answering or self._body_waits:
            return  # whoever answers, or takes from the body, has us go on
        if self.slot is not None and not self.slot.may_go_on(self._ask):
            return
        if self._at < len(self._held):
            self._feed()
        if self.slot is not None:
            self.slot.passed()
        if self._at >= len(self._held):
            self._held, self._at = b"", 0
            if not self._body_waits:
                self.flow.resume_reading()
        elif not self._deaf:
            self._ask()

    def _feed(self) -> None:
        start, piece = self._at, self._next_piece()
        self._untold += self._at - start  # also of what is left out
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(piece[upgrade.args[0] :] + self._held[self._at :])
        except httptools.HttpParserError:
            self._refuse(self._refusal or _RefusedError(400, "This is no HTTP request that can be read."))
        else:
            if self._untold + (0 if self._reading_body else self._size) > MAX_HEAD:
                self._refuse(_RefusedError(*_OVER_LONG) if not self._reading_body else _RefusedError(*_NO_BODY))

    @property
    def _body_waits(self) -> bool:
        """Whether there is so much of a body that the application has to take of it first."""
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and len(cycle.body) > HIGH_WATER_LIMIT

    @property
    def _answering(self) -> bool:
        """Whether a whole request is there that has no whole answer yet."""
        return self._request_over and self.cycle is not None and not self.cycle.response_complete

    def _next_piece(self) -> bytes:
        """At most ``PIECE`` bytes; none beyond the end of a request, no line of a head cut that is there."""
        held, start = self._held, self._at
        stop = min(start + PIECE, len(held))
        if self._reading_body:
            if self._body_left > 0:
                stop = min(stop, start + self._body_left)
                self._body_left -= stop - start
            else:  # chunked, where an empty line is the end or looks like it
                end = (self._tail + held[start:stop]).find(_HEAD_END)
                if end >= 0:
                    stop = start + end + len(_HEAD_END) - len(self._tail)
                self._tail = (self._tail + held[start:stop])[-3:]
        else:
            end = held.find(_HEAD_END, start, stop)
            if end >= 0:
                stop = end + len(_HEAD_END)
            elif (line := held.rfind(b"\r\n", start, stop)) >= 0:
                stop = line + 2
        self._at = stop
        piece = held[start:stop]
        begins, self._line_begins = self._line_begins, piece.endswith(b"\n")
        if not self._reading_body and (b"pgrade:" in piece or b"PGRADE:" in piece):
            piece = _OFFER.sub(b"", b"\n" + piece)[1:] if begins else _OFFER.sub(b"", piece)
        return piece

    # --- what the parser tells ---

    def on_message_begin(self) -> None:
        """A request begins."""
        self._untold = self._size = self._fields = 0
        self._request_over = self._reading_body = False
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._count(len(url))
        if len(self.url) + len(url) > MAX_TARGET:
            self._stop_parser(414, f"The target of a request has at most {MAX_TARGET} bytes.")
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field; a trailer is counted and forgotten (RFC 9110 §6.5.1 lets a server discard them)."""
        self._fields += 1
        self._count(len(name) + len(value) + 4)
        if self._fields > MAX_FIELDS:
            self._stop_parser(431, f"A request has at most {MAX_FIELDS} fields.")
        if not self._reading_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is over; its body has to come in time."""
        self._untold = 0
        self._reading_body = True
        fields = dict(self.headers)
        length = b"" if b"transfer-encoding" in fields else fields.get(b"content-length", b"")
        self._body_left = int(length) if length.isdigit() and len(length) < 20 else 0
        self._tail = b""
        self._wait(self.body_timeout)
        super().on_headers_complete()
        if self.slot is not None:
            self.slot.busy = True

    def on_body(self, body: bytes) -> None:
        """A part of the body. What comes after the answer is thrown away, and not for ever."""
        self._untold = 0
        super().on_body(body)
        if self.cycle is not None and self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > MAX_DISCARDED:
                self._stop_parser(413, "The request was answered, and its body does not end.")

    def on_message_complete(self) -> None:
        """The request is over; what comes next is a head again."""
        self._reading_body, self._request_over = False, True
        self._untold = self._discarded = 0
        super().on_message_complete()
        if self.cycle is None or not self.cycle.response_complete:
            self._wait(None)
            if self.slot is not None:
                self.slot.serving()
        else:
            self._wait(self.request_timeout)

    def _count(self, size: int) -> None:
        self._untold = 0
        self._size += size
        if self._size > MAX_HEAD:
            self._stop_parser(*_OVER_LONG)

    def _stop_parser(self, status: int, text: str) -> None:
        self._refusal = _RefusedError(status, text)
        raise self._refusal

    # --- answers ---

    def on_response_complete(self) -> None:
        """A request was answered; what waited behind it is read on, in a turn of its own."""
        more = bool(self.pipeline)
        super().on_response_complete()
        if self.slot is not None:
            self.slot.busy = more
            if not more:
                self.slot.served()
        if self.transport.is_closing():
            # Closed, once the peer has taken the answer: not for ever.
            self._wait(self.request_timeout)
        elif not more:
            if self._request_over:
                self._wait(self.request_timeout)
            if self._at < len(self._held):
                self._ask()

    def pause_writing(self) -> None:
        """The peer does not take what it asked for."""
        super().pause_writing()
        if self.slot is not None:
            self.slot.served()
        self._watch_sending()

    def resume_writing(self) -> None:
        """It took it."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _watch_sending(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(self.request_timeout, self._check_sending)

    def _check_sending(self) -> None:
        if self._unsent - self.transport.get_write_buffer_size() < PROGRESS:
            self.transport.abort()
        else:
            self._watch_sending()

    # --- the ends of waiting ---

    def timeout_keep_alive_handler(self) -> None:
        """Our clock runs for idle connections too, and from their last answer on."""

    def _wait(self, seconds: float | None) -> None:
        if self._clock is not None:
            self._clock.cancel()
        self._clock = None if seconds is None else self.loop.call_later(seconds, self._too_late)

    def _too_late(self) -> None:
        self._clock = None
        begun = not self._request_over or self._untold > 0
        if self.transport.is_closing() or self.transport.get_write_buffer_size() > 0 or not begun:
            self.transport.abort()
        else:
            what = "body" if self._reading_body else "head"
            self._refuse(_RefusedError(408, f"The {what} of a request has to be here within some seconds."))

    def _stop_clocks(self) -> None:
        self._wait(None)
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    # --- refusals and upgrades ---

    def _refuse(self, refusal: _RefusedError) -> None:
        """Answer, where that is possible, and hear nothing more; the peer gets some time to read it."""
        self._deaf = True
        self._held, self._at, self._discarded = b"", 0, 0
        self._stop_clocks()
        self.tell("request refused", status=refusal.status, reason=str(refusal), source=self.client and self.client[0])
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            started = cycle.response_started or bool(self.pipeline)
            cycle.disconnected = True
            cycle.message_event.set()
            if started:
                self.transport.abort()
                return
        text = f"{refusal}\n".encode()
        self.transport.write(
            b"".join(
                [
                    STATUS_LINE[refusal.status],
                    *(b"%s: %s\r\n" % field for field in self.server_state.default_headers),
                    b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n",
                    b"content-length: %d\r\n\r\n" % len(text),
                    text,
                ]
            )
        )
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER, self.transport.abort)

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > MAX_DISCARDED:
            self.flow.pause_reading()

    def _upgrade(self, rest: bytes) -> None:
        """The head asked to go on in another protocol; ``rest`` came behind it."""
        self._held, self._at = b"", 0
        if not self._should_upgrade():
            # It came in pieces past us. The request is answered, the rest cannot be read.
            self._deaf = True
            self.flow.resume_reading()
            if self.cycle is not None:
                self.cycle.keep_alive = self.cycle.more_body = False
                self.cycle.message_event.set()
            self._wait(None)
            return
        # The WebSocket's parser has a bound for each line and no way to say so.
        longest = max(map(sum, ((len(name), len(value)) for name, value in self.headers)), default=0)
        if max(longest, len(self.url)) > MAX_LINE:
            self._refuse(_RefusedError(431, f"A line of an upgrade to WebSocket has at most {MAX_LINE} bytes."))
            return
        self._stop_clocks()
        self.flow.resume_reading()
        self.handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        if isinstance(protocol, BoundedWebSocketProtocol):
            protocol.take_slot(self.slot)
            if rest:
                protocol.data_received(rest)


_OVER_LONG = (431, f"The head of a request has at most {MAX_HEAD} bytes.")
_NO_BODY = (400, "The body of the request has more around it than in it.")
