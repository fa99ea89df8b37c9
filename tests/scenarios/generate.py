"""Write ``docs/account-codes.md`` from the scenarios.

``python -m tests.scenarios.generate`` writes it; with ``--check`` it writes nothing and exits 1 if the page is stale.
Either way it exits 1 when a code of the account system has no scenario, or a scenario's code is not in the catalogue.
"""

from __future__ import annotations

import sys

from parlour.errors.catalogue import catalogue
from parlour.generated import keep, row

from tests.scenarios.registry import CLUSTER, ROOT, Scenario, gaps, scenarios

PAGE = "docs/account-codes.md"
NOTICE = "Made from the scenarios in tests/scenarios by `python -m tests.scenarios.generate`; change them there."


def page(known: tuple[Scenario, ...]) -> str:
    """The text of the page."""
    keys = {entry.code: entry.key for entry in catalogue()}
    lines = [
        "# Account codes and what brings them about",
        "",
        f"<!-- {NOTICE} -->",
        "",
        "Each account code comes out of one real condition. For each there is a test that brings this condition about",
        "on a running server, over HTTP or the signaling WebSocket, on SQLite and on PostgreSQL; where a part fails,",
        "the test really breaks that part. It asserts the code, the message, and that nothing was lost or left half",
        "written. What to do about a code stands in [Error codes](errors.md); `parlour explain 70009` tells it too.",
        f"The codes {', '.join(map(str, sorted(CLUSTER)))} need more than one node and are not raised by this release.",
        "",
        "| Code | Key | Cause | How the test brings it about | Part | Test |",
        "|---|---|---|---|---|---|",
    ]
    for one in known:
        where = f"[`{one.file}::{one.test}`](../{one.file})"
        cells = (str(one.code), f"`{keys.get(one.code, '?')}`", one.cause, one.how, one.part, where)
        lines.append(row(cells))
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or only compare it. Returns the exit status."""
    known = scenarios()
    wrong = gaps(known)
    for sentence in wrong:
        sys.stderr.write(f"{sentence}\n")
    return keep("tests.scenarios.generate", lambda _: {PAGE: page(known)}, root=ROOT) or int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
