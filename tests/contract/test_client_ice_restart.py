"""The Python SDK at another address: its connections go on, with a socket more, and nothing is published anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from parlour.media.counters import RouterCounters
from parlour.protocol.messages import IceRestartWanted

from tests.conftest import RunningServer
from tests.contract.test_client_reconnect import Pair, client, failures

ELSEWHERE = "127.0.0.9"


async def until(server: RunningServer, wanted: Callable[[RouterCounters], bool]) -> None:
    """Wait until the media core's counters say so."""
    async with asyncio.timeout(10):
        while True:
            snapshot = await server.media.snapshot()
            if wanted(snapshot["shards"][0]["router"]):
                return
            await asyncio.sleep(0.02)


async def until_at(server: RunningServer, wanted: list[str]) -> None:
    await until(
        server,
        lambda router: sorted((one["path"] or "").rpartition(":")[0] for one in router["transports"]) == sorted(wanted),
    )


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


async def test_a_server_that_asks_for_a_restart_of_the_uplink_gets_one(server: RunningServer) -> None:
    pair = await Pair.joined(client(server, "ann"), client(server, "ben"))
    connection = pair.ann._uplink._connection
    pair.ann._on_event(IceRestartWanted(reason="moved"))
    await until(server, lambda router: router["paths"]["restarts"] == 1)
    await pair.flows()
    assert pair.ann._uplink._connection is connection
    assert failures(pair.ann, pair.ben) == []
    await pair.close()
