"""The uplink: the peer connection that carries everything this client publishes. The client offers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from parlour.client.link import Codec, Kind, Link, OnFailed
from parlour.client.streams import LocalStream, LocalTrack
from parlour.errors import ErrorCode, RtcError
from parlour.signaling import messages as m

Ok = TypeVar("Ok", bound=m.Message)


class Ask(Protocol):
    """Sends a request over the signaling channel of the moment."""

    async def __call__(self, request: m.Request, answer: type[Ok]) -> Ok:
        """The answer; raises RtcError."""


class Uplink:
    """Publishes streams over one link, and makes a new one when it fails."""

    def __init__(self, ask: Ask, open_link: Callable[[list[Codec]], Link], on_failed: OnFailed) -> None:
        self.streams: dict[m.StreamType, LocalStream] = {}
        self._ask = ask
        self._open_link = open_link
        self._on_failed = on_failed
        self._link: Link | None = None
        self._codec: Codec = "vp8"
        self._stopped: list[str] = []
        self._lock = asyncio.Lock()

    async def publish(self, stream_type: m.StreamType, *, audio: bool, video: Codec | None) -> LocalStream:
        """Publish a stream with the tracks asked for."""
        if not audio and video is None:
            raise RtcError(ErrorCode.INVALID_PARAMETER, "a stream has audio, video or both")
        async with self._lock:
            if stream_type in self.streams:
                raise RtcError(ErrorCode.INVALID_OPERATION, f"the {stream_type} stream is published already")
            if video is not None:
                if any(stream.track("video") for stream in self.streams.values()) and video != self._codec:
                    raise RtcError(ErrorCode.INVALID_OPERATION, f"this client's video is {self._codec} already")
                self._codec = video
            stream = LocalStream(
                stream_type,
                LocalTrack("audio", "opus") if audio else None,
                LocalTrack("video", video) if video is not None else None,
            )
            await self._offer(stream, restart=False)
            self.streams[stream_type] = stream
            return stream

    async def unpublish(self, stream: LocalStream) -> None:
        """Stop publishing a stream; the link closes with the last one."""
        async with self._lock:
            if self.streams.get(stream.stream_type) is not stream:
                raise RtcError(ErrorCode.INVALID_OPERATION, f"the {stream.stream_type} stream is not published")
            await self._ask(m.Unpublish(id=0, stream_type=stream.stream_type), m.Empty)
            del self.streams[stream.stream_type]
            self._stopped += [track.mid for track in stream.tracks]
            stream.displace()
            if not self.streams:
                self._close_link()

    async def restart(self) -> None:
        """Publish everything again over a new link."""
        async with self._lock:
            await self._restart()

    async def restore(self, held: set[m.StreamType]) -> None:
        """After a resumed session: publish again what the server no longer holds."""
        async with self._lock:
            missing = [stream for stream in self.streams.values() if stream.stream_type not in held]
            if not missing:
                return
            if not held or self._link is None or not self._link.is_open:
                await self._restart()
                return
            for stream in missing:
                self._stopped += [track.mid for track in stream.tracks]
                await self._offer(stream, restart=False)

    def failed(self, reason: str) -> None:
        """The server says that the link is dead; a new one that is still connecting is not the one it means."""
        if self._link is not None and self._link.was_connected:
            self._link.fail(reason)

    def close(self) -> None:
        """Close the link and forget the streams."""
        for stream in self.streams.values():
            stream.displace()
        self.streams.clear()
        self._close_link()

    async def _restart(self) -> None:
        for stream in self.streams.values():
            stream.displace()
        self._close_link()
        for number, stream in enumerate(self.streams.values()):
            await self._offer(stream, restart=number == 0)

    async def _offer(self, stream: LocalStream, *, restart: bool) -> None:
        if self._link is None or not self._link.is_open:
            self._close_link()
            self._link = self._open()
        link = self._link
        kinds: list[Kind] = [track.kind for track in stream.tracks]
        sdp, added = link.create_offer(kinds, self._stopped)
        mids = dict(zip(kinds, added, strict=True))
        tracks = {track.kind: track for track in stream.tracks}
        request = m.Publish(
            id=0,
            sdp=sdp,
            stream_type=stream.stream_type,
            audio_mid=mids.get("audio"),
            video_mid=mids.get("video"),
            audio_muted="audio" in tracks and tracks["audio"].muted,
            video_muted="video" in tracks and tracks["video"].muted,
            restart=restart,
        )
        try:
            answer = await self._ask(request, m.PublishOk)
            link.accept_answer(answer.sdp)
        except (RtcError, RuntimeError) as error:
            if not any(track.link is link for other in self.streams.values() for track in other.tracks):
                self._close_link()
            if isinstance(error, RtcError):
                raise
            raise RtcError(ErrorCode.ICE_TRANSPORT_ERROR, f"the uplink cannot be set up: {error}") from error
        self._stopped.clear()
        stream.stream_id = answer.stream_id
        stream.place(link, mids)

    def _open(self) -> Link:
        link = self._open_link(["opus", self._codec])
        link.on_keyframe_request = self._keyframe_requested
        link.on_failed = self._on_failed
        return link

    def _keyframe_requested(self, mid: str) -> None:
        for stream in self.streams.values():
            video = stream.track("video")
            if video is not None and video.mid == mid:
                stream.on_keyframe_request()

    def _close_link(self) -> None:
        link, self._link = self._link, None
        self._stopped.clear()
        if link is not None:
            link.close()
