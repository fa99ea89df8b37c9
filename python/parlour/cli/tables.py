"""Tables and counts for people; tables as wide as the terminal, or wide enough for every value when piped on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from parlour.cli.output import console, visible

UNBROKEN = 100_000
"""Columns that a table may take when it is piped on; it takes as many as its values need."""


def counted(number: int, noun: str) -> str:
    """A number and what it counts: ``1 key``, ``2 keys``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, fold: Sequence[str] = ()) -> None:
    """Print rows under the names of their columns. Those in ``fold`` are broken into lines, others never."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name not in fold)
    for row in rows:
        table.add_row(*("\n".join(visible(line) for line in str(cell).split("\n")) for cell in row))
    out = console()
    if not sys.stdout.isatty():
        out.width = UNBROKEN
    out.print(table)
