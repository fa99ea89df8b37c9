"""Sound with copies of what was before it (RFC 2198): publishers send it, and who gets it, while some is lost."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.browser.harness import DEADLINE, Guest, Profile
from tests.browser.networks import Network
from tests.browser.test_call import BIKES, BUNNY, knows

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

SMALL = Profile(320, 180, 5, 200)
# Longer than what is sent again takes to be of use.
LOSSY = {"loss": 0.05, "delay": 0.05}
FADING = 60.0  # seconds after which the last loss counts no more, at the most
MEASURED = 3.0  # seconds


async def received(guest: Guest, sender: Guest) -> tuple[int, int]:
    """How many packets of a guest's sound came so far, and how many bytes were in them."""
    inbound = await guest.call("user => app.inbound(user, 'audio')", sender.user_id)
    return inbound["packetsReceived"], inbound["bytesReceived"]


async def sizes(sender: Guest, *receivers: Guest) -> list[float]:
    """How many bytes a packet of sound has that comes to each of them in these seconds."""
    before = [await received(one, sender) for one in receivers]
    await asyncio.sleep(MEASURED)  # what comes in this time is what is measured
    after = [await received(one, sender) for one in receivers]
    return [(new[1] - old[1]) / (new[0] - old[0]) for old, new in zip(before, after, strict=True)]


async def test_copies_of_sound_go_to_who_loses_some_of_it_and_end_when_nothing_is_lost(network: Network) -> None:
    lossy = network.path(**LOSSY)
    alice = await network.invite("alice", BUNNY, path=network.good_path())
    bob = await network.invite("bob", BIKES, path=lossy)
    carol = await network.invite("carol", BIKES, path=network.good_path())
    for guest in (alice, bob, carol):
        await guest.join(1)
    await alice.publish(SMALL)
    await asyncio.gather(knows(bob, alice), knows(carol, alice))

    end = time.monotonic() + DEADLINE
    while (seen := await sizes(alice, bob, carol))[0] < 1.4 * seen[1]:
        assert time.monotonic() < end, f"{seen}\n{await alice.report()}"
    await asyncio.gather(*(guest.hear("alice", alice.speech) for guest in (bob, carol)))

    lossy.change(loss=0.0)
    end = time.monotonic() + FADING
    while not 0.9 < (seen := await sizes(alice, bob, carol))[0] / seen[1] < 1.1:
        assert time.monotonic() < end, f"{seen}\n{await alice.report()}"
    assert not [event for guest in (alice, bob, carol) for event in await guest.events("error", "stream-removed")]
