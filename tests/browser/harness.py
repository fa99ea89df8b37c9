"""What the browser tests stand on: a real server in its own process, real browsers, and a guest for each page."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import http.server
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from parlour.usersig import sign_v2
from PIL import Image
from playwright.async_api import Browser, BrowserContext, Page, Playwright
from playwright.async_api import Error as PlaywrightError

from tests.browser.films import CACHE, ROOT, Film, Picture
from tests.browser.firefox import FirefoxError, FirefoxPage
from tests.browser.speech import RATE, SAME_SPEECH, Samples, Speech, correlation
from tests.forks import run_now
from tests.network import Namespace
from tests.network import Path as NetworkPath

CHROMIUM = "/usr/bin/chromium"
PAGES = Path(__file__).parent / "pages"
OUTPUT = Path(__file__).parent / "output"
DEADLINE = 40.0  # seconds; everything waited for here takes a few on an idle machine

ALWAYS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
]


def devices(film: Film, speech: Speech) -> list[str]:
    """The arguments for a camera that shows the film and a microphone that hears the speech, over and over."""
    return [
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={film.path}",
        f"--use-file-for-fake-audio-capture={speech.path}",
        "--autoplay-policy=no-user-gesture-required",
    ]


def parlour_command(*arguments: str) -> list[str]:
    """The ``parlour`` command of this interpreter."""
    return [sys.executable, "-m", "parlour", *arguments]


@dataclass
class ServerProcess:
    """A running ``parlour`` process; ``said`` is what it has printed so far."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

    def ports(self) -> tuple[str, str]:
        """The port of HTTP and the one of the media, to start another in its place."""
        media = re.findall(r"media_ports=\[(\d+)", self.said())[-1]
        return self.url.rpartition(":")[2], media

    def stop(self) -> int:
        """Ask it to stop and wait for its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def start_server(arguments: list[str], data: Path, *, within: Namespace | None = None) -> ServerProcess:
    """Start ``parlour`` and wait until it has printed where it is. The first ``http`` line of stdout is its address."""
    command = parlour_command(*arguments)
    data.mkdir(parents=True, exist_ok=True)
    log = data / "server.log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "PYTHONUNBUFFERED": "1"}
    with log.open("a") as stderr:  # a server that is started again goes on in it
        process = subprocess.Popen(
            within.command(*command) if within else command,
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    assert process.stdout is not None
    watchdog = threading.Timer(DEADLINE, process.kill)
    watchdog.start()
    for line in process.stdout:
        if found := re.search(r"http://[^\s,]+", line):
            watchdog.cancel()
            threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
            return ServerProcess(process, found[0].rstrip("/"), log)
    watchdog.cancel()
    process.wait()
    raise AssertionError(f"parlour {' '.join(arguments)} ended with {process.returncode}:\n{log.read_text()}")


def _drain(stream: Any) -> None:
    with contextlib.suppress(ValueError):
        for _ in stream:
            pass


@dataclass(frozen=True)
class App:
    """An app of the server: what its own back end would sign with."""

    sdk_app_id: int
    key: str

    def sign(self, user_id: str) -> str:
        """A UserSig that is valid for an hour."""
        return sign_v2(self.sdk_app_id, user_id, self.key, expire=3600, now=int(time.time()))


def create_app(data: Path, sdk_app_id: int = 1400000001) -> App:
    """Make an app in a server's data folder with the command line."""
    made = run_now("app", "create", sdk_app_id, "--data", data, "--json", env=os.environ, seconds=DEADLINE)
    assert made.status == 0, made.err.decode()
    answer = json.loads(made.out)
    return App(int(answer["sdkAppId"]), answer["key"])


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def translate_path(self, path: str) -> str:
        """The films and the speech are served beside the pages, under ``/media``."""
        return str(CACHE / Path(path).name) if path.startswith("/media/") else super().translate_path(path)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Ipv6Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


@contextlib.contextmanager
def serve_pages(within: Namespace | None = None) -> Iterator[str]:
    """The test pages on an origin of their own, as an app's own web server would have them.

    Where there is IPv6 they come over that: of which family a page is decides in Firefox of which its candidates are.
    """
    handler = functools.partial(_Quiet, directory=str(PAGES))
    ipv6 = within is not None and bool(within.ipv6)

    def listening() -> http.server.ThreadingHTTPServer:
        return _Ipv6Server(("::1", 0), handler) if ipv6 else http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    server = within.call(listening) if within else listening()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{'[::1]' if ipv6 else '127.0.0.1'}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Browsers:
    """Chromium processes, one for each camera and microphone, kept between tests: a start costs a second."""

    playwright: Playwright
    running: dict[tuple[str, ...], Browser] = field(default_factory=dict)

    async def with_devices(self, film: Film, speech: Speech, *, loopback: bool = True) -> Browser:
        """A browser whose camera shows the film and whose microphone hears the speech, both over and over."""
        arguments = devices(film, speech)
        if loopback:
            arguments.append("--allow-loopback-in-peer-connection")
        return await self.launch(*arguments)

    async def launch(self, *arguments: str) -> Browser:
        """A browser with these arguments beside those that every browser here has."""
        if arguments not in self.running:
            self.running[arguments] = await self.playwright.chromium.launch(
                executable_path=CHROMIUM, args=[*ALWAYS, *arguments]
            )
        return self.running[arguments]

    async def close(self) -> None:
        """End all of them."""
        for browser in self.running.values():
            await browser.close()
        self.running.clear()


@dataclass(frozen=True)
class Profile:
    """How a guest's picture is sent."""

    width: int = 640
    height: int = 360
    rate: int = 15
    bitrate: int = 800  # kbit/s

    def as_v4(self) -> dict[str, int]:
        """As ``setVideoProfile`` takes it."""
        return {"width": self.width, "height": self.height, "frameRate": self.rate, "bitrate": self.bitrate}


@dataclass(eq=False)
class Guest:
    """One page with a v4 app in it."""

    user_id: str
    film: Film
    speech: Speech
    page: Page | FirefoxPage
    context: BrowserContext | FirefoxPage
    server: ServerProcess | None
    app: App | None
    console: list[str] = field(default_factory=list)
    path: NetworkPath | None = None  # what a test in networks of its own can spoil

    async def open(self, pages: str) -> None:
        """Load the app and the SDK from the server."""
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))
        await self.page.goto(f"{pages}/app.html" + (f"?server={self.server.url}" if self.server else ""))
        if self.server is not None:
            await self.page.evaluate("app.load()")

    async def join(self, room: int | str, **config: object) -> None:
        """Enter the room."""
        assert self.app is not None
        joining = {
            "sdkAppId": self.app.sdk_app_id,
            "userId": self.user_id,
            "userSig": self.app.sign(self.user_id),
            "roomId": room,
            **config,
        }
        await self._evaluate("joining => app.join(joining)", joining)

    async def publish(self, profile: Profile | None = None) -> None:
        """Send camera and microphone."""
        await self._evaluate("profile => app.publish(profile)", (profile or Profile()).as_v4())

    async def publish_from_page(self, film_file: Path, profile: Profile | None = None) -> None:
        """Send a film and the speech that the page plays itself, where there is no camera that shows a film."""
        playing = {"film": film_file.name, "speech": self.speech.path.name, **(profile or Profile()).as_v4()}
        await self._evaluate("playing => app.publishPlayed(playing)", playing)

    async def leave(self) -> None:
        """Leave the room and close the devices."""
        await self._evaluate("() => app.leave()")

    async def call(self, script: str, argument: object = None) -> Any:
        """Run a script in the page."""
        return await self._evaluate(script, argument)

    async def events(self, *names: str) -> list[dict[str, Any]]:
        """What the client has told the app so far, of these kinds."""
        told = await self.page.evaluate("app.events")
        return [event for event in told if not names or event["name"] in names]

    async def until(self, script: str, argument: object = None, *, what: str) -> None:
        """Wait until the script, which may be asynchronous, is true in the page; fail saying what the media did."""
        waiting = f"argument => app.until({script}, argument, {DEADLINE * 1000})"
        try:
            held = await self.page.evaluate(waiting, argument)
        except (PlaywrightError, FirefoxError) as failed:
            raise AssertionError(f"{self.user_id}: {what}: {failed}\n{await self.report()}") from failed
        if not held:
            raise AssertionError(f"{self.user_id}: {what}: not within {DEADLINE} s\n{await self.report()}")

    async def until_decoded(self, user: str, frames: int) -> None:
        """Wait for that many more frames of a user's video; a new connection counts from 0."""
        video = "(({ id, framesDecoded = 0 }) => ({ id, frames: framesDecoded }))(await app.inbound(user, 'video'))"
        begun = await self.page.evaluate(f"async user => {video}", user)
        script = f"""async ([user, begun, frames]) => {{
          const now = {video};
          return now.frames >= frames + (now.id === begun.id ? begun.frames : 0);
        }}"""
        what = f"{frames} more frames of {user} than {begun} are decoded"
        await self.until(script, [user, begun, frames], what=what)

    async def codec(self, user: str) -> str:
        """The codec of a user's video as it is received, e.g. ``video/VP8``."""
        return str(await self.page.evaluate("async user => (await app.inbound(user, 'video')).codec", user))

    async def grab(self, user: str, count: int = 4, every: int = 7) -> list[Picture]:
        """Pictures of a user's video as the page shows it."""
        script = "([user, count, every]) => app.grab(user, count, every)"
        grabbed = await self._evaluate(script, [user, count, every])
        files = [base64.b64decode(address.split(",", 1)[1]) for address in grabbed]
        return [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]

    async def record(self, user: str, seconds: float = 3.0) -> Samples:
        """A user's sound as the page hears it, at 48 kHz."""
        recorded = await self._evaluate("([user, seconds]) => app.record(user, seconds)", [user, seconds])
        data = np.frombuffer(base64.b64decode(recorded), "<i2")
        assert len(data) == round(seconds * RATE)
        return data.astype(np.float32) / 32768

    async def hear(self, user: str, spoken: Speech, seconds: float = 3.0) -> Samples:
        """Listen until what is heard of a user is that speech; what was heard then, at 48 kHz.

        After a gap, and beside busy processes, a browser stretches what it plays for a while; what is then heard is
        not like the speech.
        """
        end, figures = time.monotonic() + DEADLINE, []
        while True:
            recorded = await self.record(user, seconds)
            figures.append(round(correlation(recorded, RATE, spoken), 3))
            if figures[-1] >= SAME_SPEECH:
                return recorded
            if time.monotonic() > end:
                raise AssertionError(f"{self.user_id} hears of {user}: {figures}\n{await self.report()}")

    async def _evaluate(self, script: str, argument: object = None) -> Any:
        try:
            async with asyncio.timeout(DEADLINE):
                return await self.page.evaluate(script, argument)
        except (PlaywrightError, FirefoxError, TimeoutError) as failed:
            raise AssertionError(f"{self.user_id}: {script}: {failed or 'no end'}\n{await self.report()}") from failed

    async def report(self) -> str:
        """Where the media got to, for a failed test."""
        try:
            async with asyncio.timeout(5):
                media = await self.page.evaluate("app.report()")
        except (PlaywrightError, FirefoxError, TimeoutError) as failed:
            media = f"(no report: {failed})"
        log = self.server.said()[-4000:] if self.server else ""
        return f"--- page of {self.user_id}\n{media}\n{chr(10).join(self.console[-20:])}\n--- server\n{log}"
