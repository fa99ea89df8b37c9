"""Cameras and microphones that end by themselves: captured again, or told of and captured again once that goes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.browser.harness import App, Browsers, Guest, ServerProcess
from tests.browser.reached import reaches
from tests.browser.test_captures import RECOVER_FAILED, SENT, counting, opened

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

LISTEN = """() => {
  window.recovered = []; window.failures = [];
  stream.on('device-auto-recovered', (event) => recovered.push(event));
  stream.on('error', (error) => failures.push({ code: error.getCode(), message: error.message }));
}"""
# What an unplugged device leaves behind: Chromium's own cannot be pulled out.
UNPLUG = """(kind) => {
  const track = kind === 'video' ? stream.getVideoTrack() : stream.getAudioTrack();
  track.stop(); track.dispatchEvent(new Event('ended')); return track.id;
}"""


@pytest_asyncio.fixture(loop_scope="package")
async def guest(browsers: Browsers, parlour: ServerProcess, app: App, pages: str) -> AsyncIterator[Guest]:
    """A page that may use two cameras and microphones until it is not allowed any more."""
    browser = await browsers.launch("--use-fake-device-for-media-stream=device-count=2")
    context = await browser.new_context()
    await context.grant_permissions(["camera", "microphone"], origin=pages)
    async with counting(context, parlour, app, pages) as made:
        yield made


@pytest.mark.parametrize("kind", ["video", "audio"])
async def test_a_device_that_was_pulled_out_is_replaced_at_once_and_sent_as_it_was(
    guest: Guest, room: int, kind: str
) -> None:
    await opened(guest, "{ audio: true, video: true }")
    await guest.call(LISTEN)
    await guest.join(room)
    await guest.call("() => app.client.publish(stream)")
    await guest.call(f"() => stream.mute{kind.capitalize()}()")
    gone = await guest.call(UNPLUG, kind)
    await guest.until("() => recovered.length === 1", what="the app hears of it")
    (event,) = await guest.call("() => recovered")
    cameras, microphones = await guest.call(
        "async () => [(await TRTC.getCameras()).map(one => one.deviceId),"
        " (await navigator.mediaDevices.enumerateDevices())"
        ".filter(one => one.kind === 'audioinput').map(one => one.deviceId)]"
    )
    assert (event["isCamera"], event["isMicrophone"]) == (kind == "video", kind == "audio")
    assert event["cameraId"] in cameras
    assert event["microphoneId"] in microphones
    track = f"stream.get{kind.capitalize()}Track()"
    assert await guest.call(f"() => [{track}.readyState, {track}.enabled]") == ["live", False]
    assert await guest.call(f"() => {track}.id") != gone
    assert await guest.call(f"() => {SENT}.includes({track}.id)")
    assert await guest.call("() => [captures.live('video'), captures.live('audio'), failures]") == [1, 1, []]
    await guest.leave()


@reaches(0x4044, "Takes the permission for camera and microphone away during a call.")
async def test_what_is_not_allowed_any_more_is_told_once_and_comes_back_when_it_is(
    guest: Guest, pages: str, room: int
) -> None:
    await opened(guest, "{ audio: true, video: true }")
    await guest.call(LISTEN)
    await guest.join(room)
    await guest.call("() => app.client.publish(stream)")
    await guest.context.clear_permissions()
    await guest.until("() => failures.length === 2", what="camera and microphone are told of")
    failures = await guest.call("() => failures")
    assert [one["code"] for one in failures] == [RECOVER_FAILED] * 2
    assert {word for one in failures for word in ("video", "audio") if word in one["message"]} == {"video", "audio"}
    assert all("NotAllowedError" in one["message"] for one in failures), failures
    # Nothing that changes is a reason to tell it once more.
    await guest.call("() => navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    await guest.until("() => captures.asked.length >= 5", what="both are tried again")
    assert await guest.call("() => [captures.live(), stream.hasVideo(), recovered]") == [0, True, []]
    await guest.context.grant_permissions(["camera", "microphone"], origin=pages)
    await guest.until("() => recovered.length === 2", what="both are back")
    sent = f"() => {SENT}.includes(stream.getVideoTrack().id) && {SENT}.includes(stream.getAudioTrack().id)"
    assert await guest.call(sent)
    assert await guest.call("() => [captures.live('video'), captures.live('audio'), failures.length]") == [1, 1, 2]
    await guest.leave()


@pytest.mark.parametrize("meanwhile", ["closed", "switched", "replaced"])
async def test_a_device_that_is_gone_is_not_waited_for_any_more_once_something_else_is_there(
    guest: Guest, meanwhile: str
) -> None:
    await opened(guest)
    await guest.call(LISTEN)
    await guest.call("() => { captures.settings.refused = ['NotReadableError']; }")
    await guest.call(UNPLUG, "video")
    await guest.until("() => failures.length === 1", what="that it cannot be opened is told")
    if meanwhile == "closed":
        await guest.call("() => stream.close()")
    elif meanwhile == "switched":
        assert await guest.call("() => outcome(stream.switchDevice('video', cameras[1]))") == "done"
    else:
        await guest.call("() => { window.own = document.createElement('canvas').captureStream(1).getTracks()[0]; }")
        assert await guest.call("() => outcome(stream.replaceTrack(own))") == "done"
    asked = await guest.call("() => captures.asked.length")
    await guest.call("() => navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    await guest.call("() => new Promise(requestAnimationFrame)")
    assert await guest.call("() => [captures.asked.length, recovered, failures.length]") == [asked, [], 1]
    assert await guest.call("() => captures.live()") == (1 if meanwhile == "switched" else 0)


async def test_tracks_of_the_app_are_not_captured_again(guest: Guest) -> None:
    await guest.call(
        "async () => { window.own = document.createElement('canvas').captureStream(1).getTracks()[0];"
        " window.stream = TRTC.createStream({ audio: false, video: false, videoSource: own });"
        " await stream.initialize(); }"
    )
    await guest.call(LISTEN)
    await guest.call(UNPLUG, "video")
    await guest.call("() => new Promise(requestAnimationFrame)")
    assert await guest.call("() => [captures.asked.length, recovered, failures]") == [0, [], []]
