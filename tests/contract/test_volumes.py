"""How loud everybody is and who is seen for it, as clients tell it in their packets, through a running server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

import pytest
from parlour.client import Client, LocalStream, RtcError
from parlour.client.events import PeerLeave, StreamAdded, VideoReceived, Volumes
from parlour.errors import ErrorCode

from tests.contract.test_client_reconnect import CONNECTED, RECONNECTING, client, film, next_picture, until
from tests.contract.test_private_map_key import COME_IN, inside
from tests.peers.relay import Relay
from tests.wire import Wire, join, offer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

    from parlour.client.events import ClientEvent

    from tests.conftest import RunningServer, StartServer

VOICE, QUIET = 25, 127


class Voice:
    """Sound of a stream, whose level a test sets."""

    def __init__(self, stream: LocalStream) -> None:
        self.level: int | None = QUIET
        self.pauses = True
        self._stream = stream

    async def sound(self) -> None:
        """A packet each 20 ms, until cancelled; a voice pauses for a moment every two seconds."""
        begun = asyncio.get_running_loop().time()
        for number in itertools.count():
            pauses = self.pauses and number % 100 >= 85
            level = QUIET if pauses and self.level is not None else self.level
            self._stream.write_audio(b"\xfc" * 60, number * 960, level=level)
            await asyncio.sleep(begun + (number + 1) * 0.02 - asyncio.get_running_loop().time())


@contextlib.asynccontextmanager
async def speaking(someone: Client, *, video: bool = False) -> AsyncIterator[tuple[Voice, LocalStream]]:
    """Somebody who publishes, and speaks when told to."""
    stream = await someone.publish(audio=True, video="vp8" if video else None)
    voice = Voice(stream)
    tasks = [asyncio.create_task(voice.sound())]
    tasks += [asyncio.create_task(film(stream))] if video else []
    yield voice, stream
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def loud(user_id: str) -> Callable[[ClientEvent], bool]:
    """Whether somebody can be heard and speaks."""
    return lambda event: (
        isinstance(event, Volumes)
        and user_id in event.speakers
        and any(one.user_id == user_id and one.volume >= 10 for one in event.volumes)
    )


def silent(event: ClientEvent) -> bool:
    return isinstance(event, Volumes) and not event.volumes and not event.speakers


async def test_who_speaks_is_heard_of_by_the_others_and_itself_until_it_is_muted(server: RunningServer) -> None:
    async with client(server, "ann") as ann, client(server, "bob") as bob:
        await ann.join(1)
        await bob.join(1)
        async with speaking(ann) as (voice, stream):
            for someone in (ann, bob):
                await someone.watch_volumes(0.1)
                await until(someone, silent)
            voice.level = VOICE
            for someone in (ann, bob):
                await until(someone, loud("ann"))
            await ann.mute(stream, audio=True)
            await until(bob, silent)
            await ann.mute(stream, audio=False)
            await until(bob, loud("ann"))
            voice.level = QUIET
            await until(bob, silent)
            voice.level = VOICE
            await until(bob, loud("ann"))
            await ann.unpublish(stream)
            await until(bob, silent)


async def test_who_tells_no_levels_is_never_named_and_who_always_tells_the_highest_gives_the_floor_to_who_begins(
    server: RunningServer,
) -> None:
    async with client(server, "ann") as ann, client(server, "bob") as bob, client(server, "cat") as cat:
        for someone in (ann, bob, cat):
            await someone.join(1)
        async with speaking(ann) as (honest, _), speaking(bob) as (liar, _):
            honest.level, liar.level, liar.pauses = None, 0, False
            await cat.watch_volumes(0.1)
            seen = await until(cat, loud("bob"))
            told = [event for event in seen if isinstance(event, Volumes)]
            assert all(one.user_id == "bob" for event in told for one in event.volumes)
            honest.level = VOICE
            seen = await until(cat, lambda event: isinstance(event, Volumes) and event.speakers[:1] == ("ann",))
            last = seen[-1]
            assert isinstance(last, Volumes)
            assert last.volumes[0].user_id == "bob", "it says that it is louder"


async def test_it_goes_on_after_a_lost_socket_and_ends_when_it_is_asked_to(server: RunningServer) -> None:
    async with Relay(server.port) as relay, client(server, "ann") as ann, client(server, "bob", relay.url) as bob:
        await ann.join(1)
        await bob.join(1)
        with pytest.raises(RtcError, match="0 or more seconds"):
            await bob.watch_volumes(-1)
        async with speaking(ann) as (voice, _):
            await bob.watch_volumes(0.2)
            voice.level = VOICE
            await until(bob, loud("ann"))
            await relay.cut()
            await until(bob, lambda event: event == RECONNECTING)
            voice.level = QUIET
            await relay.heal()
            await until(bob, lambda event: event == CONNECTED)
            await until(bob, silent)
            voice.level = VOICE
            await until(bob, loud("ann"))
            await bob.watch_volumes(0)
            await ann.watch_volumes(0.1)
            voice.level = QUIET
            await until(ann, silent)
            await ann.leave()
            seen = await until(bob, lambda event: isinstance(event, PeerLeave))
            assert not any(silent(event) for event in seen), "bob was told no more"


async def test_what_is_asked_for_wrongly_is_refused_and_by_who_may_not_hear_too(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    for interval, got in [(0, 0), (1, 100), (100, 100), (450, 200), (2**60, 2000), (-7, 0)]:
        assert await ann.ask("watch-volumes", interval=interval) == {"interval": got}
    assert await ann.ask("watch-volumes") == {"interval": 2000}
    for wrong in ("200", 1.5, None, [100], True):
        assert (await ann.refused("watch-volumes", interval=wrong)).code == ErrorCode.INVALID_PARAMETER
    wire = await Wire.open(server)
    assert (await wire.refused("watch-volumes", interval=100)).code == ErrorCode.INVALID_OPERATION
    await wire.close()


async def test_who_may_not_receive_sound_is_told_no_volumes(start_server: StartServer) -> None:
    server = await start_server()
    await server.storage.change_app(server.app, advanced_permission=True)
    deaf = await inside(server, "deaf", COME_IN)
    refused = await deaf.refused("watch-volumes", interval=100)
    assert (refused.code, refused.extra) == (ErrorCode.INVALID_OPERATION, ErrorCode.SUBSCRIBE_FORBIDDEN)


async def test_the_picture_of_who_spoke_last_is_sent_and_the_other_is_left_out_with_the_reason(
    start_server: StartServer,
) -> None:
    server = await start_server(rooms__last_n=1)
    async with client(server, "ann") as ann, client(server, "bob") as bob, client(server, "cat") as cat:
        for someone in (ann, bob, cat):
            await someone.join(1)
        async with speaking(ann, video=True) as (_, _), speaking(bob, video=True) as (voice, shown):
            asked: list[int] = []
            shown.on_keyframe_request = lambda: asked.append(1)
            await until(cat, lambda event: isinstance(event, StreamAdded) and event.stream.user_id == "bob")
            first, other = await cat.subscribe("ann"), await cat.subscribe("bob")
            await until(cat, received("bob", "none", "bob is not among the last 1 who spoke"))
            await next_picture(first)
            before = len(asked)
            voice.level = VOICE
            seen = await until(cat, received("bob", "big", "asked for"))
            assert any(received("ann", "none", "ann is not among the last 1 who spoke")(event) for event in seen)
            await next_picture(other)
            assert len(asked) > before, "who comes back begins with a keyframe"
            await bob.leave()
            await until(cat, received("ann", "big", "asked for"))
            await next_picture(first)


def received(user_id: str, video_type: str, reason: str) -> Callable[[ClientEvent], bool]:
    return lambda event: (
        isinstance(event, VideoReceived)
        and (event.user_id, event.video_type, event.reason) == (user_id, video_type, reason)
    )


async def test_a_screen_is_seen_whoever_speaks(start_server: StartServer) -> None:
    server = await start_server(rooms__last_n=1)
    wires: dict[str, Any] = {}
    for name in ("ann", "bob", "cat"):
        wires[name], _ = await join(server, name)
    for name in ("ann", "bob"):
        await wires[name].ask("publish", sdp=offer(), audioMid="0", videoMid="1")
    await wires["bob"].ask("unpublish")
    await wires["bob"].ask("publish", sdp=offer(), audioMid="0", videoMid="1", streamType="auxiliary")
    cat = wires["cat"]
    for name, stream_type in (("ann", "main"), ("bob", "auxiliary")):
        await cat.ask("subscribe", userId=name, streamType=stream_type)
    await cat.ask("ping")
    events = [cat.events.get_nowait() for _ in range(cat.events.qsize())]
    assert not [event for event in events if event["type"] == "video-received"]
