"""What a call is like on bad networks: ``python -m bench.networks [NAME ...] [--seconds 60] [--json FILE]``.

Two Chromium pages call each other through a ``parlour serve`` of their own, each behind a path that the project's own
emulator spoils (``tests.network``; root is needed for it). What each of them sees and hears of the other is read off
its ``getStats``, twice a second, and told beside what is aimed at. Aims are printed and not enforced.

The scenarios are the lines of ``SCENARIOS``; names on the command line choose among them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from bench import machine
from bench.download import Download
from tests.browser.firefox import as_webm
from tests.browser.harness import Guest, Profile
from tests.browser.networks import SERVER, Network
from tests.network.link import Link

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "networks.json"
EVERY = 0.5
"""Seconds between two looks at the statistics and at the queues."""
WARM_UP = 5.0
"""Seconds of a good network before it is spoiled, so that joining is no part of it."""
FRAMES = 30
SHOWN = Profile(width=640, height=360, rate=15, bitrate=800)
MOST_OF_THE_TIME = 0.95
"""A queue is no longer than what is told of it for this share of the time."""

SETTLED = 5.0
"""Seconds after a change of the rate before it counts how well that is used."""
RECOVERED = 0.8
"""The picture is back when so much of what came of it before comes again."""

Conditions = Mapping[str, object]
NARROW = {"rate": 300_000, "delay": 0.025}
RTT_100 = {"delay": 0.05}
LATE = {"reorder": 0.2, "held_back": 0.03}
RAMP = tuple((0.1 * step, 1_400_000 - 150_000 * step) for step in range(1, 9))


@dataclass(frozen=True)
class Aims:
    """What is wanted of whoever is behind the spoiled path; None: nothing is."""

    freeze: float | None = None  # the longest, in seconds
    concealed: float | None = None  # the share of the sound
    queue: float | None = None  # 95 % of the time, in seconds


@dataclass(frozen=True)
class Scenario:
    """What happens to the path of the one guest, ``spoiled``, and of the ``other``, who has a good one else.

    Conditions are those of ``tests.network.Conditions``. ``early``: they are so when the guests come in already, and
    not from the beginning of the measurement on. ``later``: at which share of the time they change to what. With
    ``small`` both send their picture as a small stream as well; with ``firefox`` the spoiled guest is in Firefox.
    ``download``: between which shares of the time another program takes what it can of the spoiled path, by TCP.
    """

    name: str
    up: Conditions = field(default_factory=dict)
    down: Conditions = field(default_factory=dict)
    other: Conditions = field(default_factory=dict)
    later: tuple[tuple[float, Conditions, Conditions], ...] = ()
    aims: Aims = Aims()
    small: bool = False
    early: bool = False
    firefox: bool = False
    download: tuple[float, float] | None = None


NO_AIMS = Aims()


def _lossy(share: float, aims: Aims = NO_AIMS) -> Scenario:
    """Both guests lose that share in either direction, at a round trip of 100 ms to the server."""
    spoiled = {**RTT_100, "loss": share}
    return Scenario(f"loss-{share:.0%}".rstrip("%"), up=spoiled, down=spoiled, other=spoiled, aims=aims)


def _down(*steps: tuple[float, int | None]) -> tuple[tuple[float, Conditions, Conditions], ...]:
    return tuple((at, {}, {"rate": rate}) for at, rate in steps)


SCENARIOS = (
    Scenario("good", aims=Aims(0.2, 0.001)),
    _lossy(0.02, Aims(0.5, 0.005)),
    _lossy(0.05),
    _lossy(0.10),
    Scenario("jitter", up=LATE, down=LATE, aims=Aims(0.5)),
    Scenario("down-300", down=NARROW, aims=Aims(1.0, 0.01, 0.2), early=True),
    Scenario("down-300-small", down=NARROW, aims=Aims(1.0, 0.01, 0.2), small=True, early=True),
    Scenario("down-300-firefox", down=NARROW, aims=Aims(1.0, 0.01, 0.2), early=True, firefox=True),
    Scenario("narrows-300", down=NARROW, aims=Aims(1.0, None, 0.2)),
    Scenario("narrows-300-small", down=NARROW, aims=Aims(1.0, None, 0.2), small=True),
    Scenario("up-150", up={"rate": 150_000, "delay": 0.025}, aims=Aims(1.0, 0.01, 0.2), early=True),
    Scenario("narrows-up-150", up={"rate": 150_000, "delay": 0.025}, aims=Aims(1.0, None, 0.2)),
    Scenario("deep-buffer", down={"rate": 600_000, "delay": 0.025, "queue": 2000}, aims=Aims(1.0, 0.01, 0.1)),
    Scenario("competes", down={"rate": 2_000_000, "delay": 0.025}, download=(0.3, 0.7)),
    Scenario("step", later=_down((0.3, 400_000), (0.7, None)), aims=Aims(1.0, 0.01)),
    Scenario("ramp", later=_down(*RAMP, (0.9, None)), aims=Aims(1.0)),
)

SAMPLING = """async ([user, every]) => {
  const wanted = {
    video: ['framesDecoded', 'framesDropped', 'freezeCount', 'totalFreezesDuration', 'bytesReceived', 'nackCount',
            'pliCount', 'packetsLost', 'jitterBufferDelay', 'jitterBufferEmittedCount'],
    audio: ['concealedSamples', 'silentConcealedSamples', 'totalSamplesReceived', 'bytesReceived', 'packetsLost',
            'jitterBufferDelay', 'jitterBufferEmittedCount', 'fecPacketsReceived', 'nackCount'],
  };
  window.samples = [];
  const look = async () => {
    const sample = { at: performance.now() / 1000 };
    for (const [kind, names] of Object.entries(wanted)) {
      const inbound = await app.inbound(user, kind);
      sample[kind] = Object.fromEntries(names.map((name) => [name, inbound[name] ?? 0]));
    }
    window.samples.push(sample);
  };
  await look();
  window.sampling = setInterval(look, every * 1000);
}"""

Sample = dict[str, Any]


def figures(samples: Sequence[Sample]) -> dict[str, Any]:
    """What one guest saw and heard, of the samples of its page. Times in milliseconds, rates in kbit/s."""
    first, last = samples[0], samples[-1]
    seconds = last["at"] - first["at"]

    def grown(kind: str, name: str, before: Sample = first, after: Sample = last) -> float:
        return float(after[kind][name] - before[kind][name])

    freezes = [
        grown("video", "totalFreezesDuration", *pair) / max(grown("video", "freezeCount", *pair), 1)
        for pair in pairwise(samples)
    ]
    # A freeze that is not over yet is in no statistic.
    standing, still = 0.0, 0.0
    for before, after in pairwise(samples):
        standing = 0.0 if grown("video", "framesDecoded", before, after) > 0 else standing + after["at"] - before["at"]
        still = max(still, standing)
    heard = max(grown("audio", "totalSamplesReceived"), 1)
    waited = {
        kind: 1000 * grown(kind, "jitterBufferDelay") / max(grown(kind, "jitterBufferEmittedCount"), 1)
        for kind in ("video", "audio")
    }
    return {
        "seconds": round(seconds, 1),
        "longestFreeze": round(1000 * max([*freezes, still if still > 2 * EVERY else 0.0], default=0.0)),
        "freezes": round(grown("video", "freezeCount")),
        "frozen": round(1000 * grown("video", "totalFreezesDuration")),
        "framesPerSecond": round(grown("video", "framesDecoded") / seconds, 1),
        "concealed": round(grown("audio", "concealedSamples") / heard, 5),
        "concealedSpeech": round(
            (grown("audio", "concealedSamples") - grown("audio", "silentConcealedSamples")) / heard, 5
        ),
        "videoRate": round(grown("video", "bytesReceived") * 8 / 1000 / seconds),
        "audioRate": round(grown("audio", "bytesReceived") * 8 / 1000 / seconds),
        "videoBuffer": round(waited["video"]),
        "audioBuffer": round(waited["audio"]),
        "lost": {kind: round(grown(kind, "packetsLost")) for kind in ("video", "audio")},
        "nacks": {kind: round(grown(kind, "nackCount")) for kind in ("video", "audio")},
        "keyframeRequests": round(grown("video", "pliCount")),
    }


async def _change(guest: Guest, up: Conditions, down: Conditions) -> None:
    assert guest.path is not None
    guest.path.up.change(**up)
    guest.path.down.change(**down)


async def _begin(scenario: Scenario, spoiled: Guest, other: Guest) -> None:
    await _change(spoiled, scenario.up, scenario.down)
    await _change(other, scenario.other, scenario.other)


@dataclass
class Watch:
    """What is seen of one direction of the spoiled path, look by look."""

    link: Link
    waits: list[float] = field(default_factory=list)
    carried: float = 0.0  # bits, while the rate was the same for long enough
    room: float = 0.0  # bits that there was room for then
    _rate: int | None = None
    _since: float = 0.0
    _before: tuple[float, int] | None = None

    def look(self, now: float) -> None:
        """Note the queue, and how much of the rate was used since the last look."""
        self.waits.append(self.link.waiting(now))
        delivered = sum(one.bytes for one in self.link.counts.values())
        rate = self.link.conditions.rate
        if rate != self._rate:
            self._rate, self._since, self._before = rate, now, None
        if rate is None or now - self._since < SETTLED:
            return
        if self._before is not None:
            at, bytes_before = self._before
            self.carried += 8 * (delivered - bytes_before)
            self.room += rate * (now - at)
        self._before = (now, delivered)

    def used(self) -> float | None:
        """The share of the rate that was used; None: it was never limited."""
        return round(self.carried / self.room, 3) if self.room else None


async def _spoil(scenario: Scenario, spoiled: Guest, other: Guest, seconds: float) -> dict[str, Watch]:
    """Let the scenario happen, and watch both directions of the spoiled path."""
    assert spoiled.path is not None
    watches = {"up": Watch(spoiled.path.up), "down": Watch(spoiled.path.down)}
    if not scenario.early:
        await _begin(scenario, spoiled, other)
    steps = list(scenario.later)
    begun = time.monotonic()
    starts, ends = scenario.download or (math.inf, math.inf)
    with contextlib.ExitStack() as downloads:
        while (passed := time.monotonic() - begun) < seconds:
            if passed >= starts * seconds:
                starts = math.inf
                downloads.enter_context(Download(spoiled.path.server, SERVER, spoiled.path.client))
            if passed >= ends * seconds:
                downloads.close()
            while steps and steps[0][0] * seconds <= passed:
                _, up, down = steps.pop(0)
                await _change(spoiled, up, down)
            for watch in watches.values():
                watch.look(time.monotonic())
            await asyncio.sleep(EVERY)
    return watches


def recovery(scenario: Scenario, samples: Sequence[Sample], seconds: float) -> float | None:
    """Seconds from the last change, which has to undo the others, until the picture comes as it came before the first.

    None: nothing is undone, or it did not come back in time.
    """
    if not scenario.later or scenario.later[-1][2].get("rate", ...) is not None:
        return None
    first, last = (samples[0]["at"] + seconds * scenario.later[at][0] for at in (0, -1))

    def rate(since: float, until: float) -> float:
        came = [one for one in samples if since <= one["at"] <= until]
        grown = came[-1]["video"]["bytesReceived"] - came[0]["video"]["bytesReceived"] if len(came) > 1 else 0.0
        return float(grown / (until - since))

    before = rate(samples[0]["at"], first)
    ends = [one["at"] for one in samples if one["at"] >= last + 1.0]
    back = next((end for end in ends if rate(end - 1.0 - EVERY / 2, end) >= RECOVERED * before), None)
    return None if back is None else round(back - last, 1)


async def measure(scenario: Scenario, seconds: float, folder: Path) -> dict[str, Any]:
    """One scenario, between two pages and a server that nobody else uses."""
    async with async_playwright() as playwright, Network(playwright, folder) as network:
        invite = network.invite_to_firefox if scenario.firefox else network.invite
        spoiled, other = await asyncio.gather(invite("alice", "bigbuckbunny"), network.invite("bob", "bikes"))
        if scenario.early:
            await _begin(scenario, spoiled, other)
        await asyncio.gather(spoiled.join(1), other.join(1))
        if scenario.small:
            for guest in (spoiled, other):
                await guest.call("() => app.client.enableSmallStream()")
        if scenario.firefox:
            await asyncio.gather(spoiled.publish_from_page(as_webm(spoiled.film), SHOWN), other.publish(SHOWN))
        else:
            await asyncio.gather(spoiled.publish(SHOWN), other.publish(SHOWN))
        pairs = ((spoiled, other), (other, spoiled))
        await asyncio.gather(*(viewer.until_decoded(seen.user_id, FRAMES) for viewer, seen in pairs))
        await asyncio.sleep(WARM_UP)
        for viewer, seen in pairs:
            await viewer.call(SAMPLING, [seen.user_id, EVERY])
        watches = await _spoil(scenario, spoiled, other, seconds)
        samples = [await viewer.call("() => { clearInterval(sampling); return samples; }") for viewer, _ in pairs]
        for viewer, _ in pairs:
            await _change(viewer, {"loss": 0.0, "rate": None}, {"loss": 0.0, "rate": None})
            await viewer.leave()
    return {
        "name": scenario.name,
        "aims": vars(scenario.aims),
        "spoiled": figures(samples[0]),
        "other": figures(samples[1]),
        "queue": {name: round(1000 * quantile(watch.waits, MOST_OF_THE_TIME)) for name, watch in watches.items()},
        "used": {name: watch.used() for name, watch in watches.items()},
        "recovery": recovery(scenario, samples[0], seconds),
    }


def quantile(values: Sequence[float], share: float) -> float:
    """The value that such a share of them does not exceed; 0 of none."""
    ordered = sorted(values) or [0.0]
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(measured: dict[str, Any]) -> str:
    """The figures of a scenario, each beside its aim."""
    aims = measured["aims"]
    queue = measured["queue"]
    lines = [
        f"{measured['name']}: queue p95 {queue['up']} ms up, {queue['down']} ms down{_aim(aims['queue'], 1000, 'ms')}"
        + "".join(f", {share:.0%} {name} used" for name, share in measured["used"].items() if share is not None)
        + ("" if measured["recovery"] is None else f", back after {measured['recovery']:g} s")
    ]
    for who in ("spoiled", "other"):
        one = measured[who]
        lines.append(
            f"  {who:8} longest freeze {one['longestFreeze']} ms{_aim(aims['freeze'], 1000, 'ms')}"
            f" of {one['freezes']}, concealed {one['concealed']:.2%}{_aim(aims['concealed'], 100, '%')},"
            f" {one['framesPerSecond']:g} frames/s, {one['videoRate']} + {one['audioRate']} kbit/s,"
            f" buffers {one['videoBuffer']} and {one['audioBuffer']} ms, {one['keyframeRequests']} keyframe requests,"
            f" NACKs {one['nacks']['video']} and {one['nacks']['audio']}"
        )
    return "\n".join(lines)


def _aim(value: float | None, factor: float, unit: str) -> str:
    return "" if value is None else f" (below {value * factor:g} {unit} wanted)"


def keep(file: Path, results: Sequence[dict[str, Any]], seconds: float) -> None:
    """Write what was measured; what the file has of other scenarios of that length stays."""
    there = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    found = {one["name"]: one for one in there.get("scenarios", ()) if there["secondsOfAScenario"] == seconds}
    found |= {one["name"]: one for one in results}
    ordered = [found[one.name] for one in SCENARIOS if one.name in found]
    kept = {"machine": machine.facts(), "secondsOfAScenario": seconds, "scenarios": ordered}
    file.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Measure what is asked for, and keep it where ``--json`` says."""
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m bench.networks", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; by default all")
    parser.add_argument("--seconds", type=float, default=60.0, help="that each scenario lasts")
    parser.add_argument("--json", type=Path, help=f"where to keep it; {RESULTS.relative_to(ROOT)} is the place for it")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"no scenario is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    results = []
    for scenario in SCENARIOS:
        if options.names and scenario.name not in options.names:
            continue
        with tempfile.TemporaryDirectory(prefix="parlour-networks-") as folder:
            results.append(asyncio.run(measure(scenario, options.seconds, Path(folder))))
        print(report(results[-1]), flush=True)
    if options.json:
        keep(options.json, results, options.seconds)


if __name__ == "__main__":
    main()
