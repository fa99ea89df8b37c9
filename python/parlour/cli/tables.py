"""Tables of the results for people: as wide as the terminal, or wide enough for every value when piped on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from parlour.cli.output import console, visible


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, fold: Sequence[str] = ()) -> None:
    """Print rows under the names of their columns. Those in ``fold`` are broken into lines, others never."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name not in fold)
    for row in rows:
        table.add_row(*("\n".join(visible(line) for line in str(cell).split("\n")) for cell in row))
    console().print(table)
