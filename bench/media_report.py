"""How the media figures are printed: one line a server, the target beside it."""

from __future__ import annotations

from typing import Any

from bench.report import CROWDED

SHOWN = {"null": "null reflector", "parlour": "Parlour", "janus": "Janus"}
MOST_LATE = 2.0
"""Milliseconds (p99) that the generator may be late before a scenario is marked."""

LEGEND = """\
µs: CPU of the server, user and system, for a packet that arrived; the median of {rounds} windows of {seconds:g} s
(lowest and highest beside it), in rounds that alternate between the servers, after one round that does not count.
p50, p99, p99.9: milliseconds from a packet's sending until the receiver's kernel had it, one packet in 32.
A null reflector fans out without any protocol or crypto: the least that forwarding can cost."""

JOIN_TARGETS = {"cpuMilliseconds": 1.5, "firstPictureMilliseconds": 100.0}
MEMORY_TARGET = 64
SHOWN_QUANTILES = {"p50": "p50", "p99": "p99", "p999": "p99.9"}
ADDED_TARGETS = {"p50": 0.3, "p99": 1.0, "p999": 3.0}


def heading(results: dict[str, Any], missing: str | None) -> None:
    """What is measured, and on what."""
    print("\nParlour, media\n")
    print(", ".join(f"{name} {value}" for name, value in results["machine"].items()) + "\n")
    print(LEGEND.format(rounds=results["rounds"], seconds=results["secondsOfAWindow"]), flush=True)
    print(f"\n{missing}" if missing else f"Janus {results['janus']} is measured beside it.", flush=True)


def scenario(one: dict[str, Any]) -> dict[str, Any]:
    """Print a scenario as it is written to the file, and return it."""
    sizes = " and ".join(map(str, one["packetBytes"]))
    print(f"\n{one['name']}: packets of {sizes} B, {one['offered']:,} copies a second wanted")
    head = f"  {'':16}{'µs':>7} {'(range)':>15} {'copies/s':>9} {'busy':>5} {'lost':>7}"
    print(f"{head} {'p50':>8} {'p99':>8} {'p99.9':>8}  SRTP")
    for name, figures in one["servers"].items():
        cost, times = figures["microseconds"], figures["milliseconds"]
        low, high = cost["range"]
        shown = " ".join(f"{times[quantile]['median']:>8.2f}" for quantile in ("p50", "p99", "p999"))
        print(
            f"  {SHOWN[name]:16}{cost['median']:>7.2f} {f'({low:.2f} to {high:.2f})':>15} {figures['perSecond']:>9,}"
            f" {figures['busy']:>5.0%} {figures['lost']:>7.2%} {shown}  {figures['srtp']}"
        )
    for line in remarks(one):
        print(f"  {line}")
    print(end="", flush=True)
    return one


def remarks(one: dict[str, Any]) -> list[str]:
    """The ratios beside their targets, and what spoils a scenario."""
    targets, ratios = one["targets"] or {}, one["ratios"]
    lines = []
    if "toJanus" in ratios:
        lines.append(
            f"Janus costs {_ratio(ratios['toJanus'])} times as much{_wanted(targets.get('toJanus'), 'at least')}"
        )
    if "toNull" in ratios:
        lines.append(f"{_ratio(ratios['toNull'])} times the null reflector{_wanted(targets.get('toNull'), 'at most')}")
    late = max(figures["lateness"]["median"] for figures in one["servers"].values())
    if late > MOST_LATE:
        lines.append(f"the generator was {late:.1f} ms late (p99): its core was not its own")
    strangers = max(figures["strangers"] for figures in one["servers"].values())
    if strangers > CROWDED:
        lines.append(f"others took {strangers:.0%} of the server's core")
    return lines


def added(found: dict[str, Any]) -> None:
    """How much later than from the null reflector packets arrive in the first scenario."""
    print("\nAdded latency: milliseconds over the null reflector's in the same round")
    print("  " + "; ".join(f"{SHOWN_QUANTILES[name]} below {most:g} wanted" for name, most in ADDED_TARGETS.items()))
    for name, one in found.items():
        shown = ", ".join(f"{SHOWN_QUANTILES[quantile]} {_ratio(one[quantile], 2)}" for quantile in ADDED_TARGETS)
        print(f"  {SHOWN[name]:16}{shown}", flush=True)


def joins(found: dict[str, Any]) -> None:
    """What joining costs."""
    print("\nJoins")
    for name, one in found.items():
        cost, picture = one["cpuMilliseconds"], one["firstPictureMilliseconds"]
        print(
            f"  {SHOWN[name]:16}{one['atOnce']} at once: {cost['median']:.2f} ms of CPU each ({_range(cost)};"
            f" at most {JOIN_TARGETS['cpuMilliseconds']} wanted), all in after {one['wallSeconds']['median']:.2f} s;"
            f" one alone: first picture after {picture['median']:.0f} ms ({_range(picture)};"
            f" below {JOIN_TARGETS['firstPictureMilliseconds']:.0f} wanted)",
            flush=True,
        )


def memory(found: dict[str, Any]) -> None:
    """What a subscriber takes."""
    print("\nMemory of a subscriber of one video and one audio")
    for name, one in found.items():
        first, last = one["subscribers"]
        print(
            f"  {SHOWN[name]:16}{one['kibEach']:.0f} KiB, from {first} to {last} of them"
            f" (below {MEMORY_TARGET} wanted; {memory_parts(one)})",
            flush=True,
        )


def memory_parts(one: dict[str, Any]) -> str:
    """What of it comes when."""
    of = one["kibOf"]
    connecting, media = of["connected"] - of["joined"], one["kibEach"] - of["connected"]
    return f"{of['joined']:.0f} in the room, {connecting:.0f} more when connected, {media:.0f} more with media"


def _ratio(one: dict[str, Any], digits: int = 1) -> str:
    return f"{one['median']:.{digits}f} ({_range(one)})"


def _range(one: dict[str, Any]) -> str:
    low, high = one["range"]
    return f"{low:g} to {high:g}"


def _wanted(target: float | None, word: str) -> str:
    return "" if target is None else f"; {word} {target:g} wanted"
