"""Which shard a new room goes to. Pure: times and measurements go in.

A room lives on one shard, so what a shard has to do is decided when its rooms are placed. What a room will cost nobody
knows then: the shard that works least gets it, and of those that work about as much the one with the fewest
connections. A shard whose thread is busy nearly all the time is hot and gets no room until it has cooled down.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

HOT = 0.9
"""Share of a processor from which on a shard is hot."""

COOL = 0.75
"""Share below which it is so no more."""

WINDOW = 3.0
"""Seconds over which a share is taken: a moment's burst is no load."""

STEP = 0.1
"""Shares that differ by less are about the same."""

PROMISED = 2
"""Connections that a room is taken to bring until it has them: those of one client."""

PROMISE = 10.0
"""Seconds for which that is so. Rooms that are opened together are spread by it before anybody is connected."""


class Placement:
    """The loads of so many shards, and where the next room goes."""

    def __init__(self, shards: int) -> None:
        self._measured: list[deque[tuple[float, float]]] = [deque() for _ in range(shards)]
        self._promised: list[deque[float]] = [deque() for _ in range(shards)]
        self._hot = [False] * shards

    @property
    def hot(self) -> list[bool]:
        """Which shards take no new rooms."""
        return list(self._hot)

    def measure(self, now: float, worked: Sequence[float]) -> list[tuple[int, bool]]:
        """Take in how many seconds each shard's thread has worked so far, about once a second.

        Returns the shards that became hot (True) or cooled down.
        """
        changed = []
        for shard, (measured, seconds) in enumerate(zip(self._measured, worked, strict=True)):
            if measured and seconds < measured[-1][1]:
                measured.clear()  # another thread, in the place of one that died
            measured.append((now, seconds))
            while len(measured) > 2 and measured[1][0] <= now - WINDOW:
                measured.popleft()
            share = self.share(shard)
            is_hot = share >= (COOL if self._hot[shard] else HOT)
            if is_hot != self._hot[shard]:
                self._hot[shard] = is_hot
                changed.append((shard, is_hot))
        return changed

    def share(self, shard: int) -> float:
        """How much of a processor a shard takes of late: 0 to 1."""
        measured = self._measured[shard]
        if len(measured) < 2 or measured[-1][0] <= measured[0][0]:
            return 0.0
        (began, before), (ended, after) = measured[0], measured[-1]
        # Less than the window is less than is known: a thread that has just started works hard for a moment.
        return (after - before) / max(ended - began, WINDOW)

    def pick(self, now: float, connections: Sequence[int], most: int) -> int | None:
        """The shard for a new room, given the connections of each and how many one takes; None: no shard takes any."""
        best: tuple[int, int, int] | None = None
        for shard, promised in enumerate(self._promised):
            while promised and promised[0] <= now - PROMISE:
                promised.popleft()
            if self._hot[shard] or connections[shard] + PROMISED > most:
                continue
            load = (round(self.share(shard) / STEP), connections[shard] + PROMISED * len(promised), shard)
            best = load if best is None else min(best, load)
        if best is None:
            return None
        self._promised[best[2]].append(now)
        return best[2]
