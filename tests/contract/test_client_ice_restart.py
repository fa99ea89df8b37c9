"""The Python SDK at another address: its connections go on, with a socket more, and nothing is published anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from parlour.client.events import ConnectionChanged

from tests.conftest import RunningServer
from tests.contract.test_client_reconnect import Pair, client, failures
from tests.databases import AnyDatabase, SqliteDatabase

ELSEWHERE = "127.0.0.9"


@pytest.fixture
def database(tmp_path: Path) -> AnyDatabase:
    """One is enough: nothing here is about what is stored."""
    return SqliteDatabase(tmp_path / "data" / "parlour.db")


async def paths(server: RunningServer) -> list[str]:
    router = (await server.media.snapshot())["shards"][0]["router"]
    return [(transport["path"] or "").rpartition(":")[0] for transport in router["transports"]]


async def until_at(server: RunningServer, wanted: list[str]) -> None:
    async with asyncio.timeout(10):
        while sorted(await paths(server)) != sorted(wanted):
            await asyncio.sleep(0.02)


async def test_an_uplink_and_a_downlink_move_to_another_address_and_nobody_is_told(server: RunningServer) -> None:
    pair = await Pair.joined(client(server, "ann"), client(server, "ben"))
    connections = pair.ann._uplink._connection, pair.ben._downlink._connection
    waiting = len(pair.ann._events), len(pair.ben._events)
    # As after a resume over a socket from there.
    pair.ann._address = ELSEWHERE
    pair.ann._uplink.look_elsewhere()
    await until_at(server, [ELSEWHERE, "127.0.0.1"])
    await pair.flows()
    pair.ben._address = ELSEWHERE
    pair.ben._downlink.look_elsewhere()
    await until_at(server, [ELSEWHERE, ELSEWHERE])
    await pair.flows()
    assert (pair.ann._uplink._connection, pair.ben._downlink._connection) == connections
    assert (len(pair.ann._events), len(pair.ben._events)) == waiting
    assert failures(pair.ann, pair.ben) == []
    assert (await server.media.snapshot())["shards"][0]["router"]["paths"]["restarts"] == 2
    await pair.close()


async def test_a_session_that_comes_back_from_another_address_moves_its_media_too(server: RunningServer) -> None:
    pair = await Pair.joined(client(server, "ann"), client(server, "ben"))
    events = [event for event in pair.ann._events if isinstance(event, ConnectionChanged)]
    for session in [room.session("ann") for room in server.signaling.rooms]:
        assert session is not None
        session.came_from(ELSEWHERE)  # what a resume from there calls
    async with asyncio.timeout(10):
        while (await server.media.snapshot())["shards"][0]["router"]["paths"]["restarts"] < 1:
            await asyncio.sleep(0.02)
    await pair.flows()
    assert [event for event in pair.ann._events if isinstance(event, ConnectionChanged)] == events
    assert failures(pair.ann, pair.ben) == []
    await pair.close()
