"""Room ids: numeric and string rooms are two spaces; 123 is not "123"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from parlour.errors import ErrorCode, enter_refused
from parlour.protocol.words import (
    MAX_ROOM_NAME_BYTES,
    MAX_ROOM_NUMBER,
    ROOM_NAME_CHARACTERS,
    ROOM_NAME_PUNCTUATION,
)


@dataclass(frozen=True, slots=True)
class RoomId:
    """A room's id within its app. ``string`` tells the space; ``text`` is the number in decimal, or the string."""

    text: str
    string: bool

    @property
    def value(self) -> int | str:
        """As clients and tickets write it: a number, or the string."""
        return self.text if self.string else int(self.text)

    def __str__(self) -> str:
        """For logs: a string room is quoted, so that the two spaces cannot be mixed up."""
        return f'"{self.text}"' if self.string else self.text

    @classmethod
    def shown(cls, text: str) -> Self:
        """The id that ``str`` gave this text."""
        return cls(text[1:-1], string=True) if text.startswith('"') else cls(text, string=False)


def read_room_id(value: object, *, string_room: bool) -> RoomId:
    """Check a room id as a client sent it. Raises -10012 behind 0x4004 with what is wrong."""
    if string_room:
        if not isinstance(value, str):
            raise _invalid(f"a string room needs a text as roomId, not {_shown(value)}")
        if not value:
            raise _invalid("roomId is empty")
        stranger = next((character for character in value if character not in ROOM_NAME_CHARACTERS), None)
        if stranger is not None:
            raise _invalid(
                f"roomId has the character U+{ord(stranger):04X}; allowed are a-z A-Z 0-9 and space"
                f" and {ROOM_NAME_PUNCTUATION.strip()}"
            )
        if len(value) > MAX_ROOM_NAME_BYTES:
            raise _invalid(f"roomId has {len(value)} bytes; at most {MAX_ROOM_NAME_BYTES} are allowed")
        return RoomId(value, string=True)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _invalid(f"roomId must be an integer, not {_shown(value)}; for a text set useStringRoomId")
    if not 1 <= value <= MAX_ROOM_NUMBER:
        raise _invalid(f"roomId must be within 1 and {MAX_ROOM_NUMBER}")
    return RoomId(str(value), string=False)


def _shown(value: object) -> str:
    return {str: "a text", int: "a number", bool: "a boolean", float: "a fraction"}.get(
        type(value), "nothing of the kind"
    )


def _invalid(detail: str) -> Exception:
    return enter_refused(ErrorCode.ROOM_ID_INVALID, detail)
