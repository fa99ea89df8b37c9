"""The checks of a login that need nothing but what is stored about its app and its user.

They are apart from the service so that `parlour usersig` judges a UserSig as a login does, without a server. Each
passes silently or raises ``AccountRefusedError``; the numbers of the steps are those of docs/usersig.md.
"""

from __future__ import annotations

from typing import Any

from parlour.accounts.faults import account_store_refusal
from parlour.accounts.refusal import AccountRefusedError
from parlour.accounts.user_ids import checked_user_id
from parlour.errors import ErrorCode
from parlour.storage import App, LoginContext, StorageError
from parlour.usersig import Envelope


def read(part: Any) -> Any:
    """A part of the context; what could not be read is refused here, at its place in the order."""
    if isinstance(part, StorageError):
        raise account_store_refusal(part)
    return part


def lookup_name(user_id: object) -> str:
    """A userId to look up: what is none finds nobody, and is refused at its own step."""
    try:
        return checked_user_id(user_id)
    except AccountRefusedError:
        return ""


def methods_of(context: LoginContext) -> tuple[str, ...]:
    """The methods that the app's account type takes (70205 if it cannot be read)."""
    account_type = read(context.account_type)
    return () if account_type is None else account_type.methods


def check_account_type(context: LoginContext, app: App, asked: object, envelope: Envelope | None) -> None:
    """Step 1: the account type of the app (70204, 70205), of the request, and of a UserSig of version 1."""
    if app.account_type is None:
        raise AccountRefusedError(
            ErrorCode.ACCTYPE_NOT_CONFIGURED, f"app {app.sdk_app_id} is set up under no account type"
        )
    read(context.account_type)
    for value in (asked, None if envelope is None else envelope.account_type):
        if value is not None:
            check_requested_type(context, app, value)


def check_requested_type(context: LoginContext, app: App, value: object) -> None:
    """An account type that was asked for: 70145 unless it is a known number, 70140 unless it is the app's."""
    number = _account_type_number(value)
    if number is None or number not in context.known_types:
        raise AccountRefusedError(
            ErrorCode.ACCTYPE_INVALID, f"the account type {str(value)[:20]!r} is none that this server knows"
        )
    if number != app.account_type:
        raise AccountRefusedError(
            ErrorCode.ACCTYPE_MISMATCH,
            f"app {app.sdk_app_id} is set up under account type {app.account_type}, not {number}",
        )


def check_not_blocked(context: LoginContext, app: App, user_id: str) -> None:
    """After step 2: the user is not on the blacklist (70051)."""
    if read(context.restrictions).blocked_at is not None:
        raise AccountRefusedError(
            ErrorCode.ACCOUNT_BLACKLISTED, f"user {user_id} is on the blacklist of app {app.sdk_app_id}"
        )


def was_kicked(context: LoginContext, issued_at: int) -> bool:
    """Whether a kick, or the deletion of the account, voided what was issued at that unix second."""
    invalidated_at = read(context.restrictions).invalidated_at
    return invalidated_at is not None and issued_at <= invalidated_at


def is_missing(context: LoginContext, app: App, user_id: str) -> bool:
    """Whether the account has to be there already and is not; an app's admins need none."""
    return read(context.account) is None and app.registration == "imported" and user_id not in app.admins


def check_not_kicked(context: LoginContext, user_id: str, issued_at: int) -> None:
    """Step 9: the credential, issued at that unix second, was not voided by a kick or a deletion (70052)."""
    if was_kicked(context, issued_at):
        raise AccountRefusedError(
            ErrorCode.USERSIG_INVALIDATED,
            f"user {user_id} was kicked or deleted after this UserSig was issued: sign a new one",
        )


def check_registered(context: LoginContext, app: App, user_id: str) -> None:
    """Step 10: the account is there already, where it has to be (70107)."""
    if is_missing(context, app, user_id):
        raise AccountRefusedError(
            ErrorCode.USERID_NOT_REGISTERED, f"app {app.sdk_app_id} takes imported accounts only, and has no {user_id}"
        )


def _account_type_number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        return int(value)
    return None
