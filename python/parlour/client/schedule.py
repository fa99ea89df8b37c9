"""When a lost signaling channel is tried again, and which refusals are worth another try."""

from __future__ import annotations

from collections.abc import Iterator

from parlour.errors import PASSING, ErrorCode, RtcError

FIRST_DELAYS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each of the first attempts."""

DELAY = 5.0
"""Seconds before each later one."""

JITTER = 0.25
"""How much of a delay may be taken off it, so that the clients of a restarted server do not come all at once."""


def delays(randoms: Iterator[float]) -> Iterator[float]:
    """Seconds to wait before each attempt, without end. ``randoms`` are from 0 to 1."""
    for delay in FIRST_DELAYS:
        yield delay * (1 - JITTER * next(randoms))
    while True:
        yield DELAY * (1 - JITTER * next(randoms))


_NOT_REACHED = frozenset({ErrorCode.SIGNAL_CHANNEL_ERROR, ErrorCode.API_CALL_TIMEOUT})
"""What this side says itself when the server could not be asked, or did not answer."""


def may_pass(error: RtcError) -> bool:
    """Whether another try may succeed: the server was not reached, or a part of it was not there, or was too busy."""
    if error.extra_code:
        return error.extra_code in PASSING
    return error.code in PASSING | _NOT_REACHED


def is_unknown_session(error: RtcError) -> bool:
    """Whether the server does not know the session: log in and enter again."""
    return error.extra_code == ErrorCode.SESSION_UNKNOWN
