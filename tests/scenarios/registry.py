"""What the scenarios say about themselves."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from parlour.errors.catalogue import Entry, catalogue

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIRST, LAST = 70001, 70403
CLUSTER = {70213, 70214, 70362}
"""Codes of what happens between nodes. They come with clusters."""
LATER = {70398}
"""Account codes of the same range that the documented list of 61 has not. They may have a scenario."""

Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True, order=True)
class Scenario:
    """One code and how one test brings it about. ``cause`` and ``how`` are told to operators and developers."""

    code: int
    file: str
    test: str
    cause: str
    how: str
    part: str


_scenarios: dict[tuple[int, str, str], Scenario] = {}


def scenario(code: int, *, cause: str, how: str, part: str = "account service") -> Callable[[Test], Test]:
    """Mark a test as a scenario of an account code; a test may be one of several.

    ``cause`` is the condition behind the code, ``how`` what the test does to bring it about, both one sentence;
    ``part`` is what refuses or fails.
    """

    def register(test: Test) -> Test:
        file = Path(test.__code__.co_filename).resolve().relative_to(ROOT).as_posix()
        _scenarios[code, file, test.__name__] = Scenario(code, file, test.__name__, cause, how, part)
        return test

    return register


def scenarios() -> tuple[Scenario, ...]:
    """Every scenario, by code. Imports the modules of this folder and runs none of their tests."""
    for file in sorted(HERE.glob("test_*.py")):
        importlib.import_module(f"{__package__}.{file.stem}")
    return tuple(sorted(_scenarios.values()))


def required() -> tuple[Entry, ...]:
    """The catalogue's entries that need a scenario, by code."""
    needed = (entry for entry in _account_codes() if entry.code not in CLUSTER | LATER)
    return tuple(sorted(needed, key=lambda entry: entry.code))


def gaps(known: tuple[Scenario, ...]) -> list[str]:
    """What is wrong with these scenarios as a whole, one sentence each."""
    codes = {entry.code for entry in _account_codes()}
    told = {one.code for one in known}
    return [
        *(f"{entry.code} {entry.key} has no scenario." for entry in required() if entry.code not in told),
        *(
            f"{one.file}::{one.test} is for {one.code}, which is no account code."
            for one in known
            if one.code not in codes
        ),
    ]


def _account_codes() -> Iterator[Entry]:
    for entry in catalogue():
        if entry.kind == "account" and entry.state != "foreign" and FIRST <= entry.code <= LAST:
            yield entry
