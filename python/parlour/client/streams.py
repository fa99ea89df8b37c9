"""Streams: what this client sends and what it receives."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from parlour.client.peer_connection import EncodedFrame, PeerConnection
from parlour.protocol.words import Codec, Kind, StreamType

FRAME_QUEUE = 256
"""Ours: received frames of one track that wait for their reader; about five seconds of sound, eight of video."""


@dataclass
class LocalTrack:
    """One track of a published stream and where it is sent now."""

    kind: Kind
    codec: Codec
    muted: bool = False
    connection: PeerConnection | None = None
    mid: str = ""

    def write(self, timestamp: int, data: bytes, level: int | None = None) -> bool:
        """Send a frame; False when it was dropped."""
        connection = self.connection
        if connection is None or self.muted:
            return False
        return connection.write(self.mid, self.codec, timestamp, data, level)


class LocalStream:
    """A stream that this client publishes. Frames are written encoded, from any thread.

    ``on_keyframe_request`` is called in the event loop when a receiver cannot decode without a keyframe.
    """

    def __init__(self, stream_type: StreamType, audio: LocalTrack | None, video: LocalTrack | None) -> None:
        self.stream_type: StreamType = stream_type
        self.stream_id = ""
        """The id that others see, once published."""
        self.on_keyframe_request: Callable[[], None] = lambda: None
        self._audio = audio
        self._video = video
        self._placed = asyncio.Event()

    @property
    def tracks(self) -> list[LocalTrack]:
        """The tracks, audio first."""
        return [track for track in (self._audio, self._video) if track is not None]

    def track(self, kind: Kind) -> LocalTrack | None:
        """The track of that kind, if the stream has one."""
        return self._audio if kind == "audio" else self._video

    @property
    def is_placed(self) -> bool:
        """Whether a connection carries the tracks."""
        return self._placed.is_set()

    def place(self, connection: PeerConnection, mids: dict[Kind, str]) -> None:
        """Which m-lines carry the tracks now."""
        for track in self.tracks:
            track.connection, track.mid = connection, mids[track.kind]
        self._placed.set()

    def displace(self) -> None:
        """Nothing carries the tracks: what is written is dropped."""
        self._placed.clear()
        for track in self.tracks:
            track.connection = None

    async def connected(self) -> None:
        """Wait until what is written reaches the server."""
        while True:
            await self._placed.wait()
            connections = {track.connection for track in self.tracks if track.connection is not None}
            for connection in connections:
                await connection.connected()
            if self._placed.is_set() and connections == {track.connection for track in self.tracks}:
                if all(connection.was_connected for connection in connections):
                    return
                await asyncio.sleep(0)  # it is closed; its owner takes the tracks off it

    def write_audio(self, data: bytes, timestamp: int, *, level: int | None = None) -> bool:
        """Send an Opus packet; ``timestamp`` in samples at 48 kHz. False when it was dropped.

        ``level`` is how loud it is, in decibels below the loudest there is: 0 to 127, which is silence, and ValueError
        for any other. By it the server tells volumes and speakers (RFC 6464), which without it are not known.
        Dropped is what comes before the transport is connected, while muted, or faster than it can be sent.
        """
        if level is not None and not 0 <= level <= 127:
            raise ValueError(f"a level is 0 to 127 dB below the loudest there is, not {level}")
        return self._audio is not None and self._audio.write(timestamp, data, level)

    def write_video(self, data: bytes, timestamp: int) -> bool:
        """Send an encoded picture (H264: Annex B); ``timestamp`` in units of 1/90,000 s. False when dropped."""
        return self._video is not None and self._video.write(timestamp, data)


class RemoteStream:
    """A stream that this client receives, as encoded frames."""

    def __init__(self, user_id: str, stream_type: StreamType) -> None:
        self.user_id = user_id
        self.stream_type: StreamType = stream_type
        self._queues: dict[Kind, _FrameQueue] = {"audio": _FrameQueue(), "video": _FrameQueue()}
        self._places: dict[Kind, tuple[PeerConnection, str]] = {}

    def audio(self) -> AsyncIterator[EncodedFrame]:
        """The frames of the audio track as they arrive; ends with the subscription. One reader a track."""
        return self._queues["audio"].frames()

    def video(self) -> AsyncIterator[EncodedFrame]:
        """The frames of the video track, from a keyframe on; ends with the subscription. One reader a track.

        A reader that is too slow loses frames up to the next keyframe.
        """
        return self._queues["video"].frames()

    def request_keyframe(self) -> None:
        """Ask the publisher for a keyframe, for instance when decoding failed."""
        place = self._places.get("video")
        if place is not None:
            place[0].request_keyframe(place[1])

    def place(self, kind: Kind, connection: PeerConnection, mid: str) -> None:
        """Which m-line carries the track now."""
        self._places[kind] = (connection, mid)

    def take(self, frame: EncodedFrame) -> None:
        """A frame arrived."""
        if not self._queues[frame.kind].put(frame):
            self.request_keyframe()

    def end(self) -> None:
        """No more frames come."""
        for queue in self._queues.values():
            queue.end()


class _FrameQueue:
    """Frames between the connection and a reader. Bounded: what a slow reader cannot take is dropped."""

    def __init__(self) -> None:
        self._frames: deque[EncodedFrame] = deque()
        self._more = asyncio.Event()
        self._ended = False
        self._gap = True  # nothing can be decoded before the first keyframe

    def put(self, frame: EncodedFrame) -> bool:
        """Queue a frame. False when a keyframe is needed before video makes sense again."""
        if frame.kind == "video":
            if len(self._frames) >= FRAME_QUEUE:
                self._frames.clear()
                self._gap = True
            if self._gap and not frame.keyframe:
                return False
            self._gap = False
        elif len(self._frames) >= FRAME_QUEUE:
            self._frames.popleft()
        self._frames.append(frame)
        self._more.set()
        return True

    def end(self) -> None:
        self._ended = True
        self._more.set()

    async def frames(self) -> AsyncIterator[EncodedFrame]:
        while True:
            while self._frames:
                yield self._frames.popleft()
            if self._ended:
                return
            self._more.clear()
            await self._more.wait()
