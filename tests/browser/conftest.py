"""Fixtures of the browser tests. All of them share one event loop, as browsers are kept between tests."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from tests.browser.films import Film, film
from tests.browser.harness import App, Browsers, Guest, ServerProcess, create_app, serve_pages, start_server
from tests.browser.networks import Network
from tests.browser.speech import speech

Invite = Callable[..., Awaitable[Guest]]
_rooms = itertools.count(1)


@pytest.fixture
def room() -> int:
    """A room that no other test is in."""
    return next(_rooms)


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's data folder."""
    return tmp_path_factory.mktemp("parlour")


@pytest.fixture(scope="package")
def app(data: Path) -> App:
    """An app of that server."""
    return create_app(data)


@pytest.fixture(scope="package")
def parlour(data: Path, app: App) -> Iterator[ServerProcess]:
    """A server as an operator runs it: ``parlour serve``, a process of its own."""
    server = start_server(["serve", "--port", "0", "--media-port", "0", "--data", str(data)], data)
    yield server
    assert server.stop() == 0, server.said()


@pytest.fixture(scope="package")
def pages() -> Iterator[str]:
    """The origin of the test pages, which is not the server's."""
    with serve_pages() as origin:
        yield origin


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browsers() -> AsyncIterator[Browsers]:
    """Chromium, as many as there are cameras."""
    async with async_playwright() as playwright:
        pool = Browsers(playwright)
        yield pool
        await pool.close()


@pytest_asyncio.fixture(loop_scope="package")
async def invite(browsers: Browsers, parlour: ServerProcess, app: App, pages: str) -> AsyncIterator[Invite]:
    """Opens pages: ``await invite("alice", "bigbuckbunny")``. They are closed after the test."""
    guests: list[Guest] = []

    async def invite_one(name: str, shows: str | Film, *, loopback: bool = True) -> Guest:
        shown = film(shows) if isinstance(shows, str) else shows
        browser = await browsers.with_devices(shown, speech(name), loopback=loopback)
        context = await browser.new_context()
        guest = Guest(name, shown, speech(name), await context.new_page(), context, parlour, app)
        guests.append(guest)
        await guest.open(pages)
        return guest

    yield invite_one
    for guest in guests:
        await guest.context.close()


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def meanwhile(browsers: Browsers, request: pytest.FixtureRequest) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """What the module's tests marked ``together`` wait for, all of it at the same time, by their node ids.

    Such a test spends its time waiting for a cut to end; one after the other they would take many minutes.
    """
    items = [item for item in request.session.items if item.path == request.path]
    marked = {item: item.get_closest_marker("together") for item in items if isinstance(item, pytest.Function)}
    async with AsyncExitStack() as stack:
        running: dict[str, asyncio.Task[None]] = {}
        networks: dict[str, Network] = {}
        for item, mark in marked.items():
            if mark is None:
                continue
            place = mark.kwargs.get("network", item.name)  # those that do nothing to the server share one
            if place not in networks:
                data = request.getfixturevalue("tmp_path_factory").mktemp("network")
                # A machine with as many browsers as there are looks like a full path, for which pictures pause. Without
                # UDP there is to be no media at all.
                (settings := data / "settings.toml").write_text("[media]\nadapt = false\ntcp = false\n")
                opened = Network(browsers.playwright, data, options=("--config", str(settings)))
                networks[place] = await stack.enter_async_context(opened)
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            scenario = mark.kwargs["run"](networks[place], next(_rooms), **parameters)
            running[item.nodeid] = asyncio.create_task(scenario)
        yield running
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)


@pytest_asyncio.fixture(loop_scope="package")
async def network(browsers: Browsers, tmp_path: Path) -> AsyncIterator[Network]:
    """A server whose guests come over paths that a test can spoil."""
    async with Network(browsers.playwright, tmp_path / "network") as opened:
        yield opened
