"""How commands speak: results on stdout, messages on stderr, ``--json`` for programs, failures in one sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
AnnounceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--announce",
        metavar="ADDRESS",
        help="Address that clients send media to, or an interface for its own; may be repeated."
        " Default: the host, or those of this machine that are worth it",
    ),
]

PIPE_WIDTH = 200
"""Columns when nobody watches: wide, so that what is piped on is not broken into lines."""


class Refused(Exception):
    """The command cannot do what was asked; the text goes to stderr and the exit status is 1.

    Under ``--json`` it goes to stdout too, as ``{"error": …}``, unless the command has ``answered`` there already.
    """

    def __init__(self, text: str, *, answered: bool = False) -> None:
        super().__init__(text)
        self.answered = answered


def fail(message: str, *, answered: bool = False) -> NoReturn:
    """End the command with one sentence and exit status 1; ``answered`` if its JSON is on stdout already."""
    raise Refused(message, answered=answered)


def message(text: str) -> None:
    """Say something to the person, beside the result."""
    sys.stderr.write(text + "\n")


def print_json(value: object) -> None:
    """The result for a program: one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_line(text: str) -> None:
    """The result as one plain line."""
    sys.stdout.write(text + "\n")


def console() -> Console:
    """Where tables and styled text of the result go."""
    from rich.console import Console

    on_terminal = sys.stdout.isatty()
    return Console(width=None if on_terminal else PIPE_WIDTH, highlight=False, markup=False, soft_wrap=False)


def print_pairs(pairs: Sequence[tuple[str, Any]]) -> None:
    """Names and values, the values aligned and, on a terminal, wrapped under themselves."""
    if not sys.stdout.isatty():
        width = max(len(name) for name, _ in pairs)
        for name, value in pairs:
            print_line(f"{name:<{width}}  {visible(str(value))}")
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, Text(visible(str(value))))
    console().print(grid)


def visible(text: str) -> str:
    """A text from outside, with everything that a terminal would act on made visible."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def when(seconds: float) -> str:
    """A moment for people, in UTC; what no calendar has stays a number."""
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} (no date of any calendar)"
