"""One page speaks, and the others are told how loud and who it is, as the server heard it."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.conftest import Invite

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

SILENT = "user => app.volumes.at(-1)?.of[user] === 0 && !app.volumes.at(-1).speakers.includes(user)"
LOUD = "user => app.volumes.at(-1)?.of[user] > 10 && app.volumes.at(-1).speakers[0] === user"


async def test_who_speaks_is_loud_and_the_speaker_for_the_other_page_until_muted(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", "bigbuckbunny"), invite("bob", "bikes"))
    await alice.join(room)
    await alice.publish()
    await bob.join(room)
    await bob.call("() => app.client.enableAudioVolumeEvaluation(200)")
    await bob.until(LOUD, "alice", what="alice is heard")
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
