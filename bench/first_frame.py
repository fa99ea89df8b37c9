"""How long from ``join()`` to the first picture: ``python -m bench.first_frame [--runs 30] [--json FILE]``.

A server, a page that publishes and a page that joins, both in Chromium on this machine. Each run is a client of its
own: ``join()``, the stream that is there, ``subscribe``, ``play``; the time ends when the first picture was shown. Then
the same in a room in which nine publish already. Medians and the 95th of a hundred, beside what is wanted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from bench.networks import quantile
from tests.browser.films import film
from tests.browser.harness import App, Browsers, Guest, ServerProcess, create_app, serve_pages, start_server
from tests.browser.speech import speech

MEDIAN, P95 = 0.3, 0.6
"""Seconds that are wanted at most, on loopback."""
OTHERS = 9
SETTLED = 3.0
"""Seconds for those who publish to be at their rate."""

BETWEEN = 1.5
"""Seconds between two runs: who comes within half a second of another waits for the next keyframe that a publisher may
be asked for."""

PUBLISH = """async ([sdkAppId, users, roomId]) => {
  window.publishing = await Promise.all(users.map(async ([userId, userSig]) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 180 });
    const pen = canvas.getContext('2d');
    setInterval(() => { pen.fillStyle = `hsl(${Math.random() * 360}, 80%, 50%)`; pen.fillRect(0, 0, 320, 180); }, 66);
    const client = TRTC.createClient({ mode: 'rtc', sdkAppId, userId, userSig, autoSubscribe: false });
    await client.join({ roomId });
    const [videoSource] = canvas.captureStream(15).getVideoTracks();
    const stream = TRTC.createStream({ audio: false, video: false, videoSource });
    stream.setVideoProfile({ width: 320, height: 180, frameRate: 15, bitrate: 200 });
    await stream.initialize();
    await client.publish(stream);
    return [client, stream];
  }));
}"""
STOP = "async () => { for (const [client, stream] of publishing) { await client.leave(); stream.close(); } }"
JOIN = """async ([sdkAppId, userId, userSig, roomId]) => {
  const client = TRTC.createClient({ mode: 'rtc', sdkAppId, userId, userSig });
  const place = Object.assign(document.createElement('div'), { id: 'first' });
  document.body.append(place);
  let first;
  const shown = new Promise((resolve) => { first = resolve; });
  client.on('stream-added', ({ stream }) => client.subscribe(stream));
  client.on('stream-subscribed', async ({ stream }) => {
    await stream.play(place, { muted: true });
    stream.videoPlayer_.element_.requestVideoFrameCallback(() => first(performance.now()));
  });
  const began = performance.now();
  await client.join({ roomId });
  const took = (await shown) - began;
  await client.leave();
  place.remove();
  return took / 1000;
}"""


async def page_of(browsers: Browsers, server: ServerProcess, app: App, pages: str) -> Guest:
    browser = await browsers.launch("--allow-loopback-in-peer-connection", "--autoplay-policy=no-user-gesture-required")
    context = await browser.new_context()
    guest = Guest("ann", film("bigbuckbunny"), speech("alice"), await context.new_page(), context, server, app)
    await guest.open(pages)
    return guest


async def measure(runs: int, others: int, folder: Path) -> list[float]:
    """Seconds of each run, in a room in which so many publish."""
    app = create_app(folder)
    server = start_server(["serve", "--port", "0", "--media-port", "0", "--data", str(folder)], folder)
    try:
        async with async_playwright() as playwright:
            browsers = Browsers(playwright)
            with serve_pages() as pages:
                there, comes = [await page_of(browsers, server, app, pages) for _ in range(2)]
                users = [[f"user-{number}", app.sign(f"user-{number}")] for number in range(others)]
                await there.call(PUBLISH, [app.sdk_app_id, users, 1])
                await asyncio.sleep(SETTLED)
                took = []
                for run in range(runs + 1):
                    user = f"comes-{run}"
                    took.append(float(await comes.call(JOIN, [app.sdk_app_id, user, app.sign(user), 1])))
                    await asyncio.sleep(BETWEEN)
                await there.call(STOP)
                await browsers.close()
    finally:
        server.stop()
    # The first of them loads what the browser keeps from then on.
    return took[1:]


def summary(took: list[float]) -> dict[str, Any]:
    """In milliseconds."""
    ordered = sorted(took)
    return {
        "runs": len(ordered),
        "median": round(1000 * statistics.median(ordered)),
        "p95": round(1000 * quantile(ordered, 0.95)),
        "range": [round(1000 * ordered[0]), round(1000 * ordered[-1])],
    }


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(prog="python -m bench.first_frame", description=__doc__.partition(":")[0])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured")
    options = parser.parse_args()
    measured: dict[str, dict[str, Any]] = {}
    for others, name in ((1, "second member"), (OTHERS, "tenth member")):
        with tempfile.TemporaryDirectory() as folder:
            measured[name] = summary(asyncio.run(measure(options.runs, others, Path(folder))))
        one = measured[name]
        print(
            f"{name}: first picture {one['median']} ms after join() (median of {one['runs']}, wanted below"
            f" {1000 * MEDIAN:.0f}), p95 {one['p95']} ms (below {1000 * P95:.0f}), {one['range'][0]} to"
            f" {one['range'][1]} ms"
        )
    if options.json:
        options.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
