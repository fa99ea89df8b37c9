"""The processes that are measured: ``parlour serve`` on a core of its own, and one that does nothing but answer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from parlour.storage import Storage

from bench import machine
from bench.stores import APP, KEY, Place

LIFTED = {
    "PARLOUR_ACCOUNTS__LOGINS_PER_SECOND": "0",
    "PARLOUR_ADMIN__REQUESTS_PER_SECOND": "0",
    "PARLOUR_RATES__ACCOUNT_IMPORT": "0",
    "PARLOUR_RATES__ACCOUNT_CHECK": "0",
    "PARLOUR_RATES__MULTIACCOUNT_IMPORT": "0",
    "PARLOUR_LIMITS__MESSAGES_PER_SECOND": "1000000",
    "PARLOUR_LIMITS__MESSAGE_BURST": "1000000",
    "PARLOUR_LIMITS__STRANGERS_PER_SOURCE": "5000",
    "PARLOUR_LIMITS__CONNECTIONS_PER_SOURCE": "10000",
    "PARLOUR_ROOMS__MAX_MEMBERS": "5000",
}
"""Settings that take away every bound a measurement would run into; all others are the defaults."""

START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0


class Served:
    """A server process and its port. Its log is a file beside its data, shown when it does not start."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as written, machine.on_core(machine.CORES.server):
            self._process = subprocess.Popen(
                command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=written, stdin=subprocess.DEVNULL
            )
        self.port = 0

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError(f"The server did not start:\n{self._log.read_text(errors='replace')[-2000:]}")
        port = urlsplit(json.loads(line)["url"]).port
        assert port is not None
        self.port = port
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.communicate(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def parlour(place: Place, *, profile: Path | None = None) -> Served:
    """A server as an operator runs it, with an app in it. ``profile``: where cProfile writes what took its time."""
    asyncio.run(_make_app(place))
    python = [sys.executable, *(("-m", "cProfile", "-o", str(profile)) if profile else ())]
    serve = ["-m", "parlour", "serve", "--data", str(place.data), "--port", "0", "--media-port", "0", "--json"]
    return Served([*python, *serve], LIFTED | {"PARLOUR_DATABASE": place.url}, place.data / "log")


def null_server(folder: Path) -> Served:
    """A server that answers without looking: what the load generator reaches there is all it can do."""
    return Served([sys.executable, "-m", "bench.null_server"], {}, folder / "log")


def null_reflector(folder: Path) -> Served:
    """A server that fans out what it gets: what the load generator reaches there is all it can do."""
    return Served([sys.executable, "-m", "bench.null_reflector"], {}, folder / "log")


async def _make_app(place: Place) -> None:
    async with await Storage.open(place.data, url=place.url) as storage:
        if await storage.get_app(APP) is None:
            await storage.create_app(APP, now=int(time.time()), secret=KEY)
