"""What the server spends its time on: ``python -m bench.profile WORKLOAD [--database postgresql] [--seconds 5]``.

Runs a server under cProfile, which sees its event loop and not the threads of SQLite, and prints the functions that
took the most time by themselves, then those with all that they called. cProfile makes calls dearer than work in C, so
the shares are hints; whether a change helps, ``bench.accounts`` says.
"""

from __future__ import annotations

import argparse
import pstats
import sys
import tempfile
from pathlib import Path

from bench import accounts, servers
from bench.measure import Timing
from bench.stores import place

WORKLOADS = {
    "import": accounts.IMPORT,
    "import-many": accounts.IMPORT_MANY,
    "check": accounts.CHECK,
    "check-many": accounts.CHECK_MANY,
    "login": accounts.LOGIN,
    "login-new": accounts.LOGIN_NEW,
    "login-first": accounts.LOGIN_FIRST,
}


def main() -> int:
    """Profile one workload and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__.partition("\n")[0])
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long (5)")
    parser.add_argument("--lines", type=int, default=40, help="functions in each list (40)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parlour-bench-") as folder, place(chosen.database) as where:
        profile = Path(folder) / "profile"
        with servers.parlour(where, profile=profile) as served:
            measured = accounts.Measured(where, served, Timing(1, chosen.seconds))
            measured.fill(accounts.START_SIZE)
            figure = measured.figure(WORKLOADS[chosen.workload])
        print(f"{figure.workload.name}, {where.name}: {figure.median('per_second'):,.0f} a second under the profiler\n")
        stats = pstats.Stats(str(profile), stream=sys.stdout).strip_dirs()
        for order in ("tottime", "cumulative"):
            stats.sort_stats(order).print_stats(chosen.lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
