"""A reader's place in the events of one room.

A room has one ordered sequence of events and any number of readers, each with a bounded queue of its own. A reader that
is too slow holds up nobody and takes no memory: its queue is emptied, what comes is counted and not kept, and the next
time it takes, it is given the room as it stands instead, from where it goes on without a gap. One that fails is cut
off, and the change that it was to be told of goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parlour.protocol.words import Role
from parlour.rooms.events import RoomEvent
from parlour.rooms.streams import Stream


@dataclass(frozen=True, slots=True)
class RoomSnapshot:
    """The room as it stands, for a reader that begins or lost its place: what it knew before is void.

    ``members`` are users with their roles; both are in join order. ``missed`` are the events it was too slow for.
    Behind a room that is ``closed`` nothing more comes.
    """

    members: tuple[tuple[str, Role], ...]
    streams: tuple[Stream, ...]
    missed: int
    closed: bool = False


class ReaderFailedError(Exception):
    """The reader failed when it was told of news, and was cut off: it does not know what happened since."""


class RoomReader:
    """Made by :meth:`Room.read`. ``on_news`` is called when there is something to take, once until it was taken.

    It is called in the middle of a change: it schedules a look, and does not change the room. If it raises, the reader
    is cut off: ``on_closed`` is told of the fault, and :meth:`take` raises ReaderFailedError from it.
    """

    def __init__(
        self,
        snapshot: Callable[[int], RoomSnapshot],
        *,
        limit: int,
        on_news: Callable[[], None] | None,
        on_closed: Callable[[RoomReader, Exception | None], None],
        begun: bool,
    ) -> None:
        self._snapshot = snapshot
        self._limit = limit
        self._on_news = on_news
        self._on_closed = on_closed
        self._events: list[RoomEvent] = []
        self._missed = 0
        self._lost = begun
        """Whether it has no place: it begins in a room where somebody is already, or was too slow."""
        self._told = False
        self._fault: Exception | None = None

    def __len__(self) -> int:
        """How many events wait; never more than the limit."""
        return len(self._events)

    def put(self, events: Sequence[RoomEvent]) -> None:
        """Queue the events of one change. For the room alone to call."""
        if not self._lost and len(self._events) + len(events) > self._limit:
            self._lost, self._missed = True, len(self._events)
            self._events.clear()
        if self._lost:
            self._missed += len(events)
        else:
            self._events += events
        if not self._told and self._on_news is not None:
            self._told = True
            try:
                self._on_news()
            except Exception as fault:
                self._fault = fault
                self._end(fault)

    def take(self) -> list[RoomEvent] | RoomSnapshot:
        """What happened since the last time, in order; the room as it stands for a reader that has no place in it.

        Raises ReaderFailedError once ``on_news`` has failed.
        """
        if self._fault is not None:
            raise ReaderFailedError("the reader failed when it was told of news") from self._fault
        self._told = False
        if self._lost:
            missed, self._lost, self._missed = self._missed, False, 0
            return self._snapshot(missed)
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Read no more. Idempotent."""
        self._end(None)

    def _end(self, fault: Exception | None) -> None:
        self._events.clear()
        self._on_closed(self, fault)
