"""JSON as RFC 8259 has it and with one reading only: no member twice in an object, no NaN, no Infinity.

Two readers of a text that names a member twice (a proxy that checks it, the server that obeys it) could see two
different ones. Whoever reads what strangers wrote reads it with this, and says in words of its own what is wrong.
"""

from __future__ import annotations

import json
from typing import NoReturn


class StrictJsonError(ValueError):
    """The text is what ``json`` would let pass and this does not, or what it fails at in ways of its own."""


class RepeatedMemberError(StrictJsonError):
    """An object names a member twice."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class ConstantError(StrictJsonError):
    """A word that stands for no JSON number: NaN, Infinity, -Infinity."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class DeepNestingError(StrictJsonError):
    """More levels than the decoder can follow."""


class LongNumberError(StrictJsonError):
    """A number of more than 4300 digits, which Python turns into none (CVE-2020-10735)."""


def decode(text: str) -> object:
    """The value. Raises ``StrictJsonError`` or ``json.JSONDecodeError``."""
    try:
        return _DECODER.decode(text)
    except (StrictJsonError, json.JSONDecodeError):
        raise
    except RecursionError:
        raise DeepNestingError from None
    except ValueError:
        raise LongNumberError from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise RepeatedMemberError(name)
            seen.add(name)
    return members


def _no_constant(word: str) -> NoReturn:
    raise ConstantError(word)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
