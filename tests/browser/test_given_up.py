"""Media that was given up for good: what the app asks for afterwards is done as soon as the network lets it through."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Page
from playwright.async_api import TimeoutError as PlaywrightTimeout

from tests.browser.films import Film, film
from tests.browser.harness import Browsers, Guest, Profile
from tests.browser.networks import Network
from tests.browser.reached import reaches
from tests.browser.test_call import BIKES, BUNNY, knows

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(200)]

SMALL = Profile(320, 180, 10, 250)
UPLINK_GIVEN_UP, DOWNLINK_GIVEN_UP = 0x4007, 0x4008


def small(name: str) -> Film:
    return film(name, SMALL.width, SMALL.height, SMALL.rate)


async def codes(guest: Guest) -> list[int]:
    """The codes of the errors that the app was told of, in numeric order."""
    return sorted(error["code"] for error in await guest.events("error"))


async def until_said(guest: Guest, words: str) -> None:
    """Wait until the SDK says this in the console."""
    assert isinstance(guest.page, Page)
    try:
        await guest.page.wait_for_event("console", lambda message: words in message.text, timeout=90_000)
    except PlaywrightTimeout as late:
        raise AssertionError(f"{guest.user_id}: no {words!r}\n{await guest.report()}") from late


async def blocked(alice: Guest, bob: Guest) -> None:
    """They see each other; then no media passes until the SDK has given up."""
    await alice.join(1)
    await alice.publish(SMALL)
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    await asyncio.gather(bob.until_decoded(alice.user_id, 5), alice.until_decoded("bob", 5))
    assert alice.path is not None
    alice.path.cut("udp")
    both = "() => app.events.filter(({ name }) => name === 'error').length >= 2"
    await alice.until(both, what="both links are given up")


async def asking(alice: Guest, bob: Guest) -> None:
    """Nothing but the calls themselves begins this: the server still waits for the connection that was tried last."""
    await blocked(alice, bob)
    assert alice.path is not None
    alice.path.restore()
    await asyncio.gather(
        alice.call("() => app.client.subscribe(app.remotes.bob)"),
        alice.call("() => app.client.publish(app.local)"),
    )
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    await asyncio.gather(bob.until_decoded(alice.user_id, 10), alice.until_decoded("bob", 10))


async def waiting(alice: Guest, bob: Guest) -> None:
    """The server gives the last attempt up too, which begins another run: that one fails without a word."""
    await blocked(alice, bob)
    assert alice.path is not None
    await until_said(alice, "downlink: the server closed the transport: ice-timeout")
    await until_said(alice, "downlink: attempt 2 failed")
    alice.path.restore()
    await alice.until_decoded("bob", 10)


@reaches(0x4007, "Lets no media through until the publisher has given up.")
@reaches(0x4008, "Lets no media through until the viewer has given up.")
async def test_media_that_was_given_up_is_told_once_and_publish_and_subscribe_bring_it_back_when_asked(
    browsers: Browsers, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("[rooms]\nresume_timeout = 3\n[media]\ntcp = false\n")
    async with Network(browsers.playwright, tmp_path / "network", options=("--config", str(settings))) as network:
        bob = await network.invite("bob", small(BIKES), path=network.good_path())
        await bob.join(1)
        await bob.publish(SMALL)
        alices = [
            await network.invite("alice", small(BUNNY), path=network.path(), user=f"alice-{name}")
            for name in ("asks", "waits")
        ]
        for alice in alices:
            await alice.call("() => { app.subscribes = 'bob'; }")
        await asyncio.gather(*(run(alice, bob) for run, alice in zip((asking, waiting), alices, strict=True)))
        for alice in alices:
            assert await codes(alice) == [UPLINK_GIVEN_UP, DOWNLINK_GIVEN_UP]
