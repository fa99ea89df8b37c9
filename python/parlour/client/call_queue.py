"""One operation after the other: each is decided when its turn comes, and all are cancelled when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from parlour.errors import RtcError

T = TypeVar("T")

SESSION = "session"
"""What ``join`` and ``leave`` take turns for; everything else waits until those before it are done."""


class CallQueue:
    """Operations in the order of their calls, those for different things side by side."""

    def __init__(self) -> None:
        # Weakly held: a lock lives as long as somebody has it or waits for it.
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._aborted: dict[asyncio.Task[Any], RtcError] = {}

    async def run(self, what: Hashable, work: Callable[[], Coroutine[Any, Any, T]], *, abortable: bool = True) -> T:
        """Do the work when its turn comes. Raises what it raises, or, if it is ``abortable``, :meth:`abort`'s error."""
        task = asyncio.get_running_loop().create_task(self._in_turn(what, work))
        if abortable:
            self._tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            error = self._aborted.get(task)
            if error is None:
                raise
            raise error from None
        finally:
            self._tasks.discard(task)
            self._aborted.pop(task, None)

    def abort(self, error: RtcError) -> None:
        """Cancel what is under way and what waits; their callers get the error."""
        for task in self._tasks:
            if not task.done():
                self._aborted[task] = error
                task.cancel()

    async def _in_turn(self, what: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if what != SESSION:
            async with self._lock(SESSION):
                pass
        async with self._lock(what):
            return await work()

    def _lock(self, what: Hashable) -> asyncio.Lock:
        lock = self._locks.get(what)
        if lock is None:
            lock = self._locks[what] = asyncio.Lock()
        return lock
