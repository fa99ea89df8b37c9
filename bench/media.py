"""How fast media is forwarded: ``python -m bench.media [--quick] [--json FILE] [--no-janus]``.

What a forwarded packet costs the server, and how much later than from a null reflector it arrives; what a join costs,
and a subscriber's memory. Each beside its target and, where Janus is installed, beside Janus in the same run. The
servers have one core, one of them at a time with work; the load generator has another. Rounds alternate between the
servers. Targets are printed and not enforced.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parlour.load import patterns
from parlour.load.peers import Peers
from parlour.load.stage import Layout, Stage, Window

from bench import janus, machine, media_report
from bench.contenders import Contender, everybody, janus_alone, parlour_alone

WARM_UP = 0.3
"""Seconds between the start of the publishers and the beginning of a window."""
LONE_JOINS = 8
BETWEEN_JOINS = 1.0
"""Seconds: a join is alone when keyframes that others asked for are no part of it."""
STORM = 100
MEMORY_SIZES = (50, 150)
PROFILE_OF_NULL = "none"


@dataclass(frozen=True)
class Scenario:
    """One kind of load.

    ``wanted``: how many times our cost Janus's is to be, and how many times the null reflector's ours may be.
    ``growth``: for the growth of ours alone; a server that costs more has not enough of a core for it.
    """

    name: str
    layout: Layout
    wanted: tuple[float, float | None] | None = None
    growth: bool = False


@dataclass(frozen=True)
class Timing:
    """``rounds`` that count, after one that does not, each with a window of ``seconds`` on each server."""

    rounds: int
    seconds: float


def scenarios(subscribers: int) -> list[Scenario]:
    """What is measured; ``subscribers`` in the rooms of one to many."""
    few, half = max(2, subscribers // 10), max(2, subscribers // 2)
    many, most = 3 * subscribers, 20 * subscribers
    browser = patterns.recorded()
    return [
        Scenario(
            f"video 1 to {subscribers}, as a browser sends it", Layout(1, subscribers, patterns=(browser,)), (6, 1.6)
        ),
        Scenario(f"video 1 to {subscribers}", Layout(1, subscribers, patterns=(patterns.BURSTS,)), (6, 1.6)),
        Scenario(f"video 1 to {few}", Layout(1, few, patterns=(patterns.BURSTS,)), growth=True),
        Scenario(f"video 1 to {many}", Layout(1, many, patterns=(patterns.BURSTS,)), growth=True),
        Scenario(
            f"video 1 to {subscribers}, packets 1 ms apart",
            Layout(1, subscribers, patterns=(patterns.SPREAD,)),
            (4, None),
        ),
        Scenario(f"audio 1 to {half}", Layout(1, half, patterns=(patterns.SPEECH,)), growth=True),
        Scenario(f"audio 1 to {most:,}", Layout(1, most, patterns=(patterns.SPEECH,)), growth=True),
        Scenario(f"audio 10 to {subscribers}", Layout(10, subscribers, patterns=(patterns.SPEECH,)), (4, None)),
        Scenario(
            f"{subscribers // 2} rooms of two, audio and video",
            Layout(2, rooms=max(1, subscribers // 2), patterns=(patterns.SPEECH, patterns.BURSTS), mutual=True),
        ),
    ]


async def measure(scenario: Scenario, contenders: Sequence[Contender], timing: Timing) -> dict[str, Any]:
    """One scenario on all servers, round by round."""
    async with contextlib.AsyncExitStack() as stack:
        stages = {one.name: await stack.enter_async_context(filled(one, scenario.layout)) for one in contenders}
        rounds: list[dict[str, Window]] = []
        strangers: dict[str, list[float]] = {name: [] for name in stages}
        for number in range(timing.rounds + 1):
            turn = number % len(contenders)
            rounds.append({})
            for one in (*contenders[turn:], *contenders[:turn]):
                stage = stages[one.name]
                stage.start()
                await asyncio.sleep(WARM_UP)
                core = machine.busy_seconds(machine.CORES.server)
                window = rounds[-1][one.name] = await stage.window(timing.seconds, one.cpu)
                core = machine.busy_seconds(machine.CORES.server) - core
                strangers[one.name].append(max(0.0, core - window.cpu) / window.seconds)
                stage.stop()
                await stage.settle()
        profiles = {name: _profile(stage) for name, stage in stages.items()}
        deliveries = {name: await stage.delivery() for name, stage in stages.items()}
    counted = rounds[1:] or rounds
    shape = scenario.layout.patterns
    return {
        "name": scenario.name,
        "growth": scenario.growth,
        "packetBytes": [round(pattern.bytes_per_packet) for pattern in shape],
        "offered": round(
            sum(one.packets_per_second for one in shape)
            * scenario.layout.rooms * scenario.layout.publishers * scenario.layout.copies
        ),
        "servers": {
            name: _figures([one[name] for one in counted], profile)
            | {"strangers": round(statistics.median(strangers[name]), 3)}
            | {"delivered": [deliveries[name].received, deliveries[name].expected]}
            for name, profile in profiles.items()
        },
        "ratios": _ratios(counted),
        "added": _added(counted),
        "targets": None if scenario.wanted is None else {"toJanus": scenario.wanted[0], "toNull": scenario.wanted[1]},
    }  # fmt: skip


@contextlib.asynccontextmanager
async def filled(contender: Contender, layout: Layout, *, at_a_time: int = 20) -> AsyncIterator[Stage]:
    """A stage with everybody on it, and nobody after it."""
    peers = Peers()
    stage = contender.stage(peers, layout, at_a_time=at_a_time)
    try:
        await stage.fill()
        yield stage
    finally:
        await stage.leave()
        peers.close()


def _profile(stage: Stage) -> str:
    found = {report["srtp_profile"] or PROFILE_OF_NULL for report in stage.peers.reports().values()}
    return ", ".join(sorted(found))


def spread(values: Iterable[float], digits: int = 2) -> dict[str, Any]:
    """The median of a few values, with the lowest and the highest."""
    kept = list(values)
    return {
        "median": round(statistics.median(kept), digits),
        "range": [round(min(kept), digits), round(max(kept), digits)],
    }


def _figures(windows: Sequence[Window], profile: str) -> dict[str, Any]:
    expected = sum(window.received + window.missing for window in windows)
    return {
        "srtp": profile,
        "microseconds": spread(window.microseconds for window in windows),
        "perSecond": round(statistics.median(window.received / window.seconds for window in windows)),
        "busy": round(statistics.median(window.cpu / window.seconds for window in windows), 3),
        "lost": round(sum(window.missing for window in windows) / max(expected, 1), 5),
        "duplicates": sum(window.duplicates for window in windows),
        "socketDrops": sum(window.socket_drops for window in windows),
        "milliseconds": {
            name: spread((_ms(window.travel[name]) for window in windows), 3) for name in ("p50", "p99", "p999")
        },
        "lateness": spread((_ms(window.lateness["p99"]) for window in windows), 3),
    }


def _ms(microseconds: float) -> float:
    return microseconds / 1_000


def _ratios(rounds: Sequence[dict[str, Window]]) -> dict[str, Any]:
    """Of the costs in each round: Janus's to ours, and ours to the null reflector's."""
    pairs = {"toJanus": ("janus", "parlour"), "toNull": ("parlour", "null")}
    return {
        name: spread(one[over].microseconds / max(one[under].microseconds, 1e-9) for one in rounds)
        for name, (over, under) in pairs.items()
        if all(over in one and under in one for one in rounds)
    }


def _added(rounds: Sequence[dict[str, Window]]) -> dict[str, Any]:
    """How much later than from the null reflector packets arrive, in milliseconds."""
    return {
        name: {
            quantile: spread((_ms(one[name].travel[quantile] - one["null"].travel[quantile]) for one in rounds), 3)
            for quantile in ("p50", "p99", "p999")
        }
        for name in ("parlour", "janus")
        if all(name in one for one in rounds)
    }  # fmt: skip


async def joins(contender: Contender, count: int, rounds: int, lone: int = LONE_JOINS) -> dict[str, Any]:
    """Many at once into a room with a video publisher, then some one by one while it sends."""
    costs, walls, pictures = [], [], []
    for _ in range(rounds):
        peers = Peers()
        stage = contender.stage(peers, Layout(1, count, patterns=(patterns.BURSTS,)), at_a_time=count)
        try:
            await stage.fill_publishers()
            spent, began = machine.cpu_seconds(contender.pid), time.monotonic()
            await stage.fill_subscribers()
            walls.append(time.monotonic() - began)
            costs.append((machine.cpu_seconds(contender.pid) - spent) / count)
        finally:
            await stage.leave()
            peers.close()
    peers = Peers()
    stage = contender.stage(peers, Layout(1, 0, patterns=(patterns.BURSTS,)))
    try:
        await stage.fill()
        stage.start()
        for number in range(lone):
            await asyncio.sleep(BETWEEN_JOINS)
            pictures.append(await _lone_join(stage, f"lone{number}"))
    finally:
        await stage.leave()
        peers.close()
    return {
        "atOnce": count,
        "cpuMilliseconds": spread(cost * 1_000 for cost in costs),
        "wallSeconds": spread(walls),
        "firstPictureMilliseconds": spread((one * 1_000 for one in pictures), 1),
    }


async def _lone_join(stage: Stage, name: str) -> float:
    """Seconds from before the login to the end of the first keyframe."""
    began = time.monotonic()
    member = await stage.rooms.join(stage.first_room, name)
    try:
        await member.subscribe(stage.publishers[0])
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            report = stage.peers.reports().get(-1 if member.downlink is None else member.downlink)
            if report is not None and report["first_picture_at"] is not None:
                return report["first_picture_at"] - began
            await asyncio.sleep(0.005)
        raise RuntimeError("A subscriber has had no picture in 10 s.")
    finally:
        await member.leave()


async def memory(contender: Contender, sizes: tuple[int, int]) -> dict[str, Any]:
    """The slope of the server's memory, while media flows, over subscribers of one video and one audio; and what of it
    they take who are in the room, and as soon as they are connected."""
    few, many = sizes
    async with filled(contender, Layout(1, few, patterns=(patterns.SPEECH, patterns.BURSTS))) as stage:
        used = [await _with_media(contender, stage)]
        names = (f"{stage.prefix}-m{number}" for number in range(many - few))
        members = [await stage.rooms.join(stage.first_room, name) for name in names]
        stage.subscribers[0].extend(members)
        used.append(machine.memory_kib(contender.pid))
        for member in members:
            await member.subscribe(stage.publishers[0])
        used.append(machine.memory_kib(contender.pid))
        used.append(await _with_media(contender, stage))
    joined, connected, flowing = (round((kib - used[0]) / (many - few), 1) for kib in used[1:])
    return {
        "subscribers": list(sizes),
        "kib": [used[0], used[-1]],
        "kibEach": flowing,
        "kibOf": {"joined": joined, "connected": connected},
    }


async def _with_media(contender: Contender, stage: Stage) -> int:
    """The server's memory in KiB when media has flowed for a second."""
    stage.start()
    await asyncio.sleep(1.0)
    used = machine.memory_kib(contender.pid)
    stage.stop()
    await stage.settle()
    return used


def run(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure everything, printing as it comes."""
    timing = Timing(1, 0.3) if chosen.quick else Timing(chosen.rounds, chosen.seconds)
    with_janus = janus.library() is not None and not chosen.no_janus
    results: dict[str, Any] = {
        "bench": "media", "quick": chosen.quick, "machine": machine.facts() | machine.kernel(),
        "janus": janus.version() if with_janus else None,
        "rounds": timing.rounds, "secondsOfAWindow": timing.seconds, "subscribers": chosen.subscribers,
        "scenarios": [], "joins": {}, "memory": {},
    }  # fmt: skip
    media_report.heading(results, None if with_janus else janus.HOW_TO_INSTALL)
    with everybody(folder / "all", with_janus=with_janus) as contenders:
        for scenario in scenarios(chosen.subscribers):
            asked = [one for one in contenders if one.name != "janus"] if scenario.growth else contenders
            measured = asyncio.run(measure(scenario, asked, timing))
            results["scenarios"].append(media_report.scenario(measured))
    media_report.added(results["scenarios"][0]["added"])
    storm = min(STORM, chosen.subscribers)
    for alone in (parlour_alone, janus_alone) if with_janus else (parlour_alone,):
        with alone(folder / f"{alone.__name__}-joins") as contender:
            results["joins"][contender.name] = asyncio.run(joins(contender, storm, 1 if chosen.quick else 3))
    media_report.joins(results["joins"])
    sizes = (2, 4) if chosen.quick else MEMORY_SIZES
    for alone in (parlour_alone, janus_alone) if with_janus else (parlour_alone,):
        with alone(folder / f"{alone.__name__}-memory") as contender:
            results["memory"][contender.name] = asyncio.run(memory(contender, sizes))
    media_report.memory(results["memory"])
    return results


def main() -> int:
    """Measure and print; 0 unless something is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.media", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    parser.add_argument("--rounds", type=int, default=4, help="rounds that count; their median is told (4)")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds of a window (1)")
    parser.add_argument("--subscribers", type=int, default=100, help="of the rooms of one to many (100)")
    parser.add_argument("--no-janus", action="store_true", help="do not measure Janus, although it is there")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parlour-bench-") as folder, machine.on_core(machine.CORES.others):
        results = run(chosen, Path(folder))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
