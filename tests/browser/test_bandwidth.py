"""What browsers report on the packets that they get, and what the core's estimate makes of it."""

from __future__ import annotations

import asyncio

import pytest
from parlour.media import MediaCore
from parlour.sdp import DownlinkLine, TrackSpec, read_downlink_answer, write_downlink_offer
from parlour.sdp.uplink import read_uplink_offer, write_uplink_answer

from tests.browser.harness import Browsers
from tests.browser.test_checks import page_of

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

UPLINK = """async () => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [320, 240];
  const drawing = canvas.getContext('2d');
  let turn = 0;
  setInterval(() => {
    drawing.fillStyle = `hsl(${turn += 7}, 90%, 50%)`;
    drawing.fillRect(turn % 200, 0, 120, 240);
  }, 40);
  const picture = canvas.captureStream(25);
  window.uplink = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
  window.uplink.addTrack(picture.getVideoTracks()[0], picture);
  await window.uplink.setLocalDescription();
  return window.uplink.localDescription.sdp;
}"""
UPLINK_ANSWER = "async (sdp) => { await window.uplink.setRemoteDescription({type: 'answer', sdp}); }"
DOWNLINK = """async (sdp) => {
  window.downlink = new RTCPeerConnection();
  await window.downlink.setRemoteDescription({type: 'offer', sdp});
  await window.downlink.setLocalDescription();
  return window.downlink.localDescription.sdp;
}"""


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_a_browser_reports_on_transport_wide_numbers_and_the_estimate_knows_its_path(
    browsers: Browsers, browser: str
) -> None:
    core = MediaCore(bind="0.0.0.0", port=0)
    await core.start()
    try:
        async with page_of(browser, browsers) as page:
            uplink, downlink = core.create_transport(0), core.create_transport(0)
            offer = read_uplink_offer(await page.evaluate(UPLINK))
            (published,) = [line.track for line in offer.lines if line.track is not None]
            producer = core.add_producer(uplink.id, published)
            core.set_remote(uplink.id, offer.remote)
            mids = [line.mid for line in offer.lines]
            answer = write_uplink_answer(offer, uplink.local, mids, session_id=1, version=1)
            await page.evaluate(UPLINK_ANSWER, answer)

            ssrcs = [core.allocate_ssrc(downlink.id) for _ in range(2)]
            track = TrackSpec(
                "0", "video", published.codec, 97, 98, *ssrcs, 1, 2, True, True, published.fmtp, remb=True
            )
            lines = [DownlinkLine(track, True, False, "s", "c")]
            text = write_downlink_offer(downlink.local, lines, session_id=1, version=1)
            taken = read_downlink_answer(await page.evaluate(DOWNLINK, text), lines)
            assert taken.remote is not None
            assert taken.accepted["0"].twcc_extension == track.twcc_extension
            core.set_remote(downlink.id, taken.remote)
            core.add_consumer(downlink.id, [producer], track, cname="c")
            await acknowledged(core, downlink.id)
    finally:
        await core.close()


async def acknowledged(core: MediaCore, transport: int) -> None:
    """Wait until a second of film was acknowledged."""
    async with asyncio.timeout(40):
        while True:
            router = (await core.snapshot())["shards"][0]["router"]
            bandwidth = {it["id"]: it["bandwidth"] for it in router["transports"]}[transport]
            if bandwidth is not None and bandwidth["acknowledged"] and router["consumers"][0]["packets"] > 50:
                break
            await asyncio.sleep(0.1)
    assert bandwidth["acknowledged"] < 10_000_000
    assert bandwidth["rtt_ms"] is not None
    assert bandwidth["rtt_ms"] < 2_000
    assert "feedback-never-sent" not in router["drops"]
    # What a browser sends is well-formed, also where no RFC says so: it pads this feedback by one to three bytes.
    assert not [reason for reason in router["drops"] if reason.endswith("malformed")], router["drops"]
