"""Who may hold how many connections. No I/O, no clock: counts, and whom to close to make room for another.

A connection is a *stranger* until its user logs in. Of strangers the oldest one that waits for something makes room, so
that whoever comes during a flood gets in; who is logged in is never closed for the sake of others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

MOST_AT_ONCE = 16
"""HTTP requests of one source that are carried out at a time. What waits for a store goes on all at once when
that answers, in one turn of the event loop. The others wait for theirs, and only those of that source."""


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """Connections in total, of one source, and of one source without a login."""

    connections: int = 10_000
    per_source: int = 2_000
    strangers_per_source: int = 500


class Slot:
    """The place that one connection takes. ``close`` drops it; ``busy`` while a request of it is being answered."""

    __slots__ = ("_door", "_served_at", "busy", "close", "source")

    def __init__(self, door: Doorkeeper, source: str | None, close: Callable[[], None]) -> None:
        self._door = door
        self.source = source
        self.close = close
        self.busy = False
        self._served_at: _Source | None = None

    def may_go_on(self, again: Callable[[], None]) -> bool:
        """Whether a request of it may be carried out now; if not, ``again`` is called once it is worth asking again."""
        there = self._door.source(self.source)
        if there is None or self._served_at is not None or there.served < MOST_AT_ONCE:
            return True
        there.waiting[self] = again
        return False

    def serving(self) -> None:
        """A request of it is carried out from now on. Twice is once."""
        if self._served_at is None and (there := self._door.source(self.source)) is not None:
            self._served_at = there
            there.served += 1

    def served(self) -> None:
        """It is not any more: it was answered, or waits for its own peer. Twice is once."""
        there, self._served_at = self._served_at, None
        if there is not None:
            there.served -= 1
            there.wake()

    def passed(self) -> None:
        """It went on, and may not have needed the place that it had waited for: the next one may."""
        if (there := self._door.source(self.source)) is not None:
            there.wake()

    def signed_in(self) -> None:
        """Its user logged in."""
        self._door.settle(self)

    def come_from(self, source: str) -> bool:
        """A proxy said where it really comes from. False when that source has its share already."""
        return self._door.move(self, source)

    def release(self) -> None:
        """It is gone."""
        self.served()
        self._door.release(self)


@dataclass(slots=True)
class _Source:
    count: int = 0
    strangers: dict[Slot, None] = field(default_factory=dict)
    served: int = 0
    waiting: dict[Slot, Callable[[], None]] = field(default_factory=dict)  # who came first first

    def wake(self) -> None:
        """Have one go on that waits, if there is a place."""
        if self.waiting and self.served < MOST_AT_ONCE:
            self.waiting.pop(next(iter(self.waiting)))()


class Doorkeeper:
    """All connections of a server. A source of None is counted in the total alone, such as a trusted proxy."""

    def __init__(self, limits: DoorLimits) -> None:
        self.limits = limits
        self._slots: set[Slot] = set()
        self._strangers: dict[Slot, None] = {}  # the oldest first
        self._sources: dict[str, _Source] = {}

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def sources(self) -> int:
        """How many sources have connections."""
        return len(self._sources)

    def source(self, name: str | None) -> _Source | None:
        """What is known of a source; None when it is not counted."""
        return None if name is None else self._sources.get(name)

    def admit(self, source: str | None, close: Callable[[], None]) -> Slot | None:
        """A place for a new connection, for which another may be closed; None when there is none."""
        if not self._make_room(source):
            return None
        slot = Slot(self, source, close)
        self._slots.add(slot)
        self._strangers[slot] = None
        self._enter(slot)
        return slot

    def settle(self, slot: Slot) -> None:
        """Its user logged in: it is no stranger any more."""
        self._strangers.pop(slot, None)
        if slot.source is not None and slot.source in self._sources:
            self._sources[slot.source].strangers.pop(slot, None)

    def move(self, slot: Slot, source: str) -> bool:
        """Count a connection under another source. False, and nothing changes, when that has its share."""
        if slot not in self._slots or slot.source == source:
            return True
        if not self._make_room_at(source):
            return False
        self._leave(slot)
        slot.source = source
        self._enter(slot)
        return True

    def release(self, slot: Slot) -> None:
        """The connection is gone. Twice is once."""
        if slot in self._slots:
            self._slots.discard(slot)
            self._strangers.pop(slot, None)
            self._leave(slot)

    def _make_room(self, source: str | None) -> bool:
        if source is not None and not self._make_room_at(source):
            return False
        return len(self._slots) < self.limits.connections or self._close_one(self._strangers)

    def _make_room_at(self, source: str) -> bool:
        there = self._sources.get(source)
        if there is None:
            return True
        full = there.count >= self.limits.per_source or len(there.strangers) >= self.limits.strangers_per_source
        return not full or self._close_one(there.strangers)

    def _close_one(self, strangers: dict[Slot, None]) -> bool:
        oldest = next((slot for slot in strangers if not slot.busy), None)
        if oldest is None:
            return False
        self.release(oldest)
        oldest.close()
        return True

    def _enter(self, slot: Slot) -> None:
        if slot.source is None:
            return
        there = self._sources.setdefault(slot.source, _Source())
        there.count += 1
        if slot in self._strangers:
            there.strangers[slot] = None

    def _leave(self, slot: Slot) -> None:
        if slot.source is None:
            return
        there = self._sources[slot.source]
        there.count -= 1
        there.strangers.pop(slot, None)
        there.waiting.pop(slot, None)
        there.wake()
        if not there.count:
            del self._sources[slot.source]
