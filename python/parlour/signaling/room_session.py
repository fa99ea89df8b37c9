"""A room with the sessions in it: the one writer of its state, and who tells everybody what happened."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import structlog

from parlour.errors import ErrorCode, RtcError
from parlour.protocol import messages
from parlour.protocol.messages import CloseCode
from parlour.protocol.words import Kind, RemovalReason, Role, Scene, StreamType
from parlour.rooms import (
    MemberJoined,
    MemberLeft,
    MemberRemoved,
    MuteChanged,
    RoleChanged,
    Room,
    RoomClosed,
    RoomEvent,
    RoomSnapshot,
    Stream,
    StreamChanged,
    StreamPublished,
    StreamUnpublished,
)
from parlour.signaling.channel import Channel
from parlour.signaling.codec import encode_event
from parlour.signaling.lines import RemoteTrack, TrackKey
from parlour.signaling.loudness import Loudness
from parlour.signaling.privileges import may_receive, may_send
from parlour.signaling.session import Session
from parlour.signaling.video_types import StreamKey

log = structlog.get_logger(__name__)

REMOVED: dict[RemovalReason, str] = {
    "kick": "the same user entered the room again",
    "banned": "the user was removed from the room by an administrator",
    "room-disband": "the room was dismissed",
}


MOST_EVENTS = 16
"""Events that one change may make, and more: they are read at once, so that none wait behind them."""

OnDeparted = Callable[[Session, RemovalReason | None], None]
"""Called with a session that is out of its room, and why if it was removed."""


class RoomSession:
    """One room, from its first member to its last.

    Everything here happens at once, without waiting, so that no two changes ever mix.
    """

    def __init__(
        self, room: Room[Session], sdk_app_id: int, shard: int, on_departed: OnDeparted, loudness: Loudness
    ) -> None:
        self.room = room
        self.loudness = loudness
        self._events = room.read(limit=MOST_EVENTS)
        self._on_departed = on_departed
        self.sdk_app_id = sdk_app_id
        self.shard = shard

    @property
    def sessions(self) -> list[Session]:
        """The sessions that are in the room, in join order."""
        return [member.session for member in self.room.members]

    # --- coming and going ---

    def enter(self, session: Session, scene: Scene) -> messages.Snapshot:
        """A session enters. Returns the room as it found it."""
        self.room.enter(session.user_id, session, session.role, scene)
        self._tell_all(cause=session)
        return self.snapshot(session)

    def leave(self, session: Session) -> None:
        """A session leaves; its media stops."""
        self.room.leave(session.user_id, session)
        self._tell_all(cause=session)

    def switch_role(self, session: Session, role: Role) -> None:
        """A session of a live room becomes an anchor or audience."""
        published = [stream.stream_type for stream in self.room.member(session.user_id, session).streams.values()]
        self.room.switch_role(session.user_id, session, role)
        session.role = role
        self._tell_all(cause=session)
        if role == "audience":
            for stream_type in published:
                session.uplink.unpublish(stream_type)

    def remove(self, user_id: str) -> None:
        """An administrator's word: the user is out of the room at once, if it is there."""
        self.room.remove(user_id, "banned")
        self._tell_all()

    def lose(self, session: Session, now: float) -> None:
        """A session lost its socket."""
        session.channel = None
        self.room.socket_lost(session.user_id, session, now)

    def resume(self, session: Session, channel: Channel) -> messages.Snapshot:
        """A session goes on with another socket, which takes the place of the one it may still have."""
        old, session.channel = session.channel, None
        if old is not None:
            old.close(CloseCode.GOING_AWAY, "the session was resumed on another socket")
        session.channel = channel
        self.room.socket_back(session.user_id, session)
        return self.snapshot(session)

    def snapshot(self, session: Session) -> messages.Snapshot:
        """The room as it is, without that session and the audience."""
        others = [member for member in self.room.anchors if member.user_id != session.user_id]
        return messages.Snapshot(
            members=[messages.Member(user_id=member.user_id, role=member.role) for member in others],
            streams=[stream_info(stream) for stream in self.room.streams if stream.user_id != session.user_id],
        )

    # --- streams ---

    def publish(self, session: Session, request: messages.Publish) -> messages.PublishOk:
        """Publish a stream, or change a published one."""
        self.room.may_publish(session.user_id, session)
        offer, tracks = session.uplink.read(request)
        may_send(session.privileges, request.stream_type, tracks)
        before = dict(session.uplink.published)
        sdp = session.uplink.accept(request, offer, tracks)
        self.room.publish(
            session.user_id,
            session,
            request.stream_type,
            stream_id=secrets.token_hex(8),
            audio="audio" in tracks,
            video="video" in tracks,
            audio_muted=request.audio_muted,
            video_muted=request.video_muted,
            small="video" in tracks and tracks["video"].has_small,
        )
        self._tell_all(cause=session)
        if session.uplink.published != before:  # the same published again concerns nobody
            receivers = self._subscribers(session.user_id)
            for other in receivers:
                other.downlink.refresh()
            session.owe(renegotiated=len(receivers))
        stream = self.room.stream(session.user_id, request.stream_type)
        if stream is None:
            raise AssertionError("a stream that was just published is there")
        return messages.PublishOk(sdp=sdp, stream_id=stream.stream_id)

    def unpublish(self, session: Session, stream_type: StreamType) -> None:
        """Take a stream away."""
        self.room.unpublish(session.user_id, session, stream_type)
        self._tell_all(cause=session)
        session.uplink.unpublish(stream_type)

    def mute(self, session: Session, request: messages.Mute) -> None:
        """Set the mute state of a stream."""
        self.room.mute(session.user_id, session, request.stream_type, audio=request.audio, video=request.video)
        self._tell_all(cause=session)

    def subscribe(self, session: Session, request: messages.Subscribe) -> int:
        """Receive a stream. Returns the revision of the offer that has it."""
        if request.user_id == session.user_id:
            raise RtcError(ErrorCode.INVALID_PARAMETER, "nobody subscribes to the own stream")
        if self.room.stream(request.user_id, request.stream_type) is None:
            raise RtcError(
                ErrorCode.REMOTE_STREAM_NOT_EXIST, f"that user publishes no {request.stream_type} stream (any more)"
            )
        asked: list[Kind] = []
        asked += ["audio"] if request.audio else []
        asked += ["video"] if request.video else []
        kinds = may_receive(session.privileges, request.stream_type, asked)
        return session.downlink.subscribe(request.user_id, request.stream_type, kinds)

    def set_video_type(self, session: Session, request: messages.SetVideoType) -> None:
        """Receive a stream's video as the big or the small one."""
        if self.room.stream(request.user_id, request.stream_type) is None or request.user_id == session.user_id:
            raise RtcError(
                ErrorCode.REMOTE_STREAM_NOT_EXIST, f"that user publishes no {request.stream_type} stream (any more)"
            )
        session.owe(lines=1)
        key = request.user_id, request.stream_type
        with session.downlink.taken.changing(key):
            session.downlink.video_types.want(key, request.video_type)

    def watch_volumes(self, session: Session, request: messages.WatchVolumes) -> messages.WatchVolumesOk:
        """Tell a session how loud everybody is, or do so no more."""
        may_receive(session.privileges, "main", ["audio"])
        return messages.WatchVolumesOk(interval=self.loudness.listen(session, request.interval))

    def taken(self, key: StreamKey, before: int | None, after: int | None) -> None:
        """One of the sessions takes another encoding of a stream's video than before, as its ``TakenEncodings`` say."""
        publisher = self.room.session(key[0])
        encodings = None if publisher is None else publisher.uplink.encodings.get(key[1])
        if encodings is not None:
            encodings.changed(before, after)

    def biggest_taken(self, key: StreamKey) -> int | None:
        """The place of the biggest encoding of a stream's video that anybody takes; None when nobody takes any."""
        places = (session.downlink.taken.biggest(key) for session in self.sessions)
        return min((place for place in places if place is not None), default=None)

    def find_track(self, key: TrackKey) -> RemoteTrack | None:
        """The published track of that key, as downlinks need it."""
        user_id, stream_type, kind = key
        publisher, stream = self.room.session(user_id), self.room.stream(user_id, stream_type)
        if publisher is None or stream is None:
            return None
        source = publisher.uplink.published.get((stream_type, kind))
        if source is None:
            return None
        return RemoteTrack(source.track, source.producers, stream.stream_id, publisher.cname)

    def _subscribers(self, user_id: str) -> list[Session]:
        return [session for session in self.sessions if session.downlink.subscribes_to(user_id)]

    # --- telling ---

    def _tell_all(self, cause: Session | None = None) -> None:
        """Tell everybody else what happened, in order; media stops before it is told.

        ``cause`` is charged for it: the session that asked for the change, or left.
        """
        events = self._events.take()
        if isinstance(events, RoomSnapshot):
            raise AssertionError(f"a change of a room made more than {MOST_EVENTS} events, or one was not told")
        gone: Session | None = cause
        why: RemovalReason | None = None
        channel = None if cause is None else cause.channel  # who leaves has none afterwards
        anybody_heard = False  # what nobody is told of is of the audience, whom nobody hears
        for event in events:
            match event:
                case MemberRemoved(session=Session() as removed, reason=reason):
                    gone, why = removed, reason
                    self._removed(removed, reason)
                    continue
                case MemberRemoved() | RoomClosed():
                    raise AssertionError(f"a change made a {type(event).__name__} that is none of its own")
                case StreamUnpublished(stream):
                    receivers = self._subscribers(stream.user_id)
                    for other in self.sessions:
                        other.downlink.gone(stream.user_id, stream.stream_type)
                    if channel is not None:
                        channel.connection.owe(renegotiated=len(receivers))
                case MemberLeft() if gone is not None:
                    self.loudness.left(gone)
                    self._on_departed(gone, why)
                    gone.close()
            told = wire_event(event)
            if told is None:
                continue
            self._tell_others(event.user_id, told)
            anybody_heard = True
            if channel is not None:
                channel.connection.owe(told=len(self.room))
        if anybody_heard:
            self.loudness.changed()

    def _removed(self, session: Session, reason: RemovalReason) -> None:
        channel, session.channel = session.channel, None
        if channel is None:
            return
        channel.tell(messages.ClientBanned(reason=reason, message=REMOVED[reason]))
        channel.close(CloseCode.REMOVED, REMOVED[reason])

    def _tell_others(self, user_id: str, event: messages.Event) -> None:
        text = encode_event(event)
        for session in self.sessions:
            if session.user_id != user_id and session.channel is not None:
                session.channel.tell_text(text)


def stream_info(stream: Stream) -> messages.StreamInfo:
    """A stream as it is told."""
    return messages.StreamInfo(
        user_id=stream.user_id,
        stream_type=stream.stream_type,
        stream_id=stream.stream_id,
        audio=stream.audio,
        video=stream.video,
        audio_muted=stream.audio_muted,
        video_muted=stream.video_muted,
        small=stream.small,
    )


def wire_event(event: RoomEvent) -> messages.Event | None:
    """A room's event as the others in the room are told of it; None when it is of the audience."""
    match event:
        case MemberJoined(_, "audience") | MemberLeft(_, "audience"):
            return None
        case MemberJoined(user_id, role) | RoleChanged(user_id, "anchor" as role):
            return messages.PeerJoin(user_id=user_id, role=role)
        case MemberLeft(user_id) | RoleChanged(user_id):
            return messages.PeerLeave(user_id=user_id)
        case StreamPublished(stream):
            return messages.StreamAdded(stream=stream_info(stream))
        case StreamChanged(stream):
            return messages.StreamUpdated(stream=stream_info(stream))
        case StreamUnpublished(stream):
            return messages.StreamRemoved(
                user_id=stream.user_id, stream_type=stream.stream_type, stream_id=stream.stream_id
            )
        case MuteChanged(stream):
            return messages.MuteChanged(
                user_id=stream.user_id,
                stream_type=stream.stream_type,
                audio_muted=stream.audio_muted,
                video_muted=stream.video_muted,
            )
        case MemberRemoved() | RoomClosed():
            raise AssertionError(f"the others are not told of a {type(event).__name__}")
