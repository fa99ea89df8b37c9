"""Big and small streams between real browsers: a viewer switches, the size changes, and the film goes on."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.browser.conftest import Invite
from tests.browser.films import film
from tests.browser.firefox import as_webm
from tests.browser.harness import Guest
from tests.browser.networks import Network
from tests.browser.test_call import BIKES, BUNNY, knows, sees

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

WIDTH = """async ([user, widths]) => {
  const { frameWidth } = await app.inbound(user, 'video');
  return widths.includes(frameWidth);
}"""
BIG, SMALL = [320, 480, 640], [160]
"""Widths of a decoded frame. A browser that has little to spend sends the big one in fewer pixels."""

ENCODED = "async () => (await app.encoding('big')).framesEncoded"

WATCH = """(user) => {
  const video = app.video(user);
  app.longest = 0;
  let last = performance.now();
  const onFrame = (now) => {
    app.longest = Math.max(app.longest, now - last);
    last = now;
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);
}"""
"""Keeps the longest time between two pictures, in milliseconds."""

WANT = "([user, type]) => app.client.setRemoteVideoStreamType(app.remotes[user], type)"


async def gets(viewer: Guest, sender: Guest, widths: list[int]) -> None:
    """The viewer decodes frames of one of these widths, and they are the sender's film."""
    await viewer.until(WIDTH, [sender.user_id, widths], what=f"frames of {sender.user_id} are {widths} wide")
    await sees(viewer, sender, other=film(BIKES if sender.film.name == BUNNY else BUNNY), frames=20)
    await viewer.until(WIDTH, [sender.user_id, widths], what=f"frames of {sender.user_id} are still {widths} wide")


@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_a_viewer_goes_to_the_small_stream_and_back_and_the_film_goes_on(
    invite: Invite, room: int, codec: str
) -> None:
    alice, bob, carol = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES), invite("carol", BIKES))
    await alice.join(room, videoCodec=codec)
    await alice.call("() => app.client.enableSmallStream()")
    await alice.publish()
    for viewer in (bob, carol):
        await viewer.join(room)
    await asyncio.gather(knows(bob, alice), knows(carol, alice))
    assert (await bob.call("() => app.client.getRemoteMutedState()"))[0]["hasSmall"] is True
    await gets(bob, alice, BIG)
    await bob.call(WANT, ["alice", "small"])
    await gets(bob, alice, SMALL)
    await gets(carol, alice, BIG)
    await bob.call(WANT, ["alice", "big"])
    await gets(bob, alice, BIG)
    told = [(event["videoType"], event["reason"]) for event in await bob.events("video-received")]
    assert told == [("small", "asked for"), ("big", "asked for")]
    assert not await alice.events("error") + await bob.events("error") + await carol.events("video-received")
    refused = "() => app.client.enableSmallStream().catch((error) => error.getCode())"
    assert await alice.call(refused) == 0x1001


@pytest.mark.parametrize("codec", ["vp9", "av1"])
async def test_codecs_of_layers_cross_as_one_encoding(invite: Invite, room: int, codec: str) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await alice.join(room, videoCodec=codec)
    refused = "() => app.client.enableSmallStream().catch((error) => error.getCode())"
    assert await alice.call(refused) == 0x1002
    await alice.publish()
    await bob.join(room)
    await knows(bob, alice)
    await bob.call(WANT, ["alice", "small"])
    await gets(bob, alice, BIG)
    assert await bob.codec("alice") == f"video/{codec.upper()}"
    [told] = await bob.events("video-received")
    assert (told["videoType"], told["reason"]) == ("big", "alice sends no small stream")


async def test_the_small_stream_goes_on_while_the_big_one_is_paused_changed_and_taken_again(
    invite: Invite, room: int
) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await alice.join(room)
    await alice.call("() => app.client.enableSmallStream()")
    await alice.publish()
    await bob.join(room)
    await knows(bob, alice)
    await bob.call(WANT, ["alice", "small"])
    await gets(bob, alice, SMALL)
    await alice.until("async () => !(await app.encoding('big')).active", what="nobody takes the big one: it is paused")
    encoded = await alice.call(ENCODED)
    await alice.call("() => app.local.setVideoProfile({ width: 480, height: 270, frameRate: 15, bitrate: 300 })")
    await gets(bob, alice, SMALL)
    await alice.call("""async () => {
      const media = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360, frameRate: 15 } });
      await app.local.replaceTrack(media.getVideoTracks()[0]);
      await app.local.removeTrack(app.local.getAudioTrack());
    }""")
    await gets(bob, alice, SMALL)
    under_way = 3  # frames that the encoder had when it was told
    assert await alice.call(ENCODED) <= encoded + under_way, "whatever is changed, the big one stays paused"
    await bob.call(WATCH, "alice")
    begun = time.monotonic()
    await bob.call(WANT, ["alice", "big"])
    await alice.until(
        f"async (encoded) => await ({ENCODED})() > encoded", encoded + under_way, what="the big one is sent again"
    )
    assert time.monotonic() - begun < 4
    await gets(bob, alice, BIG)
    assert await bob.call("() => app.longest") < 1500, "the picture had no break"
    assert not await alice.events("error")


async def test_a_small_stream_of_another_shape_is_refused_when_it_is_published(invite: Invite, room: int) -> None:
    alice = await invite("alice", BUNNY)
    await alice.join(room)
    await alice.call("() => app.client.enableSmallStream()")
    await alice.call("() => app.client.setSmallStreamProfile({ width: 120, height: 120, bitrate: 100, frameRate: 15 })")
    publish = """() => app.publish({ width: 640, height: 360, frameRate: 15, bitrate: 800 })
      .catch((error) => [error.getCode(), error.message])"""
    code, message = await alice.call(publish)
    assert code == 0x1000
    assert "120x120 does not have the shape of the big one's 640x360" in message


async def test_firefox_receives_either_and_sends_both(network: Network, room: int) -> None:
    alice, bob = await asyncio.gather(network.invite("alice", BUNNY), network.invite_to_firefox("bob", BIKES))
    for guest in (alice, bob):
        await guest.join(room)
        await guest.call("() => app.client.enableSmallStream()")
    await alice.publish()
    await bob.publish_from_page(as_webm(bob.film))
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    for wanted, widths in (("small", SMALL), ("big", BIG)):
        await bob.call(WANT, ["alice", wanted])
        await alice.call(WANT, ["bob", wanted])
        await gets(bob, alice, widths)
        await gets(alice, bob, widths)
