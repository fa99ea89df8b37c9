"""Failures of the stores as the account codes that stand for them."""

from __future__ import annotations

import functools
import secrets
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ParamSpec, TypeVar

import structlog

from parlour.accounts.refusal import AccountRefusedError
from parlour.errors import ErrorCode
from parlour.storage import (
    AccountLimitError,
    AccountTypeUnreadableError,
    ConflictError,
    MasterKeyError,
    NoSuchAppError,
    SealedError,
    StorageError,
    StoreTimeoutError,
    UnreadableDatabaseError,
    UnreadableRowError,
    UnwritableError,
)

log = structlog.get_logger(__name__)

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

Fault = tuple[type[StorageError], ErrorCode, str]
"""A failure of a store, the code that stands for it, and what a client is told."""

_ACCOUNT_STORE: tuple[Fault, ...] = (
    (StoreTimeoutError, ErrorCode.ACCOUNT_STORE_TIMEOUT, "the account store did not answer in time"),
    (UnreadableRowError, ErrorCode.STORED_ROW_UNREADABLE, "what is stored cannot be read"),
    (UnreadableDatabaseError, ErrorCode.STORED_ROW_UNREADABLE, "the account store is damaged or of another version"),
    (AccountTypeUnreadableError, ErrorCode.ACCTYPE_LOOKUP_FAILED, "the app's account type could not be looked up"),
    (ConflictError, ErrorCode.ACCOUNT_STORE_WRITE_CONFLICT, "the write met others and was given up after some retries"),
    (UnwritableError, ErrorCode.ACCOUNT_STORE_NOT_WRITABLE, "the account store is read-only or its disk is full"),
    (SealedError, ErrorCode.STORED_SECRET_UNREADABLE, "a stored secret does not open with this server's master key"),
    (MasterKeyError, ErrorCode.STORED_SECRET_UNREADABLE, "this server's master key is missing"),
    (AccountLimitError, ErrorCode.ACCOUNT_COUNT_LIMIT, "the app has as many accounts as it may have"),
    (NoSuchAppError, ErrorCode.SDKAPPID_NOT_FOUND, "the app is not there any more"),
    (StorageError, ErrorCode.ACCOUNT_STORE_UNREACHABLE, "the account store cannot be reached"),
)
_LOGIN_STATES: tuple[Fault, ...] = (
    (
        ConflictError,
        ErrorCode.LOGIN_STATE_WRITE_CONFLICT,
        "the login state could not be written: other writes were in the way",
    ),
    (StorageError, ErrorCode.LOGIN_STATE_STORE_UNAVAILABLE, "the login-state store is not available"),
)
_COUNTERS: tuple[Fault, ...] = (
    (
        StorageError,
        ErrorCode.COUNTERS_UNAVAILABLE,
        "the counters behind lock-out and rate limits are not available",
    ),
)


def account_store_refusal(error: StorageError) -> AccountRefusedError:
    """The refusal for a failure of the account store. The log has the whole sentence, the client has not."""
    return _refusal(error, "account store", _ACCOUNT_STORE)


def account_store() -> AbstractContextManager[None]:
    """Failures of the account store become refusals."""
    return _refusing("account store", _ACCOUNT_STORE)


def login_state_store() -> AbstractContextManager[None]:
    """Failures of the login-state store become 70222, or 70225 for a conflict that persisted."""
    return _refusing("login-state store", _LOGIN_STATES)


def counters_store() -> AbstractContextManager[None]:
    """Failures of the counters become 70231: who cannot be counted is not let in."""
    return _refusing("counters", _COUNTERS)


def _refusal(error: StorageError, store: str, faults: tuple[Fault, ...]) -> AccountRefusedError:
    code, sentence = next((code, sentence) for kind, code, sentence in faults if isinstance(error, kind))
    if code is not ErrorCode.ACCOUNT_COUNT_LIMIT:  # which is the app's bound and no failure
        log.warning(f"{store} failed", code=int(code), reason=str(error))
    return AccountRefusedError(code, sentence)


@contextmanager
def _refusing(store: str, faults: tuple[Fault, ...]) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise _refusal(error, store, faults) from None


@contextmanager
def unexpected() -> Iterator[None]:
    """Whatever nobody expected becomes 70308 with an incident id that the log has too."""
    try:
        yield
    except AccountRefusedError:
        raise
    except Exception as error:
        incident = secrets.token_hex(4)
        # As text: renderers that show local variables would show keys.
        log.error("account service failed", incident=incident, trace="".join(traceback.format_exception(error)))
        raise AccountRefusedError(
            ErrorCode.ACCOUNT_SERVICE_FAULT, f"the account service failed; incident {incident} in the server's log"
        ) from None


def guarded(call: Callable[Parameters, Awaitable[Result]]) -> Callable[Parameters, Coroutine[Any, Any, Result]]:
    """A call of the account service in which what nobody expected becomes 70308; see :func:`unexpected`."""

    @functools.wraps(call)
    async def guard(*arguments: Parameters.args, **named: Parameters.kwargs) -> Result:
        with unexpected():
            return await call(*arguments, **named)

    return guard
