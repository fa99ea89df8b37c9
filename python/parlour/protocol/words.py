"""The words that messages, rooms and session descriptions share, each with all that it may say.

They are apart from the messages, so that rooms and descriptions can use them without knowing how they are told.
"""

from __future__ import annotations

from typing import Literal

StreamType = Literal["main", "auxiliary"]
"""Camera and microphone, or a screen."""

Kind = Literal["audio", "video"]
"""What a track carries."""

Codec = Literal["opus", "vp8", "h264"]

Scene = Literal["rtc", "live"]

Role = Literal["anchor", "audience"]
"""Who may publish, and who only receives."""

MAX_ROOM_NUMBER = 4_294_967_294
"""The largest number of a room; the smallest is 1."""

MAX_ROOM_NAME_BYTES = 64
"""Of a room that has a name instead of a number."""

RemovalReason = Literal["kick", "banned", "room-disband"]
"""Why a session was put out of its room: its user entered again, an administrator's word, or the room was dismissed."""
