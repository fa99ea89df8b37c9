"""Live rooms from Python: roles, who sees whom, and what becomes of a role over a lost socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from parlour.client import RtcError
from parlour.client.events import PeerJoin, PeerLeave, StreamAdded
from parlour.errors import ErrorCode

from tests.contract.test_client_reconnect import CONNECTED, RECONNECTING, client, until
from tests.peers.relay import Relay

if TYPE_CHECKING:
    from tests.conftest import RunningServer


async def test_an_audience_sees_the_anchors_and_is_seen_once_it_is_one(server: RunningServer) -> None:
    async with client(server, "ann") as ann, client(server, "bob") as bob:
        await ann.join(1, mode="live")
        await ann.publish(video=None)
        await bob.join(1, mode="live", role="audience")
        await until(bob, lambda event: isinstance(event, StreamAdded))
        await bob.subscribe("ann", video=False)
        with pytest.raises(RtcError, match="audience") as refused:
            await bob.publish(video=None)
        assert refused.value.code == ErrorCode.INVALID_OPERATION
        assert ann.room.members == {}
        await bob.switch_role("anchor")
        await until(ann, lambda event: isinstance(event, PeerJoin))
        stream = await bob.publish(video=None)
        await until(ann, lambda event: isinstance(event, StreamAdded))
        await bob.switch_role("audience")
        await until(ann, lambda event: isinstance(event, PeerLeave))
        with pytest.raises(RtcError, match="not published"):
            await bob.unpublish(stream)
        await bob.switch_role("anchor")
        await bob.publish(video=None)


async def test_a_call_has_no_roles_and_nobody_changes_them_outside_a_room(server: RunningServer) -> None:
    async with client(server, "ann") as ann:
        with pytest.raises(RtcError, match="join first"):
            await ann.switch_role("audience")
        with pytest.raises(RtcError, match="mode live only"):
            await ann.join(1, role="audience")
        await ann.join(1)
        with pytest.raises(RtcError, match="no roles"):
            await ann.switch_role("audience")


async def test_a_role_outlives_a_lost_socket_and_a_server_that_forgot_the_session(server: RunningServer) -> None:
    async with Relay(server.port) as relay, client(server, "bob", relay.url) as bob, client(server, "ann") as ann:
        await ann.join(1, mode="live")
        await bob.join(1, mode="live", role="audience")
        await bob.switch_role("anchor")
        await until(ann, lambda event: isinstance(event, PeerJoin))
        await relay.cut()
        await until(bob, lambda event: event == RECONNECTING)
        await relay.heal()
        await until(bob, lambda event: event == CONNECTED)
        await bob.publish(video=None)
        await until(ann, lambda event: isinstance(event, StreamAdded))
