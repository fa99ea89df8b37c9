"""How figures are printed: one line each as soon as it is there, its target beside it."""

from __future__ import annotations

from typing import Any

from bench.usersig import Measured

CROWDED = 0.05
"""Share of the server's core that others may take before a figure is marked."""

LEGEND = """\
Each figure is the median of {runs} runs of {seconds:g} s (lowest and highest beside it), after one that does not count.
per CPU s: the same work for each second that the server's process, with all its threads, spent on the processor.
p50, p99: milliseconds from a request to its answer, with so many connections asking at once, each one at a time.
busy: share of one core that the server, the load generator, the database and strangers on the server's core took."""

WIDTH = 38


def heading(results: dict[str, Any]) -> None:
    """What is measured, and on what."""
    print("Parlour, the account system\n")
    print(", ".join(f"{name} {value}" for name, value in results["machine"].items()) + "\n")
    print(LEGEND.format(runs=results["runs"], seconds=results["secondsOfARun"]), flush=True)


def verifications(measured: list[Measured]) -> None:
    """The verifications, whose seconds are of processor time."""
    print("\nUserSig verifications in a second of one core")
    print(f"{'':{WIDTH + 12}}{'a second':>9} {'(range)':>22} {'target':>8}")
    for one in measured:
        rates = _rates(one.median, min(one.runs), max(one.runs), one.target)
        print(f"{one.name:{WIDTH + 12}}{rates}", flush=True)


def figures_heading(title: str) -> None:
    """Above figures of one place."""
    print(f"\n{title}")
    print(
        f"{'':{WIDTH}}{'a second':>9} {'(range)':>22} {'target':>8} {'per CPU s':>10} {'p50':>7} {'p99':>7}"
        f" {'conns':>6}  busy: server load database strangers"
    )


def figure(one: dict[str, Any]) -> dict[str, Any]:
    """Print a figure as ``Figure.to_json`` gives it, and return it."""
    lowest, highest = one["perSecondRange"]
    rates = _rates(one["perSecond"], lowest, highest, one["target"])
    times, busy = one["milliseconds"], one["busy"]
    shares = " ".join(f"{busy[name]:>{width}.0%}" for name, width in (("server", 12), ("load", 4), ("database", 8)))
    mark = "  others were at work on the server's core" if busy["strangers"] > CROWDED else ""
    print(
        f"{one['name']:{WIDTH}}{rates} {one['perServerCpuSecond']:>10,} {times['p50']:>7.1f} {times['p99']:>7.1f}"
        f" {one['connections']:>6}  {shares} {busy['strangers']:>9.0%}{mark}",
        flush=True,
    )
    return one


def growth_heading(place: str) -> None:
    """Above the rows of the growth on one database."""
    print(f"\nGrowth on {place}: the same with more accounts there, against the smallest number")
    print(
        f"{'':{WIDTH}}{'accounts':>10} {'a second':>9} {'ratio':>6} {'per CPU s':>10} {'ratio':>6}"
        f" {'p50':>7} {'p99':>7}  {'one alone: p50':>14} {'p99':>6}"
    )


def growth(row: dict[str, Any], first: dict[str, Any]) -> None:
    """One row; ``first`` is that of the smallest number of the same workload."""
    ratios = [row[name] / first[name] for name in ("perSecond", "perServerCpuSecond")]
    times, alone = row["milliseconds"], row["alone"]
    print(
        f"{row['name']:{WIDTH}}{row['accounts']:>10,} {row['perSecond']:>9,} {ratios[0]:>6.2f}"
        f" {row['perServerCpuSecond']:>10,} {ratios[1]:>6.2f} {times['p50']:>7.1f} {times['p99']:>7.1f}"
        f"  {alone['p50']:>14.2f} {alone['p99']:>6.2f}",
        flush=True,
    )


def with_smallest(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each row of the growth with the row of the smallest size of the same workload and database, grouped by those."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["database"], row["name"]), []).append(row)
    return [(row, group[0]) for group in groups.values() for row in group]


def _rates(median: float, lowest: float, highest: float, target: int | None) -> str:
    spread = f"({lowest:,.0f} to {highest:,.0f})"
    wanted = "" if target is None else f"{target:,}"
    return f"{median:>9,.0f} {spread:>22} {wanted:>8}"
