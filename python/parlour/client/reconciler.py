"""Brings what the server holds in line with what is wanted, one step at a time, whenever there is a channel."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol, TypeVar

from parlour.client.channel import ChannelLostError
from parlour.client.peer_connection import PeerConnection
from parlour.errors import ErrorCode, RtcError
from parlour.protocol import messages as m
from parlour.protocol.words import Codec

Ok = TypeVar("Ok", bound=m.Message)

MEDIA_RESTARTS = 5
"""Ours: attempts to bring a failed connection back, at 0, 1, 2, 4 and 8 seconds. None is made without signaling."""

CONNECT_TIMEOUT = 10.0
"""Ours: seconds within which what is published or subscribed is connected, or refused with the reason."""

FAULT_PAUSE = 1.0
"""Ours: seconds after a fault of this program before it goes on."""


class Ask(Protocol):
    """Sends a request over the signaling channel of the moment."""

    async def __call__(self, request: m.Request, answer: type[Ok]) -> Ok:
        """The answer; raises RtcError, a ChannelLostError when none came."""


OpenConnection = Callable[[list[Codec]], PeerConnection]
"""Makes a connection that takes these codecs."""


class Reconciler:
    """A side of the client. ``on_problem`` is told what no call can raise."""

    def __init__(
        self,
        ask: Ask,
        open_connection: OpenConnection,
        online: asyncio.Event,
        on_problem: Callable[[RtcError], None],
    ) -> None:
        self._ask = ask
        self._open_connection = open_connection
        self._online = online
        self._on_problem = on_problem
        self._connection: PeerConnection | None = None
        self._restart_ice = False
        self._attempts = 0
        self._not_before = 0.0
        self._work = asyncio.Event()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Reconcile for ever; what fails unforeseen is told, and the rest goes on."""
        while True:
            await self._online.wait()
            self._work.clear()
            try:
                wait = await self.step()
            except ChannelLostError:
                # The loss itself is told a moment later; what was asked is asked again on the next channel.
                wait = 0.05
            except RtcError as error:
                self._on_problem(error)
                wait = FAULT_PAUSE
            except Exception as fault:
                self._on_problem(
                    RtcError(ErrorCode.UNKNOWN, f"a task of the client failed: {type(fault).__name__}: {fault}")
                )
                wait = FAULT_PAUSE
            self._news.set()
            if wait != 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._work.wait()

    async def step(self) -> float | None:
        """Do the next thing. Returns in how many seconds there is more to do; None for when something changes."""
        raise NotImplementedError

    def wake(self) -> None:
        """Something changed."""
        self._work.set()
        self._news.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true of this side."""
        while not true():
            self._news.clear()
            await self._news.wait()

    async def told(self, true: Callable[[], bool]) -> None:
        """Wait until the server was told; without a channel it will be, once there is one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self.until(lambda: true() or not self._online.is_set())

    def look_elsewhere(self) -> None:
        """This machine may be somewhere else by now: an ICE restart finds a path for the connection there is."""
        if self._connection is not None and self._connection.was_connected:
            self._restart_ice = True
            self.wake()

    def failed(self, reason: str) -> None:
        """The server says that the connection is dead; a new one that is still connecting is not the one it means."""
        if self._connection is not None and self._connection.was_connected:
            self._connection.fail(reason)

    def online_again(self) -> None:
        """There is a channel again: what failed meanwhile was nobody's fault, and is tried at once."""
        self._attempts, self._not_before = 0, 0.0
        self.wake()

    def _count_failure(self, was_connected: bool) -> bool:
        """Whether to try again, after a while."""
        if was_connected:
            self._attempts = 0
        if self._online.is_set():
            self._attempts += 1
        if self._attempts > MEDIA_RESTARTS:
            self._attempts = 0
            return False
        pause = 0 if self._attempts <= 1 else 2 ** (self._attempts - 2)
        self._not_before = asyncio.get_running_loop().time() + pause
        return True

    def _pause(self) -> float:
        """Seconds until the next attempt may be made."""
        return max(0.0, self._not_before - asyncio.get_running_loop().time())
