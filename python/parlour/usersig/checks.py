"""A check of an opened UserSig, and what the checks of all versions share.

Each check is a small function that passes silently, raises ``UserSigError`` with its code, or raises
``NotCheckedError`` because nothing to compare with was given. ``verify`` stops at the first failure; ``inspect`` goes
on to show the rest. The order and the numbers of the steps are those of docs/usersig.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from parlour.errors import ErrorCode
from parlour.usersig import encoding
from parlour.usersig.encoding import EncodingError
from parlour.usersig.envelope import Envelope
from parlour.usersig.messages import duration, name_shown, shown
from parlour.usersig.model import ALL_METHODS, AppKeys, UserSigError
from parlour.usersig.userbuf import Userbuf


class NotCheckedError(Exception):
    """A check that could not be made; the text says what was missing."""


@dataclass(slots=True)
class Subject:
    """One opened UserSig on its way through the checks, what it is compared with, and what was found so far.

    None among what it is compared with: not given. ``with_userbuf`` marks a ticket for a room, whose userbuf is signed
    too; ``room`` and ``room_exists`` are what it is asked to admit to. What was found stands from ``identifier`` on,
    each set by the check that makes sure of it. Times in unix seconds.
    """

    envelope: Envelope
    sdk_app_id: int | None
    user_id: str | None
    keys: AppKeys | None
    now: int | None
    methods: Collection[str] = ALL_METHODS
    with_userbuf: bool = False
    room: int | str | None = None
    room_exists: bool | None = None
    members: Mapping[str, object] = field(init=False)
    identifier: str = ""
    sdkappid: int = 0
    time: int = 0
    lifetime: int = 0
    sig: str = ""
    signature: bytes = b""
    key: str | None = None
    userbuf_bytes: bytes | None = None
    userbuf: Userbuf | None = None

    def __post_init__(self) -> None:
        self.members = self.envelope.members


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its step, what holds when it passes, and the earlier checks without which it makes no sense."""

    step: str
    title: str
    run: Callable[[Subject], None]
    needs: tuple[str, ...] = ()


def signature_there(subject: Subject) -> None:
    """``TLS.sig`` is a text."""
    subject.sig = text_of(subject, "TLS.sig")


def signature_base64(subject: Subject) -> None:
    """``TLS.sig`` is standard base64."""
    try:
        subject.signature = encoding.decode_standard_base64(subject.sig)
    except EncodingError:
        raise UserSigError(ErrorCode.USERSIG_INNER_SIG_NOT_BASE64, "TLS.sig is not standard base64") from None


def same_user(subject: Subject) -> None:
    """``TLS.identifier`` is the user, byte by byte."""
    if subject.user_id is None:
        raise NotCheckedError("no user was given to compare with")
    if subject.identifier != subject.user_id:
        raise UserSigError(
            ErrorCode.USERSIG_USERID_MISMATCH,
            f"made for user {name_shown(subject.identifier)}, not {name_shown(subject.user_id)}",
        )


def same_app(subject: Subject, said: int | str) -> None:
    """The app that it names is the app."""
    if subject.sdk_app_id is None:
        raise NotCheckedError("no app was given to compare with")
    if said != subject.sdk_app_id and str(said) != str(subject.sdk_app_id):
        raise UserSigError(
            ErrorCode.USERSIG_SDKAPPID_MISMATCH, f"made for app {name_shown(str(said))}, not {subject.sdk_app_id}"
        )


def not_expired(subject: Subject) -> None:
    """Now is at most time + lifetime; a lifetime of 0 is over from the start."""
    if subject.lifetime == 0:
        raise UserSigError(ErrorCode.USERSIG_EXPIRED, "its lifetime is 0 seconds, so it was never valid")
    if subject.now is None:
        raise NotCheckedError("no time was given to compare with")
    over = subject.now - subject.time - subject.lifetime
    if over > 0:
        raise UserSigError(ErrorCode.USERSIG_EXPIRED, f"expired {duration(over)} ago")


def keys_of(subject: Subject) -> AppKeys:
    """The app's keys."""
    if subject.keys is None:
        raise NotCheckedError("no key was given to verify with")
    return subject.keys


def app_of(subject: Subject) -> str:
    """The app, for a message."""
    return "the app" if subject.sdk_app_id is None else f"app {subject.sdk_app_id}"


def key_mismatch(subject: Subject) -> UserSigError:
    """No key of the app verifies the signature."""
    return UserSigError(ErrorCode.USERSIG_KEY_MISMATCH, f"signature does not match the key of {app_of(subject)}")


def text_of(subject: Subject, name: str) -> str:
    """A member that has to be a text."""
    value = subject.members.get(name)
    if not isinstance(value, str):
        raise UserSigError(ErrorCode.USERSIG_FIELD_MISSING, missing(subject, name, "a text"))
    return value


def unsigned_of(subject: Subject, name: str) -> int:
    """A member that has to be an unsigned whole number."""
    value = subject.members.get(name)
    if not is_unsigned(value):
        raise UserSigError(ErrorCode.USERSIG_FIELD_MISSING, missing(subject, name, "an unsigned whole number"))
    return value


def is_unsigned(value: object) -> TypeGuard[int]:
    """Whether a JSON value is a whole number from 0 that 63 bits hold; true is no number."""
    return type(value) is int and 0 <= value < 2**63


def missing(subject: Subject, name: str, wanted: str) -> str:
    """Why a member is not what is wanted."""
    if name not in subject.members:
        return f"{name} is missing"
    return f"{name} is {shown(subject.members[name])}, not {wanted}"
