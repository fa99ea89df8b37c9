"""Why a signaling socket was closed, by either side."""

from __future__ import annotations

import enum


class CloseCode(enum.IntEnum):
    """Why the server closed a socket (RFC 6455 §7.4); those of 44xx are ours."""

    GOING_AWAY = 1001
    """A session was taken up again on another socket."""
    TOO_BIG = 1009
    """A message was longer than ``maxMessageBytes``."""
    SERVER_STOPPING = 1012
    """The server goes down; come back in a moment."""
    MALFORMED = 4400
    """A message was not a JSON object with an ``id``, or was binary."""
    TIMED_OUT = 4408
    """No login, or no sign of life, in time."""
    REMOVED = 4409
    """The session was replaced or removed from its room; do not resume."""
    TOO_MANY = 4429
    """Messages came faster than allowed, or were not read as fast as they were sent."""


class ClientCloseCode(enum.IntEnum):
    """How a client closes a socket: the server lets a user who left go, and keeps any other for a while."""

    LEFT = 1000
    """The user leaves."""
    PAGE_GONE = 1001
    """The same, as a browser says it when the page goes."""
    GIVEN_UP = 4408
    """The socket is given up, not the session: no sign of life, or no answer in time."""
    FAULT = 4500
    """A fault of the client; it does not come back."""


ENDS_SESSION = frozenset({ClientCloseCode.LEFT, ClientCloseCode.PAGE_GONE})
"""Closes with which a client's user leaves the room."""
