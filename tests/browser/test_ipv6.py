"""A call over IPv6 alone: the server is bound to an address of IPv6, and no candidate of it is of IPv4."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.browser.firefox import as_webm
from tests.browser.harness import Browsers
from tests.browser.networks import Network
from tests.browser.test_call import BIKES, BUNNY, hears, knows, sees
from tests.network import Namespace

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

SERVER, OTHER = "fd00:203::1", "fd00:203::2"


async def test_chromium_and_firefox_see_and_hear_each_other_over_ipv6_alone(
    browsers: Browsers, tmp_path: Path, room: int
) -> None:
    namespace = Namespace(ipv6=(SERVER, OTHER))
    async with Network(browsers.playwright, tmp_path / "network", namespace=namespace, host=SERVER) as network:
        alice, bob = await asyncio.gather(
            network.invite_inside("alice", BUNNY), network.invite_inside("bob", BIKES, firefox=True)
        )
        await alice.join(room)
        await alice.publish()
        await bob.join(room)
        await bob.publish_from_page(as_webm(bob.film))
        await asyncio.gather(knows(bob, alice), knows(alice, bob))
        await asyncio.gather(sees(bob, alice, other=bob.film), sees(alice, bob, other=alice.film))
        await asyncio.gather(hears(bob, alice, other="bob"), hears(alice, bob, other="alice"))
        assert not await alice.events("error") + await bob.events("error")
        assert f"announced=['{SERVER}']" in network.server.said()
