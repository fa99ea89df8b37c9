"""What an app asks of a client: carried out in order, sent at the profile's rate, and what failed is told."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.conftest import Invite
from tests.browser.films import film
from tests.browser.harness import ALWAYS, CHROMIUM, App, Browsers, Guest, ServerProcess, devices
from tests.browser.reached import reaches
from tests.browser.speech import speech

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

BUNNY, BIKES = "bigbuckbunny", "bikes"
INVALID_OPERATION, NOT_SUPPORTED, NOT_SUPPORTED_H264 = 0x1001, 0x1002, 0x4049

OUTCOMES = """const outcomes = async promises => (await Promise.allSettled(promises)).map(
  ({ reason }) => reason ? [reason.getCode(), reason.message] : [0, '']);"""

# A browser that lacks a codec: it is offered one that it has never heard of, and refuses the m-line by itself.
WITHOUT_CODEC = """codec => {
  const Peer = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Peer {
    setRemoteDescription(description) {
      const unknown = description.type === 'offer'
        ? { type: 'offer', sdp: description.sdp.replaceAll(`${codec}/90000`, 'UNHEARD/90000') } : description;
      return super.setRemoteDescription(unknown);
    }
  };
}"""


async def sees(receiver: Guest, sender: str, frames: int = 10) -> None:
    await receiver.until("user => app.video(user) !== null", sender, what=f"{sender} is on the page")
    await receiver.until_decoded(sender, frames)


async def told(guest: Guest, name: str, user: str, times: int = 1) -> None:
    script = "([name, user, times]) => app.events.filter(e => e.name === name && e.userId === user).length >= times"
    await guest.until(script, [name, user, times], what=f"{name} of {user} is told {times} times")


async def test_publish_unpublish_and_publish_without_awaiting_any_of_them_end_published(
    invite: Invite, room: int
) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await bob.join(room)
    await alice.join(room)
    outcomes = await alice.call(f"""async () => {{
      {OUTCOMES}
      const stream = app.local = TRTC.createStream({{ audio: true, video: true }});
      await stream.initialize();
      const {{ client }} = app;
      const asked = [client.publish(stream), client.publish(stream), client.unpublish(stream), client.publish(stream)];
      const first = await outcomes(asked);
      return [...first, ...await outcomes([client.publish(stream)])];
    }}""")
    assert [code for code, _ in outcomes] == [0, INVALID_OPERATION, 0, 0, INVALID_OPERATION], outcomes
    assert "previous publishing is ongoing, please avoid re-publishing" in outcomes[1][1]
    assert "duplicate publishing, please unpublish and then re-publish" in outcomes[4][1]
    await sees(bob, "alice")
    assert [event["name"] for event in await bob.events("stream-added", "stream-removed")] == [
        "stream-added",
        "stream-removed",
        "stream-added",
    ]


async def test_what_is_going_on_when_the_room_is_left_ends_with_a_clear_code_and_can_be_asked_for_again(
    invite: Invite, room: int
) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await bob.join(room)
    await alice.join(room)
    outcomes = await alice.call(
        f"""async room => {{
      {OUTCOMES}
      const stream = app.local = TRTC.createStream({{ audio: true, video: true }});
      await stream.initialize();
      const {{ client }} = app;
      const back = {{ roomId: room }};
      return outcomes([client.publish(stream), client.leave(), client.join(back), client.publish(stream)]);
    }}""",
        room,
    )
    assert [code for code, _ in outcomes] == [INVALID_OPERATION, 0, 0, 0], outcomes
    assert "publish: cancelled by leave()" in outcomes[0][1]
    await sees(bob, "alice")


async def test_a_stream_that_two_clients_publish_goes_on_following_the_app_for_the_one_that_stays(
    invite: Invite, room: int
) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await bob.join(room)
    await alice.join(room)
    await alice.publish()
    assert alice.app is not None
    config = {"sdkAppId": alice.app.sdk_app_id, "userId": "alice", "userSig": alice.app.sign("alice")}
    await alice.call(
        """async ([config, roomId]) => {
      const second = TRTC.createClient({ mode: 'rtc', ...config });
      await second.join({ roomId });
      await second.publish(app.local);
      await second.leave();
      app.local.muteVideo();
    }""",
        [config, 4_000_000_000],
    )
    await told(bob, "mute-video", "alice")


async def test_a_sender_that_is_used_again_follows_the_profile_of_its_new_track_and_each_later_one(
    invite: Invite, room: int
) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await bob.join(room)
    await alice.join(room)
    # The sound keeps the connection, so that the second picture gets the m-line of the first.
    await alice.call("""async () => {
      const sound = TRTC.createStream({ audio: true });
      await sound.initialize();
      await app.client.publish(sound, { isAuxiliary: true });
      app.picture = async bitrate => {
        const stream = app.local = TRTC.createStream({ video: true });
        stream.setVideoProfile({ width: 640, height: 360, frameRate: 15, bitrate });
        await stream.initialize();
        await app.client.publish(stream);
      };
      app.sender = () => app.client.connections_.uplink.getSenders().find(one => one.track?.kind === 'video');
      app.limit = () => app.sender().getParameters().encodings.map(one => one.maxBitrate);
      app.sent = async () => {
        const report = [...(await app.sender().getStats()).values()].find(one => one.type === 'outbound-rtp');
        return [report.bytesSent + report.headerBytesSent, report.timestamp];
      };
      await app.picture(1500);
      await app.client.unpublish(app.local);
      app.local.close();
      await app.picture(100);
    }""")
    assert await alice.call("() => app.limit()") == [100_000]
    assert await alice.call("() => app.client.connections_.uplink.getTransceivers().length") == 2, (
        "the m-line is reused"
    )
    await sees(bob, "alice")
    assert await rate(alice) < 250, "kbit/s of a picture that is held to 100"
    await alice.call("() => app.local.setVideoProfile({ width: 640, height: 360, frameRate: 15, bitrate: 1500 })")
    await alice.until("() => app.limit()[0] === 1500000", what="the encoder follows the new profile")
    await alice.call("""async () => {
      const other = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } });
      await app.local.replaceTrack(other.getVideoTracks()[0]);
    }""")
    assert await alice.call("() => app.limit()") == [1_500_000]


async def rate(guest: Guest, seconds: float = 4.0) -> float:
    """What a guest's picture takes, in kbit/s, over so many seconds of its own clock."""
    script = """async seconds => {
      const [bytes, begun] = await app.sent();
      await app.until(async () => (await app.sent())[1] - begun >= seconds * 1000, null, 60000);
      const [now, ended] = await app.sent();
      return (now - bytes) * 8 / (ended - begun);
    }"""
    return float(await guest.call(script, seconds))


@reaches(0x4049, "Subscribes to H264 with a browser that cannot decode it.")
@pytest.mark.parametrize(("codec", "code"), [("h264", NOT_SUPPORTED_H264), ("vp8", NOT_SUPPORTED)])
async def test_a_picture_that_the_viewer_cannot_decode_rejects_and_the_sound_is_subscribed_all_the_same(
    invite: Invite, room: int, codec: str, code: int
) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await bob.page.evaluate(WITHOUT_CODEC, codec.upper())
    await bob.call("""() => { app.subscribe = async (options) => {
      const [added] = app.added;
      const failure = await app.client.subscribe(added, options).then(() => null, error => error);
      return {
        code: failure?.getCode() ?? 0, message: failure?.message ?? '',
        told: app.events.filter(event => event.name === 'stream-subscribed').length,
        has: [added.hasAudio(), added.hasVideo()],
        tracks: [added.getAudioTrack() !== null, added.getVideoTrack() !== null],
      };
    }; }""")
    await alice.join(room, videoCodec=codec)
    await alice.publish()
    await join_without_subscribing(bob, room)
    both = await bob.call("() => app.subscribe({ audio: true, video: true })")
    assert both["code"] == code, both
    assert "cannot decode the video of user alice" in both["message"]
    assert (both["told"], both["has"], both["tracks"]) == (1, [True, True], [True, False])
    again = await bob.call("() => app.subscribe({ audio: false, video: true })")
    assert (again["code"], again["told"]) == (code, 1), again
    sound = await bob.call("() => app.subscribe({ audio: true, video: false })")
    assert (sound["code"], sound["told"], sound["tracks"]) == (0, 2, [True, False]), sound


async def join_without_subscribing(guest: Guest, room: int) -> None:
    """Enter with an app that keeps the streams it is told of and asks for none."""
    assert guest.app is not None
    config = {"sdkAppId": guest.app.sdk_app_id, "userId": guest.user_id, "userSig": guest.app.sign(guest.user_id)}
    await guest.call(
        """async ([config, roomId]) => {
          app.added = [];
          app.client = TRTC.createClient({ mode: 'rtc', autoSubscribe: false, ...config });
          for (const name of ['stream-subscribed', 'error']) app.client.on(name, event => app.note(name, event));
          app.client.on('stream-added', ({ stream }) => app.added.push(stream));
          await app.client.join({ roomId });
        }""",
        [config, room],
    )
    await guest.until("() => app.added.length === 1", what="the stream is there")


async def test_a_page_that_is_hidden_for_good_leaves_and_one_that_is_shown_again_is_back_in_the_call(
    invite: Invite, room: int
) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    for one in (alice, bob):
        await one.join(room)
        await one.publish()
    await asyncio.gather(sees(bob, "alice"), sees(alice, "bob"))
    await alice.call("() => dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    await told(bob, "peer-leave", "alice")
    await alice.call("() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    await told(bob, "peer-join", "alice", 2)
    await asyncio.gather(sees(bob, "alice", 20), sees(alice, "bob", 20))
    states = [event["state"] for event in await alice.events("connection-state-changed")]
    assert states == ["CONNECTING", "CONNECTED", "RECONNECTING", "CONNECTED"]
    assert not await alice.events("error", "client-banned")


async def test_a_page_that_the_browser_kept_and_brings_back_is_in_its_room_again(
    browsers: Browsers, parlour: ServerProcess, app: App, pages: str, invite: Invite, room: int
) -> None:
    bob = await invite("bob", BIKES)
    await bob.join(room)
    await bob.publish()
    arguments = [*ALWAYS, *devices(film(BUNNY), speech("alice")), "--allow-loopback-in-peer-connection"]
    chromium = await browsers.playwright.chromium.launch(
        executable_path=CHROMIUM, args=arguments, ignore_default_args=["--disable-back-forward-cache"]
    )
    try:
        context = await chromium.new_context()
        page = await context.new_page()
        alice = Guest("alice", film(BUNNY), speech("alice"), page, context, parlour, app)
        await alice.open(pages)
        await alice.join(room)
        await sees(alice, "bob")
        await alice.call("() => addEventListener('pageshow', event => { app.persisted = event.persisted; })")
        await page.goto(f"{pages}/app.js")
        await page.go_back(wait_until="commit")  # a page that was kept is not loaded again
        assert await alice.page.evaluate("app.persisted") is True, "the browser kept the page"
        await told(bob, "peer-leave", "alice")
        await told(bob, "peer-join", "alice", 2)
        await sees(alice, "bob", 20)
    finally:
        await chromium.close()
