"""A semaphore that is fair among askers: so many at a time, of these so many for one, and nobody waits behind a crowd.

What answers slowly for one asker would else use up the places of everybody.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MOST_WAITING = 1024
"""Who is one more is refused at once: the wait would be longer than anybody's patience."""

MOST_WAITING_EACH = 256
"""Of these for one asker."""


class TooManyWaitError(Exception):
    """More wait than may."""


class FairSemaphore:
    """``most`` places at a time, ``most_each`` of them for one asker."""

    def __init__(self, most: int, most_each: int) -> None:
        self._most = most
        self._most_each = most_each
        self._taken: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @property
    def idle(self) -> bool:
        """Whether nobody has a place or waits for one."""
        return not self._taken and not self._waiting

    async def acquire(self, asker: str) -> None:
        """Wait for a place, which is to be released. Raises ``TooManyWaitError``; the caller sets the deadline."""
        if self._free_for(asker):
            self._taken[asker] += 1
            return
        of_asker = sum(other == asker for other, _ in self._waiting)
        if len(self._waiting) >= MOST_WAITING or of_asker >= MOST_WAITING_EACH:
            raise TooManyWaitError
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (asker, mine)
        self._waiting.append(entry)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                self._waiting.remove(entry)
            else:
                self.release(asker)  # it was given in the moment in which its asker went
            raise

    def release(self, asker: str) -> None:
        """Give a place back; it goes to the first of those who wait and have less than their share."""
        self._taken[asker] -= 1
        if not self._taken[asker]:
            del self._taken[asker]
        for entry in self._waiting:
            if not entry[1].done() and self._free_for(entry[0]):  # who is going takes itself off the list
                self._waiting.remove(entry)
                self._taken[entry[0]] += 1
                entry[1].set_result(None)
                return

    def _free_for(self, asker: str) -> bool:
        return self._taken.total() < self._most and self._taken[asker] < self._most_each


class FairSemaphores:
    """One for each name: what one name's askers use up is nobody else's."""

    def __init__(self, most: int, most_each: int) -> None:
        self._most = most
        self._most_each = most_each
        self._by_name: dict[int, FairSemaphore] = {}

    @contextmanager
    def of(self, name: int) -> Iterator[FairSemaphore]:
        """The semaphore of a name, kept for as long as somebody has a place of it or waits for one."""
        semaphore = self._by_name.setdefault(name, FairSemaphore(self._most, self._most_each))
        try:
            yield semaphore
        finally:
            if semaphore.idle and self._by_name.get(name) is semaphore:
                del self._by_name[name]
