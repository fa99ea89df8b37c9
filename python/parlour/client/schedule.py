"""When a lost signaling channel is tried again, and which refusals are worth another try."""

from __future__ import annotations

from collections.abc import Iterator

from parlour.errors import ErrorCode, RtcError

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


_PASSING = frozenset(
    {
        ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED,
        ErrorCode.SIGNAL_CHANNEL_ERROR,
        ErrorCode.API_CALL_TIMEOUT,
        ErrorCode.UNKNOWN,
    }
)
PASSING_EXTRA = frozenset(
    {
        ErrorCode.THIRD_PARTY_VERIFICATION_TIMEOUT,
        ErrorCode.LOGIN_LOCKED_OUT,
        ErrorCode.LOGIN_RATE_EXCEEDED,
        ErrorCode.ACCOUNT_STORE_TIMEOUT,
        ErrorCode.ACCOUNT_STORE_UNREACHABLE,
        ErrorCode.ACCTYPE_LOOKUP_FAILED,
        ErrorCode.ACCOUNT_STORE_WRITE_CONFLICT,
        ErrorCode.ACCOUNT_STORE_NOT_WRITABLE,
        ErrorCode.LOGIN_STATE_STORE_UNAVAILABLE,
        ErrorCode.LOGIN_STATE_WRITE_CONFLICT,
        ErrorCode.COUNTERS_UNAVAILABLE,
        ErrorCode.ACCOUNT_SERVICE_FAULT,
        ErrorCode.TICKET_EXPIRED,
        ErrorCode.TICKET_KEY_MISSING,
        ErrorCode.MEDIA_NODE_UNAVAILABLE,
    }
)
"""Refusals for which a part of the server is down or busy, whatever was asked."""


def may_pass(error: RtcError) -> bool:
    """Whether another try may succeed: the server was not reached, or a part of it was not there, or was too busy."""
    if error.extra_code:
        return error.extra_code in PASSING_EXTRA
    return error.code in _PASSING


def is_unknown_session(error: RtcError) -> bool:
    """Whether the server does not know the session: log in and enter again."""
    return error.extra_code == ErrorCode.SESSION_UNKNOWN
