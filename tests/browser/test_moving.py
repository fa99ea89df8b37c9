"""The pages of ``docs/moving.md``, as they stand there."""

from __future__ import annotations

import asyncio
import functools
import re
import threading
from collections.abc import Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.browser.films import film
from tests.browser.harness import DEADLINE, ROOT, App, Browsers, ServerProcess
from tests.browser.speech import speech

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

GUIDE = ROOT / "docs" / "moving.md"
SDK = ROOT / "python" / "parlour" / "static" / "sdk" / "trtc.js"
SHOWS = """() => {
  const video = document.querySelector('#remote video');
  return video !== null && video.videoWidth > 0 && video.currentTime > 1;
}"""


def blocks() -> Sequence[str]:
    """The pages of the guide, in order."""
    found: list[str] = re.findall(r"^```html\n(.*?)^```$", GUIDE.read_text(), re.M | re.S)
    return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The reader's own site, whose files are in ``tmp_path``, with a copy of the script."""
    (tmp_path / "trtc.js").write_bytes(SDK.read_bytes())
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join()


async def open_page(browsers: Browsers, text: str, server: ServerProcess, app: App, user: str, where: Path) -> Page:
    """A page of that text, with what a reader puts in of their own, in a file of the site; nothing is loaded yet."""
    own = {"https://your-server": server.url, "'ann'": f"'{user}'", "your-user-sig": app.sign(user)}
    for theirs, ours in own.items():
        text = text.replace(theirs, ours)
    (where / f"{user}.html").write_text(text)
    browser = await browsers.with_devices(film("bigbuckbunny"), speech("alice"))
    return await (await browser.new_context()).new_page()


async def test_a_page_whose_script_alone_was_changed_is_a_call(
    browsers: Browsers, parlour: ServerProcess, app: App, site: str, tmp_path: Path
) -> None:
    whole, _ = blocks()
    pages = [await open_page(browsers, whole, parlour, app, user, tmp_path) for user in ("ann", "bob")]
    await asyncio.gather(*(page.goto(f"{site}/{user}.html") for page, user in zip(pages, ("ann", "bob"), strict=True)))
    for page in pages:
        await page.wait_for_function(SHOWS, timeout=DEADLINE * 1000)
    await asyncio.gather(*(page.context.close() for page in pages))


async def test_a_copy_of_the_script_goes_where_the_page_says(
    browsers: Browsers, parlour: ServerProcess, app: App, site: str, tmp_path: Path, room: int
) -> None:
    _, copy = blocks()
    page = await open_page(browsers, copy, parlour, app, "cid", tmp_path)
    await page.goto(f"{site}/cid.html")
    loaded = await page.evaluate(
        """async ([sdkAppId, userSig, roomId]) => {
          const client = TRTC.createClient({ mode: 'rtc', sdkAppId, userId: 'cid', userSig });
          await client.join({ roomId });
          await client.leave();
          return performance.getEntriesByType('resource').map((one) => one.name);
        }""",
        [app.sdk_app_id, app.sign("cid"), room],
    )
    assert f"{site}/trtc.js" in loaded
    assert not any(one.startswith(parlour.url) for one in loaded), "the script came from the page's own origin"
    await page.context.close()
