"""Temporal layers towards a real browser: with fewer it shows fewer frames, does not freeze, and gets all again."""

from __future__ import annotations

import asyncio

import pytest
from parlour.media import MediaCore
from parlour.sdp import DownlinkLine, TrackSpec, read_downlink_answer, write_downlink_offer
from parlour.sdp.uplink import read_uplink_offer, write_uplink_answer
from playwright.async_api import Page

from tests.browser.harness import Browsers
from tests.browser.test_bandwidth import DOWNLINK, UPLINK_ANSWER
from tests.browser.test_checks import page_of

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

DESCRIPTOR = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
UPLINK = """async ([codec, descriptor]) => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [160, 120];
  const drawing = canvas.getContext('2d');
  let turn = 0;
  setInterval(() => {
    drawing.fillStyle = `hsl(${turn += 7}, 90%, 50%)`;
    drawing.fillRect(turn % 100, 0, 60, 120);
  }, 40);
  const [track] = canvas.captureStream(25).getVideoTracks();
  window.uplink = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
  const sendEncodings = [{scalabilityMode: 'L1T3'}];
  const sender = window.uplink.addTransceiver(track, {direction: 'sendonly', sendEncodings});
  const {codecs} = RTCRtpSender.getCapabilities('video');
  const wanted = [`video/${codec}`, 'video/rtx'];
  sender.setCodecPreferences(codecs.filter((it) => wanted.includes(it.mimeType.toLowerCase())));
  const known = sender.getHeaderExtensionsToNegotiate();
  for (const one of known) if (one.uri === descriptor) one.direction = 'sendrecv';
  sender.setHeaderExtensionsToNegotiate(known);
  await window.uplink.setLocalDescription();
  return window.uplink.localDescription.sdp;
}"""
INBOUND = """async () => {
  const report = [...(await window.downlink.getStats()).values()].find((it) => it.type === 'inbound-rtp');
  return [report?.framesDecoded ?? 0, report?.freezeCount ?? 0, report?.keyFramesDecoded ?? 0];
}"""
PLAY = """() => {
  const video = document.body.appendChild(document.createElement('video'));
  [video.muted, video.autoplay] = [true, true];
  video.srcObject = new MediaStream([window.downlink.getReceivers()[0].track]);
}"""
SENT = """async () => {
  const report = [...(await window.uplink.getStats()).values()].find((it) => it.type === 'outbound-rtp');
  return report?.framesSent ?? 0;
}"""

HAS_SENT = f"""async (least) => {{
  while (await ({SENT})() < least) await new Promise((resolve) => setTimeout(resolve, 50));
}}"""
FRAMES = 50


@pytest.mark.parametrize("codec", ["vp8", "vp9", "av1"])
async def test_fewer_layers_are_fewer_frames_without_a_freeze_and_all_come_back(browsers: Browsers, codec: str) -> None:
    core = MediaCore(bind="0.0.0.0", port=0)
    await core.start()
    try:
        async with page_of("chromium", browsers) as page:
            uplink, downlink = core.create_transport(0), core.create_transport(0)
            offer = read_uplink_offer(await page.evaluate(UPLINK, [codec, DESCRIPTOR]))
            (published,) = [line.track for line in offer.lines if line.track is not None]
            assert (published.codec, published.dependency_descriptor_extension is None) == (codec, codec == "vp8")
            producer = core.add_producer(uplink.id, published)
            core.set_remote(uplink.id, offer.remote)
            answer = write_uplink_answer(offer, uplink.local, [published.mid], session_id=1, version=1)
            await page.evaluate(UPLINK_ANSWER, answer)

            ssrcs = [core.allocate_ssrc(downlink.id) for _ in range(2)]
            track = TrackSpec(
                "0", "video", codec, 97, 98, *ssrcs, 1, 2, True, True, published.fmtp, remb=True,
                dependency_descriptor_extension=None if codec == "vp8" else 3,
            )  # fmt: skip
            lines = [DownlinkLine(track, True, False, "s", "c")]
            text = write_downlink_offer(downlink.local, lines, session_id=1, version=1)
            taken = read_downlink_answer(await page.evaluate(DOWNLINK, text), lines)
            assert taken.remote is not None
            assert taken.accepted["0"].dependency_descriptor_extension == track.dependency_descriptor_extension
            core.set_remote(downlink.id, taken.remote)
            consumer = core.add_consumer(downlink.id, [producer], track, cname="c")
            await page.evaluate(PLAY)
            await shows(page, 0.8, 1.1)
            _, _, keyframes = await page.evaluate(INBOUND)
            for temporal, least, most in ((0, 0.15, 0.35), (1, 0.4, 0.6), (None, 0.8, 1.1)):
                core.set_consumer_source(consumer, 0, temporal)
                await shows(page, least, most)
            _, freezes, again = await page.evaluate(INBOUND)
            assert (freezes, again) == (0, keyframes), "it went on without a keyframe"
            drops = (await core.snapshot())["shards"][0]["router"]["drops"]
            assert drops["layer-left-out"] > 30
            assert not [reason for reason in drops if reason.endswith("malformed")], drops
    finally:
        await core.close()


async def shows(page: Page, least: float, most: float) -> None:
    """Wait until of 50 frames that the browser sends the share that it decodes is within bounds."""
    async with asyncio.timeout(40):
        while True:
            sent, (decoded, _, _) = await page.evaluate(SENT), await page.evaluate(INBOUND)
            await page.evaluate(HAS_SENT, sent + FRAMES)
            more = await page.evaluate(SENT) - sent
            share = ((await page.evaluate(INBOUND))[0] - decoded) / more
            if least <= share <= most:
                return
