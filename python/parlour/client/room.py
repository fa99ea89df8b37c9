"""What a client knows of its room: a picture kept by events, and the events that lead from one picture to another."""

from __future__ import annotations

from parlour.protocol import messages as m
from parlour.protocol.words import StreamType

StreamKey = tuple[str, StreamType]


def stream_key(stream: m.StreamInfo) -> StreamKey:
    """What names a stream in a room: its user and its type."""
    return stream.user_id, stream.stream_type


class RoomView:
    """Members and streams, in join order."""

    def __init__(self) -> None:
        self.members: dict[str, m.Member] = {}
        self.streams: dict[StreamKey, m.StreamInfo] = {}

    def apply(self, event: m.AnyEvent) -> None:
        """Follow one event."""
        match event:
            case m.PeerJoin():
                self.members[event.user_id] = m.Member(user_id=event.user_id, role=event.role)
            case m.PeerLeave():
                self.members.pop(event.user_id, None)
            case m.StreamAdded() | m.StreamUpdated():
                self.streams[stream_key(event.stream)] = event.stream
            case m.StreamRemoved():
                self.streams.pop((event.user_id, event.stream_type), None)
            case m.MuteChanged():
                known = self.streams.get((event.user_id, event.stream_type))
                if known is not None:
                    self.streams[stream_key(known)] = _muted(known, event.audio_muted, event.video_muted)

    def catch_up(self, snapshot: m.Snapshot) -> list[m.AnyEvent]:
        """The events that lead from here to the snapshot: who left, who came, what is there, what is muted."""
        there = {stream_key(stream): stream for stream in snapshot.streams}
        members = {member.user_id: member for member in snapshot.members}
        events: list[m.AnyEvent] = []
        for key, stream in self.streams.items():
            now = there.get(key)
            if now is None or now.stream_id != stream.stream_id:
                events.append(m.StreamRemoved(user_id=key[0], stream_type=key[1], stream_id=stream.stream_id))
        events += [m.PeerLeave(user_id=user_id) for user_id in self.members if user_id not in members]
        events += [
            m.PeerJoin(user_id=member.user_id, role=member.role)
            for member in snapshot.members
            if member.user_id not in self.members
        ]
        muted: list[m.AnyEvent] = []
        for key, now in there.items():
            known = self.streams.get(key)
            if known is None or known.stream_id != now.stream_id:
                events.append(m.StreamAdded(stream=now))
                before = (False, False)
            else:
                if (known.audio, known.video) != (now.audio, now.video):
                    events.append(m.StreamUpdated(stream=now))
                before = (known.audio_muted, known.video_muted)
            if before != (now.audio_muted, now.video_muted):
                muted.append(
                    m.MuteChanged(
                        user_id=key[0],
                        stream_type=key[1],
                        audio_muted=now.audio_muted,
                        video_muted=now.video_muted,
                    )
                )
        return events + muted


def _muted(stream: m.StreamInfo, audio: bool, video: bool) -> m.StreamInfo:
    return m.StreamInfo(
        user_id=stream.user_id,
        stream_type=stream.stream_type,
        stream_id=stream.stream_id,
        audio=stream.audio,
        video=stream.video,
        audio_muted=audio,
        video_muted=video,
    )
