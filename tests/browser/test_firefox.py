"""Firefox in a real call: its film and speech arrive in Chromium, and Chromium's in Firefox."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.firefox import as_webm
from tests.browser.networks import Network
from tests.browser.test_call import BIKES, BUNNY, hears, knows, sees

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]


async def test_film_and_speech_cross_between_firefox_and_chromium_in_both_directions(
    network: Network, room: int
) -> None:
    alice, bob = await asyncio.gather(network.invite("alice", BUNNY), network.invite_to_firefox("bob", BIKES))
    await alice.join(room)
    await alice.publish()
    await bob.join(room)
    await bob.publish_from_page(as_webm(bob.film))
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    await asyncio.gather(sees(bob, alice, other=bob.film), sees(alice, bob, other=alice.film))
    await asyncio.gather(hears(bob, alice, other="bob"), hears(alice, bob, other="alice"))
    assert (await bob.codec("alice"), await alice.codec("bob")) == ("video/VP8", "video/VP8")
    assert not await alice.events("error") + await bob.events("error")
