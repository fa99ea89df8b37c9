"""What an app is told of its call: statistics by user, the picture and the sound of a stream; and how it is heard."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.conftest import Invite
from tests.browser.test_call import BIKES, BUNNY, knows

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

ALL = """async (type) => ({
  transport: await app.client.getTransportStats(),
  localAudio: await app.client.getLocalAudioStats(),
  localVideo: await app.client.getLocalVideoStats(),
  remoteAudio: await app.client.getRemoteAudioStats(),
  remoteVideo: await app.client.getRemoteVideoStats(type),
})"""
GROWN = """async ([user, before]) => {
  const now = (await app.client.getRemoteVideoStats())[user];
  return now.framesDecoded >= before.framesDecoded + 15 && now.bytesReceived > before.bytesReceived + 10000;
}"""
PICTURE = """async (user) => {
  const image = new Image();
  image.src = app.remotes[user].getVideoFrame();
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
  return { address: image.src.slice(0, 40), width: image.width, colours: new Set(pixels).size };
}"""
LOUD = """(user) => {
  const stream = user === null ? app.local : app.remotes[user];
  return stream.getAudioLevel() > 0.02;
}"""


async def test_statistics_are_told_by_user_and_grow(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await asyncio.gather(alice.join(room), bob.join(room))
    empty = await alice.call(ALL, "main")
    assert empty["transport"] == {"rtt": 0, "downlinksRTT": {}}
    assert [empty[name] for name in ("localAudio", "localVideo", "remoteAudio", "remoteVideo")] == [{}, {}, {}, {}]
    await asyncio.gather(alice.publish(), bob.publish())
    await asyncio.gather(alice.until_decoded("bob", 30), bob.until_decoded("alice", 30))
    told = await alice.call(ALL, "main")
    assert set(told["transport"]["downlinksRTT"]) == {"bob"}
    assert 0 <= told["transport"]["rtt"] < 1_000
    assert set(told["localAudio"]) == set(told["localVideo"]) == {"alice"}
    assert set(told["remoteAudio"]) == set(told["remoteVideo"]) == {"bob"}
    assert set(told["localAudio"]["alice"]) == {"bytesSent", "packetsSent"}
    assert told["localAudio"]["alice"]["packetsSent"] > 20
    sent, came = told["localVideo"]["alice"], told["remoteVideo"]["bob"]
    assert sent["frameWidth"] / sent["frameHeight"] == 320 / 180
    assert sent["framesEncoded"] >= sent["framesSent"] > 20
    assert (came["frameWidth"] / came["frameHeight"], came["packetsLost"]) == (320 / 180, 0)
    assert set(told["remoteAudio"]["bob"]) == {"bytesReceived", "packetsReceived", "packetsLost"}
    await alice.until(GROWN, ["bob", came], what="what came of bob's pictures grows")
    assert (await alice.call(ALL, "auxiliary"))["remoteVideo"] == {}
    wrong = await alice.call("() => app.client.getRemoteVideoStats('other').catch((error) => error.getCode())")
    assert wrong == 0x1000
    # What is not subscribed to is not told of.
    await alice.call("() => app.client.unsubscribe(app.remotes.bob)")
    assert (await alice.call(ALL, "main"))["remoteVideo"] == {}
    await alice.leave()
    outside = await alice.call("() => app.client.getTransportStats().catch((error) => error.getCode())")
    assert outside == 0x1001


async def test_the_picture_and_the_level_of_a_stream_are_what_is_played_of_it(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await asyncio.gather(alice.join(room), bob.join(room))
    await bob.publish()
    await knows(alice, bob)
    await alice.until_decoded("bob", 30)
    shown = await alice.call(PICTURE, "bob")
    assert shown["address"].startswith("data:image/png;base64,")
    assert shown["width"] in (640, 480, 320)
    assert shown["colours"] > 1_000, "a picture of a film, not of nothing"
    await alice.until(LOUD, "bob", what="bob is heard to speak")
    await bob.until(LOUD, None, what="bob hears how loud he is")
    # How it is played: as it was said, also before it was.
    await alice.call("() => { app.remotes.bob.setAudioVolume('0.25'); }")
    assert await alice.call("() => app.remotes.bob.audioPlayer_.element_.volume") == 0.25
    await alice.call("() => { app.remotes.bob.stop(); app.remotes.bob.setAudioVolume(0.5); }")
    assert await alice.call("() => app.remotes.bob.getVideoFrame()") is None
    await alice.call("() => app.remotes.bob.play(document.body.appendChild(document.createElement('div')))")
    assert await alice.call("() => app.remotes.bob.audioPlayer_.element_.volume") == 0.5
    await alice.call("() => app.remotes.bob.setAudioOutput('')")
    missing = "() => app.remotes.bob.setAudioOutput('no such device').catch((error) => error.getCode())"
    assert await alice.call(missing) == 0x1003
    assert not await alice.events("error")


async def test_turn_servers_of_the_app_are_those_of_both_connections(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await bob.join(room)
    await bob.publish()
    server = {"url": "127.0.0.1:9", "username": "ada", "credential": "secret", "credentialType": "password"}
    await alice.join(room, turn=server)
    await alice.publish()
    await alice.until_decoded("bob", 30)
    used = await alice.call("""() => Object.values(app.client.connections_).map((pc) => {
      const [{ urls, username }] = pc.getConfiguration().iceServers;
      return [urls, username];
    })""")
    assert used == [[["turn:127.0.0.1:9?transport=udp", "turn:127.0.0.1:9?transport=tcp"], "ada"]] * 2
    late = "() => { try { app.client.setTurnServer([]); } catch (error) { return error.getCode(); } }"
    assert await alice.call(late) == 0x1001
