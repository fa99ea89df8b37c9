"""One whole load: everybody in, media for a while, a count of what came, everybody out."""

from __future__ import annotations

import secrets
import statistics
import time
from dataclasses import dataclass
from typing import Protocol

from parlour.load.patterns import BURSTS, SPEECH, SPREAD, Pattern, recorded
from parlour.load.peers import Peers, RoomServer
from parlour.load.stage import Delivery, Layout, Stage, Window
from parlour.protocol.words import MAX_ROOM_NUMBER

STEP = 0.5
"""Seconds between two looks that are shown."""

PATTERNS = ("recorded", "bursts", "spread")


def patterns(media: str, shape: str) -> tuple[Pattern, ...]:
    """What each publisher sends: ``media`` is audio, video or both, ``shape`` one of ``PATTERNS``."""
    video = {"bursts": BURSTS, "spread": SPREAD}.get(shape) or recorded()
    return {"audio": (SPEECH,), "video": (video,), "both": (SPEECH, video)}[media]


class Watcher(Protocol):
    """Who is told how it goes."""

    def joined(self, count: int) -> None:
        """So many more are in, publishers and subscribers counted alike."""

    def flowed(self, seconds: float, received: int, missing: int) -> None:
        """Media flowed for so long, and so much came of it."""


class Nobody:
    """A watcher that does not look."""

    def joined(self, count: int) -> None:
        """Nothing."""

    def flowed(self, seconds: float, received: int, missing: int) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Result:
    """What came of a load. ``join_seconds``: of each subscriber, from its login until media may flow."""

    layout: Layout
    first_room: int
    filling: float
    join_seconds: tuple[float, ...]
    window: Window
    sent_bytes: int
    delivery: Delivery
    profiles: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """For a program."""
        window, delivery = self.window, self.delivery
        travel = window.travel
        times = {"p50": travel["p50"], "p99": travel["p99"], "p999": travel["p999"], "max": travel["max"]}
        return {
            "rooms": self.layout.rooms,
            "firstRoom": self.first_room,
            "publishers": self.layout.publishers,
            "subscribers": self.layout.subscribers,
            "patterns": [pattern.name for pattern in self.layout.patterns],
            "srtp": list(self.profiles),
            "joinSeconds": {
                "all": round(self.filling, 3),
                "median": round(statistics.median(self.join_seconds), 3),
                "slowest": round(max(self.join_seconds), 3),
            },
            "seconds": round(window.seconds, 3),
            "sentPerSecond": round(window.sent / window.seconds),
            "receivedPerSecond": round(window.received / window.seconds),
            "bitsPerSecondOfAPublisher": round(
                self.sent_bytes * 8 / window.seconds / self.layout.rooms / self.layout.publishers
            ),
            "milliseconds": {name: round(took / 1_000, 3) for name, took in times.items()},
            "expected": delivery.expected,
            "received": delivery.received,
            "lost": delivery.expected - delivery.received,
            "duplicates": delivery.duplicates,
            "subscribersWithLoss": delivery.incomplete,
            "undecryptable": window.undecryptable,
            "exact": delivery.exact,
            "generator": {
                "lateMilliseconds": round(window.lateness["p99"] / 1_000, 3),
                "socketDrops": window.socket_drops,
                "unsent": window.unsent,
            },
        }


async def run(
    peers: Peers,
    rooms: RoomServer,
    layout: Layout,
    seconds: float,
    *,
    first_room: int | None = None,
    watcher: Watcher | None = None,
) -> Result:
    """Put a load on a server. Raises LoadError when it lets somebody not in.

    ``first_room``: the number of the first room; by default one that nobody is likely to be in.
    """
    told = watcher or Nobody()
    first = secrets.randbelow(MAX_ROOM_NUMBER - layout.rooms) + 1 if first_room is None else first_room
    stage = Stage(peers, rooms, layout, f"load-{secrets.token_hex(3)}", first)
    try:
        began = time.monotonic()
        await stage.fill(told.joined)
        filling = time.monotonic() - began
        before = peers.generator.totals()
        stage.start()
        window = await stage.window(
            seconds, step=STEP, look=lambda passed, now: told.flowed(passed, now["received"], now["missing"])
        )
        stage.stop()
        sent = peers.generator.totals()["sent_bytes"] - before["sent_bytes"]
        delivery = await stage.delivery()
        profiles = {report["srtp_profile"] or "none" for report in peers.reports().values()}
        return Result(layout, first, filling, tuple(stage.join_times), window, sent, delivery, tuple(sorted(profiles)))
    finally:
        await stage.leave()
