"""The error catalogue: every code with its key, cause and remedy, read from ``catalogue.toml``."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, cast

Kind = Literal["sdk", "account", "room", "rest"]
State = Literal["raised", "planned", "foreign"]

_DECIMAL = re.compile(r"[+-]?[0-9]{1,10}")
_HEX = re.compile(r"[+-]?0x[0-9a-f]{1,8}", re.IGNORECASE)
_LONGEST_COMPARED = 64
_BARE_HEX = re.compile(r"[0-9a-f]{4}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One code of the catalogue.

    ``raised_by`` names the part and the call that raise it. ``state`` tells whether this release does (``raised``),
    a later one will (``planned``), or only other services of the family do (``foreign``). ``passing``: it decides
    nothing about the user, so that another try may succeed.
    """

    code: int
    key: str
    aliases: tuple[str, ...]
    kind: Kind
    state: State
    passing: bool
    cause: str
    remedy: str
    raised_by: str

    @property
    def shown(self) -> str:
        """The code as its users write it: SDK codes in hex, all others in decimal."""
        return shown_code(self.code, self.kind)


def shown_code(code: int, kind: Kind) -> str:
    """A code as text: ``0x4001`` for an SDK code, ``70009`` or ``-8`` for any other."""
    return f"0x{code:04X}" if kind == "sdk" else str(code)


@cache
def catalogue() -> tuple[Entry, ...]:
    """All entries, in the order of the data file."""
    text = resources.files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8")
    return tuple(
        Entry(
            code=int(row["code"]),
            key=key,
            aliases=tuple(row.get("aliases", ())),
            kind=cast(Kind, row["kind"]),
            state=cast(State, row["state"]),
            passing=row.get("passing", False),
            cause=row["cause"],
            remedy=row["remedy"],
            raised_by=row["raised"],
        )
        for key, row in tomllib.loads(text).items()
    )


@cache
def _by_code() -> dict[int, Entry]:
    return {entry.code: entry for entry in catalogue()}


@cache
def _by_name() -> dict[str, Entry]:
    return {name: entry for entry in catalogue() for name in (entry.key, *entry.aliases)}


def entry_of(code: int) -> Entry | None:
    """The entry of a code, or None for a code that the catalogue does not have."""
    return _by_code().get(code)


@dataclass(frozen=True, slots=True)
class NotFound:
    """The catalogue has no such code or key; ``nearest`` is what comes nearest to it, None only for an empty text."""

    text: str
    nearest: Entry | None


def find(text: str) -> Entry | NotFound:
    """Look up what a person typed: a decimal, hex with ``0x``, or a key in any case and any known spelling."""
    typed = text.strip()
    number: int | None = None
    if _DECIMAL.fullmatch(typed):
        number = int(typed)
    elif _HEX.fullmatch(typed):
        number = int(typed, 16)
    if number is not None and (entry := entry_of(number)) is not None:
        return entry
    name = re.sub(r"[\s-]+", "_", typed).upper()
    if (entry := _by_name().get(name)) is not None:
        return entry
    return NotFound(typed, _nearest(typed, number, name))


def _nearest(typed: str, number: int | None, name: str) -> Entry | None:
    # The two usual slips: an SDK code typed without 0x, and a sign lost or added (native logs negate account codes).
    if _BARE_HEX.fullmatch(typed) and (entry := entry_of(int(typed, 16))) is not None:
        return entry
    if number is not None:
        if (entry := entry_of(-number)) is not None:
            return entry
        return min(catalogue(), key=lambda entry: (_digits(entry.code) != _digits(number), abs(entry.code - number)))
    # A number too long to be any code has no neighbour worth computing; it is compared as a text like any other.
    close = difflib.get_close_matches(name, _by_name(), n=1, cutoff=0.5)
    close = close or [known for known in _by_name() if name and name in known]
    close = close or difflib.get_close_matches(name[:_LONGEST_COMPARED], _by_name(), n=1, cutoff=0.0)
    return _by_name()[close[0]] if close and name else None


def _digits(number: int) -> int:
    return len(str(abs(number)))
