"""Make ``docs/openapi.json``.

``python -m parlour.admin.generate`` writes it, from a checkout; ``--check`` writes nothing and exits 1 if it is stale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from parlour.admin.openapi import render

TARGET = Path("docs/openapi.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file, or with ``--check`` say whether it is stale. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m parlour.admin.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is stale")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[3], help="the checkout (default: this one)")
    options = parser.parse_args(arguments)
    path = options.root / TARGET
    text = render()
    if path.exists() and path.read_bytes() == text:
        return 0
    if options.check:
        sys.stderr.write(f"{TARGET} is stale; run python -m parlour.admin.generate\n")
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    sys.stderr.write(f"wrote {TARGET}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
