"""Messages that go with frames of H.264, both ways, by both ways to encoded frames that browsers have."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.conftest import Invite
from tests.browser.harness import Guest
from tests.browser.test_call import BIKES, BUNNY, hears, knows, sees

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

INVALID_PARAMETER, INVALID_OPERATION = 0x1000, 0x1001
LISTEN = """() => {
  window.messages = [];
  app.client.on('sei-message', ({ data, ...rest }) => messages.push({ ...rest, data: [...new Uint8Array(data)] }));
}"""
SEND = "([data, options]) => app.client.sendSEIMessage(new Uint8Array(data).buffer, options)"
REFUSED = """([data, options]) => {
  try { app.client.sendSEIMessage(new Uint8Array(data).buffer, options); } catch (error) { return error.getCode(); }
  return null;
}"""
# What a start code is made of, in all lengths that matter: a message must come as it went.
MESSAGES = [[0, 0, 1, 6, 5], [0] * 300, [0, 0, 3, 0, 0, 0], [255] * 255, list(range(256)) * 4, [7]]


async def says(sender: Guest, receiver: Guest, data: list[int], payload_type: int | None = None) -> None:
    """Send until it came: a message that went with a lost frame, or before the first, is lost."""
    options = {} if payload_type is None else {"seiPayloadType": payload_type}
    wanted = {"userId": sender.user_id, "seiPayloadType": payload_type or 243, "data": data, "isFromAuxiliary": False}
    for _ in range(20):
        await sender.call(SEND, [data, options])
        for _ in range(10):
            if wanted in await receiver.call("() => messages"):
                return
            await receiver.call("() => new Promise((resolve) => setTimeout(resolve, 100))")
    raise AssertionError(f"{receiver.user_id} has {await receiver.call('() => messages')} and not {wanted}")


async def test_messages_come_as_they_were_sent_with_the_frames_of_a_call(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    assert await alice.call("() => 'RTCRtpScriptTransform' in window"), "frames go by a worker here"
    await asyncio.gather(alice.join(room, enableSEI=True), bob.join(room, enableSEI=True))
    await asyncio.gather(alice.call(LISTEN), bob.call(LISTEN))
    assert await alice.call(REFUSED, [[1], {}]) == INVALID_OPERATION, "nothing is published"
    await asyncio.gather(alice.publish(), bob.publish())
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    await asyncio.gather(sees(bob, alice, other=bob.film), sees(alice, bob, other=alice.film))
    assert (await bob.codec("alice"), await alice.codec("bob")) == ("video/H264", "video/H264")
    for data in MESSAGES:
        await says(alice, bob, data)
    await says(bob, alice, [*range(16), 1, 2, 3], payload_type=5)
    assert [one["userId"] for one in await alice.call("() => messages")] == ["bob"] * len(
        await alice.call("() => messages")
    )
    # The pictures and the sound are what they were.
    await asyncio.gather(sees(bob, alice, other=bob.film), hears(bob, alice, other="bob"))
    assert not await alice.events("error") + await bob.events("error")


async def test_each_message_comes_once_and_with_every_size_of_the_picture(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await asyncio.gather(alice.join(room, enableSEI=True), bob.join(room, enableSEI=True))
    await bob.call(LISTEN)
    await alice.call("() => app.client.enableSmallStream()")
    await alice.publish()
    await knows(bob, alice)
    await says(alice, bob, [1])
    await bob.call("() => app.client.setRemoteVideoStreamType(app.remotes.alice, 'small')")
    await bob.until(
        "() => app.events.some((one) => one.name === 'video-received' && one.videoType === 'small')",
        what="the small picture comes",
    )
    await says(alice, bob, [2])
    # All of a batch come, each once; on a machine that is busy a frame may be lost with what it carries.
    for batch in range(5):
        numbers = [50 + 40 * batch + one for one in range(20)]
        await bob.call("() => { messages.length = 0; }")
        for number in numbers:
            await alice.call(SEND, [[number], {}])
        for _ in range(50):
            if await bob.call("() => messages.length >= 20"):
                break
            await bob.call("() => new Promise((resolve) => setTimeout(resolve, 100))")
        came = sorted(one["data"][0] for one in await bob.call("() => messages"))
        assert len(set(came)) == len(came), f"some came twice: {came}"
        if came == numbers:
            return
    raise AssertionError(f"of {numbers} only {came} came")


async def test_what_cannot_be_sent_is_refused_with_its_reason(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await asyncio.gather(alice.join(room, enableSEI=True), bob.join(room))
    await bob.call(LISTEN)
    await asyncio.gather(alice.publish(), bob.publish())
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    assert await bob.call(REFUSED, [[1], {}]) == INVALID_OPERATION, "bob's client was made without enableSEI"
    assert await alice.call(REFUSED, [[0] * 1025, {}]) == INVALID_PARAMETER
    assert await alice.call(REFUSED, [[0] * 15, {"seiPayloadType": 5}]) == INVALID_PARAMETER
    assert await alice.call(REFUSED, [[1], {"seiPayloadType": 6}]) == INVALID_PARAMETER
    codes = await alice.call(
        "() => Array.from({ length: 31 }, () => {"
        " try { app.client.sendSEIMessage(new Uint8Array([1]).buffer); return 0; }"
        " catch (error) { return error.getCode(); } })"
    )
    assert codes == [0] * 30 + [INVALID_OPERATION]
    # Who did not ask for messages gets the pictures and none of them.
    await sees(bob, alice, other=bob.film)
    assert await bob.call("() => messages") == []


async def test_messages_of_a_second_stream_say_so(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await asyncio.gather(alice.join(room, enableSEI=True), bob.join(room, enableSEI=True))
    await bob.call(LISTEN)
    await alice.call(
        "async () => { const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 180 });"
        " const pen = canvas.getContext('2d'); let count = 0;"
        " window.drawing = setInterval(() => { pen.fillStyle = `hsl(${count++ * 9}, 80%, 50%)`;"
        " pen.fillRect(0, 0, 320, 180); }, 50);"
        " window.shared = TRTC.createStream({ audio: false, video: false,"
        " videoSource: canvas.captureStream(20).getVideoTracks()[0] });"
        " await shared.initialize(); await app.client.publish(shared, { isAuxiliary: true }); }"
    )
    await bob.until("() => app.offered.some((one) => one.getType() === 'auxiliary')", what="the second stream comes")
    for _ in range(50):
        await alice.call(SEND, [[9], {}])
        await bob.call("() => new Promise((resolve) => setTimeout(resolve, 100))")
        if await bob.call("() => messages.length"):
            break
    first = (await bob.call("() => messages"))[0]
    assert first == {"userId": "alice", "seiPayloadType": 243, "data": [9], "isFromAuxiliary": True}
    await alice.call("() => { clearInterval(drawing); shared.close(); }")


async def test_a_page_that_lets_no_worker_run_sends_and_gets_them_by_the_older_way(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    assert await bob.call("() => 'createEncodedStreams' in RTCRtpSender.prototype"), (
        "this browser has the older way, too"
    )
    await bob.call(
        "() => { const rule = document.createElement('meta'); rule.httpEquiv = 'Content-Security-Policy';"
        " rule.content = \"worker-src 'none'\"; document.head.append(rule); }"
    )
    await asyncio.gather(alice.join(room, enableSEI=True), bob.join(room, enableSEI=True))
    await asyncio.gather(alice.call(LISTEN), bob.call(LISTEN))
    await asyncio.gather(alice.publish(), bob.publish())
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    await asyncio.gather(sees(bob, alice, other=bob.film), sees(alice, bob, other=alice.film))
    await asyncio.gather(hears(bob, alice, other="bob"), hears(alice, bob, other="alice"))
    await says(alice, bob, MESSAGES[4])
    await says(bob, alice, [*range(16), 1, 2, 3], payload_type=5)
    assert any("worker-src" in line for line in bob.console)
