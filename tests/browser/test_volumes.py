"""One page speaks, and the others are told how loud and who it is, as the server heard it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.browser.conftest import Invite
from tests.browser.harness import Guest
from tests.browser.speech import Samples

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

SILENT = "user => app.volumes.at(-1)?.of[user] === 0 && !app.volumes.at(-1).speakers.includes(user)"
LOUD = "user => app.volumes.at(-1)?.of[user] > 10 && app.volumes.at(-1).speakers[0] === user"


def loudness(heard: Samples) -> float:
    """The root mean square of what was heard."""
    return float(np.sqrt(np.mean(np.square(heard, dtype=float))))


async def heard(invite: Invite, room: int) -> tuple[Guest, Guest]:
    """One who speaks, and one who hears it by now."""
    alice, bob = await asyncio.gather(invite("alice", "bigbuckbunny"), invite("bob", "bikes"))
    await alice.join(room)
    await alice.publish()
    await bob.join(room)
    await bob.call("() => app.client.enableAudioVolumeEvaluation(200)")
    await bob.until(LOUD, "alice", what="alice is heard")
    return alice, bob


async def test_who_speaks_is_loud_and_the_speaker_for_the_other_page_until_muted(invite: Invite, room: int) -> None:
    alice, bob = await heard(invite, room)
    await alice.call("() => app.client.enableAudioVolumeEvaluation(100)")
    await alice.until(LOUD, "alice", what="alice hears herself")

    assert await alice.call("() => app.local.muteAudio()")
    await asyncio.gather(*(page.until(SILENT, "alice", what="alice is silent") for page in (alice, bob)))
    assert await alice.call("() => app.local.unmuteAudio()")
    await bob.until(LOUD, "alice", what="alice is heard again")

    # Another is hidden, as a tab behind others is: it is told nothing unless it wants to.
    await bob.call("() => Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    hidden = await bob.call("() => app.volumes.length")
    await bob.call("() => new Promise((resolve) => setTimeout(resolve, 1000))")
    assert await bob.call("() => app.volumes.length") == hidden
    await bob.call("() => app.client.enableAudioVolumeEvaluation(200, true)")
    await bob.until("count => app.volumes.length > count + 3", hidden, what="volumes come in the background")

    await bob.call("() => app.client.enableAudioVolumeEvaluation(-1)")
    ended = await bob.call("() => app.volumes.length")
    await bob.call("() => new Promise((resolve) => setTimeout(resolve, 1000))")
    assert await bob.call("() => app.volumes.length") == ended
    assert await bob.call("() => app.volumes.at(-1).known"), "each volume is of a stream that the app has"
    assert not await alice.events("error") + await bob.events("error")


async def test_a_microphone_is_sent_as_loud_as_the_app_says(invite: Invite, room: int) -> None:
    alice, bob = await heard(invite, room)
    whole = loudness(await bob.hear("alice", alice.speech))
    captured = await alice.call("() => app.local.getAudioTrack().id")

    assert await alice.call("() => app.local.setAudioCaptureVolume('20')") is True
    await bob.until("user => app.volumes.at(-1)?.of[user] > 0", "alice", what="alice is heard still")
    await alice.until(
        "captured => connections.at(0).getSenders().every((one) => one.track?.id !== captured)",
        captured,
        what="what is sent is the softer one",
    )
    softer = loudness(await bob.hear("alice", alice.speech))
    assert 0.1 < softer / whole < 0.4, (softer, whole)

    await alice.call("() => app.local.setAudioCaptureVolume(0)")
    await bob.until(SILENT, "alice", what="alice is silent")
    assert await alice.call("() => app.local.getAudioTrack().id") == captured, "the app keeps its own track"
    await alice.call("() => app.local.setAudioCaptureVolume(100)")
    await bob.until(LOUD, "alice", what="alice is heard again")
    louder = loudness(await bob.hear("alice", alice.speech))
    assert 0.6 < louder / whole < 1.6, (louder, whole)
    # Another track is sent as loud, and a mute is one.
    await alice.call("() => app.local.setAudioCaptureVolume(0)")
    await alice.call("async () => { await app.local.replaceTrack(app.local.getAudioTrack().clone()); }")
    await bob.until(SILENT, "alice", what="the other track is silent")
    await alice.call("() => { app.local.muteAudio(); app.local.setAudioCaptureVolume(100); }")
    told = await bob.call("() => app.volumes.length")
    await bob.until("count => app.volumes.length >= count + 5", told, what="volumes go on")
    assert await bob.call("count => app.volumes.slice(count).every((one) => one.of.alice === 0)", told)
    await alice.call("() => app.local.unmuteAudio()")
    await bob.until(LOUD, "alice", what="the other track is heard")
    assert not await alice.events("error") + await bob.events("error")


async def test_a_stream_without_sound_has_no_volume_to_be_captured_with(invite: Invite) -> None:
    alice = await invite("alice", "bigbuckbunny")
    said = await alice.call(
        "async () => { const stream = TRTC.createStream({ audio: false, video: true });"
        " const before = stream.setAudioCaptureVolume(50); await stream.initialize();"
        " const after = stream.setAudioCaptureVolume(50); stream.close();"
        " let wrong; try { stream.setAudioCaptureVolume('loud') } catch (error) { wrong = error.getCode() }"
        " return [before, after, wrong]; }"
    )
    assert said == [False, False, 0x1000]
