"""A published stream."""

from __future__ import annotations

from dataclasses import dataclass

from parlour.protocol.words import StreamType


@dataclass(frozen=True, slots=True)
class Stream:
    """One published stream. Replaced, never changed, so that events may hold it.

    ``small``: its video is sent in a small encoding as well.
    """

    user_id: str
    stream_type: StreamType
    stream_id: str
    audio: bool
    video: bool
    audio_muted: bool = False
    video_muted: bool = False
    small: bool = False
