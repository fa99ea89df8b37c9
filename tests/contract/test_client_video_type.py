"""Whoever receives a stream in Python chooses between its big and its small video, over real sockets and losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from parlour.client import RtcError
from parlour.client.events import StreamAdded
from parlour.errors import ErrorCode
from parlour.signaling import encodings

from tests.contract.test_client_reconnect import CONNECTED, RECONNECTING, client, until
from tests.contract.test_encodings_wanted import BOTH, NONE, SMALL, publish, wanted
from tests.peers.relay import Relay
from tests.wire import Wire, join

if TYPE_CHECKING:
    from tests.conftest import RunningServer

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody takes is paused soon."""
    monkeypatch.setattr(encodings, "PATIENCE", 0.2)


async def sends_both(server: RunningServer) -> Wire:
    ann, _ = await join(server, "ann")
    await publish(ann)
    assert await wanted(ann) == NONE
    return ann


async def test_the_small_one_is_asked_for_before_and_after_subscribing(server: RunningServer) -> None:
    ann = await sends_both(server)
    async with client(server, "bob") as bob:
        await bob.join(1)
        await until(bob, lambda event: isinstance(event, StreamAdded))
        await bob.set_video_type("ann", "small")
        await bob.subscribe("ann")
        assert await wanted(ann) == SMALL, "the big one was never asked for"
        await bob.set_video_type("ann", "big")
        assert await wanted(ann) == BOTH
        await bob.set_video_type("ann", "small")
        assert await wanted(ann) == SMALL


async def test_of_a_stream_that_is_not_there_none_can_be_chosen(server: RunningServer) -> None:
    async with client(server, "bob") as bob:
        with pytest.raises(RtcError, match="join first"):
            await bob.set_video_type("ann", "small")
        await bob.join(1)
        with pytest.raises(RtcError, match="publishes no main stream") as refused:
            await bob.set_video_type("ann", "small")
        assert refused.value.code == ErrorCode.REMOTE_STREAM_NOT_EXIST
        ann = await sends_both(server)
        await until(bob, lambda event: isinstance(event, StreamAdded))
        await bob.subscribe("ann")
        assert await wanted(ann) == BOTH, "what was refused is forgotten"


async def test_what_was_chosen_without_a_socket_is_told_after_it_and_what_was_chosen_before_stays(
    server: RunningServer,
) -> None:
    ann = await sends_both(server)
    async with Relay(server.port) as relay, client(server, "bob", relay.url) as bob:
        await bob.join(1)
        await until(bob, lambda event: isinstance(event, StreamAdded))
        await bob.subscribe("ann")
        assert await wanted(ann) == BOTH
        await relay.cut()
        await until(bob, lambda event: event == RECONNECTING)
        await bob.set_video_type("ann", "small")
        await relay.heal()
        await until(bob, lambda event: event == CONNECTED)
        assert await wanted(ann) == SMALL
        await relay.cut()
        await until(bob, lambda event: event == RECONNECTING)
        await relay.heal()
        await until(bob, lambda event: event == CONNECTED)
        await bob.set_video_type("ann", "big")
        assert await wanted(ann) == BOTH, "it was small until now"
