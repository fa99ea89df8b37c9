"""Once a second: the core's figures, put to their rooms and users; every other time the quality of links to clients."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from parlour.media import MediaCore, MediaNumbers, ProducerNumbers, ShardNumbers, TransportNumbers
from parlour.metrics.figures import Figures, LinkOf, RoomKey, StreamOf
from parlour.protocol.messages import NetworkQuality
from parlour.quality import GONE, NOTHING, LinkQuality, measured
from parlour.signaling.service import SignalingService
from parlour.signaling.session import Session

log = structlog.get_logger(__name__)

INTERVAL = 1.0
"""Seconds between two rounds."""

TOLD_EVERY = 2
"""Rounds between two times that clients are told their quality."""

SILENCE = 6.0
"""Seconds without anything from a peer, whose own checks alone come more often, after which it counts as gone."""

AT_ONCE = 64
"""Sessions that are looked at before others have their turn in the loop."""


@dataclass(slots=True)
class _Heard:
    """When something came from a peer last."""

    packets: int
    at: float


class Collector:
    """``figures`` and ``shards`` are those of the last round; ``collected_at`` is when that was, monotonic."""

    def __init__(
        self,
        media: MediaCore,
        service: SignalingService,
        *,
        rooms: int,
        users: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._media, self._service, self._clock = media, service, clock
        self.figures = Figures(rooms, users)
        self.lock = asyncio.Lock()
        """Held by whoever changes the figures, or reads them in a thread."""
        self.shards: list[ShardNumbers] = []
        self.latency_bounds: list[float] = []
        self.events_waiting = 0
        self.collected_at: float | None = None
        self.missed = 0
        """Rounds that a shard did not answer in time."""
        self._heard: dict[int, _Heard] = {}
        self._told: dict[str, tuple[LinkQuality, LinkQuality]] = {}

    async def run(self) -> None:
        """Rounds until cancelled."""
        for number in range(10**18):
            began = self._clock()
            await self.round(tell=number % TOLD_EVERY == 0)
            await asyncio.sleep(max(0.1, INTERVAL - (self._clock() - began)))

    async def round(self, *, tell: bool) -> None:
        """One round."""
        try:
            numbers = await self._media.numbers()
        except (TimeoutError, BlockingIOError):  # a shard that does not answer, or that died just now
            self.missed += 1
            return
        now = self._clock()
        seconds = INTERVAL if self.collected_at is None else max(now - self.collected_at, 0.001)
        self.collected_at = now
        self.shards = numbers.shards.shards
        self.latency_bounds = [bound / 1e6 for bound in numbers.shards.latency_bounds_us]
        self.events_waiting = numbers.shards.events_waiting
        self._listen(numbers, now)
        await self._sort(numbers, now, seconds, tell=tell)

    def _listen(self, numbers: MediaNumbers, now: float) -> None:
        heard: dict[int, _Heard] = {}
        for row in numbers.transports:
            known = self._heard.get(row.id)
            heard[row.id] = known if known and known.packets == row.packets_in else _Heard(row.packets_in, now)
        self._heard = heard

    async def _sort(self, numbers: MediaNumbers, now: float, seconds: float, *, tell: bool) -> None:
        transports = {row.id: row for row in numbers.transports}
        producers = {row.id: row for row in numbers.producers}
        members: dict[RoomKey, list[str]] = {}
        streams: Counter[RoomKey] = Counter()
        links: dict[int, LinkOf] = {}
        tracks: dict[int, StreamOf] = {}
        told: dict[str, tuple[LinkQuality, LinkQuality]] = {}
        looked_at = 0
        for room in self._service.rooms:
            first = room.first
            if first is None:
                continue
            app, name = first.session.room.sdk_app_id, str(room.room_id)
            members[str(app), name] = [member.user_id for member in room.members]
            streams[str(app), name] = sum(1 for _ in room.streams)
            for member in room.members:
                session = member.session
                up = self._uplink(session, transports, producers, now)
                down = self._downlink(session, transports, now)
                for number, link, quality in (
                    (session.uplink.transport_id, "uplink", up),
                    (session.downlink.transport_id, "downlink", down),
                ):
                    if number is not None:
                        links[number] = LinkOf(app, name, session.user_id, link, quality)  # type: ignore[arg-type]
                for (stream, _), track in session.uplink.published.items():
                    for producer in track.producers:
                        tracks[producer] = StreamOf(app, name, session.user_id, stream)
                told[session.id] = (up, down)
                if tell:
                    self._tell(session, up, down)
                looked_at += 1
                if looked_at % AT_ONCE == 0:
                    await asyncio.sleep(0)
        if tell:
            self._told = told
        async with self.lock:
            # With thousands of users this takes longer than the loop may stand still.
            work = partial(self.figures.round, (members, streams), numbers, (links, tracks), seconds)
            await asyncio.to_thread(work)

    def _tell(self, session: Session, up: LinkQuality, down: LinkQuality) -> None:
        """Tell a client how its links are. Where there are none, and were none, there is nothing to tell."""
        if (up, down) == (NOTHING, NOTHING) and self._told.get(session.id, (NOTHING, NOTHING)) == (up, down):
            return
        session.tell_quality(
            NetworkQuality(
                uplink_quality=up.grade,
                downlink_quality=down.grade,
                uplink_rtt=round(up.rtt_ms),
                uplink_loss=round(up.loss * 100, 1),
                downlink_rtt=round(down.rtt_ms),
                downlink_loss=round(down.loss * 100, 1),
            )
        )

    def _uplink(
        self,
        session: Session,
        transports: dict[int, TransportNumbers],
        producers: dict[int, ProducerNumbers],
        now: float,
    ) -> LinkQuality:
        uplink = session.uplink
        row = self._row(uplink.transport_id, uplink.failure, transports, now)
        if isinstance(row, LinkQuality):
            return row
        # Each by how much of it came of late: what is lost of one packet a second says little about a path.
        packets = lost = 0.0
        for track in uplink.published.values():
            for number in track.producers:
                if (came := producers.get(number)) is not None:
                    more = came.packets - self.figures.packets_before(number)
                    packets += more
                    lost += came.share_lost * more
        return measured(row.rtt_ms, lost / packets if packets else None)

    def _downlink(self, session: Session, transports: dict[int, TransportNumbers], now: float) -> LinkQuality:
        downlink = session.downlink
        row = self._row(downlink.transport_id, downlink.failure, transports, now)
        if isinstance(row, LinkQuality):
            return row
        return measured(row.rtt_ms if row.rtt_ms is not None else row.feedback_rtt_ms, row.loss)

    def _row(
        self, transport: int | None, failure: str | None, rows: dict[int, TransportNumbers], now: float
    ) -> TransportNumbers | LinkQuality:
        """What is known of a transport; a quality where that is all that can be said."""
        if transport is None:
            return NOTHING if failure is None else GONE
        row = rows.get(transport)
        if row is None or row.state != "connected":
            return NOTHING
        return GONE if now - self._heard[transport].at >= SILENCE else row
