"""A second WebRTC stack in the room: aiortc sends film and speech to a browser and receives the browser's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.browser.conftest import Invite
from tests.browser.films import SAME_FILM, film, similarity
from tests.browser.harness import App, ServerProcess
from tests.browser.speech import SAME_SPEECH, correlation, speech
from tests.browser.test_call import BIKES, BUNNY, FRAMES
from tests.peers.aiortc_peer import AiortcPeer
from tests.peers.tracks import FilmTrack, SpeechTrack, pictures_of, sound_of

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]


@pytest_asyncio.fixture(loop_scope="package")
async def peer(parlour: ServerProcess) -> AsyncIterator[AiortcPeer]:
    """A peer that is not in a room yet."""
    made = AiortcPeer(parlour.url)
    yield made
    await made.close()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_aiortc_and_a_browser_see_and_hear_each_other(
    invite: Invite, peer: AiortcPeer, app: App, room: int, codec: str
) -> None:
    bikes, words = film(BIKES), speech("bob")
    alice = await invite("alice", BUNNY)
    await alice.join(room, videoCodec=codec.lower())
    await alice.publish()
    await peer.join(app.sdk_app_id, "ortc", app.sign("ortc"), room)
    await peer.publish(FilmTrack(bikes), SpeechTrack(words), codec=codec)
    await peer.subscribe("alice")

    async def peer_sees() -> list[float]:
        track = await peer.track("alice", "video")
        return [similarity(picture, alice.film) for picture in await pictures_of(track, FRAMES)]

    async def peer_hears() -> float:
        return correlation(await sound_of(await peer.track("alice", "audio"), 4.0), 48_000, alice.speech)

    async def alice_sees() -> list[float]:
        await alice.until("() => app.video('ortc') !== null", what="ortc is on the page")
        await alice.until_decoded("ortc", FRAMES)
        return [similarity(picture, bikes) for picture in await alice.grab("ortc")]

    async with asyncio.timeout(60):
        at_peer, heard, at_alice = await asyncio.gather(peer_sees(), peer_hears(), alice_sees())
    assert min(at_peer) >= SAME_FILM, at_peer
    assert min(at_alice) >= SAME_FILM, at_alice
    assert heard >= SAME_SPEECH, heard
    await alice.hear("ortc", words)
    assert await alice.codec("ortc") == f"video/{codec}"
    assert not await alice.events("error")
