"""Turns: so many at a time, and of these so many for one asker; who comes later waits, and nobody waits behind a crowd.

What answers slowly for one asker would else use up the places of everybody.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MOST_WAITING = 1024
"""Who is one more is refused at once: the wait would be longer than anybody's patience."""


class NoTurnError(Exception):
    """More wait for a turn than may."""


class Turns:
    """``most`` turns at a time, ``most_each`` of them for one asker."""

    def __init__(self, most: int, most_each: int) -> None:
        self._most = most
        self._most_each = most_each
        self._taken: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @property
    def idle(self) -> bool:
        """Whether nobody has a turn or waits for one."""
        return not self._taken and not self._waiting

    async def take(self, asker: str) -> None:
        """Wait for a turn, which is to be given back. Raises ``NoTurnError``; the caller sets the deadline."""
        if self._free_for(asker):
            self._taken[asker] += 1
            return
        if len(self._waiting) >= MOST_WAITING:
            raise NoTurnError
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (asker, mine)
        self._waiting.append(entry)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                self._waiting.remove(entry)
            else:
                self.give_back(asker)  # it was given in the moment in which its asker went
            raise

    def give_back(self, asker: str) -> None:
        """Give a turn back; it goes to the first of those who wait and have less than their share."""
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


class TurnsByName:
    """Turns of several, each with its own: what one name's askers use up is nobody else's."""

    def __init__(self, most: int, most_each: int) -> None:
        self._most = most
        self._most_each = most_each
        self._by_name: dict[int, Turns] = {}

    @contextmanager
    def of(self, name: int) -> Iterator[Turns]:
        """The turns of a name, kept for as long as somebody has or waits for one."""
        turns = self._by_name.setdefault(name, Turns(self._most, self._most_each))
        try:
            yield turns
        finally:
            if turns.idle and self._by_name.get(name) is turns:
                del self._by_name[name]
