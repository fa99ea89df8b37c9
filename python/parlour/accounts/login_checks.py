"""The checks of a login in their one order, which is that of docs/usersig.md.

A login on the signaling channel, an administrator's at the account REST, `parlour usersig verify` and `inspect` all go
through ``CHECKS``; ``enter`` and ``resume`` make those again whose answer may have changed since the login.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from parlour.accounts.faults import account_store_refusal, counters_store
from parlour.accounts.identity import Login
from parlour.accounts.refusal import AccountRefusedError
from parlour.accounts.user_ids import checked_user_id
from parlour.errors import ErrorCode
from parlour.storage import Admission, App, Attempt, Counters, LoginContext, StorageError
from parlour.usersig import Envelope, UserSigError, fingerprint, open_envelope, verify

Part = TypeVar("Part")

_NOT_THE_CREDENTIALS_FAULT = {ErrorCode.VERIFICATION_METHOD_MISSING, ErrorCode.PUBLIC_KEY_MISSING}
"""How the app is set up decides these, whatever the UserSig says."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a credential proved: when it was issued, until when it is good, and by which key. Times in unix seconds."""

    issued_at: int
    expires_at: int | None = None
    key: str = ""


@dataclass(slots=True)
class Candidate:
    """A login on its way through the checks: what was sent, what is stored, and what the checks found out.

    ``claimed_id``, ``credential`` and ``account_type`` are as they were sent, whatever that is. ``envelope`` is the
    credential as far as it opens, None where it is no UserSig. ``prove`` judges the credential. Without ``counters``
    neither locks nor rates are looked at, and failures do not count.
    """

    app: App
    context: LoginContext
    claimed_id: object
    credential: object = field(repr=False)
    envelope: Envelope | None
    now: float
    prove: Callable[[Candidate, str], Awaitable[Proof]]
    account_type: object = None
    source: str = ""
    counters: Counters | None = None
    most_logins: int = 0
    user_id: str = field(init=False)
    admission: Admission = field(init=False, default=Admission())
    proof: Proof = field(init=False)

    def __post_init__(self) -> None:
        self.user_id = self.claimed_id if isinstance(self.claimed_id, str) else ""

    @property
    def attempt(self) -> Attempt:
        """The login as the counters know it."""
        return Attempt(self.app.sdk_app_id, self.source, self.user_id, self.now, self.most_logins)


class Check(NamedTuple):
    """One check: its step in docs/usersig.md, and what passes silently or raises ``AccountRefusedError``.

    ``again`` tells of a login that passed why it would not pass any more, or ""; None where nothing can have changed.
    """

    step: str
    run: Callable[[Candidate], Awaitable[None]]
    again: Callable[[Login, LoginContext, App, int | None], str] | None = None


async def pass_checks(candidate: Candidate) -> Proof:
    """Make the checks of a login; the first that fails is the ``AccountRefusedError``."""
    for check in CHECKS:
        await check.run(candidate)
    return candidate.proof


async def refusals(candidate: Candidate, checks: Sequence[Check]) -> list[AccountRefusedError]:
    """What each of these checks has against a login, whatever the others say."""
    found = []
    for check in checks:
        try:
            await check.run(candidate)
        except AccountRefusedError as refusal:
            found.append(refusal)
    return found


def why_void(login: Login, context: LoginContext, app: App, now: int | None) -> str:
    """Why a login that passed would not pass any more, or ""; the blacklist refuses by itself (70051).

    ``now`` in unix seconds; None where an expiry does not count.
    """
    for check in CHECKS:
        if check.again is not None and (why := check.again(login, context, app, now)):
            return why
    return ""


def readable(part: Part | StorageError) -> Part:
    """A part of what is stored; what could not be read is refused here, at its place in the order."""
    if isinstance(part, StorageError):
        raise account_store_refusal(part)
    return part


def lookup_name(user_id: object) -> str:
    """A userId to look up: what is none finds nobody, and is refused at its own step."""
    try:
        return checked_user_id(user_id)
    except AccountRefusedError:
        return ""


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


async def prove_by_usersig(candidate: Candidate, user_sig: str) -> Proof:
    """Steps 3 to 8 by UserSig, with the methods that the app's account type takes (70205 if it cannot be read)."""
    app, account_type = candidate.app, readable(candidate.context.account_type)
    try:
        verified = verify(
            candidate.envelope or open_envelope(user_sig),
            sdk_app_id=app.sdk_app_id,
            user_id=candidate.user_id,
            keys=app.keys,
            now=int(candidate.now),
            methods=() if account_type is None else account_type.methods,
        )
    except UserSigError as error:
        wrong = error.code not in _NOT_THE_CREDENTIALS_FAULT
        raise AccountRefusedError(error.code, error.detail, wrong_credential=wrong) from None
    return Proof(verified.issued_at, verified.expires_at, verified.key)


# --- the checks -----------------------------------------------------------------------------------------------


async def _account_type(candidate: Candidate) -> None:
    """The app's account type (70204, 70205), the one asked for, and the one in a UserSig of version 1."""
    app, context, envelope = candidate.app, candidate.context, candidate.envelope
    if app.account_type is None:
        raise AccountRefusedError(
            ErrorCode.ACCTYPE_NOT_CONFIGURED, f"app {app.sdk_app_id} is set up under no account type"
        )
    readable(context.account_type)
    for value in (candidate.account_type, None if envelope is None else envelope.account_type):
        if value is not None:
            check_requested_type(context, app, value)


async def _user_id(candidate: Candidate) -> None:
    """The userId is one (70402)."""
    candidate.user_id = checked_user_id(candidate.claimed_id)


async def _not_locked_out(candidate: Candidate) -> None:
    """Neither this user at this address nor the address is locked (70050). From here on the attempt counts."""
    if candidate.counters is None:
        return
    with counters_store():
        admission = candidate.admission = await candidate.counters.attempt(candidate.attempt)
    until = admission.locked_until or admission.source_locked_until
    if until is not None:
        who = f"user {candidate.user_id}" if admission.locked_until else "every user"
        raise AccountRefusedError(
            ErrorCode.LOGIN_LOCKED_OUT,
            f"too many failed logins: {who} is locked for this address for "
            f"{max(1, round(until - candidate.now))} s more",
        )


async def _not_blocked(candidate: Candidate) -> None:
    """The user is not on the blacklist (70051)."""
    _refuse_blocked(candidate.context, candidate.app, candidate.user_id)


def _still_not_blocked(login: Login, context: LoginContext, app: App, _: int | None) -> str:
    _refuse_blocked(context, app, login.identity.user_id)
    return ""


def _refuse_blocked(context: LoginContext, app: App, user_id: str) -> None:
    if readable(context.restrictions).blocked_at is not None:
        raise AccountRefusedError(
            ErrorCode.ACCOUNT_BLACKLISTED, f"user {user_id} is on the blacklist of app {app.sdk_app_id}"
        )


async def _within_rate(candidate: Candidate) -> None:
    """The app has not had its logins of this second (70114)."""
    if candidate.admission.too_many:
        raise AccountRefusedError(
            ErrorCode.LOGIN_RATE_EXCEEDED,
            f"app {candidate.app.sdk_app_id} has its {candidate.most_logins} logins of this second already",
        )


async def _credential(candidate: Candidate) -> None:
    """The credential is good. One that is wrong counts towards the lock-out, a failure of ours never does."""
    credential = candidate.credential
    try:
        if credential is not None and not isinstance(credential, str):
            raise AccountRefusedError(ErrorCode.PARAMETER_INVALID, "userSig is not a text", wrong_credential=True)
        candidate.proof = await candidate.prove(candidate, credential or "")
    except AccountRefusedError as refusal:
        if refusal.wrong_credential and candidate.counters is not None:
            with counters_store():
                await candidate.counters.failed(candidate.attempt)
        raise


def _credential_still_good(login: Login, _: LoginContext, app: App, now: int | None) -> str:
    if now is not None and login.expires_at is not None and now > login.expires_at:
        return "it expired"
    if login.key and login.key not in map(fingerprint, (*app.keys.secrets, *app.keys.public_keys)):
        return "the key that signed it was taken away"
    return ""


async def _not_kicked(candidate: Candidate) -> None:
    """The credential was not voided by a kick or a deletion (70052)."""
    if _was_kicked(candidate.context, candidate.proof.issued_at):
        raise AccountRefusedError(
            ErrorCode.USERSIG_INVALIDATED,
            f"user {candidate.user_id} was kicked or deleted after this UserSig was issued: sign a new one",
        )


def _still_not_kicked(login: Login, context: LoginContext, _: App, __: int | None) -> str:
    return "the user was kicked" if _was_kicked(context, login.issued_at) else ""


def _was_kicked(context: LoginContext, issued_at: int) -> bool:
    invalidated_at = readable(context.restrictions).invalidated_at
    return invalidated_at is not None and issued_at <= invalidated_at


async def _registered(candidate: Candidate) -> None:
    """The account is there already, where it has to be (70107)."""
    app, user_id = candidate.app, candidate.user_id
    if _is_missing(candidate.context, app, user_id):
        raise AccountRefusedError(
            ErrorCode.USERID_NOT_REGISTERED, f"app {app.sdk_app_id} takes imported accounts only, and has no {user_id}"
        )


def _still_registered(login: Login, context: LoginContext, app: App, _: int | None) -> str:
    return "the account was deleted" if _is_missing(context, app, login.identity.user_id) else ""


def _is_missing(context: LoginContext, app: App, user_id: str) -> bool:
    """An app's admins need no account."""
    return readable(context.account) is None and app.registration == "imported" and user_id not in app.admins


def _account_type_number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        return int(value)
    return None


CHECKS = (
    Check("1", _account_type),
    Check("2", _user_id),
    Check("lock-out", _not_locked_out),
    Check("blacklist", _not_blocked, _still_not_blocked),
    Check("rate", _within_rate),
    Check("3 to 8", _credential, _credential_still_good),
    Check("9", _not_kicked, _still_not_kicked),
    Check("10", _registered, _still_registered),
)
"""Every check of a login once its app is found. What stands between steps 2 and 3 has a name instead of a number."""
