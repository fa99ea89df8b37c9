"""Clients and streams work from inside of whatever an app's store makes of them: they are known by what they are."""

from __future__ import annotations

import pytest

from tests.browser.films import ROOT, film
from tests.browser.harness import PAGES, App, Browsers, Guest, ServerProcess
from tests.browser.speech import speech

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

VUE = ROOT / "web/node_modules/@vue/reactivity/dist/reactivity.global.js"
# Three cameras, for the pictures of Chromium's second one are of a kind that it cannot encode.
DEVICES = [
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream=device-count=3",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
]


@pytest.mark.parametrize("wrapper", ["vue", "readonly", "membrane", "accessors", "frozen", "heir"])
async def test_a_call_goes_through_whatever_wraps_its_client_and_streams(
    browsers: Browsers, parlour: ServerProcess, app: App, pages: str, room: int, wrapper: str
) -> None:
    browser = await browsers.launch(*DEVICES)
    contexts = [await browser.new_context() for _ in range(2)]
    alice, bob = [
        Guest(name, film("bigbuckbunny"), speech(name), await context.new_page(), context, parlour, app)
        for name, context in zip(("alice", "bob"), contexts, strict=True)
    ]
    await alice.context.add_init_script(path=PAGES / "captures.js")
    for guest in (alice, bob):
        await guest.open(pages)
    await alice.page.add_script_tag(path=VUE)
    await alice.page.add_script_tag(path=PAGES / "wrappers.js")

    await bob.join(room)
    await bob.publish()
    joining = {"sdkAppId": app.sdk_app_id, "userId": "alice", "userSig": app.sign("alice"), "roomId": room}
    await alice.call("([joining, wrapper]) => wrapped.join(joining, wrapper)", [joining, wrapper])
    await alice.until("() => wrapped.events.includes('stream-subscribed')", what="a wrapped stream is subscribed")
    assert await alice.call("() => wrapped.playRemote()") == [True, True, True]
    await alice.until("() => wrapped.frames() > 5", what="a wrapped stream shows its picture")

    await alice.call("() => wrapped.publish()")
    await bob.until("() => app.video('alice') !== null", what="alice is on bob's page")
    await bob.until_decoded("alice", 5)
    for muted, event in (("muteVideo", "mute-video"), ("unmuteVideo", "unmute-video")):
        assert await alice.call(f"() => wrapped.local.{muted}()")
        await bob.until(f"() => app.events.some(event => event.name === '{event}')", what=f"{event} is told")
    assert await alice.call("() => wrapped.change()") == [True, True, True]
    await bob.until_decoded("alice", 5)

    assert await alice.call("() => wrapped.end()") == [None, False, False]
    await bob.until("() => app.events.some(event => event.name === 'stream-removed')", what="unpublish is told")
    await bob.until("() => app.events.some(event => event.name === 'peer-leave')", what="leave is told")
    assert await alice.call("() => captures.live()") == 0
    told = await alice.call("() => wrapped.events")
    assert set(told) == {"stream-added", "stream-subscribed", "video PLAYING", "audio PLAYING"}, told
    await bob.leave()
    for context in contexts:
        await context.close()
