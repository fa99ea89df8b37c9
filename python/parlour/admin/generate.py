"""Make ``docs/openapi.json``.

``python -m parlour.admin.generate`` writes it, from a checkout; ``--check`` writes nothing and exits 1 if it is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from parlour.admin.openapi import render
from parlour.generated import keep

TARGET = "docs/openapi.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file, or with ``--check`` say whether it is stale. Returns the exit status."""
    made = {TARGET: render().decode()}
    return keep("parlour.admin.generate", lambda _: made, arguments, root=Path(__file__).parents[3])


if __name__ == "__main__":
    sys.exit(main())
