"""As what one client receives the videos of others: what it wants, what there is, and what it was told of it."""

from __future__ import annotations

from collections.abc import Callable

from parlour.protocol.messages import VideoReceived
from parlour.protocol.words import StreamType, VideoType
from parlour.signaling.pace import Pace

INTERVAL = 0.1
"""Seconds between two changes of what a client receives: a change costs its publisher a keyframe."""

ASKED_FOR = "asked for"

StreamKey = tuple[str, StreamType]


def choose(wanted: VideoType, encodings: int, user_id: str) -> tuple[int, VideoType, str]:
    """Of so many encodings, the biggest first: the place of the one to be sent, as what it counts, and why."""
    match wanted:
        case "big":
            return 0, "big", ASKED_FOR
        case "small" if encodings > 1:
            return encodings - 1, "small", ASKED_FOR
    return 0, "big", f"{user_id} sends no small stream"


class VideoTypes:
    """The wishes of one client, which stay until their stream is gone, and what it was told."""

    def __init__(self, pace: Pace, tell: Callable[[VideoReceived], object], switch: Callable[[], None]) -> None:
        """``switch`` is called when wishes have changed, however many, and not more often than the pace allows."""
        self._pace = pace
        self._tell = tell
        self._switch = switch
        self._changed = False
        self._told: dict[StreamKey, tuple[VideoType, str]] = {}
        self.wanted: dict[StreamKey, VideoType] = {}
        """Where it is not the big one."""

    def want(self, key: StreamKey, video_type: VideoType) -> None:
        """Receive a stream's video as that, in place of what was asked before."""
        if video_type == self.wanted.get(key, "big"):
            return
        if video_type == "big":
            del self.wanted[key]
        else:
            self.wanted[key] = video_type
        self._changed = True
        self._apply()

    def choose(self, key: StreamKey, encodings: int) -> int:
        """Which of a video's encodings is to be sent from now on; the client is told if it is news to it."""
        source, video_type, reason = choose(self.wanted.get(key, "big"), encodings, key[0])
        if self._told.get(key, ("big", ASKED_FOR)) != (video_type, reason):
            self._told[key] = video_type, reason
            self._say(key)
        return source

    def repeat(self) -> None:
        """The client has a new socket, and may have missed what it was told."""
        for key in self._told:
            self._say(key)

    def forget(self, key: StreamKey) -> None:
        """The stream is gone."""
        self.wanted.pop(key, None)
        self._told.pop(key, None)

    def _apply(self) -> None:
        if self._changed and self._pace.take(self._apply):
            self._changed = False
            self._pace.rest(INTERVAL)
            self._switch()

    def _say(self, key: StreamKey) -> None:
        video_type, reason = self._told[key]
        self._tell(VideoReceived(user_id=key[0], stream_type=key[1], video_type=video_type, reason=reason))
