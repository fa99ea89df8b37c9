"""The signaling protocol, version 1: every message that crosses the WebSocket.

This module is the one source of the wire format. JSON Schema, the TypeScript types in
``web/sdk/src/generated`` and the tables of ``docs/protocol.md`` are made from it by
``python -m parlour.signaling.generate``.

A client sends *requests* ``{"id": n, "type": "...", ...}``. The server sends one *answer* a request,
``{"id": n, "ok": {...}}`` or ``{"id": n, "error": {...}}``, and *events* ``{"type": "...", ...}`` without an id.
Field names are camelCase on the wire.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

PROTOCOL_VERSION = 1

StreamType = Literal["main", "auxiliary"]
Scene = Literal["rtc", "live"]
Role = Literal["anchor", "audience"]
Kind = Literal["audio", "video"]
BanReason = Literal["kick", "banned", "room-disband"]
RequestId = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Message(Struct, rename="camel", omit_defaults=True, frozen=True, kw_only=True):
    """Base of every structure on the wire: camelCase, absent when it has its default."""


class Request(Message, tag_field="type"):
    """A client's request; ``id`` is chosen by the client and comes back in the answer."""

    id: RequestId


# --- requests -------------------------------------------------------------------------------------------------


class Login(Request, tag="login"):
    """Prove who you are. First request on a socket, unless it resumes."""

    sdk_app_id: int
    user_id: str
    user_sig: str = ""
    sdk_version: str = ""
    account_type: int | str | None = None


class Enter(Request, tag="enter"):
    """Enter a room; made if it is missing. ``room_id`` is a number, or a text when ``string_room`` is true."""

    ticket: str
    room_id: int | str
    string_room: bool = False
    scene: Scene = "rtc"
    role: Role = "anchor"
    private_map_key: str = ""


class Resume(Request, tag="resume"):
    """Take up a session again on a new socket. First request on that socket."""

    resume_token: str


class Publish(Request, tag="publish"):
    """Publish a stream, or change a published one, with the uplink's SDP offer.

    ``audio_mid`` / ``video_mid`` name the m-lines of the offer that carry the stream's tracks.
    """

    sdp: str
    stream_type: StreamType = "main"
    audio_mid: str | None = None
    video_mid: str | None = None
    audio_muted: bool = False
    video_muted: bool = False
    restart: bool = False
    """The offer is from a new peer connection: drop the uplink's transport and make a fresh one."""


class Unpublish(Request, tag="unpublish"):
    """Stop publishing a stream. The uplink's transport closes with its last stream."""

    stream_type: StreamType = "main"


class Subscribe(Request, tag="subscribe"):
    """Receive a stream's audio, video or both; repeated, it replaces what was asked before."""

    user_id: str
    stream_type: StreamType = "main"
    audio: bool = True
    video: bool = True


class Unsubscribe(Request, tag="unsubscribe"):
    """Stop receiving a stream."""

    user_id: str
    stream_type: StreamType = "main"


class DownlinkAnswer(Request, tag="downlink-answer"):
    """The client's SDP answer to the ``downlink-offer`` of the same revision."""

    revision: int
    sdp: str


class DownlinkRestart(Request, tag="downlink-restart"):
    """The client's downlink failed: a fresh transport and a fresh full offer, please."""


class Mute(Request, tag="mute"):
    """Set the mute state of a published stream's tracks; a field left out is not changed."""

    stream_type: StreamType = "main"
    audio: bool | None = None
    video: bool | None = None


class Leave(Request, tag="leave"):
    """Leave the room. The socket may log in again or be closed."""


class Ping(Request, tag="ping"):
    """The heartbeat: any request counts as one."""


AnyRequest = (
    Login
    | Enter
    | Resume
    | Publish
    | Unpublish
    | Subscribe
    | Unsubscribe
    | DownlinkAnswer
    | DownlinkRestart
    | Mute
    | Leave
    | Ping
)


# --- shared parts ---------------------------------------------------------------------------------------------


class StreamInfo(Message):
    """One published stream as others see it."""

    user_id: str
    stream_type: StreamType
    stream_id: str
    audio: bool
    video: bool
    audio_muted: bool = False
    video_muted: bool = False


class Member(Message):
    """One member of the room."""

    user_id: str
    role: Role = "anchor"


class Snapshot(Message):
    """The room as it stands, in join order; without the receiver of it."""

    members: list[Member]
    streams: list[StreamInfo]


class ErrorBody(Message):
    """Why a request was refused. ``extra_code`` is the account or room code behind 0x4001 or 0x4004, else 0."""

    code: int
    key: str
    message: str
    extra_code: int = 0
    name: str = "RtcError"


# --- answers --------------------------------------------------------------------------------------------------


class LoginOk(Message):
    """``ticket`` is what ``enter`` presents; ``heartbeat_interval`` in seconds."""

    ticket: str
    ticket_expires_at: int
    server_version: str
    heartbeat_interval: float
    max_message_bytes: int


class EnterOk(Message):
    """``resume_timeout``: seconds for which a lost socket keeps its user."""

    session_id: str
    resume_token: str
    resume_timeout: float
    snapshot: Snapshot


class ResumeOk(Message):
    """The session goes on: what changed is the difference between ``snapshot`` and what the client knew.

    ``published`` are the client's own streams that the server still holds, ``subscriptions`` what it still receives.
    """

    session_id: str
    resume_token: str
    resume_timeout: float
    snapshot: Snapshot
    published: list[StreamInfo]
    subscriptions: list[Subscription]


class Subscription(Message):
    """What one client receives of one stream."""

    user_id: str
    stream_type: StreamType
    audio: bool
    video: bool


class PublishOk(Message):
    """The SDP answer for the uplink and the id that others see for the stream."""

    sdp: str
    stream_id: str


class SubscribeOk(Message):
    """Accepted; the tracks come with the ``downlink-offer`` of at least this revision."""

    revision: int


class Empty(Message):
    """Done; nothing more to say."""


AnyOk = LoginOk | EnterOk | ResumeOk | PublishOk | SubscribeOk | Empty


class OkAnswer(Message):
    """A request was carried out."""

    id: int
    ok: msgspec.Raw


class ErrorAnswer(Message):
    """A request was refused. ``id`` is null for a message whose id could not be read."""

    id: int | None
    error: ErrorBody


# --- events ---------------------------------------------------------------------------------------------------


class Event(Message, tag_field="type"):
    """Something that happened; no answer is expected."""


class PeerJoin(Event, tag="peer-join"):
    """A user entered the room."""

    user_id: str
    role: Role = "anchor"


class PeerLeave(Event, tag="peer-leave"):
    """A user left the room; after ``stream-removed`` for each of the user's streams."""

    user_id: str


class StreamAdded(Event, tag="stream-added"):
    """A stream was published."""

    stream: StreamInfo


class StreamUpdated(Event, tag="stream-updated"):
    """Tracks were added to or removed from a stream."""

    stream: StreamInfo


class StreamRemoved(Event, tag="stream-removed"):
    """A stream is no longer published."""

    user_id: str
    stream_type: StreamType
    stream_id: str


class MuteChanged(Event, tag="mute-changed"):
    """A published stream's mute state; both fields are the state as it is now."""

    user_id: str
    stream_type: StreamType
    audio_muted: bool
    video_muted: bool


class DownlinkTrack(Message):
    """Which remote track an m-line of the downlink carries."""

    mid: str
    user_id: str
    stream_type: StreamType
    kind: Kind


class DownlinkOffer(Event, tag="downlink-offer"):
    """The server's SDP offer for the downlink. At most one is unanswered at a time.

    ``restart`` asks for a new peer connection. ``tracks`` are all m-lines in use.
    """

    revision: int
    sdp: str
    tracks: list[DownlinkTrack]
    restart: bool = False


class MediaFailed(Event, tag="media-failed"):
    """A transport of this client is dead, with the core's reason; the client makes a new one."""

    link: Literal["uplink", "downlink"]
    reason: str


class ClientBanned(Event, tag="client-banned"):
    """The client was removed from the room; the socket closes with 4409 next."""

    reason: BanReason
    message: str


class ServerStopping(Event, tag="server-stopping"):
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
    | MediaFailed
    | ClientBanned
    | ServerStopping
)
