"""Failures of the stores as the account codes that stand for them."""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

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

_ACCOUNT_STORE: tuple[tuple[type[StorageError], ErrorCode, str], ...] = (
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
)
_UNREACHABLE = (ErrorCode.ACCOUNT_STORE_UNREACHABLE, "the account store cannot be reached")


def account_store_refusal(error: StorageError) -> AccountRefusedError:
    """The refusal for a failure of the account store. The log has the whole sentence, the client has not."""
    code, sentence = next(
        ((code, sentence) for kind, code, sentence in _ACCOUNT_STORE if isinstance(error, kind)), _UNREACHABLE
    )
    if code is not ErrorCode.ACCOUNT_COUNT_LIMIT:
        log.warning("account store failed", code=int(code), reason=str(error))
    return AccountRefusedError(code, sentence)


@contextmanager
def account_store() -> Iterator[None]:
    """Failures of the account store become refusals."""
    try:
        yield
    except StorageError as error:
        raise account_store_refusal(error) from None


@contextmanager
def login_state_store() -> Iterator[None]:
    """Failures of the login-state store become 70222, or 70225 for a conflict that persisted."""
    try:
        yield
    except ConflictError as error:
        log.warning("login-state store failed", code=int(ErrorCode.LOGIN_STATE_WRITE_CONFLICT), reason=str(error))
        raise AccountRefusedError(
            ErrorCode.LOGIN_STATE_WRITE_CONFLICT, "the login state could not be written: other writes were in the way"
        ) from None
    except StorageError as error:
        log.warning("login-state store failed", code=int(ErrorCode.LOGIN_STATE_STORE_UNAVAILABLE), reason=str(error))
        raise AccountRefusedError(
            ErrorCode.LOGIN_STATE_STORE_UNAVAILABLE, "the login-state store is not available"
        ) from None


@contextmanager
def counters_store() -> Iterator[None]:
    """Failures of the counters become 70231: who cannot be counted is not let in."""
    try:
        yield
    except StorageError as error:
        log.warning("counters failed", code=int(ErrorCode.COUNTERS_UNAVAILABLE), reason=str(error))
        raise AccountRefusedError(
            ErrorCode.COUNTERS_UNAVAILABLE, "the counters behind lock-out and rate limits are not available"
        ) from None


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
