"""A page whose timers do not fire, as a hidden tab's hardly do, keeps its place: its browser answers pings."""

from __future__ import annotations

import asyncio

import pytest
from parlour.server import Server
from playwright.async_api import async_playwright

from tests.browser.harness import ALWAYS, CHROMIUM
from tests.conftest import StartServer
from tests.wire import join

pytestmark = pytest.mark.browser

FROZEN = """
for (const name of ['setTimeout', 'setInterval']) {
  const real = window[name].bind(window);
  window[name] = (call, after, ...more) => (after >= 100 ? 0 : real(call, after, ...more));
}
"""
JOIN = """async ([sdkAppId, userId, userSig]) => {
  window.client = TRTC.createClient({ mode: 'rtc', sdkAppId, userId, userSig });
  await client.join({ roomId: 1 });
}"""


async def test_a_page_whose_timers_do_not_fire_keeps_its_place(start_server: StartServer) -> None:
    server = await start_server(signaling__heartbeat_interval=1, signaling__socket_timeout=3, rooms__resume_timeout=0)
    assert isinstance(server, Server)
    ann, _ = await join(server, "ann")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ALWAYS)
        page = await browser.new_page()
        await page.add_init_script(FROZEN)
        await page.goto(f"{server.url}/healthz")
        await page.add_script_tag(url=f"{server.url}/sdk/trtc.js")
        await page.evaluate(JOIN, [server.app, "bob", server.user_sig("bob")])
        assert (await ann.event())["userId"] == "bob"
        await asyncio.sleep(9)  # three times what silence gets
        assert ann.events.empty(), "bob is still there"
        await page.evaluate("client.leave()")
        left = await ann.event()
        assert (left["type"], left["userId"]) == ("peer-leave", "bob")
        await browser.close()
    await ann.close()
