"""What a client knows of its room: a picture kept by events, and the events that lead from one picture to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from parlour.client.events import (
    ClientBanned,
    MuteChanged,
    NetworkQuality,
    PeerJoin,
    PeerLeave,
    PublishedStream,
    RoomEvent,
    ServerStopping,
    StreamAdded,
    StreamRemoved,
    StreamUpdated,
    VideoReceived,
)
from parlour.client.translation import published_stream
from parlour.protocol import messages as m
from parlour.protocol.words import Role, StreamType

StreamKey = tuple[str, StreamType]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody else in the room."""

    user_id: str
    role: Role = "anchor"


def stream_key(stream: PublishedStream) -> StreamKey:
    """What names a stream in a room: its user and its type."""
    return stream.user_id, stream.stream_type


class RoomView:
    """Members and streams, in join order."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.streams: dict[StreamKey, PublishedStream] = {}

    def apply(self, event: RoomEvent | VideoReceived | NetworkQuality | ClientBanned | ServerStopping) -> None:
        """Follow one event."""
        match event:
            case PeerJoin():
                self.members[event.user_id] = Member(user_id=event.user_id, role=event.role)
            case PeerLeave():
                self.members.pop(event.user_id, None)
            case StreamAdded() | StreamUpdated():
                self.streams[stream_key(event.stream)] = event.stream
            case StreamRemoved():
                self.streams.pop((event.user_id, event.stream_type), None)
            case MuteChanged():
                known = self.streams.get((event.user_id, event.stream_type))
                if known is not None:
                    self.streams[stream_key(known)] = replace(
                        known, audio_muted=event.audio_muted, video_muted=event.video_muted
                    )

    def catch_up(self, snapshot: m.Snapshot) -> Sequence[RoomEvent]:
        """The events that lead from here to the snapshot: who left, who came, what is there, what is muted."""
        there = {stream_key(stream): stream for stream in map(published_stream, snapshot.streams)}
        members = {member.user_id: member for member in snapshot.members}
        events: list[RoomEvent] = []
        for key, stream in self.streams.items():
            now = there.get(key)
            if now is None or now.stream_id != stream.stream_id:
                events.append(StreamRemoved(user_id=key[0], stream_type=key[1], stream_id=stream.stream_id))
        events += [PeerLeave(user_id=user_id) for user_id in self.members if user_id not in members]
        events += [
            PeerJoin(user_id=member.user_id, role=member.role)
            for member in snapshot.members
            if member.user_id not in self.members
        ]
        muted: list[RoomEvent] = []
        for key, now in there.items():
            known = self.streams.get(key)
            if known is None or known.stream_id != now.stream_id:
                events.append(StreamAdded(stream=now))
                before = (False, False)
            else:
                if (known.audio, known.video, known.small) != (now.audio, now.video, now.small):
                    events.append(StreamUpdated(stream=now))
                before = (known.audio_muted, known.video_muted)
            if before != (now.audio_muted, now.video_muted):
                muted.append(
                    MuteChanged(
                        user_id=key[0],
                        stream_type=key[1],
                        audio_muted=now.audio_muted,
                        video_muted=now.video_muted,
                    )
                )
        return events + muted
