"""Rooms that are filled and looked at: who is where, what was sent in a while, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parlour.load.patterns import SPEECH, Pattern, Track
from parlour.load.peers import Member, Peers, RoomServer

if TYPE_CHECKING:
    from parlour._media import LoadTimes, LoadTotals

LOOK = 0.1
"""Seconds between two looks at what has come."""
QUIET = 1.0
"""Seconds in which nothing may come before what is missing is taken to be lost: a busy machine holds packets up."""
SETTLE_TIMEOUT = 5.0
AT_A_TIME = 20
"""Users who come in at the same time, unless the stage says otherwise."""


@dataclass(frozen=True)
class Layout:
    """How rooms are filled. Each publisher sends all ``patterns``; each subscriber receives all of its room.

    ``mutual``: there are no subscribers, each publisher receives the others.
    """

    publishers: int = 1
    subscribers: int = 1
    rooms: int = 1
    patterns: tuple[Pattern, ...] = (SPEECH,)
    mutual: bool = False

    @property
    def receivers(self) -> int:
        """Users who receive something."""
        return self.rooms * (self.publishers if self.mutual else self.subscribers)

    @property
    def copies(self) -> int:
        """What each sent packet becomes."""
        return self.publishers - 1 if self.mutual else self.subscribers


@dataclass(frozen=True)
class Window:
    """A while in which media flowed. Packets of all peers; times in microseconds."""

    seconds: float
    sent: int
    received: int
    missing: int
    duplicates: int
    undecryptable: int
    socket_drops: int
    unsent: int
    travel: LoadTimes
    lateness: LoadTimes
    cpu: float
    """Seconds of CPU of the server, if it was looked at."""

    @property
    def microseconds(self) -> float:
        """CPU of the server a packet that arrived."""
        return self.cpu * 1e6 / max(self.received, 1)


@dataclass(frozen=True)
class Delivery:
    """What came of everything that was sent, once it was over. ``incomplete`` and ``repeated`` count subscribers."""

    expected: int
    received: int
    duplicates: int
    incomplete: int
    repeated: int

    @property
    def exact(self) -> bool:
        """Whether every subscriber got every packet, none twice."""
        return self.expected == self.received and self.incomplete == 0 and self.repeated == 0


@dataclass
class Stage:
    """A server with rooms full of members."""

    peers: Peers
    rooms: RoomServer
    layout: Layout
    prefix: str
    """What names begin with, so that two runs do not put each other out."""
    first_room: int = 1
    at_a_time: int = AT_A_TIME
    publishers: list[list[Member]] = field(default_factory=list)
    subscribers: list[list[Member]] = field(default_factory=list)
    join_times: list[float] = field(default_factory=list)
    """Seconds from the login of each subscriber until media may flow."""

    async def fill(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Take everybody in; nobody sends yet. Raises LoadError with the first reason."""
        await self.fill_publishers(progress)
        await self.fill_subscribers(progress)

    async def fill_publishers(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Take those in who send."""
        self.publishers = [[] for _ in range(self.layout.rooms)]
        turns = asyncio.Semaphore(self.at_a_time)

        async def publish(room: int, number: int) -> None:
            async with turns:
                member = await self.rooms.join(self.first_room + room, f"{self.prefix}-p{room}-{number}")
                self.publishers[room].append(member)
                await member.publish(self._tracks(room * self.layout.publishers + number))
                progress(1)

        await _all(
            publish(room, number) for room in range(self.layout.rooms) for number in range(self.layout.publishers)
        )

    async def fill_subscribers(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Take those in who receive."""
        self.subscribers = [[] for _ in range(self.layout.rooms)]
        turns = asyncio.Semaphore(self.at_a_time)

        async def subscribe(room: int, number: int) -> None:
            async with turns:
                if self.layout.mutual:
                    member = self.publishers[room][number]
                    others = [other for other in self.publishers[room] if other is not member]
                else:
                    began = time.monotonic()
                    member = await self.rooms.join(self.first_room + room, f"{self.prefix}-s{room}-{number}")
                    self.subscribers[room].append(member)
                    others = self.publishers[room]
                await member.subscribe(others)
                if not self.layout.mutual:
                    self.join_times.append(time.monotonic() - began)
                progress(1)

        receivers = self.layout.publishers if self.layout.mutual else self.layout.subscribers
        await _all(subscribe(room, number) for room in range(self.layout.rooms) for number in range(receivers))

    def start(self) -> None:
        """Let all publishers send."""
        self.peers.generator.start(self._uplinks())

    def stop(self) -> None:
        """Let them send no more."""
        self.peers.generator.stop(self._uplinks())

    async def window(
        self,
        seconds: float,
        cpu: Callable[[], float] = lambda: 0.0,
        *,
        step: float | None = None,
        look: Callable[[float, LoadTotals], None] = lambda passed, now: None,
    ) -> Window:
        """Look for a while. ``cpu`` tells the seconds of CPU that the server has taken.

        ``look`` is called every ``step`` seconds with the time that passed and what all did since the start.
        """
        generator = self.peers.generator
        generator.take_times()
        spent, before, began = cpu(), generator.totals(), time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0:
            await asyncio.sleep(left if step is None else min(left, step))
            if step is not None:
                look(time.monotonic() - began, generator.totals())
        after, ended = generator.totals(), time.monotonic()
        spent = cpu() - spent
        travel, lateness = generator.take_times()
        return Window(
            ended - began, after["sent"] - before["sent"], after["received"] - before["received"],
            after["missing"] - before["missing"], after["duplicates"] - before["duplicates"],
            after["undecryptable"] - before["undecryptable"], after["socket_drops"] - before["socket_drops"],
            after["unsent"] - before["unsent"], travel, lateness, spent,
        )  # fmt: skip

    async def delivery(self) -> Delivery:
        """Once nothing is sent any more: wait until all is there or nothing comes any more, and count.

        Exact when everybody was there before :meth:`start`.
        """
        return await self.settle()

    def _count(self) -> Delivery:
        reports = self.peers.reports()
        expected = received = duplicates = incomplete = repeated = 0
        for publishers, subscribers in zip(self.publishers, self.subscribers, strict=True):
            for member in publishers if self.layout.mutual else subscribers:
                report = reports.get(-1 if member.downlink is None else member.downlink)
                if report is None:
                    continue
                others = [one for one in publishers if one is not member]
                wanted = sum(reports[one.uplink]["sent"] for one in others if one.uplink in reports)
                came = sum(stream["received"] for stream in report["streams"])
                twice = sum(stream["duplicates"] for stream in report["streams"])
                expected, received, duplicates = expected + wanted, received + came, duplicates + twice
                incomplete += came != wanted
                repeated += twice > 0
        return Delivery(expected, received, duplicates, incomplete, repeated)

    async def leave(self) -> None:
        """Take everybody out."""
        members = [member for room in (*self.publishers, *self.subscribers) for member in room]
        for at in range(0, len(members), AT_A_TIME):
            await asyncio.gather(*(member.leave() for member in members[at : at + AT_A_TIME]), return_exceptions=True)
        self.publishers, self.subscribers = [], []

    async def settle(self) -> Delivery:
        """Wait until everything that was sent is there, or nothing comes any more; what there is then."""
        deadline = time.monotonic() + SETTLE_TIMEOUT
        counted, since = self._count(), time.monotonic()
        while not counted.exact and time.monotonic() < min(deadline, since + QUIET):
            await asyncio.sleep(LOOK)
            before, counted = counted, self._count()
            if counted != before:
                since = time.monotonic()
        return counted

    def _tracks(self, number: int) -> list[Track]:
        """The tracks of a publisher; publishers begin one after another, spread over the period of each pattern."""
        count = self.layout.rooms * self.layout.publishers
        return [Track(pattern, pattern.period * number // count) for pattern in self.layout.patterns]

    def _uplinks(self) -> list[int]:
        return [member.uplink for room in self.publishers for member in room if member.uplink is not None]


async def _all(coroutines: Iterable[Coroutine[object, object, None]]) -> None:
    """Wait for all; the first failure ends the others."""
    tasks = [asyncio.create_task(one) for one in coroutines]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
