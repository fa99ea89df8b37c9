"""Login: the checks of the account system in their documented order, against the store."""

from __future__ import annotations

import asyncio
import secrets
import traceback
from collections.abc import Callable

import structlog

from parlour.accounts.identity import Identity
from parlour.errors import ErrorCode, RtcError, login_refused
from parlour.storage import (
    App,
    Storage,
    StorageError,
    StoreTimeoutError,
    UnreadableRowError,
)
from parlour.usersig import UserSigError, verify

MAX_USER_ID_BYTES = 32
MAX_SDK_APP_ID = 2**32 - 1
STORE_TIMEOUT = 5.0

log = structlog.get_logger(__name__)


class Accounts:
    """The account service of one server. ``clock`` gives unix seconds."""

    def __init__(self, storage: Storage, clock: Callable[[], float], *, store_timeout: float = STORE_TIMEOUT) -> None:
        self._storage = storage
        self._clock = clock
        self._store_timeout = store_timeout
        self._questions: set[asyncio.Task[App | None]] = set()

    async def close(self) -> None:
        """Wait for questions to the store that nobody waits for any more. Call it before the store is closed."""
        if self._questions:
            await asyncio.wait(self._questions)

    async def login(
        self, sdk_app_id: object, user_id: object, user_sig: object, account_type: object = None
    ) -> Identity:
        """Who this is, or an ``RtcError`` 0x4001 with the account code of the first check that failed behind it.

        The arguments are what a client sent, whatever that is. ``account_type`` is not looked at yet.
        """
        try:
            return await self._login(sdk_app_id, user_id, user_sig)
        except RtcError:
            raise
        except Exception as error:
            incident = secrets.token_hex(4)
            # As text: renderers that show local variables would show keys.
            log.error("account service failed", incident=incident, trace="".join(traceback.format_exception(error)))
            raise login_refused(
                ErrorCode.ACCOUNT_SERVICE_FAULT, f"the account service failed; incident {incident} in the server's log"
            ) from error

    async def _login(self, sdk_app_id: object, user_id: object, user_sig: object) -> Identity:
        app = await self._app(sdk_app_id)
        user = checked_user_id(user_id)
        if user_sig is not None and not isinstance(user_sig, str):
            raise login_refused(ErrorCode.PARAMETER_INVALID, "userSig is not a text")
        try:
            verify(user_sig or "", sdk_app_id=app.sdk_app_id, user_id=user, keys=app.keys, now=int(self._clock()))
        except UserSigError as error:
            raise login_refused(error.code, error.detail) from None
        return Identity(app.sdk_app_id, user)

    async def _app(self, sdk_app_id: object) -> App:
        if not isinstance(sdk_app_id, int) or isinstance(sdk_app_id, bool) or not 0 < sdk_app_id <= MAX_SDK_APP_ID:
            raise login_refused(ErrorCode.SDKAPPID_UNKNOWN, "sdkAppId is not a number from 1 to 4294967295")
        try:
            app = await self._ask(sdk_app_id)
        except (TimeoutError, StoreTimeoutError) as error:
            log.warning("account store too slow", sdk_app_id=sdk_app_id, reason=str(error))
            raise login_refused(ErrorCode.ACCOUNT_STORE_TIMEOUT, "the account store did not answer in time") from None
        except UnreadableRowError as error:
            log.error("account store row unreadable", sdk_app_id=sdk_app_id, reason=str(error))
            raise login_refused(
                ErrorCode.STORED_ROW_UNREADABLE, f"what is stored about app {sdk_app_id} cannot be read"
            ) from None
        except StorageError as error:
            log.error("account store unreachable", sdk_app_id=sdk_app_id, reason=str(error))
            raise login_refused(ErrorCode.ACCOUNT_STORE_UNREACHABLE, "the account store cannot be reached") from None
        if app is None:
            raise login_refused(ErrorCode.SDKAPPID_UNKNOWN, f"this server has no app {sdk_app_id}")
        return app

    async def _ask(self, sdk_app_id: int) -> App | None:
        # A question that is late is left alone, not cancelled: a query in the database's thread cannot be stopped, and
        # cancelling it would only cost its connection.
        question = asyncio.create_task(self._storage.get_app(sdk_app_id))
        self._questions.add(question)
        question.add_done_callback(self._answered)
        done, _ = await asyncio.wait({question}, timeout=self._store_timeout)
        if not done:
            raise TimeoutError(f"no answer within {self._store_timeout} s")
        return question.result()

    def _answered(self, question: asyncio.Task[App | None]) -> None:
        self._questions.discard(question)
        if not question.cancelled():
            question.exception()  # looked at, so that a late failure is not reported as forgotten


def checked_user_id(user_id: object) -> str:
    """The userId if it is one; 70402 if not."""
    if not isinstance(user_id, str):
        raise login_refused(ErrorCode.PARAMETER_INVALID, "userId is not a text")
    try:
        size = len(user_id.encode("utf-8"))
    except UnicodeEncodeError:
        raise login_refused(ErrorCode.PARAMETER_INVALID, "userId is not valid Unicode") from None
    if size == 0:
        raise login_refused(ErrorCode.PARAMETER_INVALID, "userId is empty")
    if size > MAX_USER_ID_BYTES:
        raise login_refused(ErrorCode.PARAMETER_INVALID, f"userId has {size} bytes; {MAX_USER_ID_BYTES} are allowed")
    return user_id
