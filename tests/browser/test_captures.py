"""What a stream captures has one owner: the new is open before the old goes, what fails restores, close() ends all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext

from tests.browser.films import film
from tests.browser.harness import PAGES, App, Browsers, Guest, ServerProcess
from tests.browser.reached import reaches
from tests.browser.speech import speech

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

CAPTURES = PAGES / "captures.js"
INVALID_PARAMETER, INVALID_OPERATION, INITIALIZE_FAILED = 0x1000, 0x1001, 0x1004
CREATE_OFFER_FAILED, RECOVER_FAILED = 0x4005, 0x4044

# Two cameras and microphones of Chromium's own, and a person who allows everything.
DEVICES = [
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream=device-count=2",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
]


@pytest_asyncio.fixture(loop_scope="package")
async def guest(browsers: Browsers, parlour: ServerProcess, app: App, pages: str) -> AsyncIterator[Guest]:
    """A page with the SDK and two cameras, which counts its captures; none may be left open."""
    browser = await browsers.launch(*DEVICES)
    async with counting(await browser.new_context(), parlour, app, pages) as made:
        yield made


@asynccontextmanager
async def counting(context: BrowserContext, parlour: ServerProcess, app: App, pages: str) -> AsyncIterator[Guest]:
    """A page of that context that counts what it captures; nothing may be left of ``window.stream`` at the end."""
    await context.add_init_script(path=CAPTURES)
    made = Guest("alice", film("bigbuckbunny"), speech("alice"), await context.new_page(), context, parlour, app)
    await made.open(pages)
    yield made
    await made.call("() => window.stream?.close()")
    await made.until("() => captures.live() === 0", what="nothing is captured any more after close()")
    await context.close()


async def opened(guest: Guest, config: str = "{ video: true }") -> None:
    """Make ``window.stream`` and initialize it."""
    await guest.call(
        f"async () => {{ window.stream = TRTC.createStream({config}); await stream.initialize();"
        " window.cameras = (await TRTC.getCameras()).map(camera => camera.deviceId); }"
    )


SHOWN = "stream.getVideoTrack().getSettings().deviceId"


async def test_a_device_that_cannot_be_opened_leaves_the_stream_the_one_it_has(guest: Guest) -> None:
    await opened(guest)
    refused = await guest.call("() => outcome(stream.switchDevice('video', 'no-such-camera'))")
    assert (refused["code"], refused["name"]) == (INITIALIZE_FAILED, "OverconstrainedError")
    assert await guest.call(f"() => stream.getVideoTrack().readyState === 'live' && {SHOWN} === cameras[0]")
    assert await guest.call("() => outcome(stream.switchDevice('video', cameras[1]))") == "done"
    assert await guest.call(f"() => [stream.getVideoTrack().readyState, {SHOWN} === cameras[1]]") == ["live", True]
    assert await guest.call("() => captures.live()") == 1


async def test_a_stream_goes_on_from_a_track_that_ended_by_itself(guest: Guest) -> None:
    await opened(guest)
    # What an unplugged camera leaves behind.
    await guest.call("() => stream.getVideoTrack().stop()")
    assert await guest.call("() => outcome(stream.switchDevice('video', cameras[0]))") == "done"
    assert await guest.call("() => stream.getVideoTrack().readyState") == "live"


async def test_switching_to_the_device_in_use_opens_nothing(guest: Guest) -> None:
    await opened(guest)
    assert await guest.call("() => outcome(stream.switchDevice('video', cameras[0]))") == "done"
    assert await guest.call("() => captures.asked.length") == 1


async def test_overlapping_switches_are_carried_out_in_turn_and_leave_one_device_open(guest: Guest) -> None:
    await opened(guest)
    ended = await guest.call(
        "() => Promise.all([1, 0, 1].map(at => outcome(stream.switchDevice('video', cameras[at]))))"
    )
    assert ended == ["done", "done", "done"]
    assert await guest.call(f"() => [captures.live(), {SHOWN} === cameras[1]]") == [1, True]


async def test_a_device_that_opens_only_once_is_let_go_before_the_next_is_opened(guest: Guest) -> None:
    await opened(guest)
    await guest.call("() => { captures.settings.single = true; }")
    assert await guest.call("() => outcome(stream.switchDevice('video', cameras[1]))") == "done"
    assert await guest.call(f"() => [captures.live(), {SHOWN} === cameras[1]]") == [1, True]


async def test_a_device_that_made_room_in_vain_is_opened_again(guest: Guest) -> None:
    await opened(guest)
    await guest.call("() => { captures.settings.refused = ['NotReadableError', 'NotReadableError']; }")
    refused = await guest.call("() => outcome(stream.switchDevice('video', cameras[1]))")
    assert (refused["code"], refused["name"]) == (INITIALIZE_FAILED, "NotReadableError")
    assert await guest.call(f"() => [captures.live(), {SHOWN} === cameras[0]]") == [1, True]
    assert await guest.call("() => outcome(stream.switchDevice('video', cameras[1]))") == "done"


async def test_a_device_that_does_not_come_back_is_told_and_another_may_take_its_place(guest: Guest) -> None:
    await opened(guest)
    await guest.call(
        "() => { captures.settings.refused = Array(3).fill('NotReadableError');"
        " window.told = []; stream.on('error', error => told.push(error.getCode())); }"
    )
    assert (await guest.call("() => outcome(stream.switchDevice('video', cameras[1]))"))["code"] == INITIALIZE_FAILED
    assert await guest.call("() => told") == [RECOVER_FAILED]
    assert await guest.call("() => captures.live()") == 0
    assert await guest.call("() => outcome(stream.switchDevice('video', cameras[0]))") == "done"
    assert await guest.call("() => captures.live()") == 1


async def test_a_mute_during_a_switch_holds_for_the_new_device(guest: Guest) -> None:
    await opened(guest)
    await guest.call(
        "() => { captures.settings.held = 1; window.switching = outcome(stream.switchDevice('video', cameras[1])); }"
    )
    await guest.until("() => captures.waiting() === 1", what="the other camera is being opened")
    assert await guest.call("() => { const told = stream.muteVideo(); captures.release(); return told; }")
    assert await guest.call("() => switching") == "done"
    assert await guest.call("() => stream.getVideoTrack().enabled") is False


@pytest.mark.parametrize("doing", ["initialize()", "switchDevice('video', cameras[1])"])
async def test_closing_while_a_device_is_being_opened_ends_the_call_and_the_capture(guest: Guest, doing: str) -> None:
    await opened(guest)
    if doing == "initialize()":
        await guest.call("() => stream.close()")
    await guest.call(f"() => {{ captures.settings.held = 1; window.ending = outcome(stream.{doing}); }}")
    await guest.until("() => captures.waiting() === 1", what="the device is open and not handed over yet")
    await guest.call("() => stream.close()")
    # At once, and not only when the person has answered the browser.
    ended = await guest.call("() => ending")
    assert ended["code"] == INVALID_OPERATION
    assert "closed meanwhile" in ended["message"]
    await guest.call("() => captures.release()")
    await guest.until("() => captures.live() === 0", what="what was opened too late is stopped")
    assert await guest.call("() => [stream.hasVideo(), stream.getVideoTrack()]") == [False, None]
    assert await guest.call("() => outcome(stream.initialize())") == "done"
    assert await guest.call("() => captures.live()") == 1


async def test_a_stream_initialized_again_before_its_first_opening_ended_holds_the_second_alone(guest: Guest) -> None:
    await guest.call(
        "() => { window.stream = TRTC.createStream({ audio: true, video: true }); captures.settings.held = 1;"
        " window.first = outcome(stream.initialize()); }"
    )
    await guest.until("() => captures.waiting() === 1", what="the first opening waits")
    await guest.call("async () => { stream.close(); await stream.initialize(); captures.release(); }")
    assert (await guest.call("() => first"))["code"] == INVALID_OPERATION
    await guest.until("() => captures.live() === 2", what="two of the four tracks are left")
    assert await guest.call("() => [stream.getAudioTrack(), stream.getVideoTrack()].map(one => one.readyState)") == [
        "live",
        "live",
    ]


async def test_initializing_twice_at_once_opens_the_devices_once(guest: Guest) -> None:
    await guest.call(
        "async () => { window.stream = TRTC.createStream({ audio: true, video: true });"
        " await Promise.all([stream.initialize(), stream.initialize()]); await stream.initialize(); }"
    )
    assert await guest.call("() => [captures.asked.length, captures.live()]") == [1, 2]


async def test_a_profile_set_while_the_camera_is_being_opened_reaches_the_camera(guest: Guest) -> None:
    await guest.call(
        "() => { window.stream = TRTC.createStream({ video: true }); captures.settings.held = 1;"
        " window.opening = stream.initialize(); }"
    )
    await guest.until("() => captures.waiting() === 1", what="the camera is being opened")
    await guest.call("async () => { stream.setVideoProfile('120p'); captures.release(); await opening; }")
    await guest.until("() => stream.getVideoTrack().getSettings().width === 160", what="the picture is 160 wide")


@pytest.mark.parametrize("how", ["refused", "ended"])
async def test_a_screen_without_its_microphone_is_not_left_captured(guest: Guest, how: str) -> None:
    await guest.call(
        "() => { window.stream = TRTC.createStream({ screen: true, audio: true }); captures.settings.held = 1;"
        " window.opening = outcome(stream.initialize()); }"
    )
    await guest.until("() => captures.waiting() === 1", what="the screen is granted")
    if how == "refused":
        await guest.call("() => { captures.settings.refused = ['NotAllowedError']; captures.release(); }")
    else:
        await guest.call("() => { captures.tracks[0].stop(); captures.release(); }")
    ended = await guest.call("() => opening")
    expected = "NotAllowedError" if how == "refused" else "AbortError"
    assert (ended["code"], ended["name"]) == (INITIALIZE_FAILED, expected)
    assert await guest.call("() => [captures.live(), stream.hasVideo(), stream.hasAudio()]") == [0, False, False]


async def test_the_microphone_beside_a_screen_may_be_switched_and_the_screen_may_not(guest: Guest) -> None:
    await opened(guest, "{ screen: true, audio: true }")
    assert await guest.call(
        "async () => outcome(stream.switchDevice('audio', (await TRTC.getMicrophones())[1].deviceId))"
    ) == ("done")
    assert (await guest.call("() => outcome(stream.switchDevice('video', cameras[0]))"))["code"] == INVALID_OPERATION
    assert await guest.call("() => [captures.live('video'), captures.live('audio')]") == [1, 1]


async def test_a_microphone_that_is_denied_leaves_no_camera_on(
    browsers: Browsers, parlour: ServerProcess, app: App, pages: str
) -> None:
    browser = await browsers.launch("--use-fake-device-for-media-stream=device-count=2")
    context = await browser.new_context()
    await context.grant_permissions(["camera"], origin=pages)
    await context.add_init_script(path=CAPTURES)
    guest = Guest("alice", film("bigbuckbunny"), speech("alice"), await context.new_page(), context, parlour, app)
    await guest.open(pages)
    await opened(guest)
    await guest.call("() => { window.both = TRTC.createStream({ audio: true, video: true }); }")
    denied = await guest.call("() => outcome(both.initialize())")
    assert (denied["code"], denied["name"]) == (INITIALIZE_FAILED, "NotAllowedError")
    assert await guest.call("() => [captures.live('video'), captures.live('audio'), both.hasVideo()]") == [1, 0, False]
    await guest.call("() => stream.close()")
    assert await guest.call("() => captures.live()") == 0
    await context.close()


async def test_something_that_is_no_track_changes_nothing(guest: Guest) -> None:
    await opened(guest)
    for call in ("replaceTrack({ kind: 'video' })", "removeTrack({ kind: 'video', id: 'other' })"):
        refused = await guest.call(f"() => outcome(stream.{call})")
        assert refused["code"] == INVALID_PARAMETER, call
    assert (await guest.call("() => outcome(stream.addTrack({ kind: 'audio' }))"))["code"] == INVALID_PARAMETER
    assert await guest.call("() => [stream.hasAudio(), stream.getVideoTrack().readyState]") == [False, "live"]
    mixed = "{ audio: true, videoSource: { kind: 'video' } }"
    await guest.call("() => stream.close()")
    refused = await guest.call(
        f"() => {{ window.stream = TRTC.createStream({mixed}); return outcome(stream.initialize()); }}"
    )
    assert refused["code"] == INVALID_PARAMETER
    assert await guest.call("() => [captures.live(), stream.hasAudio()]") == [0, False]


async def test_a_stream_that_lost_a_track_still_says_whether_it_plays(guest: Guest) -> None:
    await opened(guest, "{ audio: true, video: true }")
    await guest.call("() => stream.play('remotes')")
    assert await guest.call("() => stream.isPlaying()")
    await guest.call("() => stream.removeTrack(stream.getVideoTrack())")
    assert await guest.call("() => stream.isPlaying()")
    assert await guest.call("() => document.querySelectorAll('#remotes video').length") == 0
    await guest.call("() => stream.removeTrack(stream.getAudioTrack())")
    assert await guest.call("() => stream.isPlaying()") is False
    assert await guest.call("() => stream.videoPlayer_") is None
    await guest.call("() => stream.play('remotes')")


async def test_a_play_that_fails_leaves_no_half_player_and_one_that_is_stopped_leaves_none(guest: Guest) -> None:
    await opened(guest)
    refused = await guest.call("() => outcome(stream.play('nowhere'))")
    assert refused["code"] == INVALID_PARAMETER
    assert (await guest.call("() => outcome(stream.resume())"))["code"] == INVALID_OPERATION
    await guest.call("() => stream.play('remotes')")
    inside = "document.getElementById('player_' + stream.getId())"
    assert (await guest.call(f"() => outcome(stream.play({inside}))"))["code"] == INVALID_PARAMETER
    assert await guest.call("() => stream.isPlaying()")
    await guest.call("() => { const playing = stream.play('remotes'); stream.stop(); return playing; }")
    assert await guest.call(f"() => [{inside}, stream.isPlaying()]") == [None, False]


SENT = "connections.at(-1).getSenders().map(sender => sender.track?.id ?? null)"


async def test_the_last_track_of_a_published_stream_is_refused_while_it_is_still_there(guest: Guest, room: int) -> None:
    await opened(guest)
    await guest.join(room)
    await guest.call("() => app.client.publish(stream)")
    refused = await guest.call("() => outcome(stream.removeTrack(stream.getVideoTrack()))")
    assert refused["code"] == INVALID_OPERATION
    assert "unpublish()" in refused["message"]
    assert await guest.call(f"() => {SENT}.includes(stream.getVideoTrack().id)")
    await guest.call("() => app.client.unpublish(stream)")
    assert await guest.call("() => outcome(stream.removeTrack(stream.getVideoTrack()))") == "done"
    await guest.leave()


async def test_a_track_that_cannot_be_sent_leaves_the_one_that_is_sent(guest: Guest, room: int) -> None:
    await opened(guest)
    await guest.join(room)
    await guest.call("() => app.client.publish(stream)")
    await guest.call(
        "() => { const real = RTCRtpSender.prototype.replaceTrack;"
        " RTCRtpSender.prototype.replaceTrack = function () { RTCRtpSender.prototype.replaceTrack = real;"
        " return Promise.reject(new DOMException('as the test wants it', 'InvalidModificationError')); };"
        " window.before = stream.getVideoTrack(); }"
    )
    assert await guest.call("() => outcome(stream.switchDevice('video', cameras[1]))") != "done"
    assert await guest.call("() => [stream.getVideoTrack() === before, before.readyState, captures.live()]") == [
        True,
        "live",
        1,
    ]
    assert await guest.call(f"() => {SENT}.includes(before.id)")
    await guest.leave()


@reaches(0x4005, "Adds a track while the browser cannot make an offer.")
@pytest.mark.parametrize("change", ["add", "remove"])
async def test_a_change_of_tracks_that_cannot_be_negotiated_is_taken_back(guest: Guest, room: int, change: str) -> None:
    await opened(guest, "{ audio: true, video: true }")
    if change == "add":
        await guest.call("async () => { window.video = stream.getVideoTrack(); await stream.removeTrack(video); }")
    await guest.join(room)
    await guest.call("() => app.client.publish(stream)")
    await guest.call(
        "() => { const real = RTCPeerConnection.prototype.createOffer;"
        " RTCPeerConnection.prototype.createOffer = function () { RTCPeerConnection.prototype.createOffer = real;"
        " return Promise.reject(new DOMException('as the test wants it', 'OperationError')); }; }"
    )
    doing = "stream.addTrack(video)" if change == "add" else "stream.removeTrack(stream.getVideoTrack())"
    assert (await guest.call(f"() => outcome({doing})"))["code"] == CREATE_OFFER_FAILED
    assert await guest.call("() => stream.hasVideo()") is (change == "remove")
    if change == "remove":
        await guest.until(f"() => {SENT}.includes(stream.getVideoTrack().id)", what="the picture is sent again")
    else:
        assert await guest.call("() => outcome(stream.addTrack(video))") == "done"
        assert await guest.call(f"() => {SENT}.includes(video.id)")
    await guest.leave()


async def test_what_changes_while_a_stream_is_being_published_reaches_the_others(guest: Guest, room: int) -> None:
    await opened(guest, "{ audio: true, video: true }")
    await guest.join(room)
    await guest.call(
        "() => { const real = RTCPeerConnection.prototype.setRemoteDescription;"
        " RTCPeerConnection.prototype.setRemoteDescription = async function (...given) {"
        " RTCPeerConnection.prototype.setRemoteDescription = real; await real.apply(this, given);"
        " stream.muteAudio(); stream.setVideoProfile('120p'); await stream.switchDevice('video', cameras[1]); }; }"
    )
    assert await guest.call("() => outcome(app.client.publish(stream))") == "done"
    await guest.until(f"() => {SENT}.includes(stream.getVideoTrack().id)", what="the other camera is sent")
    sender = "connections.at(-1).getSenders().find(one => one.track?.kind === 'video')"
    bitrate = f"{sender}.getParameters().encodings[0].maxBitrate"
    await guest.until(f"() => {bitrate} === 200_000", what="the encoder is held to the new profile")
    await guest.call(
        "async ([sdkAppId, userId, userSig, roomId]) => {"
        " window.bob = TRTC.createClient({ sdkAppId, userId, userSig, autoSubscribe: false });"
        " await bob.join({ roomId }); }",
        [guest.app.sdk_app_id, "bob", guest.app.sign("bob"), room] if guest.app else None,
    )
    await guest.until("() => bob.getRemoteMutedState()[0]?.audioMuted === true", what="the mute is told")
    await guest.call("() => bob.leave()")
    await guest.leave()
