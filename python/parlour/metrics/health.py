"""How the process and its event loop are."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Mapping

BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: of histograms of waits."""

STEP = 0.25


class Histogram:
    """Seconds, by their bounds."""

    def __init__(self, bounds: tuple[float, ...] = BOUNDS) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        place = next((at for at, bound in enumerate(self.bounds) if seconds <= bound), len(self.bounds))
        self._counts[place] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them: each with all below it."""
        return cumulative(self.bounds, self._counts)


def cumulative(bounds: tuple[float, ...] | list[float], counts: list[int]) -> list[tuple[str, float]]:
    """Counts between bounds, the last beyond them, as the buckets of an exposition."""
    total, buckets = 0, []
    for bound, count in zip([*(f"{bound:g}" for bound in bounds), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets


class LoopHealth:
    """How late the event loop is, and how long garbage collections hold it up."""

    def __init__(self) -> None:
        self.lag = Histogram()
        self.pauses = Histogram()
        self._since: float | None = None

    async def run(self) -> None:
        """Measure until cancelled."""
        gc.callbacks.append(self._on_collection)
        try:
            while True:
                due = time.monotonic() + STEP
                await asyncio.sleep(STEP)
                self.lag.observe(max(0.0, time.monotonic() - due))
        finally:
            gc.callbacks.remove(self._on_collection)

    def _on_collection(self, phase: str, _: Mapping[str, int]) -> None:
        if phase == "start":
            self._since = time.perf_counter()
        elif self._since is not None:
            self.pauses.observe(time.perf_counter() - self._since)
            self._since = None
