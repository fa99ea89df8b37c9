"""What an app hears of its network: worse while the path loses and delays, and good again after it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.browser.harness import Browsers
from tests.browser.networks import Network
from tests.browser.test_call import BIKES, BUNNY, knows

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

LISTEN = """() => {
  window.qualities = [];
  app.client.on('network-quality', (quality) => window.qualities.push({ ...quality, at: performance.now() }));
}"""
BOTH = """([least, most]) => {
  const now = window.qualities.at(-1);
  const grades = now ? [now.uplinkNetworkQuality, now.downlinkNetworkQuality] : [];
  return grades.length > 0 && grades.every((grade) => grade >= least && grade <= most);
}"""
AS_SPOILED = """([least, fewest, most]) => {
  const now = window.qualities.at(-1);
  const is = (rtt, loss) => rtt > least && loss > fewest && loss < most;
  return is(now.uplinkRTT, now.uplinkLoss) && is(now.downlinkRTT, now.downlinkLoss);
}"""


async def test_loss_and_delay_make_the_quality_worse_of_who_has_them_and_it_recovers(
    browsers: Browsers, tmp_path: Path
) -> None:
    async with Network(browsers.playwright, tmp_path / "network") as network:
        alice, bob = await asyncio.gather(
            network.invite("alice", BUNNY, path=network.good_path()), network.invite("bob", BIKES, path=network.path())
        )
        await asyncio.gather(alice.join(1), bob.join(1))
        await asyncio.gather(alice.call(LISTEN), bob.call(LISTEN))
        await asyncio.gather(alice.publish(), bob.publish())
        await asyncio.gather(knows(alice, bob), knows(bob, alice))
        await asyncio.gather(*(one.until(BOTH, [1, 2], what="both links are good") for one in (alice, bob)))
        assert bob.path is not None
        for link in (bob.path.up, bob.path.down):
            link.change(delay=0.2, loss=0.1)
        await bob.until(BOTH, [4, 5], what="both links are poor")
        # A mark is of two seconds, and of the reports that came in them: the first may have seen half of it.
        await bob.until(AS_SPOILED, [200, 3, 40], what="loss and round trip are told as they are")
        for link in (bob.path.up, bob.path.down):
            link.change(delay=0.0, loss=0.0)
        await bob.until(BOTH, [1, 2], what="both links are good again")
        others = await alice.call("() => window.qualities.map((one) => one.downlinkNetworkQuality)")
        assert max(others) < 4, f"the path of the other was good all the time: {others}"
        times = await bob.call("() => window.qualities.map((one) => one.at)")
        assert (times[-1] - times[0]) / (len(times) - 1) == pytest.approx(2000, rel=0.3), times
        await bob.leave()
        heard = await bob.call("() => window.qualities.length")
        await alice.until(
            "(now) => window.qualities.length >= now",
            len(others) + 3,
            what="the other goes on hearing of it",
        )
        assert await bob.call("() => window.qualities.length") == heard, "after leave() there is nothing to hear"
