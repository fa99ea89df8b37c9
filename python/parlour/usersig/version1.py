"""The checks of version 1 (ECDSA): the signature first, then identity, then expiry."""

from __future__ import annotations

import re

from parlour.errors import ErrorCode
from parlour.usersig.checks import (
    Check,
    Subject,
    app_of,
    is_unsigned,
    key_mismatch,
    keys_of,
    missing,
    not_expired,
    same_app,
    same_user,
    signature_base64,
    signature_there,
)
from parlour.usersig.dates import parse_old_date
from parlour.usersig.keys import verify_ecdsa
from parlour.usersig.messages import shown
from parlour.usersig.model import ECDSA, UserSigError
from parlour.usersig.sign import content_v1

_DIGITS = re.compile(r"[0-9]{1,18}")
CONTENT = ("TLS.account_type", "TLS.identifier", "TLS.sdk_appid", "TLS.time", "TLS.expire_after")
"""The members that are signed and have to be there, in their order."""

_THIRD_PARTY = "TLS.appid_at_3rd"


def _content_there(subject: Subject) -> None:
    for name in CONTENT:
        _signed_text(subject, name)


def _public_key_there(subject: Subject) -> None:
    if not keys_of(subject).public_keys:
        raise UserSigError(ErrorCode.PUBLIC_KEY_MISSING, f"{app_of(subject)} has no public key for version 1 (ECDSA)")
    if ECDSA not in subject.methods:
        raise UserSigError(
            ErrorCode.VERIFICATION_METHOD_MISSING,
            f"the account type of {app_of(subject)} does not take version 1 (ECDSA)",
        )


def _ecdsa_matches(subject: Subject) -> None:
    content = signed_content(subject, third_party(subject))
    # A line feed in what stands before the identifier could pass one user's signed text off as another user's.
    for name in (_THIRD_PARTY, "TLS.account_type"):
        if "\n" in str(subject.members.get(name, "")):
            raise UserSigError(
                ErrorCode.USERSIG_KEY_MISMATCH, f"{name} holds a line feed: what was signed is ambiguous"
            )
    subject.key = next(
        (pem for pem in keys_of(subject).public_keys if verify_ecdsa(pem, content, subject.signature)), None
    )
    if subject.key is None:
        raise key_mismatch(subject)


def signed_content(subject: Subject, third_party: str | None) -> bytes:
    """What must have been signed, from the values received; None as ``TLS.appid_at_3rd`` has no line."""
    account_type, identifier, sdk_appid, time, expire_after = (_signed_text(subject, name) for name in CONTENT)
    return content_v1(identifier, sdk_appid, time, expire_after, account_type, third_party)


def third_party(subject: Subject) -> str | None:
    """``TLS.appid_at_3rd`` as received; None if the member is absent."""
    return _signed_text(subject, _THIRD_PARTY) if _THIRD_PARTY in subject.members else None


def _user_same(subject: Subject) -> None:
    if not isinstance(identifier := subject.members["TLS.identifier"], str):
        raise UserSigError(ErrorCode.USERSIG_USERID_MISMATCH, f"TLS.identifier is {shown(identifier)}, not a text")
    subject.identifier = identifier
    same_user(subject)


def _app_same(subject: Subject) -> None:
    same_app(subject, _signed_text(subject, "TLS.sdk_appid"))


def _times_sound(subject: Subject) -> None:
    subject.time, subject.lifetime = _seconds(subject, "TLS.time"), _seconds(subject, "TLS.expire_after")


def _seconds(subject: Subject, name: str) -> int:
    value = subject.members[name]
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    # The oldest form writes its time as a date.
    date = parse_old_date(value) if subject.envelope.plain and name == "TLS.time" and isinstance(value, str) else None
    if date is None:
        raise UserSigError(ErrorCode.USERSIG_TIME_OR_VERSION_INVALID, f"{name} is {shown(value)}, not a text of digits")
    return date


def _signed_text(subject: Subject, name: str) -> str:
    value = subject.members.get(name)
    if isinstance(value, str):
        return value
    if is_unsigned(value):
        return str(value)
    raise UserSigError(ErrorCode.USERSIG_NOT_JSON, missing(subject, name, "a text"))


LOGIN = (
    Check("8a", "everything that is signed is there", _content_there),
    Check("8b", "TLS.sig is there", signature_there),
    Check("8c", "TLS.sig is base64", signature_base64, ("8b",)),
    Check("8d", "the app has a public key", _public_key_there),
    Check("8e", "the signature matches the key", _ecdsa_matches, ("8a", "8c", "8d")),
    Check("8f", "it was made for this user", _user_same, ("8a",)),
    Check("8g", "it was made for this app", _app_same, ("8a",)),
    Check("8h", "its times are numbers", _times_sound, ("8a",)),
    Check("8i", "it has not expired", not_expired, ("8h",)),
)
"""Step 8 of a login."""
