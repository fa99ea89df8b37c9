"""Lock-out counts by the client's address: a proxy that is trusted may name it, nobody else."""

from __future__ import annotations

import itertools

import pytest

from tests.conftest import RunningServer, StartServer
from tests.wire import Refused, Wire

ATTEMPTS = 10


async def locked_from(server: RunningServer, address: str) -> bool:
    """Whether a right login of ann, said to come from that address, is locked out."""
    wire = await Wire.open(server, additional_headers={"X-Forwarded-For": address})
    try:
        await wire.login(server, "ann")
    except Refused as refused:
        assert refused.extra == 70050
        return True
    finally:
        await wire.close()
    return False


async def guess(server: RunningServer, addresses: list[str]) -> None:
    """Log in wrongly as ann, each time from the next of the addresses."""
    for _, address in zip(range(ATTEMPTS), itertools.cycle(addresses), strict=False):
        wire = await Wire.open(server, additional_headers={"X-Forwarded-For": address})
        refused = await wire.refused("login", sdkAppId=server.app, userId="ann", userSig="wrong")
        assert refused.extra == 70003
        await wire.close()


async def test_a_client_cannot_slip_away_by_a_header(server: RunningServer) -> None:
    await guess(server, [f"198.51.100.{number}" for number in range(10)])
    assert await locked_from(server, "203.0.113.9")


@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8"])
async def test_behind_a_trusted_proxy_each_client_counts_for_itself(start_server: StartServer, trusted: str) -> None:
    server = await start_server(trusted_proxies=trusted)
    await guess(server, ["198.51.100.1"])
    assert await locked_from(server, "198.51.100.1")
    assert not await locked_from(server, "198.51.100.2")
    # What the client itself wrote stands before what the proxy added.
    assert await locked_from(server, "198.51.100.2, 198.51.100.1")


async def test_addresses_of_one_ipv6_network_count_as_one(start_server: StartServer) -> None:
    server = await start_server(trusted_proxies="127.0.0.1")
    await guess(server, [f"2001:db8:1:2::{number}" for number in range(1, 11)])
    assert await locked_from(server, "2001:db8:1:2:ffff::1")
    assert not await locked_from(server, "2001:db8:1:3::1")
    await guess(server, ["::ffff:198.51.100.7"])
    assert await locked_from(server, "198.51.100.7")
