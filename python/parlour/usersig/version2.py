"""The checks of version 2 (HMAC-SHA256): identity, then expiry, then the signature."""

from __future__ import annotations

import binascii
import hmac

from parlour.errors import ErrorCode
from parlour.usersig import encoding
from parlour.usersig.checks import (
    Check,
    Subject,
    app_of,
    is_unsigned,
    key_mismatch,
    keys_of,
    not_expired,
    same_app,
    same_user,
    signature_base64,
    signature_there,
    text_of,
    unsigned_of,
)
from parlour.usersig.encoding import EncodingError
from parlour.usersig.messages import duration, shown
from parlour.usersig.model import CLOCK_TOLERANCE, HMAC, UserSigError
from parlour.usersig.sign import content_v2, hmac_sha256


def _identifier_there(subject: Subject) -> None:
    subject.identifier = text_of(subject, "TLS.identifier")


def _app_there(subject: Subject) -> None:
    subject.sdkappid = unsigned_of(subject, "TLS.sdkappid")


def _app_same(subject: Subject) -> None:
    same_app(subject, subject.sdkappid)


def _expire_there(subject: Subject) -> None:
    subject.lifetime = unsigned_of(subject, "TLS.expire")


def _time_there(subject: Subject) -> None:
    if "TLS.time" not in subject.members:
        raise UserSigError(ErrorCode.USERSIG_FIELD_MISSING, "TLS.time is missing")


def _time_sound(subject: Subject) -> None:
    time = subject.members["TLS.time"]
    if not is_unsigned(time):
        raise UserSigError(
            ErrorCode.USERSIG_TIME_OR_VERSION_INVALID, f"TLS.time is {shown(time)}, not a whole number of seconds"
        )
    if subject.now is not None and time > subject.now + CLOCK_TOLERANCE:
        raise UserSigError(
            ErrorCode.USERSIG_TIME_OR_VERSION_INVALID,
            f"TLS.time {time} is {duration(time - subject.now)} ahead of now",
        )
    subject.time = time


def _secret_there(subject: Subject) -> None:
    if not keys_of(subject).secrets:
        raise UserSigError(
            ErrorCode.VERIFICATION_METHOD_MISSING, f"{app_of(subject)} has no secret key for version 2 (HMAC)"
        )
    if HMAC not in subject.methods:
        raise UserSigError(
            ErrorCode.VERIFICATION_METHOD_MISSING,
            f"the account type of {app_of(subject)} does not take version 2 (HMAC)",
        )


def _userbuf_there(subject: Subject) -> None:
    if "TLS.userbuf" not in subject.members:
        raise UserSigError(ErrorCode.USERSIG_FIELD_MISSING, "it has no TLS.userbuf: this is a UserSig, not a ticket")
    try:
        subject.userbuf_bytes = encoding.decode_standard_base64(text_of(subject, "TLS.userbuf"))
    except EncodingError:
        raise UserSigError(ErrorCode.USERSIG_FIELD_MISSING, "TLS.userbuf is not standard base64") from None


def _hmac_matches(subject: Subject) -> None:
    content = signed_content(subject, with_userbuf=subject.with_userbuf)
    # As texts, as deployed verifiers do: base64 whose unused last bits are set is another text.
    said = subject.sig.encode("ascii")
    for secret in keys_of(subject).secrets:  # all of them: the time taken tells nothing about which one was near
        if hmac.compare_digest(binascii.b2a_base64(hmac_sha256(secret, content), newline=False), said):
            subject.key = secret
    if subject.key is None:
        raise key_mismatch(subject)


def signed_content(subject: Subject, *, with_userbuf: bool) -> bytes:
    """What must have been signed, from the values received. At login userbuf is never part of it."""
    userbuf = text_of(subject, "TLS.userbuf") if with_userbuf else None
    return content_v2(subject.identifier, subject.sdkappid, subject.time, subject.lifetime, userbuf)


_BEFORE_THE_SIGNATURE = (
    Check("8a", "TLS.identifier is there", _identifier_there),
    Check("8a'", "it was made for this user", same_user, ("8a",)),
    Check("8b", "TLS.sdkappid is there", _app_there),
    Check("8b'", "it was made for this app", _app_same, ("8b",)),
    Check("8c", "TLS.expire is there", _expire_there),
    Check("8c'", "TLS.time is there", _time_there),
    Check("8c''", "TLS.time is sound and not ahead of now", _time_sound, ("8c'",)),
    Check("8d", "it has not expired", not_expired, ("8c", "8c''")),
    Check("8e", "TLS.sig is there", signature_there),
    Check("8e'", "TLS.sig is base64", signature_base64, ("8e",)),
    Check("8f", "the app has a secret key", _secret_there),
)
_SIGNED = ("8a", "8b", "8c", "8c''", "8e'", "8f")

LOGIN = (*_BEFORE_THE_SIGNATURE, Check("8g", "the signature matches the key", _hmac_matches, _SIGNED))
"""Step 8 of a login."""

WITH_USERBUF = (
    *_BEFORE_THE_SIGNATURE,
    Check("8g", "TLS.userbuf is there and base64", _userbuf_there),
    Check("8g'", "the signature matches the key", _hmac_matches, (*_SIGNED, "8g")),
)
"""Step 8 of a ticket for a room, whose userbuf is signed too."""
