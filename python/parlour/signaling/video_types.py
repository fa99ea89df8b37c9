"""As what one client receives the videos of others: what it wants, what there is, and what it was told of it."""

from __future__ import annotations

from collections.abc import Callable

from parlour.media import SourceSent
from parlour.protocol.messages import VideoReceived
from parlour.protocol.words import ReceivedVideo, StreamType, VideoType
from parlour.signaling.pace import Pace

INTERVAL = 0.1
"""Seconds between two changes of what a client receives: a change costs its publisher a keyframe."""

ASKED_FOR = "asked for"

SMALLEST = 2
"""The place of the last of as many encodings as there may be; where there are fewer, the last of those is meant."""

StreamKey = tuple[str, StreamType]


def choose(wanted: VideoType, encodings: int, user_id: str) -> tuple[int, VideoType, str]:
    """Of so many encodings, the biggest first: the place of the one to be sent, as what it counts, and why."""
    match wanted:
        case "big":
            return 0, "big", ASKED_FOR
        case "small" if encodings > 1:
            return encodings - 1, "small", ASKED_FOR
    return 0, "big", f"{user_id} sends no small stream"


def describe(sent: SourceSent, wanted: VideoType, user_id: str) -> tuple[ReceivedVideo, str]:
    """As what it counts that the core sends something else than is wanted, and why, in words."""
    match sent.source:
        case None:
            received: ReceivedVideo = "none"
        case 0:
            received = "big"
        case _:
            received = "small"
    if sent.why == "missing":
        return received, f"{user_id} does not send the {wanted} one now"
    return received, f"the path carries {sent.available // 1000} of {sent.needed // 1000} kbit/s"


class VideoTypes:
    """The wishes of one client, which stay until their stream is gone, and what it was told."""

    def __init__(self, pace: Pace, tell: Callable[[VideoReceived], object], switch: Callable[[], None]) -> None:
        """``switch`` is called when wishes have changed, however many, and not more often than the pace allows."""
        self._pace = pace
        self._tell = tell
        self._switch = switch
        self._changed = False
        self._told: dict[StreamKey, tuple[ReceivedVideo, str]] = {}
        self._chosen: dict[StreamKey, tuple[ReceivedVideo, str]] = {}
        self._instead: dict[StreamKey, tuple[SourceSent, tuple[ReceivedVideo, str]]] = {}
        """What comes in place of what was chosen, and what is said of that."""
        self._left_out: dict[StreamKey, str] = {}
        """Of whom nothing comes, and why."""
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
        self._chosen[key] = video_type, reason
        self._say_news(key)
        return source

    def leave_out(self, key: StreamKey, why: str | None) -> None:
        """It is not sent for that reason; None: it is."""
        if why is not None:
            self._left_out[key] = why
        else:
            self._left_out.pop(key, None)
        self._say_news(key)

    def biggest(self, key: StreamKey) -> int | None:
        """The place of the biggest encoding that is needed: the wanted one, or the one that stands in for it.

        None where none is sent, though the path carries it.
        """
        if key in self._left_out:
            return None
        wanted = SMALLEST if key in self.wanted else 0
        sent = self._instead[key][0] if key in self._instead else None
        if sent is not None and sent.why == "missing" and sent.source is not None:
            return min(wanted, sent.source)
        return wanted

    def begin(self, key: StreamKey) -> None:
        """It is sent anew, as what is chosen next."""
        self._instead.pop(key, None)

    def sent(self, key: StreamKey, sent: SourceSent) -> None:
        """The core sends something else than was chosen, or that again."""
        if sent.why is None:
            self._instead.pop(key, None)
        else:
            self._instead[key] = sent, describe(sent, self.wanted.get(key, "big"), key[0])
        self._say_news(key)

    def repeat(self) -> None:
        """The client has a new socket, and may have missed what it was told."""
        for key in self._told:
            self._say(key)

    def forget(self, key: StreamKey) -> None:
        """The stream is gone."""
        self.wanted.pop(key, None)
        self._told.pop(key, None)
        self._chosen.pop(key, None)
        self._instead.pop(key, None)
        self._left_out.pop(key, None)

    def _apply(self) -> None:
        if self._changed and self._pace.take(self._apply):
            self._changed = False
            self._pace.rest(INTERVAL)
            self._switch()

    def _say_news(self, key: StreamKey) -> None:
        expected: tuple[ReceivedVideo, str] = "big", ASKED_FOR
        now = self._instead[key][1] if key in self._instead else self._chosen.get(key, expected)
        if key in self._left_out:
            now = "none", self._left_out[key]
        if self._told.get(key, expected) != now:
            self._told[key] = now
            self._say(key)

    def _say(self, key: StreamKey) -> None:
        video_type, reason = self._told[key]
        self._tell(VideoReceived(user_id=key[0], stream_type=key[1], video_type=video_type, reason=reason))
