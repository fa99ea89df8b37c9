"""What a text in a request has to be, and how one is shown in a sentence."""

from __future__ import annotations

from parlour.accounts.refusal import AccountRefusedError
from parlour.accounts.user_ids import checked_user_id
from parlour.errors import ErrorCode

MAX_PROFILE_TEXT = 500
"""Bytes of a profile field, as the public account API documents it for code 40601."""

_MAX_SHOWN = 48


def shown(text: str) -> str:
    """A text of the client's as a sentence can quote it: in quotation marks, cut, all that is not printable escaped."""
    cut = text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
    return f'"{cut if cut.isprintable() else ascii(cut)[1:-1]}"'


def check_user_id(value: str) -> None:
    """Raise ValueError unless it is a userId, by the rule of the account service: so msgspec adds where it stands."""
    try:
        checked_user_id(value)
    except AccountRefusedError as refused:
        raise ValueError(refused.detail) from None


def check_text(name: str, value: str, *, most: int) -> None:
    """Raise ValueError unless it can be stored everywhere and has at most ``most`` bytes of UTF-8."""
    if (size := _size(name, value)) > most:
        raise ValueError(f"{name} {shown(value)} has {size} bytes in UTF-8; {most} are allowed")


def check_profile_text(name: str, value: str | None) -> None:
    """The same for a profile field, whose length has a code of its own: refuses with 40601."""
    if value is not None and (size := _size(name, value)) > MAX_PROFILE_TEXT:
        raise AccountRefusedError(
            ErrorCode.PROFILE_FIELD_TOO_LONG,
            f"{name} has {size} bytes in UTF-8; a profile field may have {MAX_PROFILE_TEXT}.",
        )


def _size(name: str, value: str) -> int:
    if "\0" in value:
        raise ValueError(f"{name} {shown(value)} holds a NUL character, which no text here may")
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{name} {shown(value)} holds half of a surrogate pair, which is no character") from None
