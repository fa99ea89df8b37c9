"""The figures of rooms, links and streams: what the core counted, by who it belongs to.

Counters are added up from one round to the next, so that none becomes less when somebody leaves, and what is summed up
under ``other`` stays right whoever gets a series of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Literal

from parlour.media import MediaNumbers, ProducerNumbers, TransportNumbers
from parlour.media.numbers import Given, Standing
from parlour.metrics.names import OTHER, Names, label
from parlour.quality import LinkQuality

Link = Literal["uplink", "downlink"]
RoomKey = tuple[str, str]
"""The app's id and the room's."""
UserKey = tuple[str, str, str]
LinkKey = tuple[str, str, str, Link]
StreamKey = tuple[str, str, str, str, str, str]
"""App, room, user, stream, kind, and which of its encodings."""


@dataclass(frozen=True, slots=True)
class LinkOf:
    """Whose a transport is."""

    app: int
    room: str
    user: str
    link: Link
    quality: LinkQuality


@dataclass(frozen=True, slots=True)
class StreamOf:
    """Whose a producer is."""

    app: int
    room: str
    user: str
    stream: str


@dataclass(slots=True)
class RoomFigures:
    """One room, or all others."""

    members: int = 0
    streams: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    drops: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class LinkFigures:
    """One link. ``row`` and ``quality`` are of now; None for those that are summed up."""

    bytes_in: int = 0
    bytes_out: int = 0
    packets_in: int = 0
    packets_out: int = 0
    policed: int = 0
    row: TransportNumbers | None = None
    quality: LinkQuality | None = None
    bits_in: float = 0
    """A second, over the last round."""
    bits_out: float = 0


STREAM_COUNTS = (
    *("packets", "bytes", "lost", "repaired", "nacks_sent", "keyframe_requests", "keyframes"),
    *("frames", "freezes", "frozen_ms"),
)
GIVEN_COUNTS = (
    *("packets", "bytes", "nacked", "retransmitted", "keyframe_requests"),
    *("frames", "freezes", "frozen_ms"),
)


_counts_of = attrgetter(*STREAM_COUNTS)
_given_of = attrgetter(*GIVEN_COUNTS)

# What there was of one before it was there.
_NO_TRANSPORT = TransportNumbers(0, 0, "new", 0, 0, 0, 0, None, 0, None, None, None, None, None, {})
_NO_PRODUCER = ProducerNumbers(
    *(0, 0, "audio", "", 0, 0, 0, 0.0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0),
    given=Given(0, 0, 0, 0, 0, 0, 0, 0),
    standing=Standing(0, 0, 0, 0, 0.0, 0.0, None, {}),
)


def grow(counts: Counter[str], names: Iterable[str], now: Iterable[int], before: Iterable[int]) -> None:
    """Add what came since before to the counts of these names."""
    for name, value, old in zip(names, now, before, strict=True):
        if value > old:
            counts[name] += value - old


@dataclass(slots=True)
class StreamFigures:
    """One encoding of a track. ``counts`` and ``given`` are by the names of the core's rows; ``row`` is of now."""

    counts: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)
    row: ProducerNumbers | None = None
    bits: float = 0
    receiving: int = 0
    thinned: int = 0
    paused: int = 0
    starved: int = 0
    why: Counter[str] = field(default_factory=Counter)


class Figures:
    """All of them, round by round."""

    def __init__(self, most_rooms: int, most_users: int) -> None:
        self.rooms: dict[RoomKey, RoomFigures] = {}
        self.links: dict[LinkKey, LinkFigures] = {}
        self.streams: dict[StreamKey, StreamFigures] = {}
        self.qualities: Counter[tuple[Link, int]] = Counter()
        """How many links have each grade."""
        self._named_rooms: Names[RoomKey] = Names(most_rooms)
        self._named_users: Names[UserKey] = Names(most_users)
        self._transports: dict[int, TransportNumbers] = {}
        self._producers: dict[int, ProducerNumbers] = {}

    def round(
        self,
        rooms: tuple[dict[RoomKey, list[str]], Counter[RoomKey]],
        numbers: MediaNumbers,
        owners: tuple[dict[int, LinkOf], dict[int, StreamOf]],
        seconds: float,
    ) -> None:
        """A round that took so long: its rooms (as :meth:`begin` takes them), numbers, and whose these are."""
        self.begin(*rooms)
        self.add_links(numbers.transports, owners[0], seconds)
        self.add_streams(numbers.producers, owners[1], seconds)

    def begin(self, members: dict[RoomKey, list[str]], streams: Counter[RoomKey]) -> None:
        """A round begins, with these rooms, their members and how many streams each has."""
        shown = {(app, label(room)): (users, streams[app, room]) for (app, room), users in members.items()}
        gone = self._named_rooms.follow({room: len(users) for room, (users, _) in shown.items()})
        sizes = {
            (*room, label(user)): len(users)
            for room, (users, _) in shown.items()
            if room in self._named_rooms
            for user in users
            # Somebody who calls himself that is one of them.
            if user != OTHER
        }
        left = self._named_users.follow(sizes)
        self.rooms = {key: of for key, of in self.rooms.items() if key not in gone}
        self.links = {key: of for key, of in self.links.items() if key[:2] not in gone and key[:3] not in left}
        self.streams = {key: of for key, of in self.streams.items() if key[:2] not in gone and key[:3] not in left}
        self.qualities.clear()
        for figures in self.rooms.values():
            figures.members = figures.streams = 0
        for room, (users, published) in shown.items():
            figures = self.rooms.setdefault(self._room(*room), RoomFigures())
            figures.members += len(users)
            figures.streams += published
        for link in self.links.values():
            link.row, link.quality, link.bits_in, link.bits_out = None, None, 0, 0
        for stream in self.streams.values():
            stream.row, stream.bits = None, 0
            stream.receiving = stream.thinned = stream.paused = stream.starved = 0
            stream.why.clear()

    def add_links(self, rows: Iterable[TransportNumbers], owners: dict[int, LinkOf], seconds: float) -> None:
        """What transports did in the round that took so long. Those without an owner are gone by now."""
        now: dict[int, TransportNumbers] = {}
        for row in rows:
            owner, before = owners.get(row.id), self._transports.get(row.id, _NO_TRANSPORT)
            if owner is None:
                continue
            now[row.id] = row
            app, name, user = self._user(str(owner.app), label(owner.room), label(owner.user))
            figures = self.links.setdefault((app, name, user, owner.link), LinkFigures())
            room = self.rooms.setdefault((app, name), RoomFigures())
            bytes_in = row.bytes_in - before.bytes_in
            bytes_out = row.bytes_out - before.bytes_out
            figures.bytes_in += bytes_in
            figures.bytes_out += bytes_out
            figures.packets_in += row.packets_in - before.packets_in
            figures.packets_out += row.packets_out - before.packets_out
            figures.policed += row.policed - before.policed
            figures.bits_in += bytes_in * 8 / seconds
            figures.bits_out += bytes_out * 8 / seconds
            room.bytes_in += bytes_in
            room.bytes_out += bytes_out
            grow(room.drops, row.drops, row.drops.values(), (before.drops.get(reason, 0) for reason in row.drops))
            self.qualities[owner.link, owner.quality.grade] += 1
            if user != OTHER:
                figures.row, figures.quality = row, owner.quality
        self._transports = now

    def add_streams(self, rows: Iterable[ProducerNumbers], owners: dict[int, StreamOf], seconds: float) -> None:
        """The same of producers."""
        now: dict[int, ProducerNumbers] = {}
        for row in rows:
            owner, before = owners.get(row.id), self._producers.get(row.id, _NO_PRODUCER)
            if owner is None:
                continue
            now[row.id] = row
            app, room, user = self._user(str(owner.app), label(owner.room), label(owner.user))
            key = (app, room, user, owner.stream, row.kind, row.rid)
            figures = self.streams.setdefault(key, StreamFigures())
            # A track that goes on under another SSRC has lost nothing of that one yet: that count may become less.
            grow(figures.counts, STREAM_COUNTS, _counts_of(row), _counts_of(before))
            grow(figures.given, GIVEN_COUNTS, _given_of(row.given), _given_of(before.given))
            figures.bits += (row.bytes - before.bytes) * 8 / seconds
            figures.receiving += row.standing.receiving
            figures.thinned += row.standing.thinned
            figures.paused += row.standing.paused
            figures.starved += row.standing.starved
            figures.why.update(row.standing.why)
            if user != OTHER:
                figures.row = row
        self._producers = now

    def packets_before(self, producer: int) -> int:
        """What had come of a producer in the round before this one."""
        return self._producers.get(producer, _NO_PRODUCER).packets

    def _room(self, app: str, room: str) -> RoomKey:
        return (app, room) if (app, room) in self._named_rooms else (OTHER, OTHER)

    def _user(self, app: str, room: str, user: str) -> UserKey:
        key = self._room(app, room)
        return (app, room, user) if (app, room, user) in self._named_users else (*key, OTHER)
