"""The checks of a UserSig, in the order that decides which code a broken one gets.

Each check is a small function that passes silently, raises ``UserSigError`` with its code, or raises
``NotCheckedError`` because nothing to compare with was given. ``verify`` stops at the first failure; ``inspect`` goes
on to show the rest. The numbers are the steps of docs/usersig.md.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeGuard

from parlour.errors import ErrorCode
from parlour.usersig import encoding
from parlour.usersig.dates import parse_old_date
from parlour.usersig.encoding import EncodingError
from parlour.usersig.keys import verify_ecdsa
from parlour.usersig.model import CLOCK_TOLERANCE, AppKeys, UserSigError, Version
from parlour.usersig.sign import content_v1, content_v2, hmac_sha256

_DIGITS = re.compile(r"[0-9]{1,18}")
_V1_CONTENT = ("TLS.account_type", "TLS.identifier", "TLS.sdk_appid", "TLS.time", "TLS.expire_after")


class NotCheckedError(Exception):
    """A check that could not be made; the text says what was missing."""


@dataclass(slots=True)
class Subject:
    """One UserSig on its way through the checks, and what it is compared with."""

    user_sig: str
    sdk_app_id: int | None
    user_id: str | None
    keys: AppKeys | None
    now: int | None
    with_userbuf: bool = False
    packed: bytes = b""
    content: bytes | str = b""
    plain: bool = False
    value: object = None
    members: dict[str, object] = field(default_factory=dict)
    version: Version | None = None
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its step, what holds when it passes, and the earlier checks without which it makes no sense."""

    step: str
    title: str
    run: Callable[[Subject], None]
    needs: tuple[str, ...] = ()


def _not_empty(subject: Subject) -> None:
    if not subject.user_sig:
        raise UserSigError(ErrorCode.USERSIG_EMPTY, "the UserSig is empty")


def _outer_base64(subject: Subject) -> None:
    if subject.user_sig.lstrip().startswith("{"):
        # Step 4: the oldest form is the bare JSON. Nothing else in the UserSig alphabet can begin like this.
        try:
            value = encoding.parse_json(subject.user_sig[: encoding.MAX_JSON_BYTES + 1])
        except encoding.DuplicateMemberError as error:
            raise UserSigError(ErrorCode.USERSIG_NOT_JSON, f"the UserSig is bare JSON, and {error}") from None
        except EncodingError:
            value = None
        if isinstance(value, dict):
            subject.plain, subject.content = True, subject.user_sig
            return
    try:
        subject.packed = encoding.decode_base64(subject.user_sig)
    except EncodingError as error:
        raise UserSigError(ErrorCode.USERSIG_NOT_BASE64, f"the UserSig cannot be decoded: {error}") from None


def _zlib(subject: Subject) -> None:
    if subject.plain:
        return
    try:
        subject.content = encoding.inflate(subject.packed)
    except EncodingError as error:
        raise UserSigError(ErrorCode.USERSIG_NOT_ZLIB, f"the UserSig cannot be unpacked: {error}") from None


def _json(subject: Subject) -> None:
    try:
        subject.value = encoding.parse_json(subject.content)
    except EncodingError as error:
        raise UserSigError(ErrorCode.USERSIG_NOT_JSON, f"the UserSig holds no usable JSON: {error}") from None


def _object(subject: Subject) -> None:
    if not isinstance(subject.value, dict):
        raise UserSigError(ErrorCode.USERSIG_NOT_OBJECT, "the UserSig's JSON is not an object")
    subject.members = subject.value


def _version(subject: Subject) -> None:
    said = subject.members.get("TLS.ver", "1.0")
    if subject.plain or said == "1.0":
        subject.version = Version.V1
    elif said == "2.0":
        subject.version = Version.V2
    else:
        raise UserSigError(ErrorCode.USERSIG_TIME_OR_VERSION_INVALID, f"TLS.ver is {_shown(said)}, not 1.0 or 2.0")


# --- version 2 ------------------------------------------------------------------------------------------------------


def _identifier_there(subject: Subject) -> None:
    _text(subject, "TLS.identifier")


def _identifier_same(subject: Subject) -> None:
    identifier = _text(subject, "TLS.identifier")
    if subject.user_id is None:
        raise NotCheckedError("no user was given to compare with")
    if identifier != subject.user_id:
        raise UserSigError(
            ErrorCode.USERSIG_USERID_MISMATCH, f"made for user {_shown(identifier)}, not {_shown(subject.user_id)}"
        )


def _app_there(subject: Subject) -> None:
    _unsigned(subject, "TLS.sdkappid")


def _app_same(subject: Subject) -> None:
    _same_app(subject, _unsigned(subject, "TLS.sdkappid"))


def _expire_there(subject: Subject) -> None:
    _unsigned(subject, "TLS.expire")


def _time_there(subject: Subject) -> None:
    if "TLS.time" not in subject.members:
        raise UserSigError(ErrorCode.USERSIG_FIELD_MISSING, "TLS.time is missing")


def _time_sound(subject: Subject) -> None:
    time = subject.members["TLS.time"]
    if not _is_unsigned(time):
        raise UserSigError(
            ErrorCode.USERSIG_TIME_OR_VERSION_INVALID, f"TLS.time is {_shown(time)}, not a whole number of seconds"
        )
    if subject.now is not None and time > subject.now + CLOCK_TOLERANCE:
        raise UserSigError(
            ErrorCode.USERSIG_TIME_OR_VERSION_INVALID, f"TLS.time {time} is {time - subject.now} s ahead of now"
        )


def _not_expired(subject: Subject) -> None:
    _lifetime(subject, _unsigned(subject, "TLS.time"), _unsigned(subject, "TLS.expire"))


def _signature_there(subject: Subject) -> None:
    _text(subject, "TLS.sig")


def _signature_base64(subject: Subject) -> None:
    try:
        subject.signature = encoding.decode_standard_base64(_text(subject, "TLS.sig"))
    except EncodingError:
        raise UserSigError(ErrorCode.USERSIG_INNER_SIG_NOT_BASE64, "TLS.sig is not standard base64") from None


def _secret_there(subject: Subject) -> None:
    if not _keys(subject).secrets:
        raise UserSigError(ErrorCode.VERIFICATION_METHOD_MISSING, f"{_app(subject)} has no secret key for version 2")


def _hmac_matches(subject: Subject) -> None:
    keys, content = _keys(subject), signed_content_v2(subject)
    # As texts, as deployed verifiers do: base64 whose unused last bits are set is another text.
    said, matches = _text(subject, "TLS.sig").encode("ascii"), False
    for secret in keys.secrets:  # all of them, so that the time taken tells nothing about which one was near
        matches |= hmac.compare_digest(base64.b64encode(hmac_sha256(secret, content)), said)
    if not matches:
        raise UserSigError(ErrorCode.USERSIG_KEY_MISMATCH, f"signature does not match the key of {_app(subject)}")


def signed_content_v2(subject: Subject, *, with_userbuf: bool | None = None) -> bytes:
    """What must have been signed, from the values received. At login userbuf is never part of it."""
    userbuf: str | None = None
    if subject.with_userbuf if with_userbuf is None else with_userbuf:
        userbuf = _text(subject, "TLS.userbuf")
        try:
            encoding.decode_standard_base64(userbuf)
        except EncodingError:
            raise UserSigError(ErrorCode.USERSIG_FIELD_MISSING, "TLS.userbuf is not standard base64") from None
    return content_v2(
        _text(subject, "TLS.identifier"),
        _unsigned(subject, "TLS.sdkappid"),
        _unsigned(subject, "TLS.time"),
        _unsigned(subject, "TLS.expire"),
        userbuf,
    )


# --- version 1 ------------------------------------------------------------------------------------------------------


def _content_there(subject: Subject) -> None:
    for name in _V1_CONTENT:
        _v1_text(subject, name)


def _public_key_there(subject: Subject) -> None:
    if not _keys(subject).public_keys:
        raise UserSigError(ErrorCode.PUBLIC_KEY_MISSING, f"{_app(subject)} has no public key for version 1")


def _ecdsa_matches(subject: Subject) -> None:
    content = signed_content_v1(subject)
    if not any(verify_ecdsa(pem, content, subject.signature) for pem in _keys(subject).public_keys):
        raise UserSigError(ErrorCode.USERSIG_KEY_MISMATCH, f"signature does not match the key of {_app(subject)}")


def signed_content_v1(subject: Subject) -> bytes:
    """What must have been signed, from the values received."""
    appid_at_3rd = _v1_text(subject, "TLS.appid_at_3rd") if "TLS.appid_at_3rd" in subject.members else None
    account_type, identifier, sdk_appid, time, expire_after = (_v1_text(subject, name) for name in _V1_CONTENT)
    return content_v1(identifier, sdk_appid, time, expire_after, account_type, appid_at_3rd)


def _v1_identifier_same(subject: Subject) -> None:
    if not isinstance(identifier := subject.members["TLS.identifier"], str):
        raise UserSigError(ErrorCode.USERSIG_USERID_MISMATCH, f"TLS.identifier is {_shown(identifier)}, not a text")
    _identifier_same(subject)


def _v1_app_same(subject: Subject) -> None:
    _same_app(subject, _v1_text(subject, "TLS.sdk_appid"))


def _v1_times_sound(subject: Subject) -> None:
    v1_times(subject)


def v1_times(subject: Subject) -> tuple[int, int]:
    """Time and lifetime in seconds. The oldest form writes its time as a date."""
    numbers = []
    for name in ("TLS.time", "TLS.expire_after"):
        value = subject.members.get(name)
        if subject.plain and name == "TLS.time" and isinstance(value, str):
            seconds = parse_old_date(value)
            if seconds is not None:
                numbers.append(seconds)
                continue
        if not isinstance(value, str) or not _DIGITS.fullmatch(value):
            raise UserSigError(
                ErrorCode.USERSIG_TIME_OR_VERSION_INVALID, f"{name} is {_shown(value)}, not a text of digits"
            )
        numbers.append(int(value))
    return numbers[0], numbers[1]


def _v1_not_expired(subject: Subject) -> None:
    _lifetime(subject, *v1_times(subject))


# --- shared ---------------------------------------------------------------------------------------------------------


def _same_app(subject: Subject, said: int | str) -> None:
    if subject.sdk_app_id is None:
        raise NotCheckedError("no app was given to compare with")
    if str(said) != str(subject.sdk_app_id):
        raise UserSigError(
            ErrorCode.USERSIG_SDKAPPID_MISMATCH, f"made for app {_shown(said)}, not {subject.sdk_app_id}"
        )


def _lifetime(subject: Subject, time: int, expire: int) -> None:
    if expire == 0:
        raise UserSigError(ErrorCode.USERSIG_EXPIRED, "its lifetime is 0 seconds, so it was never valid")
    if subject.now is None:
        raise NotCheckedError("no time was given to compare with")
    if subject.now > time + expire:
        raise UserSigError(ErrorCode.USERSIG_EXPIRED, f"expired {subject.now - time - expire} s ago")


def _keys(subject: Subject) -> AppKeys:
    if subject.keys is None:
        raise NotCheckedError("no key was given to verify with")
    return subject.keys


def _app(subject: Subject) -> str:
    return "the app" if subject.sdk_app_id is None else f"app {subject.sdk_app_id}"


def _text(subject: Subject, name: str) -> str:
    value = subject.members.get(name)
    if not isinstance(value, str):
        raise UserSigError(ErrorCode.USERSIG_FIELD_MISSING, _missing(subject, name, "a text"))
    return value


def _unsigned(subject: Subject, name: str) -> int:
    value = subject.members.get(name)
    if not _is_unsigned(value):
        raise UserSigError(ErrorCode.USERSIG_FIELD_MISSING, _missing(subject, name, "an unsigned whole number"))
    return value


def _v1_text(subject: Subject, name: str) -> str:
    value = subject.members.get(name)
    if isinstance(value, str):
        return value
    if _is_unsigned(value):
        return str(value)
    raise UserSigError(ErrorCode.USERSIG_NOT_JSON, _missing(subject, name, "a text"))


def _is_unsigned(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _missing(subject: Subject, name: str, wanted: str) -> str:
    if name not in subject.members:
        return f"{name} is missing"
    return f"{name} is {_shown(subject.members[name])}, not {wanted}"


def _shown(value: object) -> str:
    # What a client sent goes into messages and logs: short, and with control characters made visible.
    text = ascii(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:56]}…{text[-1]}"


ENVELOPE = (
    Check("3", "the UserSig is not empty", _not_empty),
    Check("5", "its outer base64 can be decoded", _outer_base64, ("3",)),
    Check("6", "its zlib stream can be unpacked", _zlib, ("5",)),
    Check("7", "it holds JSON, each member once", _json, ("6",)),
    Check("7'", "the JSON is an object", _object, ("7",)),
    Check("8", "its version is known", _version, ("7'",)),
)

V2 = (
    Check("8a", "TLS.identifier is there", _identifier_there),
    Check("8a'", "it was made for this user", _identifier_same, ("8a",)),
    Check("8b", "TLS.sdkappid is there", _app_there),
    Check("8b'", "it was made for this app", _app_same, ("8b",)),
    Check("8c", "TLS.expire is there", _expire_there),
    Check("8c'", "TLS.time is there", _time_there),
    Check("8c''", "TLS.time is sound and not ahead of now", _time_sound, ("8c'",)),
    Check("8d", "it has not expired", _not_expired, ("8c", "8c''")),
    Check("8e", "TLS.sig is there", _signature_there),
    Check("8e'", "TLS.sig is base64", _signature_base64, ("8e",)),
    Check("8f", "the app has a secret key", _secret_there),
    Check("8g", "the signature matches the key", _hmac_matches, ("8a", "8b", "8c", "8c''", "8e'", "8f")),
)

V1 = (
    Check("8a", "everything that is signed is there", _content_there),
    Check("8b", "TLS.sig is there", _signature_there),
    Check("8c", "TLS.sig is base64", _signature_base64, ("8b",)),
    Check("8d", "the app has a public key", _public_key_there),
    Check("8e", "the signature matches the key", _ecdsa_matches, ("8a", "8c", "8d")),
    Check("8f", "it was made for this user", _v1_identifier_same, ("8a",)),
    Check("8g", "it was made for this app", _v1_app_same, ("8a",)),
    Check("8h", "its times are numbers", _v1_times_sound, ("8a",)),
    Check("8i", "it has not expired", _v1_not_expired, ("8h",)),
)


def checks_of(version: Version) -> tuple[Check, ...]:
    """The checks of step 8 for a version."""
    return V2 if version is Version.V2 else V1


def opened(subject: Subject) -> Version:
    """Run the checks of the envelope; the version that step 8 goes on with."""
    for check in ENVELOPE:
        check.run(subject)
    if subject.version is None:
        raise UserSigError(ErrorCode.USERSIG_TIME_OR_VERSION_INVALID, "its version is not known")
    return subject.version
