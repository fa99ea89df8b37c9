"""The servers that a media bench measures beside each other, each with a generator of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlunsplit

from parlour.load.peers import Peers, RoomServer
from parlour.load.rooms import ParlourRooms
from parlour.load.stage import Layout, Stage
from parlour.usersig import sign_v2

from bench import janus, machine, servers
from bench.null_reflector import NullRooms
from bench.stores import APP, KEY, Sqlite

Name = Literal["null", "parlour", "janus"]
HOST = "127.0.0.1"


@dataclass
class Contender:
    """One server. ``rooms_used``: rooms are new for each stage, so that nothing of the last one is in the way."""

    name: Name
    pid: int
    port: int
    rooms_used: int = 0

    def stage(self, peers: Peers, layout: Layout, *, at_a_time: int = 20) -> Stage:
        """A stage on it, empty yet."""
        first = self.rooms_used + 1
        self.rooms_used += layout.rooms
        return Stage(peers, self._rooms(peers, layout), layout, f"load{first}", first, at_a_time)

    def cpu(self) -> float:
        """Seconds of CPU that it has taken."""
        return machine.thread_cpu_seconds(self.pid)

    def _rooms(self, peers: Peers, layout: Layout) -> RoomServer:
        match self.name:
            case "null":
                return NullRooms(peers, self.port, mutual=layout.mutual)
            case "janus":
                return janus.JanusRooms(peers, self.port)
        url = urlunsplit(("http", f"{HOST}:{self.port}", "", "", ""))
        return ParlourRooms(peers, url, APP, _user_sig)


async def _user_sig(user: str) -> str:
    return sign_v2(APP, user, KEY, now=int(time.time()))


@contextlib.contextmanager
def parlour_alone(folder: Path) -> Iterator[Contender]:
    """A ``parlour serve`` on SQLite."""
    folder.mkdir()
    with servers.parlour(Sqlite(folder)) as served:
        yield Contender("parlour", served.pid, served.port)


@contextlib.contextmanager
def janus_alone(folder: Path) -> Iterator[Contender]:
    """A Janus."""
    with janus.server(folder) as served:
        yield Contender("janus", served.pid, served.port)


@contextlib.contextmanager
def everybody(folder: Path, *, with_janus: bool) -> Iterator[list[Contender]]:
    """All of them at once, on one core; only one at a time is to have work."""
    with contextlib.ExitStack() as stack:
        (folder / "null").mkdir(parents=True)
        null = stack.enter_context(servers.null_reflector(folder / "null"))
        made = [
            Contender("null", null.pid, null.port),
            stack.enter_context(parlour_alone(folder / "parlour")),
        ]
        if with_janus:
            made.append(stack.enter_context(janus_alone(folder / "janus")))
        yield made
