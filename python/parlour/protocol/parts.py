"""What messages of the signaling protocol are made of, and what several of them carry."""

from __future__ import annotations

from msgspec import Struct

from parlour.protocol.words import Role, StreamType


class Message(Struct, rename="camel", omit_defaults=True, frozen=True, kw_only=True):
    """Base of every structure on the wire: camelCase, absent when it has its default."""


class StreamInfo(Message, frozen=True):
    """One published stream as others see it. ``small``: its video is there as a small stream as well."""

    user_id: str
    stream_type: StreamType
    stream_id: str
    audio: bool
    video: bool
    audio_muted: bool = False
    video_muted: bool = False
    small: bool = False


class Member(Message, frozen=True):
    """One member of the room."""

    user_id: str
    role: Role = "anchor"


class Snapshot(Message, frozen=True):
    """The room as it stands, in join order; without the receiver of it."""

    members: list[Member]
    streams: list[StreamInfo]


class ErrorBody(Message, omit_defaults=False, frozen=True):
    """Why a request was refused. ``extra_code`` is the account or room code behind ``code``, else 0."""

    code: int
    key: str
    message: str
    extra_code: int = 0
    name: str = "RtcError"
