"""One socket as a state machine: what it may say when, how fast, and how long it may be silent. No I/O, no clock."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from parlour.errors import ErrorCode, RtcError
from parlour.protocol.messages import (
    AnyRequest,
    CloseCode,
    DownlinkAnswer,
    DownlinkIceRestart,
    Enter,
    Leave,
    Login,
    Ping,
    Publish,
    Resume,
    SwitchRole,
    UplinkIceRestart,
)
from parlour.signaling.codec import MalformedError, decode_request, request_type
from parlour.token_bucket import TokenBucket

COST_UNIT = 8192
"""Characters of a message whose reading is one unit of work. A second pays for as many units as messages may come."""

SDP_UNIT = 1024
"""Characters of a session description that are: to read them is the most costly work of a message."""

ACCOUNT_COST = 9
"""Units of a request that is judged by the account service: signatures, and three stores."""

ICE_RESTART_COST = 9
"""Units of an ICE restart: it makes a media thread keep two generations of credentials, and a peer check anew."""

TELL_UNIT = 25
"""Members of a room who are told of a request, for one unit."""

RENEGOTIATION_UNIT = 20
"""Receivers whose connections are negotiated anew because of a request; the same."""

LONGEST_WAIT = 1.5
"""Seconds for which the work of one request may keep the next one waiting; what would take longer to pay is forgiven.

Shorter than the shortest time that our SDKs wait for an answer, which is 2 s for that to ``leave``.
"""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one socket may do. Times in seconds."""

    message_bytes: int = 262_144
    messages_per_second: float = 50.0
    message_burst: int = 400
    login_timeout: float = 10.0
    socket_timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answer this error; the socket lives on."""

    request_id: int | None
    error: RtcError


@dataclass(frozen=True, slots=True)
class Closing:
    """Close the socket; with an ``error``, answer that first."""

    code: CloseCode
    reason: str
    error: RtcError | None = None


class State(enum.Enum):
    """Where a socket is in its life."""

    NEW = "new"
    AUTHENTICATED = "authenticated"
    IN_ROOM = "in-room"
    CLOSED = "closed"


class Connection:
    """The rules of one socket. ``receive`` judges every text; the owner reports how requests changed the state.

    Two things are counted, at the same rate. More messages than allowed close the socket, since no honest client sends
    as many. The work of requests may be more than allowed without any fault of who asks for it, as it depends on who
    else is in the room: it makes the next request wait, unread, for as long as ``wait`` says.
    """

    def __init__(self, limits: ConnectionLimits, now: float) -> None:
        self._limits = limits
        self._messages = TokenBucket(limits.messages_per_second, limits.message_burst, now)
        self._work = TokenBucket(limits.messages_per_second, limits.message_burst, now)
        self._reading = 0
        """Units that reading the last message was."""
        self._reads_again = now
        self._opened = now
        self._heard = now
        self.state = State.NEW

    def wait(self, now: float) -> float:
        """Seconds for which nothing is to be read, because the work of earlier requests is not paid; else 0."""
        seconds = self._work.until_paid(now, LONGEST_WAIT)
        self._reads_again = now + seconds
        return seconds

    def receive(self, text: str | None, now: float) -> AnyRequest | Refusal | Closing:
        """What to do with a frame; ``text`` is None for a binary one."""
        if self.state is State.CLOSED:
            raise RuntimeError("a closed connection receives nothing")
        self._heard = now
        if not self._messages.take(now):
            return self._too_many()
        if text is None:
            return self.close(CloseCode.MALFORMED, "a message is a text frame, not a binary one")
        if len(text) > self._limits.message_bytes:
            return self.close(CloseCode.TOO_BIG, f"a message has at most {self._limits.message_bytes} bytes")
        self._work.fill(now)
        self._reading = len(text) // COST_UNIT
        self._work.owe(self._reading)
        try:
            request = decode_request(text)
        except MalformedError as malformed:
            if malformed.request_id is not None:
                return Refusal(malformed.request_id, malformed.error)
            closing = self.close(CloseCode.MALFORMED, "a message is a JSON object with an id")
            return Closing(closing.code, closing.reason, malformed.error)
        self._work.owe(self._price(request))
        wrong = self._out_of_place(request)
        return request if wrong is None else Refusal(request.id, RtcError(ErrorCode.INVALID_OPERATION, wrong))

    def heard(self, now: float) -> None:
        """The peer showed that it is there without a message, by the pong to a ping for one."""
        self._heard = now

    def _price(self, request: AnyRequest) -> float:
        """What the work of a request counts, beside reading its text."""
        match request:
            case Login() | Resume() | Enter() | SwitchRole(role="anchor"):
                return ACCOUNT_COST
            case Publish(sdp=sdp):
                return len(sdp) // SDP_UNIT
            case UplinkIceRestart(sdp=sdp):
                return len(sdp) // SDP_UNIT + ICE_RESTART_COST
            case DownlinkIceRestart():
                return ICE_RESTART_COST
        return 0

    def owe(self, *, told: int = 0, renegotiated: int = 0, lines: int = 0) -> None:
        """Count what a request caused: members told, receivers negotiated with anew, own m-lines made anew."""
        self._work.owe(told / TELL_UNIT + renegotiated / RENEGOTIATION_UNIT + lines / RENEGOTIATION_UNIT)

    def answered(self, request: DownlinkAnswer, *, asked_for: bool) -> None:
        """An answer that the server asked for costs its client nothing, however long; one that it refused does."""
        self._work.owe(-self._reading if asked_for else len(request.sdp) / SDP_UNIT)

    def _too_many(self) -> Closing:
        return self.close(
            CloseCode.TOO_MANY,
            f"more than {self._limits.messages_per_second:g} messages a second or {self._limits.message_burst} at once",
        )

    def _out_of_place(self, request: AnyRequest) -> str | None:
        """Why this request may not be made now, if so."""
        name = request_type(request)
        match self.state, request:
            case State.NEW, Login() | Resume():
                return None
            case State.NEW, _:
                return f"{name} came before login; log in first"
            case State.AUTHENTICATED, Login() | Enter() | Ping() | Leave():  # to have left is what leaving twice means
                return None
            case State.AUTHENTICATED, Resume():
                return "resume must be the first request of a socket"
            case State.AUTHENTICATED, _:
                return f"{name} needs a room; enter one first"
            case State.IN_ROOM, Login() | Enter() | Resume():
                return f"{name} came while in a room; leave it first"
        return None

    def logged_in(self) -> None:
        """A login succeeded."""
        self._move(State.AUTHENTICATED, State.NEW, State.AUTHENTICATED)

    def entered(self) -> None:
        """A room was entered, or a session resumed."""
        self._move(State.IN_ROOM, State.NEW, State.AUTHENTICATED)

    def left(self) -> None:
        """The room was left; the user is still logged in."""
        self._move(State.AUTHENTICATED, State.IN_ROOM)

    def close(self, code: CloseCode, reason: str) -> Closing:
        """Nothing is received any more."""
        self.state = State.CLOSED
        return Closing(code, reason)

    def _move(self, target: State, *allowed: State) -> None:
        if self.state not in allowed:
            raise RuntimeError(f"a connection that is {self.state.value} cannot become {target.value}")
        self.state = target

    @property
    def deadline(self) -> float | None:
        """When ``overdue`` is worth asking again; None when never."""
        match self.state:
            case State.CLOSED:
                return None
            case State.NEW:
                return min(self._opened + self._limits.login_timeout, self._silent_until)
        return self._silent_until

    def overdue(self, now: float) -> Closing | None:
        """Close what did not log in, or was silent for too long."""
        if self.state is State.NEW and now >= self._opened + self._limits.login_timeout:
            return self.close(CloseCode.TIMED_OUT, f"no login within {self._limits.login_timeout:g} s")
        if self.state is not State.CLOSED and now >= self._silent_until:
            return self.close(CloseCode.TIMED_OUT, f"nothing heard for {self._limits.socket_timeout:g} s")
        return None

    @property
    def _silent_until(self) -> float:
        # What was not read proves no silence.
        return max(self._heard, self._reads_again) + self._limits.socket_timeout
