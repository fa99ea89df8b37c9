"""``POST /api/v1/usersig``: a UserSig for a back end that cannot sign itself.

An administrator's UserSig authorises the call (HTTP Basic, RFC 7617: userId and UserSig); it buys a UserSig of any
user of that app, so the endpoint is off unless ``admin.usersig_endpoint`` opens it. Statuses are those of HTTP, the
code of the catalogue stands in the body.
"""

from __future__ import annotations

import base64

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from parlour.accounts import AccountManager, Accounts
from parlour.accounts.refusal import AccountRefusedError
from parlour.admin import wire
from parlour.admin.bodies import read_object, read_shape
from parlour.admin.commands import USERSIG_RATE, cause
from parlour.admin.exchange import BodyTooLargeError, BodyTooSlowError, BoundedRequest, json_response
from parlour.admin.incidents import record_incident
from parlour.admin.rest import SourceOf, is_user_id
from parlour.errors import ErrorCode, entry_of

MAX_BODY = 16 * 1024
"""Bytes; a request of the longest userId has about 100."""

_CHALLENGE = b'Basic realm="Parlour: an administrator and its UserSig", charset="UTF-8"'
_SECONDS_LOCKED = b"60"

_STATUS: dict[ErrorCode, int] = {
    ErrorCode.COMMAND_UNKNOWN: 404,
    ErrorCode.SDKAPPID_NOT_FOUND: 404,
    ErrorCode.APP_DISABLED: 403,
    ErrorCode.ADMIN_REQUIRED: 403,
    ErrorCode.ACCTYPE_NOT_CONFIGURED: 403,
    ErrorCode.REQUEST_EMPTY: 400,
    ErrorCode.BODY_NOT_JSON: 400,
    ErrorCode.PARAMETER_INVALID: 400,
    ErrorCode.COMMAND_RATE_EXCEEDED: 429,
    ErrorCode.APP_RATE_EXCEEDED: 429,
    ErrorCode.LOGIN_RATE_EXCEEDED: 429,
    ErrorCode.LOGIN_LOCKED_OUT: 429,
    ErrorCode.ACCOUNT_STORE_TIMEOUT: 503,
    ErrorCode.ACCOUNT_STORE_UNREACHABLE: 503,
    ErrorCode.STORED_ROW_UNREADABLE: 503,
    ErrorCode.ACCTYPE_LOOKUP_FAILED: 503,
    ErrorCode.ACCOUNT_STORE_WRITE_CONFLICT: 503,
    ErrorCode.ACCOUNT_STORE_NOT_WRITABLE: 503,
    ErrorCode.STORED_SECRET_UNREADABLE: 503,
    ErrorCode.LOGIN_STATE_STORE_UNAVAILABLE: 503,
    ErrorCode.LOGIN_STATE_WRITE_CONFLICT: 503,
    ErrorCode.COUNTERS_UNAVAILABLE: 503,
    ErrorCode.ACCOUNT_SERVICE_FAULT: 500,
    ErrorCode.ACCOUNT_REST_FAULT: 500,
}


class _HttpRefusedError(AccountRefusedError):
    """A refusal whose status is not the one that its code usually has."""

    def __init__(self, status: int, code: ErrorCode, detail: str) -> None:
        super().__init__(code, detail)
        self.status = status


class UserSigEndpoint:
    """What answers there."""

    def __init__(self, accounts: Accounts, manager: AccountManager, source_of: SourceOf, *, is_open: bool) -> None:
        self._accounts = accounts
        self._manager = manager
        self._is_open = is_open
        self._source_of = source_of

    async def respond(self, request: BoundedRequest) -> Response:
        """Answer one request. Raises ClientDisconnect when nobody waits for it any more."""
        user_sig = ""
        try:
            self._check_open(request.method)
            admin, user_sig = read_credential(request.headers.get("authorization", ""))
            issued = await self._issued(request, admin, user_sig, self._source_of(request.scope))
            return json_response(issued)
        except ClientDisconnect:
            raise
        except AccountRefusedError as refused:
            return _refusal(_status_of(refused), refused.code, refused.detail)
        except Exception as error:
            incident = record_incident(error, "/api/v1/usersig", user_sig)
            detail = f"Something unexpected went wrong: incident {incident} in the server's log."
            return _refusal(500, ErrorCode.ACCOUNT_REST_FAULT, detail)

    def _check_open(self, method: str) -> None:
        if not self._is_open:
            raise AccountRefusedError(
                ErrorCode.COMMAND_UNKNOWN,
                "This server issues no UserSigs; the setting admin.usersig_endpoint opens this address.",
            )
        if method != "POST":
            raise _HttpRefusedError(405, ErrorCode.COMMAND_UNKNOWN, "This address takes a POST.")

    async def _issued(self, request: BoundedRequest, admin: str, user_sig: str, source: str) -> wire.UserSigIssued:
        asked = read_shape(read_object(await request.bounded_body()), wire.UserSigRequest)
        accounts = self._accounts
        caller = await accounts.rest_app(asked.sdk_app_id, admin)
        try:
            await accounts.prove_admin(caller, user_sig, source)
        except AccountRefusedError as refused:
            # Whatever a check of the credential says is about the credential, unless its code says otherwise.
            raise _HttpRefusedError(_STATUS.get(refused.code, 401), refused.code, refused.detail) from None
        await accounts.take_request(caller.app, USERSIG_RATE)
        try:
            sig, issued_at, expires_at = await self._manager.issue_user_sig(caller.app, asked.user_id, asked.expire)
        except AccountRefusedError as refused:
            if refused.code != ErrorCode.VERIFICATION_METHOD_MISSING:
                raise
            raise _HttpRefusedError(403, refused.code, refused.detail) from None
        return wire.UserSigIssued(
            user_sig=sig,
            sdk_app_id=asked.sdk_app_id,
            user_id=asked.user_id,
            issued_at=issued_at,
            expires_at=expires_at,
        )


def read_credential(header: str) -> tuple[str, str]:
    """UserId and UserSig of an Authorization header. Refuses with 70019 when there is none that can be read."""
    scheme, _, encoded = header.strip(" \t").partition(" ")
    if scheme.lower() == "basic":
        try:
            user_id, colon, user_sig = base64.b64decode(encoded.strip(" \t"), validate=True).decode().partition(":")
        except ValueError:  # no base64, letters outside ASCII, no UTF-8
            user_id = colon = user_sig = ""
        if colon and user_sig and is_user_id(user_id):
            return user_id, user_sig
    raise _HttpRefusedError(
        401,
        ErrorCode.CREDENTIAL_EMPTY,
        "There is no credential: send Authorization: Basic with base64 of the administrator's userId, a colon and "
        "the administrator's UserSig.",
    )


def _refusal(status: int, code: ErrorCode, detail: str) -> Response:
    """The sentence, and the catalogue's remedy for the code."""
    entry = entry_of(int(code))
    message = (detail or cause(code)).encode(errors="backslashreplace").decode()
    error = wire.ErrorDetail(
        code=int(code), key=code.name, message=message, remedy="" if entry is None else entry.remedy
    )
    return json_response(wire.UserSigRefusal(error=error), status, more=_headers_of(status, code))


def _status_of(refused: AccountRefusedError) -> int:
    match refused:
        case _HttpRefusedError():
            return refused.status
        case BodyTooLargeError():
            return 413
        case BodyTooSlowError():
            return 408
    return _STATUS.get(refused.code, 400)


def _headers_of(status: int, code: ErrorCode) -> tuple[tuple[bytes, bytes], ...]:
    match status:
        case 401:
            return ((b"www-authenticate", _CHALLENGE),)
        case 405:
            return ((b"allow", b"POST"),)
        case 429:
            return ((b"retry-after", _SECONDS_LOCKED if code == ErrorCode.LOGIN_LOCKED_OUT else b"1"),)
    return ()
