"""Telling the login-state store how logins go on, without letting anybody wait for it."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable

import structlog

from parlour.accounts.identity import AcceptedLogin
from parlour.storage import Back, Ended, LoginStates, Lost, StorageError

log = structlog.get_logger(__name__)

RETRY_PAUSE = 1.0
"""Seconds before what could not be written is written again."""

MOST = 100_000
"""Logins whose changes wait for a store that is away; of more, the oldest are forgotten."""

FLUSH_TIMEOUT = 2.0
"""Seconds that a stop waits for what is not written yet."""

CANCEL_TIMEOUT = 0.5
"""Seconds that a write has to end which is told to."""


class PresenceTracker:
    """What becomes of logins, written in the background; of each login only the newest matters.

    ``clock`` gives unix seconds. Written in one try or in many: a change never undoes a later one of its login.
    """

    def __init__(self, login_states: LoginStates, clock: Callable[[], float], *, offline_after: float) -> None:
        self._login_states = login_states
        self._clock = clock
        self._offline_after = offline_after
        self._waiting: dict[str, Lost | Ended] = {}
        self._writing: dict[str, Lost | Ended] = {}
        self._worker: asyncio.Task[None] | None = None

    def lost(self, login: AcceptedLogin) -> None:
        """The login's socket was lost; its user is shown as online for a while."""
        self._put(Lost(login.login_id, int(self._clock() + self._offline_after)))

    def ended(self, login: AcceptedLogin) -> None:
        """The login is over."""
        self._put(Ended(login.login_id))

    async def back(self, login: AcceptedLogin) -> bool:
        """The login has a socket again. False when it was ended meanwhile. Raises a ``StorageError``."""
        change = self._waiting.get(login.login_id) or self._writing.get(login.login_id)
        if isinstance(change, Ended):
            return False
        # That it was lost is not to be written after this.
        self._waiting.pop(login.login_id, None)
        self._writing.pop(login.login_id, None)
        try:
            return await self._login_states.note(Back(login.login_id))
        except StorageError:
            if change is not None and login.login_id not in self._waiting:
                self._put(change)
            raise

    async def close(self) -> None:
        """Write what waits, within a bounded time."""
        if self._worker is None:
            return
        await asyncio.wait({self._worker}, timeout=FLUSH_TIMEOUT)
        self._worker.cancel()
        await asyncio.wait({self._worker}, timeout=CANCEL_TIMEOUT)

    def _put(self, change: Lost | Ended) -> None:
        self._waiting.pop(change.login_id, None)  # so that it goes to the end
        self._waiting[change.login_id] = change
        while len(self._waiting) > MOST:
            del self._waiting[next(iter(self._waiting))]
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        told = False
        while self._waiting:
            self._writing, self._waiting = self._waiting, {}
            changes = tuple(self._writing.values())
            results = await asyncio.gather(*map(self._login_states.note, changes), return_exceptions=True)
            failed = {
                change.login_id: change
                for change, result in zip(changes, results, strict=True)
                if isinstance(result, StorageError) and change.login_id in self._writing
            }
            for error in results:
                if isinstance(error, BaseException) and not isinstance(error, StorageError):
                    log.error("a login state was not written", exception="".join(traceback.format_exception(error)))
            self._writing, self._waiting = {}, failed | self._waiting
            if failed:
                if not told:
                    log.warning("login states are not written", waiting=len(failed))
                    told = True
                await asyncio.sleep(RETRY_PAUSE)
