"""Browsers and a server in networks of their own, with a path between them that a test can spoil.

The server has one address, 10.203.0.1, and every guest sits behind a path of their own (``tests.network``). The test
pages come from each guest's own 127.0.0.1, which browsers trust as they trust https: no cut touches them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Self

from playwright.async_api import Browser, Playwright

from tests.browser.films import Film, film
from tests.browser.firefox import Firefox
from tests.browser.harness import ALWAYS, CHROMIUM, App, Guest, ServerProcess, create_app, serve_pages, start_server
from tests.browser.harness import devices as device_arguments
from tests.browser.speech import speech
from tests.network import Namespace, Path

SERVER = "10.203.0.1"


@dataclass(eq=False)
class Network:
    """A server in its network, and the guests behind their paths."""

    playwright: Playwright
    data: FilePath
    namespace: Namespace = field(default_factory=lambda: Namespace(SERVER))
    options: tuple[str, ...] = ()
    host: str = SERVER
    _good: Path | None = None
    _shared: dict[str, asyncio.Future[Guest]] = field(default_factory=dict)
    _origins: dict[Namespace, str] = field(default_factory=dict)
    _browsers: dict[tuple[Namespace, str, str], asyncio.Future[Browser]] = field(default_factory=dict)
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self.namespace)
            self.app: App = await asyncio.to_thread(create_app, self.data)
            self.server = await self._started("0", "0")
            stack.callback(self._stop)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _stop(self) -> None:
        assert self.server.stop() == 0, self.server.said()  # the one that runs now: it may have been started again

    async def _started(self, port: str, media_port: str) -> ServerProcess:
        arguments = ["serve", "--host", self.host, "--port", port, "--media-port", media_port, "--data", str(self.data)]
        return await asyncio.to_thread(start_server, [*arguments, *self.options], self.data, within=self.namespace)

    async def kill(self) -> None:
        """``kill -9`` the server."""
        self.server.process.kill()
        await asyncio.to_thread(self.server.process.wait)

    async def start_again(self) -> None:
        """A new process on the ports and the data of the one that was killed."""
        self.server = await self._started(*self.server.ports())

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the server not run: it is there, and answers nothing."""
        self.server.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.server.process.send_signal(signal.SIGCONT)

    async def invite(self, name: str, shows: str | Film, *, path: Path | None = None, user: str = "") -> Guest:
        """A guest in a Chromium behind a path, by default one of its own; ``user`` is their id, by default the name."""
        shown = film(shows) if isinstance(shows, str) else shows
        path = path or self.path()
        browser = await self._chromium(path.client, shown, name)
        context = await browser.new_context()
        page = await context.new_page()
        guest = Guest(user or name, shown, speech(name), page, context, self.server, self.app, path=path)
        await guest.open(self._pages(path.client))
        return guest

    async def invite_to_firefox(self, name: str, shows: str) -> Guest:
        """A guest in a Firefox behind a path of its own."""
        path = self.path()
        guest = await self._in_firefox(path.client, name, shows)
        guest.path = path
        return guest

    async def invite_inside(self, name: str, shows: str, *, firefox: bool = False) -> Guest:
        """A guest in the server's own network, in Chromium or in Firefox."""
        if firefox:
            return await self._in_firefox(self.namespace, name, shows)
        browser = await self._chromium(self.namespace, film(shows), name)
        context = await browser.new_context()
        guest = Guest(name, film(shows), speech(name), await context.new_page(), context, self.server, self.app)
        await guest.open(self._pages(self.namespace))
        return guest

    async def _in_firefox(self, where: Namespace, name: str, shows: str) -> Guest:
        running = await self._stack.enter_async_context(Firefox(where))
        page = await running.new_page()
        guest = Guest(name, film(shows), speech(name), page, page, self.server, self.app)
        await guest.open(self._pages(where))
        return guest

    def path(self, **conditions: object) -> Path:
        """One more path to the server, open until the network ends."""
        return self._stack.enter_context(Path(self.namespace, **conditions))

    async def once(self, name: str, make: Callable[[], Coroutine[Any, Any, Guest]]) -> Guest:
        """A guest whom several tests share: made by the first that asks, awaited by all."""
        if name not in self._shared:
            self._shared[name] = asyncio.ensure_future(make())
        return await self._shared[name]

    def good_path(self) -> Path:
        """The path that nobody spoils, shared by all for whom it does not matter."""
        self._good = self._good or self.path()
        return self._good

    def _pages(self, where: Namespace) -> str:
        if where not in self._origins:
            self._origins[where] = self._stack.enter_context(serve_pages(where))
        return self._origins[where]

    async def _chromium(self, where: Namespace, shown: Film, name: str) -> Browser:
        key = (where, shown.name, name)
        if key not in self._browsers:
            command = self.data / f"chromium-{len(self._browsers)}"
            command.write_text(f'#!/bin/sh\nexec {" ".join(where.command(CHROMIUM))} "$@"\n')
            command.chmod(command.stat().st_mode | stat.S_IXUSR)
            arguments = [*ALWAYS, *device_arguments(shown, speech(name))]
            launched = self.playwright.chromium.launch(executable_path=os.fspath(command), args=arguments)
            self._browsers[key] = asyncio.ensure_future(launched)
            browser = await self._browsers[key]
            self._stack.push_async_callback(browser.close)
        return await self._browsers[key]
