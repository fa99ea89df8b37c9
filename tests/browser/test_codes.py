"""Codes of the SDK that other tests do not come to, each by its real cause in a real browser."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.films import film
from tests.browser.firefox import FirefoxPage
from tests.browser.harness import App, Browsers, Guest, ServerProcess, create_app, start_server
from tests.browser.reached import reaches
from tests.browser.speech import speech

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

HELPERS = """([sdkAppId, sigs]) => {
  // What a call ended with: its code, and its text.
  window.ended = async (call) => {
    try { await call(); return [0, 'done']; } catch (error) { return [error.getCode?.() ?? -1, error.message]; }
  };
  window.made = {};
  window.client = (userId, more = {}) => {
    const own = { sdkAppId, userId, userSig: sigs[userId] };
    made[userId] = TRTC.createClient({ mode: 'rtc', autoSubscribe: false, ...own, ...more });
    made[userId].streams = [];
    made[userId].on('stream-added', ({ stream }) => made[userId].streams.push(stream));
    return made[userId];
  };
  // A picture without a camera.
  window.drawn = async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 160, height: 90 });
    const pen = canvas.getContext('2d');
    setInterval(() => pen.fillRect(0, 0, Math.random() * 160, 90), 100);
    const [videoSource] = canvas.captureStream(10).getVideoTracks();
    const stream = TRTC.createStream({ audio: false, video: false, videoSource });
    await stream.initialize();
    return stream;
  };
}"""
UNTOUCHED = """addEventListener('load', () => {
  const script = document.createElement('script');
  script.src = 'SERVER/sdk/trtc.js';
  script.onload = async () => {
    const audioSource = new AudioContext().createMediaStreamDestination().stream.getAudioTracks()[0];
    const stream = TRTC.createStream({ audio: false, video: false, audioSource });
    await stream.initialize();
    let told;
    stream.on('error', (error) => { told = error.getCode(); });
    document.body.append(Object.assign(document.createElement('div'), { id: 'here' }));
    const code = await stream.play('here', { muted: false }).then(() => 0, (error) => error.getCode());
    console.log(`ended ${code} ${told}`);
  };
  document.head.append(script);
});"""
NAMES = ("ann", "bob", "cid", "dan", "eve")


class Codes:
    """A page and what its calls end with."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    async def run(self, script: str, argument: object = None) -> Any:
        """What a function body gives back in the page."""
        return await self.guest.call(f"async (argument) => {{ {script} }}", argument)

    async def ends(self, call: str, argument: object = None) -> tuple[int, str]:
        """The code and the text that a call ends with."""
        code, text = await self.run(f"return ended(async () => {{ {call} }});", argument)
        return code, text


async def open_page(browsers: Browsers, server: ServerProcess, app: App, pages: str, *arguments: str) -> Codes:
    browser = await browsers.launch("--allow-loopback-in-peer-connection", *arguments)
    context = await browser.new_context()
    guest = Guest("ann", film("bigbuckbunny"), speech("alice"), await context.new_page(), context, server, app)
    await guest.open(pages)
    await guest.call(HELPERS, [app.sdk_app_id, {name: app.sign(name) for name in NAMES}])
    return Codes(guest)


@pytest_asyncio.fixture(loop_scope="package")
async def page(browsers: Browsers, parlour: ServerProcess, app: App, pages: str) -> AsyncIterator[Codes]:
    """A page with the SDK, on the server of all."""
    made = await open_page(browsers, parlour, app, pages)
    yield made
    await made.guest.context.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[ServerProcess, App]]:
    """A server of its own, whose rooms have two people at most, and that may be stopped."""
    data = tmp_path / "small"
    app = create_app(data)
    (settings := tmp_path / "settings.toml").write_text("[rooms]\nmax_members = 2\n")
    server = start_server(
        ["serve", "--port", "0", "--media-port", "0", "--data", str(data), "--config", str(settings)], data
    )
    yield server, app
    server.process.send_signal(signal.SIGCONT)
    assert server.stop() == 0, server.said()


@reaches(0x1000, "Joins a room that is called by a text with a client whose rooms are numbers.")
@reaches(0x1001, "Publishes before it has joined.")
async def test_what_is_asked_for_wrongly_or_at_the_wrong_time(page: Codes) -> None:
    code, text = await page.ends("await client('ann').join({ roomId: 'garden' })")
    assert (code, "roomId" in text) == (0x1000, True), text
    code, text = await page.ends("await client('ann').publish(await drawn())")
    assert (code, "please call join() before publish()" in text) == (0x1001, True), text


@reaches(0x1002, "Opens a camera on a page that came over http from another machine's name, where browsers give none.")
async def test_a_page_that_browsers_trust_with_no_camera(
    browsers: Browsers, parlour: ServerProcess, pages: str
) -> None:
    browser = await browsers.launch("--host-resolver-rules=MAP pages.example 127.0.0.1")
    tab = await browser.new_page()
    port = pages.rpartition(":")[2]
    await tab.goto(f"http://pages.example:{port}/captures.js")
    await tab.add_script_tag(url=f"{parlour.url}/sdk/trtc.js")
    code, text = await tab.evaluate(
        "() => TRTC.createStream({ audio: true, video: true }).initialize()"
        ".then(() => [0, 'done'], (error) => [error.getCode(), error.message])"
    )
    assert (code, "https" in text) == (0x1002, True), text
    await tab.close()


@reaches(0x1003, "Opens a camera on a machine that has none.")
async def test_a_machine_without_a_camera(browsers: Browsers, parlour: ServerProcess, app: App, pages: str) -> None:
    page = await open_page(
        browsers,
        parlour,
        app,
        pages,
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream=device-count=0",
    )
    code, text = await page.ends("await TRTC.createStream({ audio: false, video: true }).initialize()")
    assert (code, "this machine has no camera" in text) == (0x1003, True), text
    await page.guest.context.close()


@reaches(0x1004, "Opens a camera that the person does not let the page use.")
async def test_a_camera_that_is_not_allowed(page: Codes) -> None:
    code, text = await page.ends("await TRTC.createStream({ audio: false, video: true }).initialize()")
    assert (code, "NotAllowedError" in text) == (0x1004, True), text


@reaches(0x4001, "Joins with a UserSig of another user.")
async def test_a_signature_of_somebody_else(page: Codes, room: int) -> None:
    code, text = await page.ends(
        "const eve = client('eve'); const ann = TRTC.createClient({ ...argument[0], userId: 'ann' });"
        "await ann.join({ roomId: argument[1] })",
        [{"mode": "rtc", "sdkAppId": page.guest.app.sdk_app_id, "userSig": page.guest.app.sign("eve")}, room]
        if page.guest.app
        else None,
    )
    assert (code, "70013" in text) == (0x4001, True), text


@reaches(0x4002, "Joins where no server listens, and from a page whose Content-Security-Policy forbids it.")
async def test_a_server_that_cannot_be_reached(page: Codes, room: int) -> None:
    code, text = await page.ends(
        "const ann = client('ann'); ann.setProxyServer('ws://127.0.0.1:9'); await ann.join({ roomId: argument })", room
    )
    assert (code, "failed to connect to remote server via websocket" in text) == (0x4002, True), text
    code, text = await page.ends(
        "const rule = document.createElement('meta'); rule.httpEquiv = 'Content-Security-Policy';"
        "rule.content = \"connect-src 'none'\"; document.head.append(rule);"
        "await client('ann').join({ roomId: argument })",
        room,
    )
    assert (code, "websocket" in text) == (0x4002, True), text


@reaches(0x4004, "Joins a room that has as many members as the server allows.")
@reaches(0x4041, "Publishes while the server stands still.")
@reaches(0x4042, "Subscribes while the server stands still.")
@reaches(0x404A, "Becomes an anchor while the server stands still.")
@reaches(0x404B, "Unpublishes while the server stands still.")
async def test_a_room_that_is_full_and_a_server_that_does_not_answer(
    browsers: Browsers, small: tuple[ServerProcess, App], pages: str
) -> None:
    server, app = small
    page = await open_page(browsers, server, app, pages)
    code, text = await page.ends(
        "await client('ann').join({ roomId: 1 }); await client('bob').join({ roomId: 1 });"
        "await client('cid').join({ roomId: 1 })"
    )
    assert (code, "join failed" in text) == (0x4004, True), text
    await page.run(
        "for (const one of Object.values(made)) await one.leave().catch(() => undefined);"
        "for (const userId of ['ann', 'dan']) {"
        "  await client(userId, { mode: 'live' }).join({ roomId: 2, role: 'anchor' });"
        "  await made[userId].publish(made[userId].own = await drawn());"
        "}"
        "for (const userId of ['bob', 'cid']) await client(userId, { mode: 'live' }).join({ roomId: 2 });"
        "window.second = await drawn();"
    )
    await page.guest.until("() => made.bob.streams.length === 2", what="the streams are there")
    server.process.send_signal(signal.SIGSTOP)
    said = await page.run(
        "return Promise.all([ended(() => made.ann.publish(second, { isAuxiliary: true })),"
        " ended(() => made.bob.subscribe(made.bob.streams[0])), ended(() => made.cid.switchRole('anchor')),"
        " ended(() => made.dan.unpublish(made.dan.own))]);"
    )
    server.process.send_signal(signal.SIGCONT)
    assert [code for code, _ in said] == [0x4041, 0x4042, 0x404A, 0x404B], said
    assert all("timeout" in text for _, text in said), said
    await page.guest.context.close()


@reaches(0x4010, "Subscribes to a stream whose publisher has left.")
@reaches(0x4040, "The same user enters the room from somewhere else.")
async def test_who_is_gone_and_who_has_to_go(page: Codes, room: int) -> None:
    await page.run(
        "await client('ann').join({ roomId: argument }); await client('bob').join({ roomId: argument });"
        "await made.ann.publish(await drawn());",
        room,
    )
    await page.guest.until("() => made.bob.streams.length === 1", what="the stream is there")
    await page.run("await made.ann.leave()")
    await page.guest.until("() => made.bob.getRemoteMutedState().length === 0", what="ann is gone")
    code, text = await page.ends("await made.bob.subscribe(made.bob.streams[0])")
    assert (code, "does not publish this stream" in text) == (0x4010, True), text

    await page.run("made.bob.on('client-banned', (event) => { window.banned = event; });")
    other = await open_page_beside(page)
    await other.run("await client('bob').join({ roomId: argument })", room)
    await page.guest.until("() => window.banned !== undefined", what="bob is told")
    assert await page.run("return [banned.getCode(), banned.reason, typeof banned.message]") == [
        0x4040,
        "kick",
        "string",
    ]
    await other.guest.page.close()


async def open_page_beside(page: Codes) -> Codes:
    """Another page of the same person."""
    guest = page.guest
    assert guest.server is not None
    assert guest.app is not None
    assert not isinstance(guest.context, FirefoxPage)
    tab = await guest.context.new_page()
    other = Guest(guest.user_id, guest.film, guest.speech, tab, guest.context, guest.server, guest.app)
    await other.open(guest.page.url.split("/app.html")[0])
    await other.call(HELPERS, [guest.app.sdk_app_id, {name: guest.app.sign(name) for name in NAMES}])
    return Codes(other)


@reaches(0x4043, "Plays a sound before anybody has touched the page.")
async def test_a_page_that_nobody_has_touched_makes_no_sound(
    browsers: Browsers, parlour: ServerProcess, pages: str
) -> None:
    browser = await browsers.launch("--autoplay-policy=document-user-activation-required")
    tab = await browser.new_page()
    # The page does it by itself: what a test asks a page to do counts as done by a person.
    await tab.add_init_script(UNTOUCHED.replace("SERVER", parlour.url))
    async with tab.expect_console_message(lambda message: message.text.startswith("ended ")) as said:
        await tab.goto(f"{pages}/captures.js")
    told = await said.value
    assert told.text == f"ended {0x4043} {0x4043}"
    await tab.close()


@reaches(0x4045, "Starts to publish to a CDN, which this server does not do.")
@reaches(0x4046, "Stops to publish to a CDN.")
@reaches(0x4047, "Starts to mix streams, which this server does not do.")
@reaches(0x4048, "Stops to mix streams.")
async def test_what_this_server_does_not_do(page: Codes, room: int) -> None:
    await page.run("await client('ann').join({ roomId: argument })", room)
    calls = {
        0x4045: "startPublishCDNStream({ streamId: 'x' })",
        0x4046: "stopPublishCDNStream()",
        0x4047: "startMixTranscode({ mixUsers: [] })",
        0x4048: "stopMixTranscode()",
    }
    for wanted, call in calls.items():
        code, text = await page.ends(f"await made.ann.{call}")
        assert code == wanted, text


@reaches(0xFFFF, "Publishes with a browser whose engine fails in a way that nobody has thought of.")
async def test_what_nobody_has_thought_of(page: Codes, room: int) -> None:
    await page.run("await client('ann').join({ roomId: argument })", room)
    code, text = await page.ends(
        "RTCPeerConnection.prototype.addTransceiver = () => { throw new TypeError('out of order'); };"
        "await made.ann.publish(await drawn())"
    )
    assert (code, "out of order" in text) == (0xFFFF, True), text
