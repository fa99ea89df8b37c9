"""Firefox as the tests drive it: Debian's firefox-esr without a screen, over WebDriver BiDi (w3.org/TR/webdriver-bidi).

A page answers to those calls of Playwright's ``Page`` that ``Guest`` makes, so that guests in both browsers are alike.
Firefox's own fake camera shows a colour pattern, and so says nothing about the picture: the app's page plays a film
into a canvas and publishes that, as apps with a source of their own do. H264 needs a download in Firefox; it is VP8.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import av
import websockets

from tests.browser.films import CACHE, Film
from tests.network import Namespace

FIREFOX = "/usr/bin/firefox-esr"
START = 60.0  # seconds, for the first start with an empty profile on a busy machine
PREFERENCES = {
    "media.autoplay.default": 0,  # 0: allowed
    "media.autoplay.blocking_policy": 0,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.gmp-manager.updateEnabled": False,  # no download of codecs
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "remote.prefs.recommended": True,  # what Firefox itself recommends for automation
    "dom.ipc.processPrelaunch.enabled": False,
}
# What Playwright's evaluate does: a function is called with the argument, anything else is the value; promises are
# waited for. As JSON, since BiDi's own values are typed one by one.
CALL = """async (argument) => {{
  const given = ({script});
  const result = await (typeof given === 'function' ? given(JSON.parse(argument)) : given);
  return JSON.stringify(result) ?? 'null';
}}"""


class FirefoxError(Exception):
    """What Firefox answered instead of a result."""


class Firefox:
    """One Firefox process with a profile of its own.

    A call with a server on 127.0.0.1 needs a network of its own, ``within``: Firefox makes no candidates there.
    """

    def __init__(self, within: Namespace | None = None) -> None:
        self._within = within
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, FirefoxPage] = {}
        self._numbers = 0

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._start)
        try:
            async with asyncio.timeout(START):
                await self._connect()
        except BaseException:
            await asyncio.to_thread(self._end)
            raise
        return self

    def _start(self) -> None:
        self._profile = Path(tempfile.mkdtemp(prefix="parlour-firefox-"))
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()]
        (self._profile / "user.js").write_text("".join(lines))
        command = [FIREFOX, "--headless", "--no-remote", "--profile", str(self._profile)]
        command += ["--remote-debugging-port", "0", "about:blank"]
        self._process = subprocess.Popen(
            self._within.command(*command) if self._within else command,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(self._profile)},
        )  # fmt: skip

    async def _connect(self) -> None:
        address = await asyncio.to_thread(self._address)
        listening = ("127.0.0.1", int(address.rpartition(":")[2]))
        connect = socket.create_connection
        opened = self._within.call(connect, listening) if self._within else connect(listening)
        self._socket = await websockets.connect(f"{address}/session", sock=opened, max_size=None, ping_interval=None)
        self._reader = asyncio.create_task(self._read())
        await self.command("session.new", capabilities={})
        await self.command("session.subscribe", events=["log.entryAdded"])

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5):
                await self._socket.close()
        await asyncio.to_thread(self._end)

    def _address(self) -> str:
        """Where BiDi listens: Firefox says it on stderr; what it says there afterwards is read and dropped."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"BiDi listening on (ws://\S+)", line):
                threading.Thread(
                    target=deque, args=(self._process.stderr, 0), daemon=True
                ).start()  # a full pipe blocks
                return found[1]
        raise AssertionError(f"firefox-esr ended with {self._process.wait()} before it listened")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    async def command(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command and wait for its result. Raises FirefoxError with Firefox's own words."""
        self._numbers += 1
        number = self._numbers
        self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
            answer = await self._answers[number]
        finally:
            del self._answers[number]
        if answer["type"] == "error":
            raise FirefoxError(f"{method}: {answer['error']}: {answer['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def _read(self) -> None:
        try:
            async for text in self._socket:
                message = json.loads(text)
                if message["type"] == "event":
                    source = message["params"].get("source", {}).get("context")
                    if page := self._pages.get(source):
                        page.told(message["params"])
                elif (waiting := self._answers.get(message.get("id"))) and not waiting.done():
                    waiting.set_result(message)
        finally:
            for waiting in self._answers.values():
                if not waiting.done():
                    waiting.set_exception(FirefoxError("Firefox has gone"))

    async def new_page(self) -> FirefoxPage:
        """A window of its own with a profile of its own: timers of a tab in the background would be throttled."""
        profile = (await self.command("browser.createUserContext"))["userContext"]
        made = await self.command("browsingContext.create", type="window", userContext=profile)
        page = FirefoxPage(self, made["context"], profile)
        self._pages[made["context"]] = page
        return page


class FirefoxPage:
    """A page, and its context in one: ``close`` ends both."""

    def __init__(self, firefox: Firefox, context: str, profile: str) -> None:
        self._firefox = firefox
        self._context = context
        self._profile = profile
        self._listeners: dict[str, list[Callable[[Any], object]]] = {}

    def on(self, event: str, listener: Callable[[Any], object]) -> None:
        """Tell a listener of ``console`` messages and of uncaught errors, ``pageerror``."""
        self._listeners.setdefault(event, []).append(listener)

    def told(self, entry: dict[str, Any]) -> None:
        """A log entry has come."""
        event = "pageerror" if entry["type"] == "javascript" else "console"
        for listener in self._listeners.get(event, []):
            listener(SimpleNamespace(text=entry["text"]) if event == "console" else entry["text"])

    async def goto(self, address: str) -> None:
        """Load a page and wait until it has loaded."""
        await self._firefox.command("browsingContext.navigate", context=self._context, url=address, wait="complete")

    async def evaluate(self, script: str, argument: object = None) -> Any:
        """Run a script in the page, as Playwright's ``evaluate`` does; what it returns, as JSON has it."""
        answer = await self._firefox.command(
            "script.callFunction",
            functionDeclaration=CALL.format(script=script),
            arguments=[{"type": "string", "value": json.dumps(argument)}],
            target={"context": self._context},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise FirefoxError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    async def close(self) -> None:
        """Close the window and forget its profile."""
        await self._firefox.command("browser.removeUserContext", userContext=self._profile)


def as_webm(film: Film) -> Path:
    """The film as a file that a video element plays: VP8, of such a bit rate that the picture is the film's."""
    path = CACHE / f"{film.path.stem}.webm"
    if not path.exists():
        part = path.with_suffix(".part")
        with av.open(str(part), "w", format="webm") as container:
            stream = container.add_stream("libvpx", rate=film.rate, options={"deadline": "realtime", "cpu-used": "4"})
            stream.width, stream.height, stream.pix_fmt = film.width, film.height, "yuv420p"
            stream.bit_rate = 4_000_000
            for number, planes in enumerate(film.planes()):
                frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        part.replace(path)
    return path
