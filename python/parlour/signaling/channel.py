"""Our end of a signaling channel as sessions see it: something to send to, and to close."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from parlour.accounts import AcceptedLogin
from parlour.errors import RtcError
from parlour.protocol.messages import CloseCode, Event, Message
from parlour.signaling.codec import encode_error, encode_event, encode_ok
from parlour.signaling.connection import Closing, Connection
from parlour.signaling.outbox import Outbox

if TYPE_CHECKING:
    from parlour.signaling.session import Session


class Channel:
    """One signaling channel, which is one socket: its rules, what waits to be sent, and who logged in on it.

    ``on_closing`` is called once.
    """

    def __init__(
        self, connection: Connection, outbox: Outbox, source: str, on_closing: Callable[[Closing], None]
    ) -> None:
        self.connection = connection
        self.source = source
        self.login: AcceptedLogin | None = None
        self.session: Session | None = None
        """The session that came to a room by it, or took it over; a session has one channel at most."""
        self.closing: Closing | None = None
        self.refusals = 0
        self._outbox = outbox
        self._on_closing = on_closing

    @property
    def host(self) -> str:
        """The address it comes from, without the port."""
        return self.source.rpartition(":")[0].strip("[]") or self.source

    @property
    def user_id(self) -> str | None:
        """Who logged in on it."""
        return None if self.login is None else self.login.identity.user_id

    @property
    def waiting(self) -> int:
        """How many messages wait to be sent."""
        return len(self._outbox)

    def answer(self, request_id: int, body: Message) -> None:
        """Answer a request that was carried out."""
        self._put(encode_ok(request_id, body))

    def refuse(self, request_id: int | None, error: RtcError) -> None:
        """Answer a request that was refused."""
        self._put(encode_error(request_id, error))

    def tell(self, event: Event) -> None:
        """Send an event."""
        self._put(encode_event(event))

    def tell_if_idle(self, event: Event) -> None:
        """Send an event that nobody needs once it is old: not while others wait to be read."""
        if not self._outbox:
            self._put(encode_event(event))

    def tell_text(self, text: str) -> None:
        """Send an event that is encoded already, because many get the same."""
        self._put(text)

    def close(self, code: CloseCode, reason: str) -> None:
        """Close after what waits has been sent; only the first call counts."""
        self.finish(self.connection.close(code, reason))

    def finish(self, closing: Closing) -> None:
        """Close as the connection decided."""
        if self.closing is not None:
            return
        if closing.error is not None:
            self._outbox.put(encode_error(None, closing.error))
        self.closing = closing
        self._outbox.end(discard=closing.code is CloseCode.TOO_MANY)
        self._on_closing(closing)

    def _put(self, text: str) -> None:
        if self.closing is None and not self._outbox.put(text):
            self.close(CloseCode.TOO_MANY, "messages are not read as fast as they are sent")
