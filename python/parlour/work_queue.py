"""Work for connections, in turns: so much in one turn of the event loop, and everybody before anybody twice.

What one connection may cost is bounded elsewhere. Hundreds of them, each within its bounds, would still fill one turn
of the loop with a second's work, for which everybody else waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

BUDGET = 0.002
"""Seconds of a turn, of users and of strangers each; what is begun is ended."""

MOST = 8
"""Pieces of work in a turn, of each: what they start, such as the answer to a request, comes on top of the budget."""

Work = Callable[[], None]


class WorkQueue:
    """Calls each work once, soon, in the order of asking; who wants to go on asks again. Users go before strangers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._users: deque[Work] = deque()
        self._strangers: deque[Work] = deque()
        self._coming = False

    def __len__(self) -> int:
        return len(self._users) + len(self._strangers)

    def ask(self, work: Work, *, user: bool = False) -> None:
        """Call this in a turn to come, of the running loop."""
        (self._users if user else self._strangers).append(work)
        self._come()

    def _come(self) -> None:
        if not self._coming:
            self._coming = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._coming = False
        try:
            for waiting in (self._users, self._strangers):
                until = self._clock() + BUDGET
                for _ in range(min(MOST, len(waiting))):
                    waiting.popleft()()
                    if self._clock() >= until:
                        break
        finally:
            if self._users or self._strangers:
                self._come()
