"""A server with several media shards: where rooms are, what one does to another, and what becomes of one that dies."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from parlour.cli.output import Refused
from parlour.cli.serve import serve
from parlour.errors import ErrorCode
from parlour.load import patterns
from parlour.load.peers import Peers
from parlour.load.stage import Layout, Stage
from parlour.media import MediaCore, MediaFullError
from parlour.server import Server, processors
from parlour.settings import load_settings

from tests.conftest import StartServer
from tests.contract.test_load import peers, rooms_of
from tests.peers.stun_peer import StunPeer
from tests.wire import Refused as RefusedRequest
from tests.wire import join

__all__ = ["peers"]

DEADLINE = 30.0


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


async def test_a_server_has_a_shard_for_each_processor_on_ports_that_follow_one_another(
    start_server: StartServer,
) -> None:
    server = await start_server()
    ports = server.media.ports
    assert len(ports) == processors()
    assert ports == list(range(ports[0], ports[0] + len(ports)))


async def test_two_rooms_are_on_two_shards_and_both_have_their_media(start_server: StartServer, peers: Peers) -> None:
    server = await start_server(media__shards=2)
    layout = Layout(1, 2, rooms=2, patterns=(patterns.BURSTS,))
    stage = Stage(peers, rooms_of(server, peers), layout, "load")
    await stage.fill()
    stage.start()
    await stage.window(0.5)
    stage.stop()
    delivery = await stage.delivery()
    assert delivery.exact, delivery
    shards = (await server.media.snapshot())["shards"]
    assert [shard["port"] for shard in shards] == server.media.ports
    # A publisher and two subscribers in each, and what the one sends leaves from its own shard alone.
    assert [len(shard["router"]["producers"]) for shard in shards] == [1, 1]
    assert [len(shard["router"]["consumers"]) for shard in shards] == [2, 2]
    assert all(shard["socket"]["datagrams_out"] > 100 for shard in shards)
    await stage.leave()


async def test_a_flood_to_one_shards_port_takes_nothing_from_a_call_on_another(
    start_server: StartServer, peers: Peers
) -> None:
    server = await start_server(media__shards=2)
    # The first room is on the first shard, and so is the flood: the call is in the second.
    flooded = server.media.pick_shard()
    stage = Stage(peers, rooms_of(server, peers), Layout(1, 2, patterns=(patterns.BURSTS,)), "load")
    await stage.fill()
    before = (await server.media.snapshot())["shards"]
    assert [len(shard["router"]["transports"]) for shard in before][flooded] == 0
    over, sent = threading.Event(), [0]

    def flood() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as strange:
            datagrams = [os.urandom(600) for _ in range(64)]
            while not over.is_set():
                for datagram in datagrams:
                    strange.sendto(datagram, ("127.0.0.1", server.media.ports[flooded]))
                sent[0] += len(datagrams)
                time.sleep(0.002)  # some 30,000 a second: what a call on the same port would hear of

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        stage.start()
        await stage.window(1.5)
        stage.stop()
        delivery = await stage.delivery()
    finally:
        over.set()
        thread.join()
    assert sent[0] > 1000
    assert delivery.exact, delivery
    after = (await server.media.snapshot(timeout=10))["shards"]
    router = after[1 - flooded]["router"]
    assert not any(name.startswith("not-") or name == "unknown-source" for name in router["drops"]), router["drops"]
    assert sum(after[flooded]["router"]["drops"].values()) > 100
    await stage.leave()


async def test_no_room_is_opened_while_every_shard_is_hot_and_who_is_inside_stays(start_server: StartServer) -> None:
    server = await start_server(media__shards=2)
    core = server.media
    first = core.pick_shard()
    # As measured: both threads worked all of the last seconds.
    now = asyncio.get_running_loop().time()
    placement = core._placement
    for second in range(8):
        placement.measure(now - 8 + second, [1000.0 + second, 1000.0 + second])
    with pytest.raises(MediaFullError, match="every media shard"):
        core.pick_shard()
    assert core.has_room(first, 2)


def epolls() -> set[int]:
    """The descriptors of this process that wait for others."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if "eventpoll" in os.readlink(entry):
                found.add(int(entry.name))
        except OSError:
            pass
    return found


async def test_who_was_on_a_shard_that_died_is_told_and_it_is_started_again_on_its_port() -> None:
    before = epolls()
    failures: list[str] = []
    core = MediaCore(bind="127.0.0.1", port=0, shards=2, on_failed=failures.append)
    await core.start()
    try:
        first, second = sorted(epolls() - before)
        ports = core.ports
        told: list[tuple[str, str]] = []
        spared = core.create_transport(0, on_closed=lambda reason: told.append(("spared", reason)))
        core.create_transport(1, on_closed=lambda reason: told.append(("lost", reason)))
        await core.snapshot()
        # What it waits with is something else, so it can wait for nothing any more; that is what ends a shard. It is
        # noticed with the next datagram.
        with socket.socket() as nothing:
            os.dup2(nothing.fileno(), second, inheritable=False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nudge:
            for _ in range(500):
                nudge.sendto(b"wake up", ("127.0.0.1", ports[1]))
                await asyncio.sleep(0.02)
                if told:
                    break
        assert told == [("lost", "shard-died")]
        assert core.ports == ports
        await until(lambda: core.has_room(1, 2), "it takes transports again")
        fresh = core.create_transport(1).local
        with StunPeer(("127.0.0.1", ports[1])) as peer:
            peer.check(fresh)
        with StunPeer(("127.0.0.1", ports[0])) as peer:
            peer.check(spared.local)
        assert len((await core.snapshot())["shards"]) == 2
        assert not failures
        assert first in epolls()
    finally:
        await core.close()


async def test_shards_that_die_again_and_again_end_the_server_in_one_sentence(start_server: StartServer) -> None:
    server = await start_server(media__shards=2)
    engine = server.media._running
    for _ in range(3):
        server.media._replace_shard(engine, 1, [])
    await asyncio.wait_for(server.failed.wait(), DEADLINE)
    assert server.failure.startswith(f"The media shard 1 (UDP port {server.media.ports[1]}) died and could not")
    assert "\n" not in server.failure


async def test_entering_a_new_room_is_refused_with_its_code_while_no_shard_takes_one(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server(media__shards=2)
    ann, _ = await join(server, "ann", 1)

    def full() -> int:
        raise MediaFullError("every media shard has as much to do as it can")

    monkeypatch.setattr(server.media, "pick_shard", full)
    with pytest.raises(RefusedRequest) as refused:
        await join(server, "ben", 2)
    assert refused.value.extra == ErrorCode.MEDIA_NODE_UNAVAILABLE
    # A room that is there is on its shard, whatever comes.
    cid, snapshot = await join(server, "cid", 1)
    assert [member["userId"] for member in snapshot["snapshot"]["members"]] == ["ann"]
    await ann.close()
    await cid.close()


async def test_a_server_that_cannot_go_on_says_why_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Server] = []
    start = Server.start

    async def noted(self: Server) -> None:
        await start(self)
        started.append(self)

    monkeypatch.setattr(Server, "start", noted)
    settings = load_settings(None, {"data": tmp_path, "port": 0, "media_port": 0, "media.shards": 2})
    serving = asyncio.create_task(serve(settings, as_json=True))
    await until(lambda: bool(started), "it has started")
    media = started[0].media
    port = media.ports[0]
    for _ in range(3):
        media._replace_shard(media._running, 0, [])
    # The command line prints it behind its own name, and exits with 1.
    with pytest.raises(Refused) as ended:
        await serving
    assert str(ended.value).startswith(f"The media shard 0 (UDP port {port}) died and could not be started again: ")
