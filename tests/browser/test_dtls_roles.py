"""Two more WebRTC stacks in one room, pion and aiortc, in each role of DTLS: what one sends the other sends back.

aiortc shows a film and speaks; pion receives both and publishes the very packets again; aiortc sees its film and hears
its speech. So media crosses both connections of both, in both directions.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Literal

import pytest

from tests.browser.films import SAME_FILM, film, similarity
from tests.browser.harness import App, ServerProcess
from tests.browser.speech import SAME_SPEECH, correlation, speech
from tests.browser.test_call import BIKES
from tests.peers.aiortc_peer import AiortcPeer, Setup
from tests.peers.pion_peer import PionPeer, build
from tests.peers.tracks import FilmTrack, SpeechTrack, pictures_of, sound_of

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

FRAMES = 45


@pytest.fixture(scope="module")
def pion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program."""
    return build(tmp_path_factory.mktemp("pion"))


def setups(sdp: str) -> set[str]:
    return set(re.findall(r"a=setup:(\S+)", sdp))


@pytest.mark.parametrize(
    ("pion_offers", "pion_answers", "aiortc_offers", "is_aiortc_passive"),
    [
        # pion's own choice towards a lite server is to wait; a browser's is to say hello.
        ("actpass", "auto", "actpass", False),
        ("passive", "server", "passive", True),
        ("active", "client", "active", True),
    ],
)
async def test_pion_and_aiortc_call_each_other_whoever_says_hello(
    parlour: ServerProcess,
    app: App,
    room: int,
    pion: Path,
    pion_offers: Setup,
    pion_answers: Literal["auto", "client", "server"],
    aiortc_offers: Setup,
    is_aiortc_passive: bool,
) -> None:
    bikes, words = film(BIKES), speech("bob")
    echo = PionPeer(parlour.url, pion, offers=pion_offers, answers=pion_answers)
    peer = AiortcPeer(parlour.url, offers=aiortc_offers, is_passive=is_aiortc_passive)
    try:
        async with asyncio.timeout(90):
            await echo.start()
            await echo.join(app.sdk_app_id, "pion", app.sign("pion"), room)
            await peer.join(app.sdk_app_id, "ortc", app.sign("ortc"), room)
            await echo.republish()
            await echo.connected("uplink")
            await peer.publish(FilmTrack(bikes), SpeechTrack(words))
            await echo.subscribe("ortc")
            await echo.connected("downlink")
            await peer.subscribe("pion")
            seen = await pictures_of(await peer.track("pion", "video"), FRAMES)
            heard = await sound_of(await peer.track("pion", "audio"), 4.0)
        assert min(similarity(picture, bikes) for picture in seen) >= SAME_FILM
        assert correlation(heard, 48_000, words) >= SAME_SPEECH
        # Who was what, as it was negotiated.
        assert setups(echo.accepted) == {"active" if pion_offers == "passive" else "passive"}
        assert setups(echo.answered[0]) == {"active" if pion_answers == "client" else "passive"}
    finally:
        await peer.close()
        await echo.close()
