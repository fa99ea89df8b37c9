"""The downlink: the peer connection that carries everything this client receives. The server offers."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable

from parlour.client.channel import ChannelLostError, forget
from parlour.client.peer_connection import NOT_SET_UP, EncodedFrame
from parlour.client.reconciler import CONNECT_TIMEOUT, Ask, OpenConnection, Reconciler
from parlour.client.room import StreamKey
from parlour.client.streams import RemoteStream
from parlour.errors import ErrorCode, RtcError
from parlour.protocol import messages as m
from parlour.protocol.words import Kind, VideoType

Kinds = tuple[bool, bool]
"""Audio, video."""

MEDIA_FULL = "media-full"
"""What the server gives as the reason when it cannot make the transport of a downlink."""


class Downlink(Reconciler):
    """Subscribes to streams and answers the server's offers. ``streams`` and ``_wanted`` have the same keys."""

    def __init__(
        self, ask: Ask, open_connection: OpenConnection, online: asyncio.Event, on_problem: Callable[[RtcError], None]
    ) -> None:
        super().__init__(ask, open_connection, online, on_problem)
        self.streams: dict[StreamKey, RemoteStream] = {}
        self._wanted: dict[StreamKey, Kinds] = {}
        self._on_server: dict[StreamKey, Kinds] = {}
        """What the server sends, as far as it was told."""
        self._video_types: dict[StreamKey, VideoType] = {}
        self._video_types_on_server: dict[StreamKey, VideoType] = {}
        """Which of a stream's videos is wanted, and which the server was told; the big one where there is none."""
        self._untold: dict[StreamKey, RtcError | None] = {}
        """Of those that a call waits for: why the server did not take it, once that is known."""
        self._asked: dict[StreamKey, asyncio.Future[int]] = {}
        self._missing: dict[StreamKey, float] = {}
        """Streams of an earlier session that are not back yet, and when they are given up."""
        self._offer: m.DownlinkOffer | None = None
        self._answered: tuple[int, str] | None = None
        self._revision = 0
        self._tracks: dict[str, tuple[StreamKey, Kind]] = {}
        self._refused: dict[tuple[StreamKey, Kind], str] = {}
        """Tracks whose m-line this end rejected, with their codec."""
        self._restart = False

    # --- what the application asks for ---

    async def subscribe(self, key: StreamKey, *, audio: bool, video: bool) -> RemoteStream:
        """Receive a stream; returns once its tracks are negotiated and connected. Replaces what was asked before.

        Rejects after ``CONNECT_TIMEOUT``: 0x4042 when the server does not answer, 0x4003 when no media gets through;
        with 0x4049 or 0x1002 for a track that cannot be decoded here, the other one being subscribed all the same.
        """
        before = self._wanted.get(key)
        stream = self.streams.setdefault(key, RemoteStream(*key))
        self._wanted[key] = (audio, video)
        asked = self._asked[key] = asyncio.get_running_loop().create_future()
        self.wake()
        negotiated = False
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                revision = await asked
                await self.until(lambda: self._revision >= revision)
                negotiated = True
                await self._connected(key)
        except TimeoutError as error:
            self._restore(key, before)
            if not negotiated:
                what = f"the tracks of {key[0]} were not offered within {CONNECT_TIMEOUT:g} s"
                raise RtcError(ErrorCode.SUBSCRIPTION_TIMEOUT, what) from error
            raise RtcError(
                ErrorCode.ICE_TRANSPORT_ERROR,
                f"the downlink did not connect within {CONNECT_TIMEOUT:g} s:"
                " no UDP gets through to the server, or back",
            ) from error
        except BaseException:
            self._restore(key, before)
            raise
        finally:
            self._asked.pop(key, None)
            forget(asked)
        for kind, asked_for in (("audio", audio), ("video", video)):
            codec = self._refused.get((key, "audio" if kind == "audio" else "video"))
            if asked_for and codec is not None:
                code = ErrorCode.NOT_SUPPORTED_H264 if codec == "H264" else ErrorCode.NOT_SUPPORTED
                raise RtcError(code, f"the {kind} of {key[0]} comes as {codec}, which cannot be decoded here")
        return stream

    async def unsubscribe(self, key: StreamKey) -> None:
        """Receive a stream no more."""
        if key not in self.streams:
            raise RtcError(ErrorCode.INVALID_OPERATION, f"the {key[1]} stream of {key[0]} is not subscribed")
        self._forget(key)
        self.wake()
        await self.told(lambda: key not in self._on_server or key in self._wanted)

    async def set_video_type(self, key: StreamKey, video_type: VideoType) -> None:
        """Receive a stream's video as the big or the small one, now or once it is subscribed to."""
        self._video_types[key] = video_type
        self._untold[key] = None
        self.wake()
        try:
            await self.told(lambda: self._video_type_is_told(key))
        finally:
            error = self._untold.pop(key, None)
        if error is not None:
            raise error

    def _video_type_is_told(self, key: StreamKey) -> bool:
        told = self._video_types_on_server.get(key, "big")
        return self._video_types.get(key, told) == told

    # --- what the room tells ---

    def gone(self, key: StreamKey) -> None:
        """The stream is no longer published, and the server has dropped it: its readers end."""
        self._on_server.pop(key, None)
        self._video_types.pop(key, None)
        self._video_types_on_server.pop(key, None)
        self._forget(key)

    def away(self, key: StreamKey, patience: float) -> None:
        """A stream of the earlier session is not there yet; for ``patience`` seconds it may come back."""
        if key in self._wanted or key in self._video_types:
            self._missing[key] = asyncio.get_running_loop().time() + patience

    def arrived(self, key: StreamKey) -> None:
        """A stream is published."""
        if self._missing.pop(key, None) is not None:
            self.wake()

    def offered(self, offer: m.DownlinkOffer) -> None:
        """The server's offer; a newer one stands for an older."""
        self._offer = offer
        self.wake()

    def failed(self, reason: str) -> None:
        """The server says that the connection is dead, or that it has no room for one: then none is there to fail."""
        if reason == MEDIA_FULL:
            self._connection_failed(reason, was_connected=False)
        else:
            super().failed(reason)

    # --- what became of the channel ---

    def resumed(self, subscriptions: Iterable[m.Subscription], video_types: Iterable[m.WantedVideo]) -> None:
        """The session goes on; this is what the server still sends. An offer without answer comes again."""
        self._on_server = {(one.user_id, one.stream_type): (one.audio, one.video) for one in subscriptions}
        self._video_types_on_server = {(one.user_id, one.stream_type): one.video_type for one in video_types}
        self.online_again()

    def entered_anew(self) -> None:
        """There is a new session, which sends nothing."""
        self._forget_connection()
        self._on_server.clear()
        self._video_types_on_server.clear()
        self._restart = False
        self.online_again()

    def close(self) -> None:
        """Close the connection and end the readers."""
        for key in list(self.streams):
            self._forget(key)
        self._forget_connection()
        for kept in (self._on_server, self._video_types, self._video_types_on_server):
            kept.clear()
        self._restart = False

    # --- reconciling ---

    async def step(self) -> float | None:
        """The next request that the difference asks for."""
        if self._offer is not None:
            await self._answer()
            return 0
        if self._restart_ice:
            self._restart_ice = False
            try:
                await self._ask(m.DownlinkIceRestart(id=0), m.SubscribeOk)
            except ChannelLostError:
                self._restart_ice = True
                raise
            except RtcError:
                pass  # it is dead at the server, which tells that by itself
            return 0
        if self._restart and self._wanted:
            wait = self._pause()
            if not wait:
                self._restart = False
                try:
                    await self._ask(m.DownlinkRestart(id=0), m.Empty)
                except RtcError:
                    self._restart = True
                    raise
            return wait
        for key in self._on_server:
            if key not in self._wanted:
                await self._ask(m.Unsubscribe(id=0, user_id=key[0], stream_type=key[1]), m.Empty)
                self._on_server.pop(key, None)
                return 0
        untold = [key for key in self._video_types if key not in self._missing and not self._video_type_is_told(key)]
        for key in untold:
            # In front of the subscription, which then begins with it.
            await self._tell_video_type(key)
            return 0
        now = asyncio.get_running_loop().time()
        for key in [key for key, until in self._missing.items() if until <= now]:
            self.gone(key)
        differing = [
            key
            for key, kinds in self._wanted.items()
            if key not in self._missing and (self._on_server.get(key) != kinds or self._waits(key))
        ]
        if differing:
            await asyncio.gather(*map(self._subscribe, differing))
            return 0
        return min(self._missing.values()) - now if self._missing else None

    def _waits(self, key: StreamKey) -> bool:
        asked = self._asked.get(key)
        return asked is not None and not asked.done()

    async def _subscribe(self, key: StreamKey) -> None:
        kinds = self._wanted.get(key)
        if kinds is None:
            return  # it went in the moment before this began
        audio, video = kinds
        asked = self._asked.get(key)
        try:
            request = m.Subscribe(id=0, user_id=key[0], stream_type=key[1], audio=audio, video=video)
            accepted = await self._ask(request, m.SubscribeOk)
        except ChannelLostError:
            raise
        except RtcError as error:
            if asked is not None and not asked.done():
                asked.set_exception(error)
            elif self._wanted.get(key) == kinds:
                self.gone(key)
            return
        self._on_server[key] = kinds
        if asked is not None and not asked.done():
            asked.set_result(accepted.revision)

    async def _tell_video_type(self, key: StreamKey) -> None:
        wanted = self._video_types[key]
        try:
            request = m.SetVideoType(id=0, user_id=key[0], stream_type=key[1], video_type=wanted)
            await self._ask(request, m.Empty)
        except ChannelLostError:
            raise
        except RtcError as error:
            if self._video_types.get(key) == wanted:
                del self._video_types[key]
            if key in self._untold:
                self._untold[key] = error
            else:
                self._on_problem(error)
            return
        if key in self._video_types:
            self._video_types_on_server[key] = wanted

    async def _answer(self) -> None:
        offer, self._offer = self._offer, None
        if offer is None or (self._restart and not offer.restart):
            return  # it is for a connection that is dead; the restart brings another
        again = self._answered is not None and self._answered[0] == offer.revision and self._connection is not None
        if self._answered is not None and again:
            sdp = self._answered[1]  # answered already, but the answer was lost
        else:
            try:
                if offer.restart or self._connection is None:
                    self._forget_connection()
                    self._connection = self._open_connection(["opus", "vp8", "h264"])
                    self._connection.on_frame = self._take
                    self._connection.on_failed = self._connection_failed
                    self._connection.on_lost = self.look_elsewhere
                    self._connection.on_connected = self.wake
                sdp = self._connection.accept_offer(offer.sdp)
            except NOT_SET_UP as error:
                self._close_connection()
                self._failed_to_restart(f"the server's offer cannot be answered: {error}")
                return
            self._answered = offer.revision, sdp
        self._place(offer, sdp)
        try:
            await self._ask(m.DownlinkAnswer(id=0, revision=offer.revision, sdp=sdp), m.Empty)
        except ChannelLostError:
            raise
        except RtcError as error:
            self._close_connection()
            self._failed_to_restart(error.message)
            return
        self._revision = max(self._revision, offer.revision)

    def _place(self, offer: m.DownlinkOffer, sdp: str) -> None:
        self._tracks = {track.mid: ((track.user_id, track.stream_type), track.kind) for track in offer.tracks}
        rejected = _rejected(sdp)
        for mid, (key, kind) in self._tracks.items():
            self._refused.pop((key, kind), None)
            if mid in rejected:
                self._refused[key, kind] = _codec_of(offer.sdp, mid)
            elif key in self.streams and self._connection is not None:
                self.streams[key].place(kind, self._connection, mid)

    async def _connected(self, key: StreamKey) -> None:
        """Wait until what the stream's tracks come over is connected."""
        while any(key == there for there, _ in self._tracks.values()):
            if self._connection is not None and self._connection.was_connected:
                return
            # Another connection in its place is news, too.
            self._news.clear()
            await self._news.wait()

    def _connection_failed(self, reason: str, was_connected: bool) -> None:
        self._close_connection()
        self._restart = True
        if not self._count_failure(was_connected):
            self._failed_to_restart(reason, for_good=True)
        self.wake()

    def _failed_to_restart(self, reason: str, *, for_good: bool = False) -> None:
        """Try again; or end what is received, so that the application may subscribe anew."""
        self._restart = True
        if not for_good and self._count_failure(was_connected=False):
            return
        for key in list(self.streams):
            self._forget(key)
        problem = f"the downlink could not be brought back: {reason}"
        self._on_problem(RtcError(ErrorCode.DOWNLINK_RECONNECTION_FAILED, problem))

    def _restore(self, key: StreamKey, before: Kinds | None) -> None:
        if before is None:
            self._forget(key)
        elif key in self.streams:
            self._wanted[key] = before
        self.wake()

    def _forget(self, key: StreamKey) -> None:
        self._wanted.pop(key, None)
        self._missing.pop(key, None)
        self._refused = {refused: codec for refused, codec in self._refused.items() if refused[0] != key}
        stream = self.streams.pop(key, None)
        if stream is not None:
            stream.end()

    def _take(self, mid: str, frame: EncodedFrame) -> None:
        key, _ = self._tracks.get(mid, (None, None))
        stream = self.streams.get(key) if key is not None else None
        if stream is not None:
            stream.take(frame)

    def _forget_connection(self) -> None:
        self._close_connection()
        self._revision = 0
        self._answered = self._offer = None
        self._tracks.clear()

    def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._restart_ice = False
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()


def _rejected(answer: str) -> set[str]:
    """The mids of the m-lines that an answer of our own connection rejects (RFC 3264 §6)."""
    sections = re.split(r"(?m)^(?=m=)", answer)[1:]
    found = [re.search(r"(?m)^a=mid:(\S+)", section) for section in sections if re.match(r"m=\w+ 0 ", section)]
    return {mid[1] for mid in found if mid is not None}


def _codec_of(offer: str, mid: str) -> str:
    """The first codec that the server offers on an m-line."""
    for section in re.split(r"(?m)^(?=m=)", offer)[1:]:
        if re.search(rf"(?m)^a=mid:{re.escape(mid)}\s*$", section):
            codec = re.search(r"(?m)^a=rtpmap:\d+ ([^/\s]+)", section)
            return codec[1].upper() if codec else "nothing known"
    return "nothing known"
