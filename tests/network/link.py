"""One direction of a path as a pure state machine: packets and times go in, packets and times come out."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.network.packets import KINDS, Kind, kind_of

ANYTHING: frozenset[Kind] = frozenset(KINDS)


@dataclass(frozen=True)
class Conditions:
    """What a direction does to packets. Times in seconds, ``loss`` and ``reorder`` as probabilities."""

    delay: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    held_back: float = 0.02  # how much later a reordered packet comes
    rate: int | None = None  # bit/s, the IP header counted
    queue: int = 100  # packets that wait for the rate; the next one is thrown away


@dataclass
class Counts:
    """What became of the packets of one kind. ``offered`` is all others together, once nothing is under way."""

    offered: int = 0
    delivered: int = 0
    lost: int = 0
    cut: int = 0
    overflowed: int = 0
    reordered: int = 0  # of those delivered
    bytes: int = 0  # delivered


class Link:
    """One direction. The same seed and the same packets at the same times give the same packets out."""

    def __init__(self, conditions: Conditions | None = None, *, seed: int = 0) -> None:
        self.conditions = conditions or Conditions()
        self.counts: dict[Kind, Counts] = {kind: Counts() for kind in KINDS}
        self._cut: frozenset[Kind] = frozenset()
        # A source of chance for each kind: what TCP sends again must not change which datagrams are lost.
        self._chance = {kind: random.Random(f"{seed} {kind}") for kind in KINDS}
        self._under_way: list[tuple[float, int, Kind, bool, bytes]] = []
        self._numbers = 0
        self._departures: deque[float] = deque()

    def change(self, **conditions: object) -> None:
        """Other conditions from now on, by the names of ``Conditions``; what is under way keeps its time."""
        self.conditions = replace(self.conditions, **conditions)  # type: ignore[arg-type]

    def cut(self, *kinds: Kind) -> None:
        """Let nothing of these kinds through, nor what is under way; of no kind named, of all of them."""
        self._cut |= frozenset(kinds) or ANYTHING
        for _, _, kind, _, _ in self._under_way:
            self.counts[kind].cut += kind in self._cut
        self._under_way = [entry for entry in self._under_way if entry[2] not in self._cut]
        heapq.heapify(self._under_way)

    def restore(self, *kinds: Kind) -> None:
        """Let these kinds through again; of no kind named, all of them."""
        self._cut -= frozenset(kinds) or ANYTHING

    def waiting(self, now: float) -> float:
        """Seconds that a packet which is offered now would wait for its turn."""
        return max(0.0, self._departures[-1] - now) if self._departures else 0.0

    def offer(self, packet: bytes, now: float) -> None:
        """Take a packet at its beginning."""
        kind = kind_of(packet)
        counts, chance, conditions = self.counts[kind], self._chance[kind], self.conditions
        counts.offered += 1
        if kind in self._cut:
            counts.cut += 1
            return
        # Both are drawn for every packet, so that what the one decides does not shift the other.
        lost, late = chance.random() < conditions.loss, chance.random() < conditions.reorder
        if lost:
            counts.lost += 1
            return
        leaves = now
        if conditions.rate is not None:
            while self._departures and self._departures[0] <= now:
                self._departures.popleft()
            if len(self._departures) >= conditions.queue:
                counts.overflowed += 1
                return
            begins = self._departures[-1] if self._departures else now
            leaves = begins + len(packet) * 8 / conditions.rate
            self._departures.append(leaves)
        due = leaves + conditions.delay + (conditions.held_back if late else 0.0)
        heapq.heappush(self._under_way, (due, self._numbers, kind, late, packet))
        self._numbers += 1

    @property
    def next_due(self) -> float | None:
        """When the next packet comes out; ``None`` while none is under way."""
        return self._under_way[0][0] if self._under_way else None

    def due(self, now: float) -> Iterator[bytes]:
        """The packets that have come out by now, in the order of their times."""
        while self._under_way and self._under_way[0][0] <= now:
            _, _, kind, late, packet = heapq.heappop(self._under_way)
            counts = self.counts[kind]
            counts.delivered += 1
            counts.reordered += late
            counts.bytes += len(packet)
            yield packet
