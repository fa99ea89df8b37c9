"""Files that are made of others: written, or with ``--check`` compared with what would be written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def row(cells: Sequence[str]) -> str:
    """A row of a table in Markdown; nothing in a cell breaks it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def keep(
    module: str, make: Callable[[Path], Mapping[str, str]], arguments: Sequence[str] | None = None, *, root: Path
) -> int:
    """What ``python -m module`` does. ``make`` gives the texts of the files below a checkout, which is ``root``.

    Returns the exit status: 1 when something is stale and only to be checked.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when a file is stale")
    parser.add_argument("--root", type=Path, default=root, help="the checkout (default: this one)")
    options = parser.parse_args(arguments)
    stale = False
    for name, text in make(options.root).items():
        file = options.root / name
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        stale = True
        if options.check:
            sys.stderr.write(f"{name} is stale; run python -m {module}\n")
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {name}\n")
    return 1 if options.check and stale else 0
