"""What a client tells its application. These classes are the SDK's own, so that the protocol may change beneath them.

Their fields are named, never placed: a later version may add some.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from parlour.errors import RtcError
from parlour.protocol.words import ReceivedVideo, RemovalReason, Role, StreamType


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedStream:
    """A stream that somebody in the room publishes, with the tracks in it. ``stream_id`` is new each time.

    ``small``: its video is sent in few pixels and bits as well.
    """

    user_id: str
    stream_type: StreamType
    stream_id: str
    audio: bool
    video: bool
    audio_muted: bool = False
    video_muted: bool = False
    small: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerJoin:
    """A user entered the room, or was there before."""

    user_id: str
    role: Role = "anchor"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLeave:
    """A user left the room; after ``StreamRemoved`` for each of the user's streams."""

    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamAdded:
    """A stream was published, or was there before."""

    stream: PublishedStream


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamUpdated:
    """Tracks or the small video were added to a stream or removed from it."""

    stream: PublishedStream


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRemoved:
    """A stream is no longer published."""

    user_id: str
    stream_type: StreamType
    stream_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteChanged:
    """A published stream's mute state; both fields are the state as it is now."""

    user_id: str
    stream_type: StreamType
    audio_muted: bool
    video_muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoReceived:
    """Which of a stream's videos comes now, and why; before the first it is the big one.

    ``none``: the path carries none of them.
    """

    user_id: str
    stream_type: StreamType
    video_type: ReceivedVideo
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkQuality:
    """How good the two links to the server are, every two seconds while there is one of them.

    Qualities: 1 excellent, 2 good, 3 fair, 4 poor, 5 very poor, 6 disconnected, 0 not yet known. Round trips are in
    milliseconds, losses in percent of the packets; 0 while not known.
    """

    uplink_quality: int
    downlink_quality: int
    uplink_rtt: int = 0
    uplink_loss: float = 0
    downlink_rtt: int = 0
    downlink_loss: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """How loud a stream's sound is: 1 to 100, linear in decibels. A voice begins at about 10."""

    user_id: str
    stream_type: StreamType
    volume: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """How loud everybody is now and who speaks, for who asked with :meth:`Client.watch_volumes`; this client too.

    ``volumes`` are those that can be heard, the loudest first. ``speakers`` begins with who has the floor.
    """

    volumes: tuple[Volume, ...]
    speakers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientBanned:
    """This client was removed from the room; ``ConnectionChanged("disconnected")`` comes next."""

    reason: RemovalReason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStopping:
    """The server is going down in good order; the client comes back when it is there again."""

    message: str


@dataclass(frozen=True)
class ConnectionChanged:
    """The signaling channel's state; ``disconnected`` is the last event of a session."""

    state: Literal["connected", "reconnecting", "disconnected"]


@dataclass(frozen=True)
class Failed:
    """Something that no call can raise went wrong for good."""

    error: RtcError


RoomEvent = PeerJoin | PeerLeave | StreamAdded | StreamUpdated | StreamRemoved | MuteChanged
ClientEvent = (
    RoomEvent | VideoReceived | NetworkQuality | Volumes | ClientBanned | ServerStopping | ConnectionChanged | Failed
)

__all__ = [
    "ClientBanned",
    "ClientEvent",
    "ConnectionChanged",
    "Failed",
    "MuteChanged",
    "NetworkQuality",
    "PeerJoin",
    "PeerLeave",
    "PublishedStream",
    "RoomEvent",
    "ServerStopping",
    "StreamAdded",
    "StreamRemoved",
    "StreamUpdated",
    "VideoReceived",
    "Volume",
    "Volumes",
]
