"""A viewer whose network does not carry the big picture gets the small one, with the reason; nobody else notices."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.browser.harness import Browsers
from tests.browser.networks import Network
from tests.browser.test_call import BIKES, BUNNY, knows
from tests.browser.test_small_stream import BIG, SMALL, WIDTH, gets

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

PATH = re.compile(r"the path carries \d+ of \d+ kbit/s")
TOLD = "(type) => app.events.filter(({ name }) => name === 'video-received').at(-1)?.videoType === type"


async def test_a_narrow_path_gets_the_small_stream_with_the_reason_and_the_big_one_when_it_is_wide_again(
    browsers: Browsers, tmp_path: Path
) -> None:
    async with Network(browsers.playwright, tmp_path / "network") as network:
        good = network.good_path()
        alice, bob, carol = await asyncio.gather(
            network.invite("alice", BUNNY, path=good),
            network.invite("bob", BIKES, path=network.path(delay=0.02)),
            network.invite("carol", BIKES, path=good),
        )
        await asyncio.gather(*(guest.join(1) for guest in (alice, bob, carol)))
        await alice.call("() => app.client.enableSmallStream()")
        await alice.publish()
        await asyncio.gather(knows(bob, alice), knows(carol, alice))
        await asyncio.gather(gets(bob, alice, BIG), gets(carol, alice, BIG))
        before = len(await bob.events("video-received"))
        assert bob.path is not None
        bob.path.down.change(rate=300_000)
        await bob.until(TOLD, "small", what="the app is told that the small one comes")
        await gets(bob, alice, SMALL)
        bob.path.down.change(rate=None)
        await bob.until(TOLD, "big", what="the app is told that the big one comes again")
        await gets(bob, alice, BIG)
        told = (await bob.events("video-received"))[before:]
        narrow = [event for event in told if event["videoType"] != "big"]
        assert narrow and all(PATH.fullmatch(event["reason"]) for event in narrow), told
        assert told[-1]["reason"] == "asked for"
        assert await carol.until(WIDTH, ["alice", BIG], what="the others get the big one all the time") is None
        assert not [event for event in await carol.events("video-received") if PATH.fullmatch(event["reason"])]
        assert not await bob.events("error") + await carol.events("error") + await alice.events("error")


MAY_SEND = """async ([least, most]) => {
  const pairs = await app.statistics('candidate-pair');
  const rates = pairs.map((pair) => pair.availableOutgoingBitrate).filter((rate) => rate !== undefined);
  return rates.length > 0 && rates.every((rate) => rate > least && rate < most);
}"""


async def test_a_publisher_whose_only_viewer_is_on_a_narrow_path_sends_what_fits_and_the_picture_goes_on(
    browsers: Browsers, tmp_path: Path
) -> None:
    async with Network(browsers.playwright, tmp_path / "network") as network:
        alice, bob = await asyncio.gather(
            network.invite("alice", BUNNY, path=network.good_path()),
            network.invite("bob", BIKES, path=network.path(delay=0.02)),
        )
        await asyncio.gather(alice.join(1), bob.join(1))
        await alice.publish()
        await knows(bob, alice)
        await alice.until(MAY_SEND, [500_000, 1e9], what="the publisher sends a picture of 500 kbit/s and more")
        assert bob.path is not None
        bob.path.down.change(rate=300_000)
        await alice.until(MAY_SEND, [0, 400_000], what="the publisher sends less")
        await bob.until_decoded("alice", 100)
        bob.path.down.change(rate=None)
        await alice.until(MAY_SEND, [500_000, 1e9], what="the publisher sends as before")
        await bob.until_decoded("alice", 20)
