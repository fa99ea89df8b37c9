"""Which test reaches which code of the SDK, by what: marks for tests, and the page made of them.

``python -m tests.browser.reached`` writes ``docs/sdk-codes.md``; with ``--check`` it writes nothing and exits 1 if the
page is stale. Either way it exits 1 when a code of the SDK has no test.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from parlour.errors.catalogue import Entry, catalogue
from parlour.generated import keep, row

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = "docs/sdk-codes.md"
NOTICE = "Made from the marks in tests/browser by `python -m tests.browser.reached`; change them there."

Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True, order=True)
class Reached:
    """A code, and how a test in a browser comes to it: a sentence for developers of apps."""

    code: int
    file: str
    test: str
    how: str


_reached: set[Reached] = set()


def reaches(code: int, how: str) -> Callable[[Test], Test]:
    """Mark a test as one that reaches a code; it may reach several."""

    def mark(test: Test) -> Test:
        file = Path(test.__code__.co_filename).resolve().relative_to(ROOT).as_posix()
        _reached.add(Reached(code, file, test.__name__, how))
        return test

    return mark


def reached() -> tuple[Reached, ...]:
    """All marks, by code. Imports the modules of this folder and runs none of their tests."""
    for file in sorted(HERE.glob("test_*.py")):
        importlib.import_module(f"tests.browser.{file.stem}")
    # A module that is run is not the one that the tests import.
    return tuple(sorted(importlib.import_module("tests.browser.reached")._reached))


def required() -> tuple[Entry, ...]:
    """The codes that the SDK has of v4."""
    return tuple(entry for entry in catalogue() if entry.kind == "sdk")


def gaps(known: tuple[Reached, ...]) -> list[str]:
    """A sentence for each code of the SDK without a test, and for each test of something else."""
    codes = {entry.code for entry in required()}
    missing = [
        f"{entry.key} 0x{entry.code:04X} is reached by no test."
        for entry in required()
        if entry.code not in {one.code for one in known}
    ]
    return missing + [
        f"{one.file}::{one.test} is for {one.code}, no code of the SDK." for one in known if one.code not in codes
    ]


def page(known: tuple[Reached, ...]) -> str:
    """The text of the page."""
    entries = {entry.code: entry for entry in required()}
    lines = [
        "# Codes of the browser SDK and what brings them about",
        "",
        f"<!-- {NOTICE} -->",
        "",
        "Each code that v4 has for its SDK comes out of a real condition. For each a test brings it about in a",
        "browser, on a running server. What to do about a code stands in [Error codes](errors.md); the codes of",
        "accounts, which come with 0x4001, are in [Account codes](account-codes.md).",
        "",
        "| Code | Key | Cause | How the test brings it about | Test |",
        "|---|---|---|---|---|",
    ]
    for one in known:
        entry = entries[one.code]
        where = f"[`{one.file}::{one.test}`](../{one.file})"
        cells = (f"0x{one.code:04X} ({one.code})", f"`{entry.key}`", entry.cause, one.how, where)
        lines.append(row(cells))
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or only compare it. Returns the exit status."""
    known = reached()
    wrong = gaps(known)
    for sentence in wrong:
        sys.stderr.write(f"{sentence}\n")
    return keep("tests.browser.reached", lambda _: {PAGE: page(known)}, root=ROOT) or int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
