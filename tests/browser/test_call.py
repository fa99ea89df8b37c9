"""The main job on real input: a film and speech from one browser arrive in another, and are the film and the speech."""

from __future__ import annotations

import asyncio
import socket

import numpy as np
import pytest

from tests.browser.conftest import Invite
from tests.browser.films import SAME_FILM, Film, film, similarity, which_film
from tests.browser.harness import Guest, Profile
from tests.browser.speech import SAME_SPEECH, correlation, loudness, speech

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

BUNNY, BIKES = "bigbuckbunny", "bikes"
FRAMES = 100


async def sees(receiver: Guest, sender: Guest, *, other: Film, frames: int = FRAMES) -> None:
    """The receiver decodes that many more frames, and they are the sender's film."""
    await receiver.until_decoded(sender.user_id, frames)
    pictures = await receiver.grab(sender.user_id)
    figures = [round(similarity(picture, sender.film), 3) for picture in pictures]
    assert min(figures) >= SAME_FILM, f"{receiver.user_id} sees {sender.user_id}: {figures}"
    assert max(similarity(picture, other) for picture in pictures) < SAME_FILM
    # Browsers begin small and grow with the bandwidth they find; the shape must stay.
    assert all(
        abs(wide / high - sender.film.width / sender.film.height) < 0.02 for high, wide, _ in map(np.shape, pictures)
    )


async def hears(receiver: Guest, sender: Guest, *, other: str) -> None:
    """What the receiver hears is the sender's speech."""
    recorded = await receiver.hear(sender.user_id, sender.speech)
    assert correlation(recorded, 48_000, speech(other)) < SAME_SPEECH


async def knows(receiver: Guest, sender: Guest) -> None:
    """The receiver has the sender's stream on its page."""
    await receiver.until("user => app.video(user) !== null", sender.user_id, what=f"{sender.user_id} is on the page")


@pytest.mark.parametrize("codec", ["vp8", "h264", "vp9", "av1"])
async def test_film_and_speech_cross_in_both_directions(invite: Invite, room: int, codec: str) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await alice.join(room, videoCodec=codec)
    await alice.publish()
    await bob.join(room, videoCodec=codec)
    await bob.publish()
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    await asyncio.gather(sees(bob, alice, other=bob.film), sees(alice, bob, other=alice.film))
    await asyncio.gather(hears(bob, alice, other="bob"), hears(alice, bob, other="alice"))
    assert (await bob.codec("alice"), await alice.codec("bob")) == (f"video/{codec.upper()}",) * 2
    assert not await alice.events("error") + await bob.events("error")


async def test_muting_silences_and_freezes_and_unmuting_brings_both_back(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await alice.join(room)
    await alice.publish()
    await bob.join(room)
    await knows(bob, alice)
    await sees(bob, alice, other=film(BIKES), frames=10)

    assert await alice.call("() => app.local.muteAudio()")
    await bob.until("() => app.events.some(event => event.name === 'mute-audio')", what="mute-audio is told")
    assert loudness((await bob.record("alice", 1.0))[24_000:]) < 0.001
    assert await alice.call("() => app.local.muteVideo()")
    await bob.until("() => app.events.some(event => event.name === 'mute-video')", what="mute-video is told")
    assert which_film((await bob.grab("alice", 2, 5))[-1], [alice.film]) is None, "a muted camera shows the film"

    assert await alice.call("() => app.local.unmuteAudio()")
    assert await alice.call("() => app.local.unmuteVideo()")
    await bob.until("() => app.events.some(event => event.name === 'unmute-video')", what="unmute-video is told")
    await sees(bob, alice, other=film(BIKES), frames=20)
    await hears(bob, alice, other="bob")
    told = [event["name"] for event in await bob.events("mute-audio", "mute-video", "unmute-audio", "unmute-video")]
    assert told == ["mute-audio", "mute-video", "unmute-audio", "unmute-video"]


async def test_who_leaves_and_returns_is_seen_and_heard_again(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY), invite("bob", BIKES))
    await bob.join(room)
    await bob.publish()
    await alice.join(room)
    await alice.publish()
    await knows(bob, alice)
    await sees(bob, alice, other=bob.film, frames=15)

    await alice.leave()
    await bob.until("() => app.events.some(event => event.name === 'peer-leave')", what="peer-leave is told")
    assert await bob.call("() => app.remotes.alice === undefined")

    await alice.join(room)
    await alice.publish()
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    await asyncio.gather(sees(bob, alice, other=bob.film, frames=45), sees(alice, bob, other=alice.film, frames=45))
    await asyncio.gather(hears(bob, alice, other="bob"), hears(alice, bob, other="alice"))
    told = [event["name"] for event in await bob.events() if event.get("userId") == "alice"]
    one_visit = ["peer-join", "stream-added", "stream-subscribed"]
    assert told == [*one_visit, "stream-removed", "peer-leave", *one_visit]


async def test_four_pages_each_see_and_hear_the_three_others(invite: Invite, room: int) -> None:
    small = Profile(320, 180, 15, 350)
    bunny = film(BUNNY, 320, 180)
    films = {"alice": bunny, "bob": film(BIKES, 320, 180), "carol": film("carphone_pristine", 320, 180)}
    films["dave"] = bunny.mirrored()
    guests = await asyncio.gather(*(invite(name, shown) for name, shown in films.items()))
    for guest in guests:
        await guest.join(room)
        await guest.publish(small)
    pairs = [(one, other) for one in guests for other in guests if one is not other]
    await asyncio.gather(*(knows(one, other) for one, other in pairs))
    await asyncio.gather(*(one.until_decoded(other.user_id, FRAMES) for one, other in pairs))
    names = [(one.user_id, other.user_id) for one, other in pairs]
    grabbed = await asyncio.gather(*(one.grab(other.user_id, 2, 5) for one, other in pairs))
    known = list(films.values())
    seen = {pair: {which_film(one, known) for one in pictures} for pair, pictures in zip(names, grabbed, strict=True)}
    assert seen == {(one.user_id, other.user_id): {other.film.name} for one, other in pairs}
    await asyncio.gather(*(one.hear(other.user_id, other.speech, 2) for one, other in pairs))


def _has_a_network() -> bool:
    """Whether this machine has an address beside 127.0.0.1. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return False
        return not str(probe.getsockname()[0]).startswith("127.")


@pytest.mark.skipif(not _has_a_network(), reason="without a network a browser has no interface but loopback")
async def test_a_browser_that_keeps_off_the_loopback_interface_is_in_the_call_too(invite: Invite, room: int) -> None:
    alice, bob = await asyncio.gather(invite("alice", BUNNY, loopback=False), invite("bob", BIKES, loopback=False))
    for guest in (alice, bob):
        await guest.join(room)
        await guest.publish()
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    await asyncio.gather(sees(bob, alice, other=bob.film, frames=45), sees(alice, bob, other=alice.film, frames=45))
    await hears(bob, alice, other="bob")
