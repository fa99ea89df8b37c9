"""Background work that must not end unseen: what dies is logged under an incident, started again, and told."""

from __future__ import annotations

import asyncio
import secrets
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine

import structlog

log = structlog.get_logger(__name__)

PAUSES = (0.1, 1.0, 5.0)
"""Seconds before a work that died is started again, for the first, second and every further death of late."""

OF_LATE = 60.0
"""Seconds that a death counts."""

FAILING = 3
"""Deaths of late from which on the server is not healthy."""


def record_death(name: str, error: BaseException | None) -> str:
    """Log that something in the background ended which should not have. Returns the name of the incident."""
    incident = secrets.token_hex(6)
    text = "".join(traceback.format_exception(error)) if error is not None else "it returned"
    log.error("background work died", work=name, incident=incident, exception=text)
    return incident


class Supervisor:
    """Works that run until they are stopped. ``failing`` names those that die again and again."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._deaths: dict[str, deque[float]] = {}

    @property
    def failing(self) -> tuple[str, ...]:
        """The works of which the server cannot say that they are done: it is not healthy."""
        now = asyncio.get_running_loop().time()
        return tuple(
            name for name, deaths in self._deaths.items() if sum(now - death < OF_LATE for death in deaths) >= FAILING
        )

    def start(self, name: str, work: Callable[[], Coroutine[object, object, None]]) -> None:
        """Run ``work`` from now on, and again whenever it ends."""
        task = asyncio.create_task(self._keep(name, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, name: str, work: Callable[[], Coroutine[object, object, None]]) -> None:
        deaths = self._deaths.setdefault(name, deque(maxlen=FAILING))
        while True:
            died: Exception | None = None
            try:
                await work()
            except Exception as error:
                died = error
            now = asyncio.get_running_loop().time()
            deaths.append(now)
            record_death(name, died)
            recent = sum(now - death < OF_LATE for death in deaths)
            await asyncio.sleep(PAUSES[min(recent, len(PAUSES)) - 1])


async def bounded(what: str, end: Callable[[], Awaitable[object]], within: float) -> None:
    """Close something, for ``within`` seconds at most; what hangs is logged and left behind, what fails is logged."""

    async def close() -> None:
        await end()

    closing = asyncio.create_task(close())
    waited = False
    try:
        await asyncio.wait({closing}, timeout=within)
        waited = True
    finally:
        if not closing.done():
            if waited:
                log.warning("not closed in time", what=what, seconds=within)
            else:
                log.warning("not closed: the stop was cut short", what=what)
            closing.cancel()
            closing.add_done_callback(_seen)
    if closing.done() and not closing.cancelled() and closing.exception() is not None:
        record_death(f"closing {what}", closing.exception())


def _seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()


def tell_of_deaths(loop: asyncio.AbstractEventLoop) -> None:
    """Log what ends unseen in a loop under an incident: exceptions of callbacks, and of tasks that nobody awaits."""

    def handle(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        task = context.get("task") or context.get("future")
        name = task.get_name() if isinstance(task, asyncio.Task) else str(context.get("message"))
        if isinstance(error, BaseException):
            record_death(name, error)
        else:
            log.error("the event loop complains", message=str(context.get("message")))

    loop.set_exception_handler(handle)
