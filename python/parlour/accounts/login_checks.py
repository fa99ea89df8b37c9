"""The checks of a login in their one order, which is that of docs/usersig.md.

A login on the signaling channel, an administrator's at the account REST, `parlour usersig verify` and `inspect` all go
through ``CHECKS``; ``enter`` and ``resume`` make those again whose answer may have changed since the login.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from parlour.accounts.faults import account_store_refusal, counters_store
from parlour.accounts.identity import AcceptedLogin
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
class LoginCandidate:
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
    prove: Callable[[LoginCandidate, str], Awaitable[Proof]]
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


class LoginCheck(NamedTuple):
    """One check: its step in docs/usersig.md, and what passes silently or raises ``AccountRefusedError``.

    ``again`` asks the same of a login that passed; None where nothing can have changed.
    """

    step: str
    run: Callable[[LoginCandidate], Awaitable[None] | None]
    again: Callable[[LoginCandidate], None] | None = None


async def pass_checks(candidate: LoginCandidate) -> Proof:
    """Make the checks of a login; the first that fails is the ``AccountRefusedError``."""
    for check in CHECKS:
        if (under_way := check.run(candidate)) is not None:
            await under_way
    return candidate.proof


async def refusals(candidate: LoginCandidate, checks: Sequence[LoginCheck]) -> list[AccountRefusedError]:
    """What each of these checks has against a login, whatever the others say."""
    found = []
    for check in checks:
        try:
            if (under_way := check.run(candidate)) is not None:
                await under_way
        except AccountRefusedError as refusal:
            found.append(refusal)
    return found


def why_void(login: AcceptedLogin, context: LoginContext, app: App, now: float) -> str:
    """Why a login that passed would not pass any more, or ""; other refusals are raised. ``now`` in unix seconds."""
    candidate = LoginCandidate(app, context, login.identity.user_id, None, None, now, prove_by_usersig)
    candidate.proof = Proof(login.issued_at, login.expires_at, login.key)
    try:
        for check in CHECKS:
            if check.again is not None:
                check.again(candidate)
    except AccountRefusedError as refusal:
        if refusal.code not in _VOID:
            raise
        return _VOID[refusal.code]
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


async def prove_by_usersig(candidate: LoginCandidate, user_sig: str) -> Proof:
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


def _account_type(candidate: LoginCandidate) -> None:
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


def _user_id(candidate: LoginCandidate) -> None:
    """The userId is one (70402)."""
    candidate.user_id = checked_user_id(candidate.claimed_id)


async def _not_locked_out(candidate: LoginCandidate) -> None:
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


def _not_blocked(candidate: LoginCandidate) -> None:
    """The user is not on the blacklist (70051)."""
    if readable(candidate.context.restrictions).blocked_at is not None:
        raise AccountRefusedError(
            ErrorCode.ACCOUNT_BLACKLISTED,
            f"user {candidate.user_id} is on the blacklist of app {candidate.app.sdk_app_id}",
        )


def _within_rate(candidate: LoginCandidate) -> None:
    """The app has not had its logins of this second (70114)."""
    if candidate.admission.too_many:
        raise AccountRefusedError(
            ErrorCode.LOGIN_RATE_EXCEEDED,
            f"app {candidate.app.sdk_app_id} has its {candidate.most_logins} logins of this second already",
        )


async def _credential(candidate: LoginCandidate) -> None:
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


def _credential_still_good(candidate: LoginCandidate) -> None:
    """It has not expired, and the key that verified it is still one of the app's."""
    proof, keys = candidate.proof, candidate.app.keys
    if proof.expires_at is not None and candidate.now > proof.expires_at:
        raise AccountRefusedError(ErrorCode.USERSIG_EXPIRED, "it expired")
    if proof.key and proof.key not in map(fingerprint, (*keys.secrets, *keys.public_keys)):
        raise AccountRefusedError(ErrorCode.USERSIG_KEY_MISMATCH, "its key was taken away")


def _not_kicked(candidate: LoginCandidate) -> None:
    """The credential was not voided by a kick or a deletion (70052)."""
    invalidated_at = readable(candidate.context.restrictions).invalidated_at
    if invalidated_at is not None and candidate.proof.issued_at <= invalidated_at:
        raise AccountRefusedError(
            ErrorCode.USERSIG_INVALIDATED,
            f"user {candidate.user_id} was kicked or deleted after this UserSig was issued: sign a new one",
        )


def _registered(candidate: LoginCandidate) -> None:
    """The account is there already, where it has to be (70107); an app's admins need none."""
    app, user_id, account = candidate.app, candidate.user_id, readable(candidate.context.account)
    if account is None and app.registration == "imported" and user_id not in app.admins:
        raise AccountRefusedError(
            ErrorCode.USERID_NOT_REGISTERED, f"app {app.sdk_app_id} takes imported accounts only, and has no {user_id}"
        )


def _account_type_number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        return int(value)
    return None


CHECKS = (
    LoginCheck("1", _account_type),
    LoginCheck("2", _user_id),
    LoginCheck("lock-out", _not_locked_out),
    LoginCheck("blacklist", _not_blocked, again=_not_blocked),
    LoginCheck("rate", _within_rate),
    LoginCheck("3 to 8", _credential, again=_credential_still_good),
    LoginCheck("9", _not_kicked, again=_not_kicked),
    LoginCheck("10", _registered, again=_registered),
)
"""Every check of a login once its app is found. What stands between steps 2 and 3 has a name instead of a number."""

_VOID = {
    ErrorCode.USERSIG_EXPIRED: "it expired",
    ErrorCode.USERSIG_KEY_MISMATCH: "the key that signed it was taken away",
    ErrorCode.USERSIG_INVALIDATED: "the user was kicked",
    ErrorCode.USERID_NOT_REGISTERED: "the account was deleted",
}
"""How ``enter`` and ``resume`` say it of a login that passed."""
