"""What happened in a room. Everyone in it hears of it, except the member whom it is about."""

from __future__ import annotations

from dataclasses import dataclass

from parlour.protocol.words import RemovalReason, Role
from parlour.rooms.streams import Stream


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """A user entered."""

    user_id: str
    role: Role


@dataclass(frozen=True, slots=True)
class MemberRemoved:
    """A session was taken out of the room against its will; ``StreamUnpublished`` and ``MemberLeft`` follow.

    It is for that session alone, which is what the room's writer let the user in by.
    """

    user_id: str
    session: object
    reason: RemovalReason


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """A user left; all streams were unpublished before. ``role`` is the last one."""

    user_id: str
    role: Role = "anchor"


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """A user of a live room takes another role; who becomes audience has unpublished all streams before."""

    user_id: str
    role: Role


@dataclass(frozen=True, slots=True)
class StreamPublished:
    """A stream is there."""

    stream: Stream

    @property
    def user_id(self) -> str:
        """Whose it is."""
        return self.stream.user_id


@dataclass(frozen=True, slots=True)
class StreamChanged:
    """Tracks or the small stream came to a stream or went."""

    stream: Stream

    @property
    def user_id(self) -> str:
        """Whose it is."""
        return self.stream.user_id


@dataclass(frozen=True, slots=True)
class StreamUnpublished:
    """A stream is no more; ``stream`` is its last state."""

    stream: Stream

    @property
    def user_id(self) -> str:
        """Whose it was."""
        return self.stream.user_id


@dataclass(frozen=True, slots=True)
class MuteChanged:
    """A track was muted or unmuted."""

    stream: Stream

    @property
    def user_id(self) -> str:
        """Whose it is."""
        return self.stream.user_id


@dataclass(frozen=True, slots=True)
class RoomClosed:
    """The last event of a room: nobody is in it any more. Whoever enters it next makes another room of that name."""


RoomEvent = (
    MemberJoined
    | MemberRemoved
    | MemberLeft
    | RoleChanged
    | StreamPublished
    | StreamChanged
    | StreamUnpublished
    | MuteChanged
    | RoomClosed
)
