"""How often a downlink is changed, whoever is the cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

BASE = 0.02
PER_LINE = 0.001
"""Seconds between an offer and the next one: so much, and so much more for each m-line, as each costs work to write,
to read and to answer. The first is never late, and what changes meanwhile shares the next."""


class Later(Protocol):
    """Calls something in so many seconds, as ``loop.call_later`` does."""

    def __call__(self, delay: float, callback: Callable[[], None], /) -> object:
        """Once."""


class Pace:
    """When something may be done again. ``clock`` in seconds."""

    def __init__(self, clock: Callable[[], float], later: Later) -> None:
        self._clock = clock
        self._later = later
        self._not_before = 0.0
        self._waiting = False

    def rest(self, seconds: float) -> None:
        """It was done, and is not done again for so long."""
        self._not_before = self._clock() + seconds

    def take(self, again: Callable[[], None]) -> bool:
        """Whether it may be done now; if not, ``again`` is called once it may."""
        if self._waiting:
            return False
        wait = self._not_before - self._clock()
        if wait <= 0:
            return True
        self._waiting = True

        def over() -> None:
            self._waiting = False
            again()

        self._later(wait, over)
        return False


class OfferPace(Pace):
    """When the next offer may be made."""

    def offered(self, lines: int) -> None:
        """An offer of so many m-lines was made."""
        self.rest(BASE + PER_LINE * lines)
