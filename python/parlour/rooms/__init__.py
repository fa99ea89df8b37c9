"""Who is in which room and publishes what. Pure: every change is a call that tells its events to the room's readers."""

from parlour.rooms.events import (
    MemberJoined,
    MemberLeft,
    MemberRemoved,
    MuteChanged,
    RoleChanged,
    RoomClosed,
    RoomEvent,
    StreamChanged,
    StreamPublished,
    StreamUnpublished,
)
from parlour.rooms.ids import RoomId, read_room_id
from parlour.rooms.reader import ReaderFailedError, RoomReader, RoomSnapshot
from parlour.rooms.registry import Rooms
from parlour.rooms.room import Member, Room, RoomLimits
from parlour.rooms.speakers import Speakers
from parlour.rooms.streams import Stream
from parlour.rooms.volumes import News, Told, Volumes

__all__ = [
    "Member",
    "MemberJoined",
    "MemberLeft",
    "MemberRemoved",
    "MuteChanged",
    "News",
    "ReaderFailedError",
    "RoleChanged",
    "Room",
    "RoomClosed",
    "RoomEvent",
    "RoomId",
    "RoomLimits",
    "RoomReader",
    "RoomSnapshot",
    "Rooms",
    "Speakers",
    "Stream",
    "StreamChanged",
    "StreamPublished",
    "StreamUnpublished",
    "Told",
    "Volumes",
    "read_room_id",
]
