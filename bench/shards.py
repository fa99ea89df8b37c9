"""What a second shard is worth: ``python -m bench.shards [--record]``.

A server with two media shards forwards a video to many, first in a room on one of them, then in two rooms on both at
the same time, by turns. What is measured is the processor time of each shard's thread for a packet that it sent, the
kernel's part of it included: a shard is a thread with a socket of its own, so two of them, on two processors that have
nothing else to do, carry twice as much as one, less what they cost each other: shared locks, caches, the kernel's::

    2 x (cost of a packet while one works) / (cost of a packet while both work)

The load comes from a third thread, and time in which a shard does not get a processor does not count. So the figure
holds for a machine that gives each shard a processor, and can be taken on one that does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from parlour.load import patterns
from parlour.load.peers import Peers
from parlour.load.rooms import ParlourRooms
from parlour.load.stage import Layout, Stage
from parlour.logs import configure_logs
from parlour.server import Server
from parlour.settings import load_settings
from parlour.usersig import sign_v2

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "bench" / "results" / "shards.json"
APP = 1400000001
TARGET = 1.8
SUBSCRIBERS = 20
SECONDS = 4.0
ROUNDS = 5


@dataclass(frozen=True)
class Round:
    """Microseconds of processor time a packet sent: of a shard that works alone, and of each while both do."""

    alone: float
    both: tuple[float, float]

    @property
    def worth(self) -> float:
        """How much two shards carry, of what one does."""
        return self.alone / self.both[0] + self.alone / self.both[1]


async def costs(server: Server, peers: Peers, rooms: int, name: str, seconds: float) -> list[float]:
    """The cost of a packet of each shard that has sent any, in microseconds."""

    async def user_sig(user: str) -> str:
        app = await server.storage.get_app(APP)
        assert app is not None
        return sign_v2(APP, user, app.keys.secrets[0], expire=3600, now=int(time.time()))

    layout = Layout(1, SUBSCRIBERS, rooms=rooms, patterns=(patterns.BURSTS,))
    stage = Stage(peers, ParlourRooms(peers, server.url, APP, user_sig), layout, name)
    await stage.fill()
    stage.start()
    await stage.window(1.0)  # whatever is done once is done
    before = await _counts(server)
    await stage.window(seconds)
    after = await _counts(server)
    stage.stop()
    await stage.delivery()
    await stage.leave()
    spent = [
        ((worked - worked_before) * 1e6, sent - sent_before)
        for (worked, sent), (worked_before, sent_before) in zip(after, before, strict=True)
    ]
    return [time_spent / sent for time_spent, sent in spent if sent > 1000]


async def _counts(server: Server) -> list[tuple[float, int]]:
    """Seconds that each shard has worked, and packets that it has sent."""
    shards = (await server.media.snapshot(timeout=10))["shards"]
    worked = server.media.processor_times()
    return [(one, shard["socket"]["datagrams_out"]) for one, shard in zip(worked, shards, strict=True)]


async def measure(many: int = ROUNDS, seconds: float = SECONDS) -> list[Round]:
    """Both, by turns, for so many seconds each."""
    rounds = []
    with tempfile.TemporaryDirectory() as data:
        settings = load_settings(None, {"data": data, "port": 0, "media_port": 0, "media.shards": 2})
        async with Server(settings) as server:
            await server.storage.create_app(APP, now=int(time.time()))
            peers = Peers()
            try:
                for number in range(many):
                    alone = await costs(server, peers, 1, f"alone{number}-", seconds)
                    both = await costs(server, peers, 2, f"both{number}-", seconds)
                    assert (len(alone), len(both)) == (1, 2), "the rooms are not where they should be"
                    rounds.append(Round(alone[0], (both[0], both[1])))
                    together = " ".join(f"{cost:5.2f}" for cost in both)
                    print(f"alone {alone[0]:5.2f}   both {together} µs   worth {rounds[-1].worth:4.2f}", flush=True)
            finally:
                peers.close()
    return rounds


def main() -> None:
    """Measure, say, record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--record", action="store_true", help="keep the figures in bench/results")
    arguments = parser.parse_args()
    configure_logs("warning", as_json=False)
    rounds = asyncio.run(measure())
    worth = statistics.median(one.worth for one in rounds)
    print(f"two shards carry {worth:.2f} times what one does; the target is {TARGET}")
    if arguments.record:
        told = {"worth": round(worth, 2), "rounds": [asdict(one) for one in rounds]}
        RECORD.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(worth < TARGET)


if __name__ == "__main__":
    main()
