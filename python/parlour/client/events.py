"""What a client tells its application: the room's events of the protocol, and two of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from parlour.errors import RtcError
from parlour.protocol.messages import (
    ClientBanned,
    MuteChanged,
    PeerJoin,
    PeerLeave,
    ServerStopping,
    StreamAdded,
    StreamRemoved,
    StreamUpdated,
)


@dataclass(frozen=True)
class ConnectionChanged:
    """The signaling channel's state; ``disconnected`` is the last event of a session."""

    state: Literal["connected", "reconnecting", "disconnected"]


@dataclass(frozen=True)
class Failed:
    """Something that no call can raise went wrong for good."""

    error: RtcError


RoomEvent = PeerJoin | PeerLeave | StreamAdded | StreamUpdated | StreamRemoved | MuteChanged
ClientEvent = RoomEvent | ClientBanned | ServerStopping | ConnectionChanged | Failed

__all__ = [
    "ClientBanned",
    "ClientEvent",
    "ConnectionChanged",
    "Failed",
    "MuteChanged",
    "PeerJoin",
    "PeerLeave",
    "RoomEvent",
    "ServerStopping",
    "StreamAdded",
    "StreamRemoved",
    "StreamUpdated",
]
