"""Peers of every kind answer the server's own ICE checks: those prove where media may go, and later keep consent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from parlour.media import MediaCore
from parlour.sdp.uplink import read_uplink_offer, write_uplink_answer

from tests.browser.firefox import Firefox
from tests.browser.harness import Browsers
from tests.peers.ortc_peer import OrtcPeer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

OFFER = """async () => {
  window.connection = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
  window.connection.addTransceiver('audio', {direction: 'sendonly'});
  await window.connection.setLocalDescription();
  return window.connection.localDescription.sdp;
}"""
ANSWER = "async (sdp) => { await window.connection.setRemoteDescription({type: 'answer', sdp}); }"


@asynccontextmanager
async def page_of(browser: str, browsers: Browsers) -> AsyncIterator[Any]:
    """An empty page."""
    if browser == "firefox":
        async with Firefox() as firefox:
            yield await firefox.new_page()
        return
    page = await (await browsers.launch("--allow-loopback-in-peer-connection")).new_page()
    yield page
    await page.close()


@pytest.mark.parametrize("peer", ["chromium", "firefox", "aiortc"])
async def test_a_peer_answers_the_checks_that_prove_its_address_and_those_that_keep_consent(
    browsers: Browsers, peer: str
) -> None:
    core = MediaCore(bind="0.0.0.0", port=0)
    await core.start()
    try:
        transport = core.create_transport(0)
        if peer == "aiortc":
            other = OrtcPeer()
            core.set_remote(transport.id, other.parameters)
            await other.connect(transport.local)
            await proven(core)
            await other.close()
            return
        async with page_of(peer, browsers) as page:
            offer = read_uplink_offer(await page.evaluate(OFFER))
            core.set_remote(transport.id, offer.remote)
            mids = [line.mid for line in offer.lines]
            await page.evaluate(ANSWER, write_uplink_answer(offer, transport.local, mids, session_id=1, version=1))
            await proven(core)
    finally:
        await core.close()


async def proven(core: MediaCore) -> None:
    """Wait until a check proved the path and another one, seconds later, was answered as well."""
    async with asyncio.timeout(40):
        while True:
            router = (await core.snapshot())["shards"][0]["router"]
            (transport,) = router["transports"]
            if transport["state"] == "connected" and router["paths"]["checks_answered"] >= 2:
                break
            await asyncio.sleep(0.1)
    assert transport["proof"] == "answer"
    assert router["paths"]["by_media"] == 0
    assert "stun-error-answer" not in router["drops"]
    assert "stun-bad-integrity" not in router["drops"]
