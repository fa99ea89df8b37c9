"""One room's state. It has one writer; time is an argument; every change tells its events in order to all readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from parlour.errors import ErrorCode, RtcError, enter_refused
from parlour.protocol.words import RemovalReason, Role, Scene, StreamType
from parlour.rooms.events import (
    MemberJoined,
    MemberLeft,
    MemberRemoved,
    MuteChanged,
    RoleChanged,
    RoomClosed,
    RoomEvent,
    StreamChanged,
    StreamPublished,
    StreamUnpublished,
)
from parlour.rooms.ids import RoomId
from parlour.rooms.reader import RoomReader, RoomSnapshot
from parlour.rooms.streams import Stream

SessionT = TypeVar("SessionT")
"""By what a user is in the room. The writer chooses it; here it is only told from others."""


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """How much a room takes. ``resume_timeout``: seconds for which a lost socket keeps its user.

    ``max_members`` is of a room of the scene rtc, and of the anchors of one of the scene live; ``max_audience`` of all
    who are in that.
    """

    max_members: int = 300
    max_audience: int = 100_000
    max_publishers: int = 50
    resume_timeout: float = 90.0
    last_n: int = 0
    """Where more than so many show themselves, the pictures of so many are sent, who spoke last; 0: all."""


@dataclass(slots=True)
class Member(Generic[SessionT]):
    """A user in the room by one session. ``lost_at`` is when the session's socket was lost, None while it has one."""

    user_id: str
    session: SessionT
    role: Role
    streams: dict[StreamType, Stream] = field(default_factory=dict)
    lost_at: float | None = None


OnFault = Callable[[str, Exception], object]
"""Told who of those that follow rooms failed, and how. They are cut off, and the room goes on."""


class Room(Generic[SessionT]):
    """A room: members in join order, each with the streams that the member publishes, in publish order.

    The first who enters says of what scene it is. In a live room there are anchors, who publish, and an audience, which
    nobody is told of: it costs the others nothing, however large.
    """

    def __init__(self, room_id: RoomId, limits: RoomLimits, on_fault: OnFault = lambda who, fault: None) -> None:
        self.room_id = room_id
        self.limits = limits
        self._on_fault = on_fault
        self._closed = False
        self._members: dict[str, Member[SessionT]] = {}
        self._anchors: dict[str, Member[SessionT]] = {}
        self.scene: Scene = "rtc"
        self._readers: list[RoomReader] = []

    # --- reading ---

    def read(self, *, limit: int, on_news: Callable[[], None] | None = None) -> RoomReader:
        """Read the room's events from now on, with at most ``limit`` of them waiting."""
        reader = RoomReader(
            self._snapshot, limit=limit, on_news=on_news, on_closed=self._forget_reader, begun=bool(self._members)
        )
        self._readers.append(reader)
        return reader

    def _forget_reader(self, reader: RoomReader, fault: Exception | None) -> None:
        self._readers = [other for other in self._readers if other is not reader]
        if fault is not None:
            self._on_fault(f"a reader of room {self.room_id}", fault)

    def _snapshot(self, missed: int) -> RoomSnapshot:
        members = tuple((member.user_id, member.role) for member in self._members.values())
        return RoomSnapshot(members, tuple(self.streams), missed, self._closed)

    def _tell(self, events: list[RoomEvent]) -> list[RoomEvent]:
        """A change is done, and these are its events."""
        if events:
            for reader in self._readers:
                reader.put(events)
        return events

    def close(self) -> None:
        """The room is no more, as its readers are told; for its registry to call when nobody is in it."""
        self._closed = True
        self._tell([RoomClosed()])
        self._readers = []

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._members

    @property
    def members(self) -> tuple[Member[SessionT], ...]:
        """Everyone, in join order."""
        return tuple(self._members.values())

    @property
    def anchors(self) -> tuple[Member[SessionT], ...]:
        """Those whom the others know of, in the order in which they became so: everyone but a live room's audience."""
        return tuple(self._anchors.values())

    @property
    def first(self) -> Member[SessionT] | None:
        """Who is here for the longest time; None in a room that nobody is in."""
        return next(iter(self._members.values()), None)

    @property
    def streams(self) -> Iterator[Stream]:
        """Every stream, in join order of its users."""
        return (stream for member in self._anchors.values() for stream in member.streams.values())

    @property
    def publishers(self) -> int:
        """Members with at least one stream; a muted one counts."""
        return sum(1 for member in self._anchors.values() if member.streams)

    def member(self, user_id: str, session: SessionT) -> Member[SessionT]:
        """The member who is here by that session; INVALID_OPERATION when there is none."""
        member = self._members.get(user_id)
        if member is None or member.session != session:
            raise RtcError(ErrorCode.INVALID_OPERATION, f"user {user_id} is not in room {self.room_id}; enter it first")
        return member

    def session(self, user_id: str) -> SessionT | None:
        """By which session a user is here; None when the user is not."""
        member = self._members.get(user_id)
        return None if member is None else member.session

    def stream(self, user_id: str, stream_type: StreamType) -> Stream | None:
        """A user's stream, or None."""
        member = self._members.get(user_id)
        return None if member is None else member.streams.get(stream_type)

    # --- members ---

    def enter(self, user_id: str, session: SessionT, role: Role = "anchor", scene: Scene = "rtc") -> list[RoomEvent]:
        """A session of a user enters; an earlier one of the same user is removed.

        -102052 when the room is full, INVALID_OPERATION when it is of the other scene, or for a role in the scene rtc.
        """
        if len(self._members) > (user_id in self._members) and scene != self.scene:
            raise RtcError(
                ErrorCode.INVALID_OPERATION,
                f"join failed: room {self.room_id} was opened in the mode {self.scene}; enter it with that",
            )
        if scene == "rtc" and role != "anchor":
            raise RtcError(ErrorCode.INVALID_OPERATION, "join failed: there is an audience in the mode live only")
        most = self.limits.max_members if scene == "rtc" else self.limits.max_audience
        before = self._members.get(user_id)
        if before is None and len(self._members) >= most:
            raise enter_refused(ErrorCode.ROOM_FULL, f"room {self.room_id} has its {most} members already")
        if role == "anchor" and self._has_its_anchors(user_id):
            raise enter_refused(
                ErrorCode.ROOM_FULL, f"room {self.room_id} has its {self.limits.max_members} anchors already"
            )
        events = [] if before is None else self._put_out(before, "kick")
        self.scene = scene
        member = self._members[user_id] = Member(user_id, session, role)
        if role == "anchor":
            self._anchors[user_id] = member
        return self._tell([*events, MemberJoined(user_id, role)])

    def switch_role(self, user_id: str, session: SessionT, role: Role) -> list[RoomEvent]:
        """A user of a live room takes a role; who becomes audience publishes nothing any more. Idempotent."""
        member = self.member(user_id, session)
        if self.scene != "live":
            raise RtcError(ErrorCode.INVALID_OPERATION, f"room {self.room_id} is of the mode rtc, which has no roles")
        if member.role == role:
            return []
        if role == "anchor" and self._has_its_anchors(user_id):
            raise RtcError(
                ErrorCode.SWITCH_ROLE_FAILED,
                f"switchRole failed: room {self.room_id} has its {self.limits.max_members} anchors already",
                extra=ErrorCode.ROOM_FULL,
            )
        member.role = role
        if role == "anchor":
            self._anchors[user_id] = member
            return self._tell([RoleChanged(user_id, role)])
        del self._anchors[user_id]
        streams, member.streams = member.streams, {}
        return self._tell([*(StreamUnpublished(stream) for stream in streams.values()), RoleChanged(user_id, role)])

    def _has_its_anchors(self, user_id: str) -> bool:
        """Whether one more would be too many: everybody is told of each."""
        return user_id not in self._anchors and len(self._anchors) >= self.limits.max_members

    def leave(self, user_id: str, session: SessionT) -> list[RoomEvent]:
        """A user leaves; nothing happens when that session is no longer here."""
        member = self._members.get(user_id)
        if member is None or member.session != session:
            return []
        return self._tell(self._take_out(member))

    def remove(self, user_id: str, reason: RemovalReason) -> list[RoomEvent]:
        """Take a user out; nothing happens when the user is not here."""
        member = self._members.get(user_id)
        if member is None:
            return []
        return self._tell(self._put_out(member, reason))

    def _put_out(self, member: Member[SessionT], reason: RemovalReason) -> list[RoomEvent]:
        return [MemberRemoved(member.user_id, member.session, reason), *self._take_out(member)]

    def _take_out(self, member: Member[SessionT]) -> list[RoomEvent]:
        del self._members[member.user_id]
        self._anchors.pop(member.user_id, None)
        unpublished = (StreamUnpublished(stream) for stream in member.streams.values())
        return [*unpublished, MemberLeft(member.user_id, member.role)]

    # --- sockets ---

    def socket_lost(self, user_id: str, session: SessionT, now: float) -> None:
        """The session's socket is gone; the user stays for ``resume_timeout`` seconds."""
        self.member(user_id, session).lost_at = now

    def socket_back(self, user_id: str, session: SessionT) -> None:
        """The session has a socket again."""
        self.member(user_id, session).lost_at = None

    def expired(self, now: float) -> list[Member[SessionT]]:
        """Members whose time without a socket is over; ``leave`` is for the caller to call, one by one."""
        return [
            member
            for member in self._members.values()
            if member.lost_at is not None and now - member.lost_at >= self.limits.resume_timeout
        ]

    # --- streams ---

    def publish(
        self,
        user_id: str,
        session: SessionT,
        stream_type: StreamType,
        *,
        stream_id: str,
        audio: bool,
        video: bool,
        audio_muted: bool = False,
        video_muted: bool = False,
        small: bool = False,
    ) -> list[RoomEvent]:
        """Publish a stream or change its tracks; a published one keeps its id.

        Refused with INVALID_OPERATION for an audience member, with -102052 behind it for one publisher too many,
        and with INVALID_PARAMETER for a stream without tracks.
        """
        self.may_publish(user_id, session)
        if not (audio or video):
            raise RtcError(ErrorCode.INVALID_PARAMETER, "a stream needs an audio or a video track")
        member = self.member(user_id, session)
        old = member.streams.get(stream_type)
        new = Stream(
            user_id,
            stream_type,
            old.stream_id if old else stream_id,
            audio,
            video,
            audio and audio_muted,
            video and video_muted,
            video and small,
        )
        member.streams[stream_type] = new
        if old is None:
            return self._tell([StreamPublished(new)])
        events: list[RoomEvent] = []
        if (old.audio, old.video, old.small) != (new.audio, new.video, new.small):
            events.append(StreamChanged(new))
        if (old.audio_muted, old.video_muted) != (new.audio_muted, new.video_muted):
            events.append(MuteChanged(new))
        return self._tell(events)

    def may_publish(self, user_id: str, session: SessionT) -> None:
        """Raise what ``publish`` would raise for this member; changes nothing."""
        member = self.member(user_id, session)
        if member.role == "audience":
            raise RtcError(ErrorCode.INVALID_OPERATION, "an audience member may not publish; switch to anchor first")
        if not member.streams and self.publishers >= self.limits.max_publishers:
            raise RtcError(
                ErrorCode.INVALID_OPERATION,
                f"room {self.room_id} has its {self.limits.max_publishers} publishers already",
                extra=ErrorCode.ROOM_FULL,
            )

    def unpublish(self, user_id: str, session: SessionT, stream_type: StreamType) -> list[RoomEvent]:
        """Take a stream away; nothing happens when it is not published, so that it may be said twice."""
        stream = self.member(user_id, session).streams.pop(stream_type, None)
        return [] if stream is None else self._tell([StreamUnpublished(stream)])

    def mute(
        self,
        user_id: str,
        session: SessionT,
        stream_type: StreamType,
        *,
        audio: bool | None = None,
        video: bool | None = None,
    ) -> list[RoomEvent]:
        """Set the mute state of a stream's tracks; None leaves it, and a track that is not there stays unmuted."""
        member = self.member(user_id, session)
        old = member.streams.get(stream_type)
        if old is None:
            raise RtcError(ErrorCode.INVALID_OPERATION, f"no {stream_type} stream is published; publish one first")
        new = replace(
            old,
            audio_muted=old.audio and (old.audio_muted if audio is None else audio),
            video_muted=old.video and (old.video_muted if video is None else video),
        )
        if new == old:
            return []
        member.streams[stream_type] = new
        return self._tell([MuteChanged(new)])
