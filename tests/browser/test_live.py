"""Live mode between real browsers: anchors are seen and heard, the audience is not, and a role can be changed."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.conftest import Invite
from tests.browser.films import film
from tests.browser.harness import Profile
from tests.browser.test_call import BIKES, BUNNY, knows, sees

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

SWITCH = "(role) => app.client.switchRole(role)"
CODE = "(role) => app.client.switchRole(role).catch((error) => error.getCode())"


async def test_an_audience_looks_on_unseen_becomes_an_anchor_and_goes_back(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await alice.join(room, mode="live", role="anchor")
    await alice.publish()
    await bob.join(room, mode="live")
    await knows(bob, alice)
    await sees(bob, alice, other=film(BIKES))
    refused = "(profile) => app.publish(profile).catch((error) => [error.getCode(), error.message])"
    code, message = await bob.call(refused, Profile().as_v4())
    await bob.call("() => app.local.close()")
    assert (code, "audience" in message) == (0x1001, True)
    assert not await alice.events("peer-join", "stream-added")

    await bob.call(SWITCH, "anchor")
    await bob.publish()
    await knows(alice, bob)
    await sees(alice, bob, other=film(BUNNY))
    assert [event["userId"] for event in await alice.events("peer-join")] == ["bob"]

    await bob.call(SWITCH, "audience")
    await alice.until("() => app.events.some(({ name }) => name === 'peer-leave')", what="bob is gone from the anchors")
    assert await bob.call("() => app.client.connections_.uplink") is None, "nothing is sent any more"
    assert await bob.call("() => app.local.getVideoTrack().readyState") == "live", "the camera is the app's"
    await sees(bob, alice, other=film(BIKES))
    # And once more, with the same stream.
    await bob.call(SWITCH, "anchor")
    await bob.call("() => app.client.publish(app.local)")
    await alice.until("() => app.remotes.bob !== undefined", what="bob publishes again")
    assert await bob.call(CODE, "king") == 0x1000
    assert not await alice.events("error") + await bob.events("error")


async def test_a_call_has_no_roles(invite: Invite, room: int) -> None:
    alice = await invite("alice", BUNNY)
    await alice.join(room, role="audience")
    await alice.publish()
    assert await alice.call(CODE, "audience") == 0x1001
