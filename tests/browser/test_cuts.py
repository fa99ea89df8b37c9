"""A network that fails under a call: what it cut off comes back, and both sides are told exactly what happened.

These tests wait for cuts of up to 95 s, so all of them wait at the same time (fixture ``meanwhile``). Each has an Alice
in a browser of her own behind a path of her own; they are in one room with one Bob behind a good path, and each sees
Bob alone, while Bob sees them all. They come one after the other, so that neither their browsers' starts nor what is
looked at after a cut falls on the same seconds: so a machine of two cores carries it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from tests.browser.films import SAME_FILM, Film, film, similarity
from tests.browser.harness import DEADLINE, Guest, Profile
from tests.browser.networks import Network
from tests.browser.reached import reaches
from tests.browser.test_call import BIKES, BUNNY, knows
from tests.network import Path

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(400)]

SMALL = Profile(320, 180, 5, 200)  # a dozen pages at once: few pictures, so that two cores carry them
CUTS: dict[str, tuple[str, ...]] = {"signaling": ("tcp",), "media": ("udp",), "both": ()}
LENGTHS = (5, 25, 80)  # seconds
STATE = "connection-state-changed"
WATCH_STREAMS = """user => {
  app.states = [app.local, app.remotes[user]].map((stream) => {
    const told = [];
    stream.on('connection-state-changed', ({ prevState, state }) => told.push(`${prevState} ${state}`));
    return told;
  });
}"""
LOST, FOUND = "CONNECTED RECONNECTING", "RECONNECTING CONNECTED"
ARRIVING = asyncio.Lock()  # who comes has the machine for themselves until they see and are seen
Meanwhile = dict[str, asyncio.Task[None]]


def small(name: str) -> Film:
    return film(name, SMALL.width, SMALL.height, SMALL.rate)


async def host(network: Network, room: int, user: str = "bob") -> Guest:
    """Bob, in the room, seen by whoever comes."""
    bob = await network.invite("bob", small(BIKES), path=network.good_path(), user=user)
    await bob.join(room)
    await bob.publish(SMALL)
    return bob


@contextlib.asynccontextmanager
async def arrival(network: Network, name: str) -> AsyncIterator[tuple[Guest, Guest, Path]]:
    """An Alice behind a path of her own joins Bob's room and they see each other; her page is closed afterwards."""
    async with ARRIVING:
        bob = await network.once("host", lambda: host(network, 1))
        path = network.path()
        alice = await network.invite("alice", small(BUNNY), path=path, user=f"alice-{name}")
        await enter(alice, bob, 1)
    yield alice, bob, path
    await alice.context.close()


async def enter(alice: Guest, bob: Guest, room: int) -> None:
    await alice.call("user => { app.subscribes = user; }", bob.user_id)
    await alice.join(room)
    await alice.publish(SMALL)
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    await in_sight(alice, bob)


async def in_sight(one: Guest, other: Guest) -> None:
    """Each sees the other's film move from now on."""
    pairs = ((one, other), (other, one))
    results = await asyncio.gather(
        *(receiver.until_decoded(sender.user_id, 10) for receiver, sender in pairs), return_exceptions=True
    )
    for (_, sender), result in zip(pairs, results, strict=True):
        if isinstance(result, AssertionError):  # what one does not see may be the other's fault
            raise AssertionError(f"{result}\n{await sender.report()}") from result


async def likeness(receiver: Guest, sender: Guest) -> list[float]:
    """How much two pictures that a guest sees of another, one after the other, are the other's film."""
    return [round(similarity(picture, sender.film), 3) for picture in await receiver.grab(sender.user_id, 2, 4)]


async def as_before(one: Guest, other: Guest) -> None:
    """Each sees and hears the other again, and what they see and hear is the other."""
    await in_sight(one, other)
    for receiver, sender in ((one, other), (other, one)):
        end = time.monotonic() + DEADLINE
        while min(figures := await likeness(receiver, sender)) < SAME_FILM:  # a player that begins anew begins black
            assert time.monotonic() < end, f"{receiver.user_id} sees {sender.user_id}: {figures}"
        await receiver.hear(sender.user_id, sender.speech)


async def state(guest: Guest) -> str:
    """What the app was told last of its connection."""
    return str((await guest.events(STATE))[-1]["state"])


async def until_state(guest: Guest, wanted: str) -> None:
    """Wait until the app is told of this state."""
    script = f"wanted => app.events.findLast(({{ name }}) => name === '{STATE}')?.state === wanted"
    await guest.until(script, wanted, what=f"{wanted} is told")


async def told_since(guest: Guest, mark: int, other: Guest) -> list[str]:
    """What a guest was told after ``mark`` of the other, and of nobody in particular but its connection's state."""
    events = (await guest.events())[mark:]
    # What a path carries is told while it is cut; it is no event of v4, and takes nobody out of the call.
    of_v4 = [event for event in events if event["name"] != "video-received"]
    about = [event for event in of_v4 if event.get("userId", other.user_id) == other.user_id]
    return [event["name"] for event in about if event["name"] != STATE]


async def nobody_noticed(marks: dict[Guest, int]) -> None:
    """Neither side was told anything of the other: nobody left, and nothing was published anew."""
    one, other = marks
    assert await told_since(one, marks[one], other) == []
    assert await told_since(other, marks[other], one) == []


async def mark(guest: Guest) -> int:
    return len(await guest.events())


async def stream_of(receiver: Guest, sender: Guest) -> str:
    """The id of the stream that a guest has of another."""
    return str(await receiver.call("user => app.remotes[user]?.getId()", sender.user_id))


async def cut(network: Network, room: int, kind: str) -> None:
    async with arrival(network, kind) as (alice, bob, path):
        marks = {guest: await mark(guest) for guest in (alice, bob)}
        streams = [await stream_of(alice, bob), await stream_of(bob, alice)]
        await alice.call(WATCH_STREAMS, bob.user_id)
        for seconds in LENGTHS:
            path.cut(*CUTS[kind])
            await asyncio.sleep(seconds)  # the cut's length is what is tested
            path.restore()
            await as_before(alice, bob)
            await until_state(alice, "CONNECTED")
            await nobody_noticed(marks)
            assert [await stream_of(alice, bob), await stream_of(bob, alice)] == streams
        for told in await alice.call("() => app.states"):
            assert told == [LOST, FOUND] * (len(told) // 2), "each change once, and at the end it is there"
            assert len(told) >= 2 * sum(seconds > 20 for seconds in LENGTHS) or kind == "signaling", told


@pytest.mark.together(run=cut, network="cuts")
@pytest.mark.parametrize("kind", CUTS)
async def test_after_cuts_of_5_25_and_80_seconds_pictures_and_sound_are_back_and_nobody_was_told_of_anything(
    meanwhile: Meanwhile, request: pytest.FixtureRequest, kind: str
) -> None:
    await meanwhile[request.node.nodeid]


async def moving(network: Network, room: int) -> None:
    async with arrival(network, "moving") as (alice, bob, path):
        marks = {guest: await mark(guest) for guest in (alice, bob)}
        for change in (path.rebind, path.move):
            change()
            await as_before(alice, bob)
            await until_state(alice, "CONNECTED")
            await nobody_noticed(marks)
        # Both ends learn of the loss at once; nothing passes for 85 of the 90 s.
        path.cut()
        path.reset()
        await asyncio.sleep(85)
        path.restore()
        await as_before(alice, bob)
        await until_state(alice, "CONNECTED")
        await nobody_noticed(marks)


@pytest.mark.together(run=moving, network="cuts")
async def test_a_client_whose_address_changes_or_who_is_away_for_85_seconds_stays_in_the_call(
    meanwhile: Meanwhile, request: pytest.FixtureRequest
) -> None:
    await meanwhile[request.node.nodeid]


async def changing(network: Network, room: int) -> None:
    async with ARRIVING:
        bob = await host(network, room, "bob-too")
        path = network.path()
        alice = await network.invite("alice", small(BUNNY), path=path, user="alice-changing")
        await enter(alice, bob, room)
    marks = {guest: await mark(guest) for guest in (alice, bob)}
    path.cut("tcp")
    path.reset()
    await until_state(alice, "RECONNECTING")
    await alice.call("() => { app.unpublished = app.client.unpublish(app.local); }")
    await bob.call("() => app.client.unpublish(app.local)")
    path.restore()
    await until_told(bob, "stream-removed", alice.user_id)
    await until_told(alice, "stream-removed", bob.user_id)
    await alice.call("() => app.unpublished")
    await until_state(alice, "CONNECTED")
    assert await told_since(alice, marks[alice], bob) == ["stream-removed"]
    assert await told_since(bob, marks[bob], alice) == ["stream-removed"]
    # What was unpublished can be published again, and is seen.
    for guest in (alice, bob):
        await guest.call("() => app.client.publish(app.local)")
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    await as_before(alice, bob)

    marks = {guest: await mark(guest) for guest in (alice, bob)}
    await alice.call(WATCH_STREAMS, bob.user_id)
    path.cut()
    path.reset()
    await asyncio.sleep(80)
    assert await told_since(bob, marks[bob], alice) == []
    # Nothing passes until both have given up: the last attempt begins after 90 s, and may take five more.
    await until_told(bob, "peer-leave", alice.user_id)
    assert await told_since(bob, marks[bob], alice) == ["stream-removed", "peer-leave"]
    await until_told(alice, "error")
    path.restore()
    (error,) = await alice.events("error")
    assert error["code"] == 0x4006, error
    assert await state(alice) == "DISCONNECTED"
    assert await alice.call("() => app.states") == [[LOST, "RECONNECTING DISCONNECTED"]] * 2


@reaches(0x4006, "Cuts the signaling for longer than the server keeps a place.")
@pytest.mark.together(run=changing, network="cuts")
async def test_what_was_unpublished_while_the_socket_was_down_is_gone_and_who_is_away_for_longer_has_left(
    meanwhile: Meanwhile, request: pytest.FixtureRequest
) -> None:
    await meanwhile[request.node.nodeid]


async def until_told(guest: Guest, name: str, user: str | None = None) -> None:
    """Wait for an event, of a user if one is named."""
    script = """([name, user]) => app.events.some((event) =>
      event.name === name && (user === null || event.userId === user))"""
    await guest.until(script, [name, user], what=f"{name} of {user} is told")


async def bad(network: Network, room: int) -> None:
    async with arrival(network, "bad") as (alice, bob, path):
        path.change(loss=0.02, delay=0.1)
        await asyncio.gather(alice.until_decoded(bob.user_id, 30), bob.until_decoded(alice.user_id, 30))
        await as_before(alice, bob)
        assert path.up.counts["udp"].lost > 0
        assert path.down.counts["udp"].lost > 0
        assert not await alice.events("error")

        await alice.leave()
        path.change(loss=0.0, delay=0.0)
        path.cut("udp")
        await alice.call("() => { app.subscribes = false; app.offered = []; }")
        await alice.join(1)
        await alice.until("user => app.offered.some((s) => s.getUserId() === user)", bob.user_id, what="Bob is offered")
        refusals = await alice.call(REFUSALS, [bob.user_id, SMALL.as_v4()])
        assert [code for code, _ in refusals] == [0x4003, 0x4003], refusals
        assert all(milliseconds < 12_000 for _, milliseconds in refusals), refusals


# What two operations are refused with and after how many milliseconds. The camera's start is not part of it.
REFUSALS = """async ([user, profile]) => {
  const stream = TRTC.createStream({ audio: true, video: true });
  stream.setVideoProfile(profile);
  await stream.initialize();
  const offered = app.offered.find((one) => one.getUserId() === user);
  const refused = async (operation) => {
    const began = performance.now();
    const code = await operation().then(() => 'done', (error) => error.getCode?.() ?? String(error));
    return [code, Math.round(performance.now() - began)];
  };
  return Promise.all([refused(() => app.client.publish(stream)), refused(() => app.client.subscribe(offered))]);
}"""


@reaches(0x4003, "Publishes and subscribes in a network that lets neither UDP nor TCP of media through.")
@pytest.mark.together(run=bad, network="cuts")
async def test_films_move_at_two_percent_of_loss_and_where_no_media_passes_publish_and_subscribe_reject_within_10_s(
    meanwhile: Meanwhile, request: pytest.FixtureRequest
) -> None:
    await meanwhile[request.node.nodeid]


async def server_trouble(network: Network, room: int) -> None:
    path = network.good_path()
    async with ARRIVING:
        alice, bob = [await network.invite("alice", small(BUNNY), path=path, user=user) for user in ("alice", "bob")]
        await bob.join(room)
        await bob.publish(SMALL)
        await enter(alice, bob, room)
    marks = {guest: await mark(guest) for guest in (alice, bob)}
    with network.frozen():
        await asyncio.sleep(25)  # the server's silence is what is tested
    await as_before(alice, bob)
    for guest in (alice, bob):
        await until_state(guest, "CONNECTED")
    await nobody_noticed(marks)

    await network.kill()
    for guest in (alice, bob):
        await until_state(guest, "RECONNECTING")
    await network.start_again()
    up = time.monotonic()
    await asyncio.gather(*(until_state(guest, "CONNECTED") for guest in (alice, bob)))
    back = time.monotonic() - up
    assert not await alice.events("error") + await bob.events("error")
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    await as_before(alice, bob)
    assert back < 5, f"{back:.1f} s"


@pytest.mark.together(run=server_trouble)
async def test_a_server_that_stands_still_for_25_seconds_loses_nobody_and_after_kill_nine_all_are_back_in_under_5_s(
    meanwhile: Meanwhile, request: pytest.FixtureRequest
) -> None:
    await meanwhile[request.node.nodeid]
