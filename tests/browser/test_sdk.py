"""What a v4 app meets beyond the good day: refusals, wrong order, a lost socket, changing tracks, a kick."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.browser.conftest import Invite
from tests.browser.films import film
from tests.browser.harness import App, Guest
from tests.browser.test_call import BIKES, BUNNY, knows, sees

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

# Runs one operation and tells how it was refused.
REFUSED = """async ([config, script]) => {
  const client = TRTC.createClient({ mode: 'rtc', ...config });
  try { await eval(`(async () => { ${script} })()`); } catch (error) {
    return { code: error.getCode(), extraCode: error.extraCode, message: error.message, alias: error.message_ };
  }
  return null;
}"""

KEEP_SOCKETS = """() => {
  const Plain = window.WebSocket;
  window.sockets = [];
  window.WebSocket = class extends Plain { constructor(...all) { super(...all); window.sockets.push(this); } };
}"""


async def refusal(guest: Guest, script: str, **config: object) -> dict[str, Any]:
    """How the page is told that an operation is refused."""
    assert guest.app is not None
    default = {"sdkAppId": guest.app.sdk_app_id, "userId": guest.user_id, "userSig": guest.app.sign(guest.user_id)}
    told = await guest.call(REFUSED, [{**default, **config}, script])
    assert told is not None, f"{script} was not refused"
    assert told["alias"] == told["message"] or told["message"].startswith(told["alias"])
    return dict(told)


async def test_a_refused_join_names_the_v4_code_and_the_account_code(invite: Invite, app: App, room: int) -> None:
    guest = await invite("alice", BUNNY)
    join = f"await client.join({{ roomId: {room} }})"
    forged = await refusal(guest, join, userSig=App(app.sdk_app_id, "another key").sign("alice"))
    assert (forged["code"], forged["extraCode"]) == (0x4001, 70009)
    assert "(70009)" in forged["message"]
    assert "<SIGNAL_CHANNEL_SETUP_FAILED 0x4001>" in forged["message"]
    foreign = await refusal(guest, join, userSig=app.sign("bob"))
    assert (foreign["code"], foreign["extraCode"]) == (0x4001, 70013)
    unknown = await refusal(guest, join, sdkAppId=1400999999)
    assert (unknown["code"], unknown["extraCode"]) == (0x4001, -8)


async def test_arguments_and_order_are_checked_in_the_page(invite: Invite, room: int) -> None:
    guest = await invite("alice", BUNNY)
    for bad in ("0", "4294967295", "1.5", "'a room'", "undefined"):
        assert (await refusal(guest, f"await client.join({{ roomId: {bad} }})"))["code"] == 0x1000, bad
    early = "await client.publish(TRTC.createStream({ audio: true, video: false }))"
    assert (await refusal(guest, early))["code"] == 0x1001
    live = f"await client.join({{ roomId: {room}, role: 'audience' }})"
    assert (await refusal(guest, live, mode="live"))["code"] == 0x1001
    once = f"await client.join({{ roomId: {room} }})"
    twice = f"{once}; try {{ {once} }} finally {{ await client.leave() }}"
    assert (await refusal(guest, twice))["code"] == 0x1001


async def test_a_lost_socket_comes_back_without_anyone_leaving(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await alice.call(KEEP_SOCKETS)
    await alice.join(room)
    await alice.publish()
    await bob.join(room)
    await bob.publish()
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    before = [event["name"] for event in await bob.events()]

    await alice.call("() => window.sockets.at(-1).close(4000, 'the network went away')")
    script = "() => app.events.filter(event => event.name === 'connection-state-changed').at(-1).state === 'CONNECTED'"
    await alice.until(f"() => window.sockets.length > 1 && ({script})()", what="the socket is back")
    assert await bob.call("() => app.local.muteAudio()")
    await alice.until("() => app.events.some(event => event.name === 'mute-audio')", what="events come again")
    await asyncio.gather(
        sees(bob, alice, other=bob.film, frames=15),
        sees(alice, bob, other=alice.film, frames=15),
    )
    assert [event["name"] for event in await bob.events()] == before, "others noticed"
    states = [event["state"] for event in await alice.events("connection-state-changed")]
    assert states[-2:] == ["RECONNECTING", "CONNECTED"]
    assert not await alice.events("error", "peer-leave", "stream-removed")


async def test_a_track_that_goes_and_comes_back_updates_the_stream(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await alice.join(room)
    await alice.publish()
    await bob.join(room)
    await knows(bob, alice)
    await sees(bob, alice, other=film(BIKES), frames=10)
    taken = "async () => { window.taken = app.local.getVideoTrack(); await app.local.removeTrack(window.taken); }"
    await alice.call(taken)
    await bob.until("() => app.events.some(event => event.name === 'stream-updated')", what="the track is gone")
    assert await bob.call("() => app.remotes.alice.hasVideo()") is False
    assert await bob.call("() => app.remotes.alice.hasAudio()") is True
    await alice.call("() => app.local.addTrack(window.taken)")
    updated = "() => app.events.filter(event => event.name === 'stream-updated').length >= 2"
    await bob.until(updated, what="the track is back")
    await bob.call("() => app.client.subscribe(app.remotes.alice, { audio: true, video: true })")
    await sees(bob, alice, other=film(BIKES), frames=15)


async def test_who_unsubscribes_and_subscribes_again_sees_again(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await alice.join(room)
    await alice.publish()
    await bob.join(room)
    await knows(bob, alice)
    await sees(bob, alice, other=film(BIKES), frames=10)
    await bob.call("() => app.client.unsubscribe(app.remotes.alice)")
    await bob.call("() => app.client.subscribe(app.remotes.alice)")
    await bob.call("() => app.remotes.alice.play(document.querySelector('#remotes > div'))")
    await sees(bob, alice, other=film(BIKES), frames=15)


async def test_the_same_user_on_another_page_bans_the_first(invite: Invite, room: int) -> None:
    first, second = await asyncio.gather(invite("alice", BUNNY), invite("alice", BUNNY))
    await first.join(room)
    await second.join(room)
    await first.until("() => app.events.some(event => event.name === 'client-banned')", what="the first is told")
    (banned,) = await first.events("client-banned")
    assert banned["reason"] == "kick"
    assert not await second.events("client-banned", "error")
