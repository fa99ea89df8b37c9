"""All rooms of all apps. A room is made when somebody enters it and is gone with its last member."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic

from parlour.rooms.ids import RoomId
from parlour.rooms.room import OnFault, Room, RoomLimits, SessionT


class Rooms(Generic[SessionT]):
    """Rooms by app and id."""

    def __init__(self, limits: RoomLimits, on_fault: OnFault = lambda who, fault: None) -> None:
        self.limits = limits
        self._on_fault = on_fault
        self._rooms: dict[tuple[int, RoomId], Room[SessionT]] = {}
        self._listeners: list[Callable[[int, Room[SessionT]], None]] = []

    def __len__(self) -> int:
        return len(self._rooms)

    def __iter__(self) -> Iterator[Room[SessionT]]:
        """The rooms as they are now; they may come and go meanwhile."""
        return iter(tuple(self._rooms.values()))

    def of(self, sdk_app_id: int) -> list[Room[SessionT]]:
        """The rooms of an app."""
        return [room for (app, _), room in self._rooms.items() if app == sdk_app_id]

    def listen(self, on_open: Callable[[int, Room[SessionT]], None]) -> None:
        """Call ``on_open(sdk_app_id, room)`` for every room that is made, before anybody is in it: to ``read`` it.

        If it raises, it does not follow that room.
        """
        self._listeners.append(on_open)

    def get(self, sdk_app_id: int, room_id: RoomId) -> Room[SessionT] | None:
        """The room, or None when nobody is in it."""
        return self._rooms.get((sdk_app_id, room_id))

    def open(self, sdk_app_id: int, room_id: RoomId) -> Room[SessionT]:
        """The room, made when it is missing. Follow with ``Room.enter``; if that refuses, with ``close_if_empty``."""
        room = self._rooms.get((sdk_app_id, room_id))
        if room is None:
            room = self._rooms[sdk_app_id, room_id] = Room(room_id, self.limits, self._on_fault)
            for on_open in self._listeners:
                try:
                    on_open(sdk_app_id, room)
                except Exception as fault:
                    self._on_fault(f"a listener for rooms, at room {room_id}", fault)
        return room

    def close_if_empty(self, sdk_app_id: int, room_id: RoomId) -> bool:
        """Close the room when nobody is in it; says whether it did."""
        room = self._rooms.get((sdk_app_id, room_id))
        if room is None or len(room):
            return False
        del self._rooms[sdk_app_id, room_id]
        room.close()
        return True
