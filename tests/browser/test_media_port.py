"""A server of all addresses that announces a secondary one, and lets each client send little: real browsers in it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import Invite
from tests.browser.harness import App, Profile, ServerProcess, create_app, start_server
from tests.browser.test_call import BIKES, BUNNY, hears, knows

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

ANNOUNCED = "127.0.0.5"
LIMIT = 600_000
"""Bits per second; a camera of the profile below takes more than twice as much."""

CAMERA = Profile(1280, 720, 25, 1800)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this server's own."""
    return tmp_path_factory.mktemp("limited")


@pytest.fixture(scope="module")
def app(data: Path) -> App:
    """An app of that server."""
    return create_app(data)


@pytest.fixture(scope="module")
def parlour(data: Path, app: App) -> Iterator[ServerProcess]:
    """The server, in place of the one of the other browser tests."""
    config = data / "parlour.toml"
    config.write_text(f'host = "0.0.0.0"\n[media]\nannounce = ["{ANNOUNCED}"]\ningress_bitrate = {LIMIT}\n')
    arguments = ["--config", str(config), "--port", "0", "--media-port", "0", "--data", str(data), "--log-json"]
    server = start_server(["serve", *arguments], data)
    yield server
    assert server.stop() == 0, server.said()


async def test_a_call_goes_over_the_announced_secondary_address_and_a_sender_keeps_to_what_it_may_send(
    invite: Invite, room: int, parlour: ServerProcess
) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await bob.join(room)
    await alice.join(room)
    await alice.publish(CAMERA)
    await knows(bob, alice)
    # The way to the server is the address that was announced, and no other.
    for guest in (alice, bob):
        told = await guest.call("() => app.statistics('remote-candidate')")
        assert {candidate["address"] for candidate in told} == {ANNOUNCED}

    # The browser finds out that more does not arrive: its estimate falls, and what it sends follows.
    async def sent() -> tuple[float, float]:
        """Bytes of video and sound that left so far, and when."""
        streams = await alice.call("() => app.statistics('outbound-rtp')")
        return sum(stream["bytesSent"] for stream in streams), time.monotonic()

    deadline = time.monotonic() + 90
    while True:
        before, since = await sent()
        await asyncio.sleep(5)  # what is measured is a rate
        after, until = await sent()
        rate = (after - before) * 8 / (until - since)
        policed = '"packets_dropped"' in parlour.said()
        if policed and rate < LIMIT * 1.3:
            break
        assert time.monotonic() < deadline, f"{rate:.0f} bit/s of {LIMIT}, policed: {policed}"
    # Sound came through all the while.
    await hears(bob, alice, other="bob")
    lines = [json.loads(line) for line in parlour.said().splitlines() if "packets_dropped" in line]
    assert {(line["user"], line["bits_per_second"]) for line in lines} == {("alice", LIMIT)}
