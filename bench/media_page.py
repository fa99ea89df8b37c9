"""The part of ``docs/performance.md`` about media, made from ``bench/results/media.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.media_parts import WITHIN_SENDING
from bench.media_report import ADDED_TARGETS, JOIN_TARGETS, MEMORY_TARGET, SHOWN, SHOWN_QUANTILES, memory_parts, remarks

TEXT = """\
## Media

`.venv/bin/python -m bench.media` measures this, in less than ten minutes; `parlour load URL` puts such a load on a
server of yours. Measured on: {machine}; {janus}.

Load peers are real where a server can tell: ICE, DTLS, SRTP, receiver reports, transport-wide feedback where it is
agreed, keyframes when asked for. They count every packet by stream and number, and open one in 32 to see when it was
sent; arrivals are stamped by the kernel. The server has one core, the generator another, on the loopback interface,
where the sender is charged with half of the receiver's work. All settings are the defaults but the limits of how many
may come. Rounds alternate between the servers, with a window of {seconds:g} s on each; told is the median of {rounds}
rounds, the lowest and the highest beside it, after one that does not count.

- **µs a packet**: CPU of the server's process, user and system, for a packet that arrived. Ratios are of one round.
- **p50, p99, p99.9**: milliseconds from the sending of a packet until the receiver's kernel had it.
- **null reflector**: fans out in runs of eight, without any protocol or crypto: the least that forwarding can cost,
  and what the generator can do.

{scenarios}
{shares}### Added latency

Milliseconds over the null reflector's in the same round, of "{first}".

{added}

### Joins and memory

{joins}

"All at once": CPU of the server for each of {storm} subscribers who log in at the same time, until media may flow.
"First picture": one alone, from before its login until the end of the first keyframe, which the publisher sends as soon
as it is asked. Memory is the slope of the process's share (PSS) from {sizes} subscribers of one video and one audio.

"""


SHARES = """\
### What a packet's time goes to

`.venv/bin/python -m bench.shares` (with perf, as root): µs of a packet to {subscribers} at a time, perf's own work
included. Indented is what is within the line above.

{table}

Where Janus is to cost four times as much and does not, this is what stands in the way: a datagram that is not one of a
run costs a whole way through the kernel. Sending alone is {sound:.1f} µs of a packet of sound, without cryptography and
without anything of ours, and {spread:.1f} µs of one of pictures that come one by one; ours with all cryptography is the
line of the media core. Runs that are held for the rest of their frame, and padding that makes packets one size, were
measured: [architecture](architecture.md).

"""


def section(results: dict[str, Any] | None, shares: dict[str, Any] | None = None) -> str:
    """The part of the page; a sentence when nothing was recorded yet."""
    if results is None:
        return "## Media\n\nNot recorded yet: `make bench` measures it, `make bench RECORD=1` keeps it here.\n\n"
    machine = dict(results["machine"])
    shown = f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['linux']}"
    janus = f"Janus {results['janus']} (VideoRoom) in the same run" if results["janus"] else "without Janus beside it"
    first = results["scenarios"][0]
    memory = next(iter(results["memory"].values()))
    return TEXT.format(
        machine=shown,
        janus=janus,
        seconds=results["secondsOfAWindow"],
        rounds=results["rounds"],
        scenarios="".join(map(scenario, results["scenarios"])),
        shares="" if shares is None else _shares(shares),
        first=first["name"],
        added=_added(first["added"]),
        joins=_joins(results["joins"], results["memory"]),
        storm=next(iter(results["joins"].values()))["atOnce"],
        sizes=" to ".join(map(str, memory["subscribers"])),
    )


def _shares(found: dict[str, Any]) -> str:
    kinds = found["kinds"]

    def cost(kind: str, part: str) -> float:
        return float(kinds[kind]["microseconds"] * kinds[kind]["shares"][part])

    rows = [("all", *(f"{one['microseconds']:.2f}" for one in kinds.values()))]
    for part in next(iter(kinds.values()))["shares"]:
        shown = f"&emsp;{part}" if part in WITHIN_SENDING else part
        rows.append((shown, *(f"{cost(kind, part):.2f}" for kind in kinds)))
    return SHARES.format(
        subscribers=found["subscribers"],
        table=table(("", *kinds), rows),
        sound=cost("audio", "sending"),
        spread=cost("video, packets 1 ms apart", "sending"),
    )


def scenario(one: dict[str, Any]) -> str:
    """One scenario: its table, and what is to be said of it."""
    rows = [
        (
            SHOWN[name], f"{figures['microseconds']['median']:.2f}", _range(figures["microseconds"]),
            f"{figures['perSecond']:,}", f"{figures['busy']:.0%}", f"{figures['lost']:.2%}",
            *(f"{figures['milliseconds'][quantile]['median']:.2f}" for quantile in SHOWN_QUANTILES), figures["srtp"],
        )
        for name, figures in one["servers"].items()
    ]  # fmt: skip
    head = ("", "µs a packet", "range", "packets a second", "busy", "lost", *SHOWN_QUANTILES.values(), "SRTP")
    sizes = " and ".join(map(str, one["packetBytes"]))
    said = "".join(f"- {line}.\n" for line in remarks(one))
    return (
        f"### {one['name'][0].upper()}{one['name'][1:]}\n\nPackets of {sizes} bytes.\n\n{table(head, rows)}\n\n{said}\n"
    )


def _added(found: dict[str, Any]) -> str:
    head = ("", *(f"{SHOWN_QUANTILES[name]} (below {most:g} wanted)" for name, most in ADDED_TARGETS.items()))
    rows = [
        (SHOWN[name], *(f"{one[quantile]['median']:.2f} ({_range(one[quantile])})" for quantile in ADDED_TARGETS))
        for name, one in found.items()
    ]
    return table(head, rows)


def _joins(joins: dict[str, Any], memory: dict[str, Any]) -> str:
    cpu, picture = JOIN_TARGETS["cpuMilliseconds"], JOIN_TARGETS["firstPictureMilliseconds"]
    head = (
        "", f"all at once, CPU ms each (at most {cpu:g} wanted)", f"first picture, ms (below {picture:g} wanted)",
        f"memory a subscriber, KiB (below {MEMORY_TARGET} wanted)",
    )  # fmt: skip
    rows = [
        (
            SHOWN[name],
            *(f"{one[key]['median']:g} ({_range(one[key])})" for key in JOIN_TARGETS),
            f"{memory[name]['kibEach']:.0f}" + (f": {memory_parts(memory[name])}" if "kibOf" in memory[name] else ""),
        )
        for name, one in joins.items()
    ]
    return table(head, rows)


def _range(one: dict[str, Any]) -> str:
    low, high = one["range"]
    return f"{low:g} to {high:g}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table of Markdown, everything but the first column to the right."""
    lines = [head, ("---", *("---:",) * (len(head) - 1)), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
