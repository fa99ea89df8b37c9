"""The signaling protocol, version 1: every message that crosses the WebSocket.

This module is the one source of the wire format, with the parts that its messages share and the close codes, which are
beside it and are taken from here. JSON Schema, the TypeScript types in
``web/sdk/src/generated`` and the tables of ``docs/protocol.md`` are made from it by
``python -m parlour.protocol.generate``.

A client sends *requests* ``{"id": n, "type": "...", ...}``. The server sends one *answer* a request,
``{"id": n, "ok": {...}}`` or ``{"id": n, "error": {...}}``, and *events* ``{"type": "...", ...}`` without an id.
Field names are camelCase on the wire.
"""

# ruff: noqa: PLC0414 - these names are a part of this module
from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from parlour.protocol.close_codes import ENDS_SESSION as ENDS_SESSION
from parlour.protocol.close_codes import ClientCloseCode as ClientCloseCode
from parlour.protocol.close_codes import CloseCode as CloseCode
from parlour.protocol.parts import ErrorBody as ErrorBody
from parlour.protocol.parts import Member as Member
from parlour.protocol.parts import Message as Message
from parlour.protocol.parts import Snapshot as Snapshot
from parlour.protocol.parts import StreamInfo as StreamInfo
from parlour.protocol.words import Kind, ReceivedVideo, RemovalReason, Role, Scene, StreamType, VideoType

PROTOCOL_VERSION = 1

SIGNALING_PATH = "/v1/ws"
"""Where a server's signaling channel is; the version is asked for as ``?v=``."""

LinkGrade = Annotated[int, Meta(ge=0, le=6)]

RequestId = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Request(Message, tag_field="type", frozen=True):
    """A client's request; ``id`` is chosen by the client and comes back in the answer."""

    id: RequestId

    def __repr__(self) -> str:
        """For logs: no content, since that may be a credential."""
        return f"{type(self).__name__}(id={self.id})"


# --- requests -------------------------------------------------------------------------------------------------


class Login(Request, tag="login", frozen=True):
    """Prove who you are. First request on a socket, unless it resumes."""

    sdk_app_id: int
    user_id: str
    user_sig: str = ""
    sdk_version: str = ""
    account_type: int | str | None = None


class Enter(Request, tag="enter", frozen=True):
    """Enter a room; made if it is missing. ``room_id`` is a number, or a text when ``string_room`` is true."""

    ticket: str
    room_id: int | str
    string_room: bool = False
    scene: Scene = "rtc"
    role: Role = "anchor"
    private_map_key: str = ""


class SwitchRole(Request, tag="switch-role", frozen=True):
    """Become an anchor or audience of a live room. Who becomes audience publishes nothing any more.

    Where the app asks for a ``private_map_key``, it is looked at anew when somebody becomes an anchor.
    """

    role: Role
    private_map_key: str = ""


class Resume(Request, tag="resume", frozen=True):
    """Take up a session again on a new socket. First request on that socket."""

    resume_token: str


class Publish(Request, tag="publish", frozen=True):
    """Publish a stream, or change a published one, with the uplink's SDP offer.

    ``audio_mid`` / ``video_mid`` name the m-lines of the offer that carry the stream's tracks. A video m-line may send
    up to three encodings of VP8 or H264 (``a=simulcast:send``, the biggest first); the last is the small stream.
    """

    sdp: str
    stream_type: StreamType = "main"
    audio_mid: str | None = None
    video_mid: str | None = None
    audio_muted: bool = False
    video_muted: bool = False
    restart: bool = False
    """The offer is from a new peer connection: drop the uplink's transport and make a fresh one."""


class Unpublish(Request, tag="unpublish", frozen=True):
    """Stop publishing a stream. The uplink's transport closes with its last stream."""

    stream_type: StreamType = "main"


class Subscribe(Request, tag="subscribe", frozen=True):
    """Receive a stream's audio, video or both; repeated, it replaces what was asked before."""

    user_id: str
    stream_type: StreamType = "main"
    audio: bool = True
    video: bool = True


class Unsubscribe(Request, tag="unsubscribe", frozen=True):
    """Stop receiving a stream."""

    user_id: str
    stream_type: StreamType = "main"


class SetVideoType(Request, tag="set-video-type", frozen=True):
    """Receive a stream's video as the big or the small stream, once it is subscribed to and as far as it is sent.

    May come before ``subscribe``, and stays until the stream is gone. Where the one is missing the other comes.
    """

    user_id: str
    video_type: VideoType
    stream_type: StreamType = "main"


class WatchVolumes(Request, tag="watch-volumes", frozen=True):
    """Be told by ``volumes`` how loud everybody in the room is and who speaks, from now on.

    ``interval`` are milliseconds; the next shorter one of 100, 200, 500, 1000 and 2000 is taken, or 100; 0: no more.
    Refused with -102019 to who may not receive audio.
    """

    interval: int = 2000


class DownlinkAnswer(Request, tag="downlink-answer", frozen=True):
    """The client's SDP answer to the ``downlink-offer`` of the same revision."""

    revision: int
    sdp: str


class DownlinkRestart(Request, tag="downlink-restart", frozen=True):
    """The client's downlink failed: a fresh transport and a fresh full offer, please."""


class UplinkIceRestart(Request, tag="uplink-ice-restart", frozen=True):
    """The uplink goes on with new ICE credentials, because the client may be somewhere else by now: its new offer.

    Of the same connection, made with ``iceRestart``. Nothing is published anew, and nobody else is told of it.
    """

    sdp: str


class DownlinkIceRestart(Request, tag="downlink-ice-restart", frozen=True):
    """The same for the downlink: a ``downlink-offer`` with new ICE credentials, please, for the connection there is."""


class Mute(Request, tag="mute", frozen=True):
    """Set the mute state of a published stream's tracks; a field left out is not changed."""

    stream_type: StreamType = "main"
    audio: bool | None = None
    video: bool | None = None


class Leave(Request, tag="leave", frozen=True):
    """Leave the room. The socket may log in again or be closed."""


class Ping(Request, tag="ping", frozen=True):
    """The heartbeat: any request counts as one."""


AnyRequest = (
    Login
    | Enter
    | Resume
    | Publish
    | Unpublish
    | Subscribe
    | Unsubscribe
    | SetVideoType
    | WatchVolumes
    | DownlinkAnswer
    | DownlinkRestart
    | UplinkIceRestart
    | DownlinkIceRestart
    | Mute
    | SwitchRole
    | Leave
    | Ping
)


# --- answers --------------------------------------------------------------------------------------------------


class LoginOk(Message, frozen=True):
    """``ticket`` is what ``enter`` presents; ``heartbeat_interval`` in seconds."""

    ticket: str
    ticket_expires_at: int
    server_version: str
    heartbeat_interval: float
    max_message_bytes: int


class EnterOk(Message, frozen=True):
    """``resume_timeout``: seconds for which a lost socket keeps its user."""

    session_id: str
    resume_token: str
    resume_timeout: float
    snapshot: Snapshot


class ResumeOk(Message, frozen=True):
    """The session goes on: what changed is the difference between ``snapshot`` and what the client knew.

    ``published`` are the client's own streams that the server still holds, ``subscriptions`` what it still receives,
    ``video_types`` what it asked for with ``set-video-type``, where that is not the big stream, ``role`` what it is.
    """

    session_id: str
    resume_token: str
    resume_timeout: float
    snapshot: Snapshot
    published: list[StreamInfo]
    subscriptions: list[Subscription]
    video_types: list[WantedVideo] = []  # noqa: RUF012 - msgspec copies it
    role: Role = "anchor"


class Subscription(Message, frozen=True):
    """What one client receives of one stream."""

    user_id: str
    stream_type: StreamType
    audio: bool
    video: bool


class WantedVideo(Message, frozen=True):
    """As what one client wants the video of one stream."""

    user_id: str
    stream_type: StreamType
    video_type: VideoType


class PublishOk(Message, frozen=True):
    """The SDP answer for the uplink and the id that others see for the stream."""

    sdp: str
    stream_id: str


class UplinkIceRestartOk(Message, frozen=True):
    """The SDP answer with the server's new credentials."""

    sdp: str


class SubscribeOk(Message, frozen=True):
    """Accepted; the tracks come with the ``downlink-offer`` of at least this revision."""

    revision: int


class WatchVolumesOk(Message, frozen=True):
    """How often, in milliseconds; 0: not any more."""

    interval: int


class Empty(Message, frozen=True):
    """Done; nothing more to say."""


AnyOk = LoginOk | EnterOk | ResumeOk | PublishOk | SubscribeOk | WatchVolumesOk | UplinkIceRestartOk | Empty

ANSWERS: dict[type[Request], type[Message]] = {
    Login: LoginOk,
    Enter: EnterOk,
    Resume: ResumeOk,
    Publish: PublishOk,
    Unpublish: Empty,
    Subscribe: SubscribeOk,
    Unsubscribe: Empty,
    SetVideoType: Empty,
    WatchVolumes: WatchVolumesOk,
    DownlinkAnswer: Empty,
    DownlinkRestart: Empty,
    UplinkIceRestart: UplinkIceRestartOk,
    DownlinkIceRestart: SubscribeOk,
    Mute: Empty,
    SwitchRole: Empty,
    Leave: Empty,
    Ping: Empty,
}
"""What the ``ok`` of each request's answer holds."""


class OkAnswer(Message, frozen=True):
    """A request was carried out."""

    id: int
    ok: msgspec.Raw


class ErrorAnswer(Message, frozen=True):
    """A request was refused. ``id`` is null for a message whose id could not be read."""

    id: int | None
    error: ErrorBody


# --- events ---------------------------------------------------------------------------------------------------


class Event(Message, tag_field="type", frozen=True):
    """Something that happened; no answer is expected."""


class PeerJoin(Event, tag="peer-join", frozen=True):
    """A user entered the room."""

    user_id: str
    role: Role = "anchor"


class PeerLeave(Event, tag="peer-leave", frozen=True):
    """A user left the room; after ``stream-removed`` for each of the user's streams."""

    user_id: str


class StreamAdded(Event, tag="stream-added", frozen=True):
    """A stream was published."""

    stream: StreamInfo


class StreamUpdated(Event, tag="stream-updated", frozen=True):
    """Tracks or the small stream were added to a stream or removed from it."""

    stream: StreamInfo


class StreamRemoved(Event, tag="stream-removed", frozen=True):
    """A stream is no longer published."""

    user_id: str
    stream_type: StreamType
    stream_id: str


class MuteChanged(Event, tag="mute-changed", frozen=True):
    """A published stream's mute state; both fields are the state as it is now."""

    user_id: str
    stream_type: StreamType
    audio_muted: bool
    video_muted: bool


class DownlinkTrack(Message, frozen=True):
    """Which remote track an m-line of the downlink carries."""

    mid: str
    user_id: str
    stream_type: StreamType
    kind: Kind


class DownlinkOffer(Event, tag="downlink-offer", frozen=True):
    """The server's SDP offer for the downlink. At most one is unanswered at a time.

    ``restart`` asks for a new peer connection. ``tracks`` are all m-lines in use.
    """

    revision: int
    sdp: str
    tracks: list[DownlinkTrack]
    restart: bool = False


class VideoReceived(Event, tag="video-received", frozen=True):
    """Which of a stream's videos is sent to this client now, and why. Before the first it is the big one.

    ``none``: the path to this client carries none of them, or its user is not among those who spoke last where the
    server sends no more. ``reason`` is for people: "asked for", or what is in the way of that, with the rates where it
    is the path.
    """

    user_id: str
    stream_type: StreamType
    video_type: ReceivedVideo
    reason: str


class Volume(Message, frozen=True):
    """How loud a stream's sound is: 0 (silence, or muted) to 100, linear in decibels; a voice begins at about 10."""

    user_id: str
    volume: int
    stream_type: StreamType = "main"


class Volumes(Event, tag="volumes", frozen=True):
    """What changed of how loud everybody is, the receiver too, and who speaks, for who asked by ``watch-volumes``.

    Who is not named is as loud as before; with ``whole``, silent. At most 16 are named, those that changed most.
    ``speakers`` are up to 8 who speak, first who has the floor, then who began last; null: the same as before.
    """

    volumes: list[Volume]
    speakers: list[str] | None = None
    whole: bool = False


class EncodingsWanted(Event, tag="encodings-wanted", frozen=True):
    """Which encodings of the client's own video are taken, by their rids: the others need not be sent.

    Told for a video of several encodings only, and all are wanted until it is. What is taken again is told at once,
    what nobody takes any more after some seconds. A client may send them all the same.
    """

    stream_type: StreamType
    rids: list[str]


class NetworkQuality(Event, tag="network-quality", frozen=True):
    """How good this client's two links are, every two seconds while it has one of them.

    ``uplink_quality`` and ``downlink_quality``: 1 excellent, 2 good, 3 fair, 4 poor, 5 very poor, 6 disconnected, 0 not
    yet known: the worse of round trip (below 100, 200, 350, 600 ms) and loss (below 1, 3, 7, 15 %). Round trips are in
    milliseconds, losses in percent of the packets; 0 while not known.
    """

    uplink_quality: LinkGrade
    downlink_quality: LinkGrade
    uplink_rtt: int = 0
    uplink_loss: float = 0
    downlink_rtt: int = 0
    downlink_loss: float = 0


class IceRestartWanted(Event, tag="ice-restart-wanted", frozen=True):
    """The client's uplink leaves the server's checks unanswered, or its socket came back from another address.

    The client is to send ``uplink-ice-restart``. For the downlink the server just offers new credentials.
    """

    reason: Literal["silent", "moved"]


class MediaFailed(Event, tag="media-failed", frozen=True):
    """A transport of this client is dead, with the core's reason; the client makes a new one."""

    link: Literal["uplink", "downlink"]
    reason: str


class ClientBanned(Event, tag="client-banned", frozen=True):
    """The client was removed from the room; the socket closes with 4409 next."""

    reason: RemovalReason
    message: str


class ServerStopping(Event, tag="server-stopping", frozen=True):
    """The server is going down in good order; the socket closes with 1012 next."""

    message: str


AnyEvent = (
    PeerJoin
    | PeerLeave
    | StreamAdded
    | StreamUpdated
    | StreamRemoved
    | MuteChanged
    | DownlinkOffer
    | VideoReceived
    | Volumes
    | EncodingsWanted
    | NetworkQuality
    | IceRestartWanted
    | MediaFailed
    | ClientBanned
    | ServerStopping
)
