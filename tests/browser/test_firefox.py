"""Firefox in a real call: its film and speech arrive in Chromium, Chromium's in Firefox, and Firefox's in Firefox."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.firefox import as_webm
from tests.browser.harness import DEADLINE
from tests.browser.networks import Network
from tests.browser.test_call import BIKES, BUNNY, hears, knows, sees
from tests.network.packets import payload_of

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


REQUEST, SUCCESS, COOKIE = b"\x00\x01", b"\x01\x01", b"\x21\x12\xa4\x42"  # RFC 8489, sections 5 and 18


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_a_browser_answers_the_checks_that_the_server_makes_of_its_address(
    network: Network, room: int, browser: str
) -> None:
    guest = await (network.invite if browser == "chromium" else network.invite_to_firefox)("alice", BUNNY)
    assert guest.path is not None
    asked: set[bytes] = set()
    answered: set[bytes] = set()
    enough, loop = asyncio.Event(), asyncio.get_running_loop()

    def look(direction: str, packet: bytes) -> None:
        message = payload_of(packet)
        if message[4:8] != COOKIE:
            return
        if (direction, message[:2]) == ("down", REQUEST):
            asked.add(message[8:20])
        elif (direction, message[:2]) == ("up", SUCCESS):
            answered.add(message[8:20])
            if len(asked & answered) >= 3:
                loop.call_soon_threadsafe(enough.set)

    guest.path.tap = look
    await guest.join(room)
    await (guest.publish() if browser == "chromium" else guest.publish_from_page(as_webm(guest.film)))
    async with asyncio.timeout(DEADLINE):
        await enough.wait()
    assert answered <= asked
