"""The words and bounds that messages, rooms, accounts and session descriptions share.

They are apart from the messages, so that those who know them need not know how they are told.
"""

from __future__ import annotations

import string
from typing import Literal

StreamType = Literal["main", "auxiliary"]
"""Camera and microphone, or a screen."""

Kind = Literal["audio", "video"]
"""What a track carries."""

Codec = Literal["opus", "vp8", "h264", "vp9", "av1"]

VideoType = Literal["big", "small"]
"""Of a stream's video that is sent twice at a time: in full, or in few pixels and bits."""

ReceivedVideo = Literal["big", "small", "none"]
"""Which of them a client gets, if any."""

Scene = Literal["rtc", "live"]

Role = Literal["anchor", "audience"]
"""Who may publish, and who only receives."""

VOLUME_INTERVALS = (100, 200, 500, 1000, 2000)
"""Milliseconds between two messages with volumes: those that there are."""

MAX_SDK_APP_ID = 2**32 - 1
"""The largest sdkAppId; the smallest is 1."""

MAX_USER_ID_BYTES = 32
"""Of a userId, in UTF-8."""

MAX_ROOM_NUMBER = 4_294_967_294
"""The largest number of a room; the smallest is 1."""

MAX_ROOM_NAME_BYTES = 64
"""Of a room that has a name instead of a number."""

ROOM_NAME_PUNCTUATION = " !#$%&()+-:;<=.>?@[]^_{}|~,"
"""What such a name may have besides letters and digits."""

ROOM_NAME_CHARACTERS = string.ascii_letters + string.digits + ROOM_NAME_PUNCTUATION

RemovalReason = Literal["kick", "banned", "room-disband"]
"""Why a session was put out of its room: its user entered again, an administrator's word, or the room was dismissed."""
