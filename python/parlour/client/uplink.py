"""The uplink: the peer connection that carries everything this client publishes. The client offers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from parlour.client.channel import ChannelLostError, forget
from parlour.client.peer_connection import NOT_SET_UP, PeerConnection
from parlour.client.reconciler import CONNECT_TIMEOUT, Ask, OpenConnection, Reconciler
from parlour.client.streams import LocalStream, LocalTrack
from parlour.errors import ErrorCode, RtcError
from parlour.protocol import messages as m
from parlour.protocol.words import Codec, Kind, StreamType

VIDEO_CODECS: tuple[Codec, ...] = ("vp8", "h264")


@dataclass(frozen=True)
class _Offer:
    """An offer of the connection without answer: for whom, with which mids."""

    stream: LocalStream
    sdp: str
    mids: dict[Kind, str]


class Uplink(Reconciler):
    """Publishes streams over one connection, made anew when it fails. ``streams`` is the one record of them."""

    def __init__(
        self, ask: Ask, open_connection: OpenConnection, online: asyncio.Event, on_problem: Callable[[RtcError], None]
    ) -> None:
        super().__init__(ask, open_connection, online, on_problem)
        self.streams: dict[StreamType, LocalStream] = {}
        self._on_server: dict[StreamType, tuple[bool, bool]] = {}
        """What the server holds, with the mute states it knows."""
        self._asked: dict[LocalStream, asyncio.Future[None]] = {}
        self._codec: Codec = "vp8"
        self._stopped: list[str] = []
        self._unanswered: _Offer | None = None
        self._fresh = False

    # --- what the application asks for ---

    async def publish(self, stream_type: StreamType, *, audio: bool, video: Codec | None) -> LocalStream:
        """Publish a stream with the tracks asked for; returns once what is written reaches the server.

        Rejects after ``CONNECT_TIMEOUT``: 0x4041 when the server does not answer, 0x4003 when no media gets through.
        """
        if not audio and video is None:
            raise RtcError(ErrorCode.INVALID_PARAMETER, "a stream has audio, video or both")
        if video not in {None, *VIDEO_CODECS}:
            raise RtcError(
                ErrorCode.INVALID_PARAMETER, f"video is {video!r}, but it is {' or '.join(VIDEO_CODECS)}, or None"
            )
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
        asked = self._asked[stream] = asyncio.get_running_loop().create_future()
        self.streams[stream_type] = stream
        self.wake()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await asked
                await stream.connected()
        except TimeoutError as error:
            self._withdraw(stream)
            if not asked.done() or asked.cancelled():
                what = f"publish was not answered within {CONNECT_TIMEOUT:g} s"
                raise RtcError(ErrorCode.SERVER_TIMEOUT, what) from error
            raise RtcError(
                ErrorCode.ICE_TRANSPORT_ERROR,
                f"the uplink did not connect within {CONNECT_TIMEOUT:g} s: no UDP gets through to the server, or back",
            ) from error
        except BaseException:
            self._withdraw(stream)
            raise
        finally:
            self._asked.pop(stream, None)
            forget(asked)
        return stream

    async def unpublish(self, stream: LocalStream) -> None:
        """Stop publishing a stream; the connection closes with the last one."""
        if self.streams.get(stream.stream_type) is not stream:
            raise RtcError(ErrorCode.INVALID_OPERATION, f"the {stream.stream_type} stream is not published")
        self._withdraw(stream)
        await self.told(lambda: stream.stream_type not in self._on_server or stream.stream_type in self.streams)

    async def mute(self, stream: LocalStream, muted: dict[Kind, bool]) -> None:
        """Set the mute state of tracks."""
        if self.streams.get(stream.stream_type) is not stream:
            raise RtcError(ErrorCode.INVALID_OPERATION, f"the {stream.stream_type} stream is not published")
        for kind, is_muted in muted.items():
            track = stream.track(kind)
            if track is not None:
                track.muted = is_muted
        self.wake()
        await self.told(lambda: self._on_server.get(stream.stream_type) in {None, _mutes(stream)})

    def withdraw_all(self) -> None:
        """The server has taken all streams away."""
        for stream in tuple(self.streams.values()):
            self._withdraw(stream)
        self._on_server.clear()

    # --- what became of the channel ---

    def resumed(self, published: Iterable[m.StreamInfo]) -> None:
        """The session goes on; this is what the server still holds."""
        self._on_server = {stream.stream_type: (stream.audio_muted, stream.video_muted) for stream in published}
        if not self._on_server and self._unanswered is None:
            self._close_connection()  # its transport is gone, and everything is published anew
        self.online_again()

    def entered_anew(self) -> None:
        """There is a new session, which holds nothing."""
        self._on_server = {}
        self._close_connection()
        self.online_again()

    def close(self) -> None:
        """Close the connection and forget the streams."""
        self._close_connection()
        self.streams.clear()
        self._on_server.clear()

    # --- reconciling ---

    async def step(self) -> float | None:
        """The next request that the difference asks for."""
        if self._restart_ice and self._unanswered is None:
            await self._look_for_path()
            return 0
        for stream_type in self._on_server:
            if stream_type not in self.streams:
                await self._ask(m.Unpublish(id=0, stream_type=stream_type), m.Empty)
                self._on_server.pop(stream_type, None)
                return 0
        for stream in self.streams.values():
            held = self._on_server.get(stream.stream_type)
            if held is None or not stream.is_placed:
                wait = self._pause()
                if not wait:
                    await self._offer(stream)
                return wait
            if held != _mutes(stream):
                audio, video = _mutes(stream)
                request = m.Mute(id=0, stream_type=stream.stream_type, audio=audio, video=video)
                await self._ask(request, m.Empty)
                if stream.stream_type in self._on_server:
                    self._on_server[stream.stream_type] = (audio, video)
                return 0
        return None

    async def _offer(self, stream: LocalStream) -> None:
        connection: PeerConnection | None = None
        kinds = [track.kind for track in stream.tracks]
        try:
            connection = self._connection or self._new_connection()
            if self._unanswered is None or self._unanswered.stream is not stream:
                if stream.is_placed:
                    self._stopped += [track.mid for track in stream.tracks]
                    stream.displace()
                sdp, added = connection.create_offer(kinds, self._stopped)
                self._unanswered = _Offer(stream, sdp, dict(zip(kinds, added, strict=True)))
            offer, (audio_muted, video_muted) = self._unanswered, _mutes(stream)
            request = m.Publish(
                id=0,
                sdp=offer.sdp,
                stream_type=stream.stream_type,
                audio_mid=offer.mids.get("audio"),
                video_mid=offer.mids.get("video"),
                audio_muted=audio_muted,
                video_muted=video_muted,
                restart=self._fresh,
            )
            answer = await self._ask(request, m.PublishOk)
            self._on_server[stream.stream_type] = (audio_muted, video_muted)
            if self._connection is not connection or self._unanswered is not offer:
                return  # it failed meanwhile
            self._unanswered = None
            connection.accept_answer(answer.sdp)
        except ChannelLostError:
            raise
        except (RtcError, *NOT_SET_UP) as error:
            self._unanswered = None
            refusal = error if isinstance(error, RtcError) else _not_set_up(error)
            if self._connection is connection and not any(other.is_placed for other in self.streams.values()):
                self._close_connection()
            self._refused(stream, refusal)
            return
        self._fresh = False
        self._stopped.clear()
        if self.streams.get(stream.stream_type) is not stream:
            self._stopped += offer.mids.values()  # withdrawn meanwhile
            return
        stream.stream_id = answer.stream_id
        stream.place(connection, offer.mids)
        asked = self._asked.get(stream)
        if asked is not None and not asked.done():
            asked.set_result(None)

    async def _look_for_path(self) -> None:
        connection, self._restart_ice = self._connection, False
        if connection is None:
            return
        try:
            request = m.UplinkIceRestart(id=0, sdp=connection.create_ice_restart())
            answer = await self._ask(request, m.UplinkIceRestartOk)
            if self._connection is connection:
                connection.accept_answer(answer.sdp)
        except ChannelLostError:
            self._restart_ice = True
            raise
        except (RtcError, *NOT_SET_UP) as error:
            connection.fail(f"ICE cannot be restarted: {error}")

    def _new_connection(self) -> PeerConnection:
        connection = self._connection = self._open_connection(["opus", self._codec])
        connection.on_keyframe_request = self._keyframe_requested
        connection.on_failed = self._connection_failed
        connection.on_lost = self.look_elsewhere
        self._fresh = True
        return connection

    def _refused(self, stream: LocalStream, error: RtcError) -> None:
        asked = self._asked.get(stream)
        if asked is not None and not asked.done():
            self._withdraw(stream)
            asked.set_exception(error)
            return
        # It was published before: its connection is made anew, as often as after other failures.
        self._close_connection()
        if not self._count_failure(was_connected=False):
            self._give_up(error.message)

    def _connection_failed(self, reason: str, was_connected: bool) -> None:
        self._close_connection()
        if not self._count_failure(was_connected):
            self._give_up(reason)
        self.wake()

    def _give_up(self, reason: str) -> None:
        """Nothing is published any more, here and, once it is told, at the server."""
        error = RtcError(ErrorCode.UPLINK_RECONNECTION_FAILED, f"the uplink could not be brought back: {reason}")
        for stream in list(self.streams.values()):
            self._withdraw(stream)
        self._on_problem(error)

    def _withdraw(self, stream: LocalStream) -> None:
        if self.streams.get(stream.stream_type) is stream:
            del self.streams[stream.stream_type]
            if stream.is_placed:
                self._stopped += [track.mid for track in stream.tracks]
            stream.displace()
            if self._unanswered is not None and self._unanswered.stream is stream:
                self._unanswered = None
            if not self.streams:
                self._close_connection()
            self.wake()

    def _keyframe_requested(self, mid: str) -> None:
        for stream in self.streams.values():
            video = stream.track("video")
            if video is not None and video.mid == mid:
                # Not from here: what a handler raises is not the connection's to catch.
                asyncio.get_running_loop().call_soon(stream.on_keyframe_request)

    def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._restart_ice = False
        self._stopped.clear()
        self._unanswered = None
        for stream in self.streams.values():
            stream.displace()
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()


def _mutes(stream: LocalStream) -> tuple[bool, bool]:
    audio, video = stream.track("audio"), stream.track("video")
    return audio is not None and audio.muted, video is not None and video.muted


def _not_set_up(error: Exception) -> RtcError:
    return RtcError(ErrorCode.ICE_TRANSPORT_ERROR, f"the uplink cannot be set up: {error}")
