"""A published stream and the words that describe it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StreamType = Literal["main", "auxiliary"]
Role = Literal["anchor", "audience"]


@dataclass(frozen=True, slots=True)
class Stream:
    """One published stream. Replaced, never changed, so that events may hold it."""

    user_id: str
    stream_type: StreamType
    stream_id: str
    audio: bool
    video: bool
    audio_muted: bool = False
    video_muted: bool = False
