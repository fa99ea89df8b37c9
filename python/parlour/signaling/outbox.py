"""What waits to be sent to one client, bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

MAX_BYTES = 8 * 1024 * 1024
BURST_FACTOR = 16
"""How far over the limit a queue may go while its client reads: many may leave a room in one moment."""


class Outbox:
    """Texts in order. The limit is for a client that does not read: one whose socket takes no more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._texts: deque[str] = deque()
        self._size = 0
        self._blocked = False
        self._ended = False
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._texts)

    def put(self, text: str) -> bool:
        """Queue a text. False when the queue is full: the client is to be dropped. After ``end`` it is forgotten."""
        if self._ended:
            return True
        limit = self._limit if self._blocked else self._limit * BURST_FACTOR
        if len(self._texts) >= limit or self._size + len(text) > MAX_BYTES:
            return False
        self._texts.append(text)
        self._size += len(text)
        self._changed.set()
        return True

    def end(self, *, discard: bool = False) -> None:
        """No more will come; with ``discard`` what waits is forgotten."""
        self._ended = True
        if discard:
            self._texts.clear()
            self._size = 0
        self._changed.set()

    async def drain(self, send: Callable[[str], Awaitable[None]]) -> None:
        """Send everything in order until ``end``."""
        while True:
            while self._texts:
                text = self._texts.popleft()
                self._size -= len(text)
                # A socket that takes the text at once never suspends us, so that nobody sees this flag set.
                self._blocked = True
                await send(text)
                self._blocked = False
            if self._ended:
                return
            self._changed.clear()
            await self._changed.wait()
