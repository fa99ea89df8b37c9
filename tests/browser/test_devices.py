"""The browsers' cameras and microphones themselves: without a server between, the film and the speech are known."""

from __future__ import annotations

import pytest

from tests.browser.films import SAME_FILM, film, similarity
from tests.browser.harness import Browsers, Guest
from tests.browser.speech import SAME_SPEECH, correlation, speech

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]


async def test_a_page_that_calls_itself_gets_the_film_and_the_speech(browsers: Browsers, pages: str) -> None:
    shown, spoken = film("bigbuckbunny"), speech("alice")
    browser = await browsers.with_devices(shown, spoken)
    context = await browser.new_context()
    guest = Guest("alice", shown, spoken, await context.new_page(), context, None, None)
    await guest.open(pages)
    await guest.call("() => app.loop('alice')")
    await guest.until_decoded("alice", 30)
    figures = [similarity(picture, shown) for picture in await guest.grab("alice")]
    assert min(figures) >= SAME_FILM, figures
    assert max(similarity(picture, film("bikes")) for picture in await guest.grab("alice")) < SAME_FILM
    heard = await guest.hear("alice", spoken)
    assert correlation(heard, 48_000, speech("bob")) < SAME_SPEECH
    await context.close()
