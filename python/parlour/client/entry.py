"""How a room is entered, and what ends a client's stay."""

from __future__ import annotations

from dataclasses import dataclass

from websockets.frames import CloseCode as WsCloseCode

from parlour.protocol import messages as m
from parlour.protocol.words import Role, Scene

FINAL_CLOSE_CODES = frozenset(
    {
        WsCloseCode.PROTOCOL_ERROR,
        m.CloseCode.TOO_BIG,
        m.CloseCode.MALFORMED,
        m.CloseCode.REMOVED,
        m.ClientCloseCode.FAULT,
    }
)
"""Close codes after which there is no use in coming back: removed, or one of the two sides is faulty."""


@dataclass(frozen=True, slots=True)
class Entry:
    """How the room is entered, and entered again."""

    room_id: int | str
    mode: Scene
    role: Role
    private_map_key: str
