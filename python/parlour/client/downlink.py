"""The downlink: the peer connection that carries everything this client receives. The server offers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from parlour.client.link import Codec, EncodedFrame, Kind, Link, OnFailed
from parlour.client.room import StreamKey
from parlour.client.streams import RemoteStream
from parlour.client.uplink import Ask
from parlour.errors import ErrorCode, RtcError
from parlour.signaling import messages as m

SUBSCRIBE_TIMEOUT = 10.0
"""Ours: seconds between an accepted subscription and the server's offer of its tracks."""


class Downlink:
    """Subscribes to streams and answers the server's offers."""

    def __init__(self, ask: Ask, open_link: Callable[[list[Codec]], Link], on_failed: OnFailed) -> None:
        self.streams: dict[StreamKey, RemoteStream] = {}
        self._wanted: dict[StreamKey, tuple[bool, bool]] = {}
        self._ask = ask
        self._open_link = open_link
        self._on_failed = on_failed
        self._link: Link | None = None
        self._revision = 0
        self._reached = asyncio.Condition()
        self._tracks: dict[str, tuple[StreamKey, Kind]] = {}

    async def subscribe(self, key: StreamKey, *, audio: bool, video: bool) -> RemoteStream:
        """Receive a stream; returns once its tracks are set up. Repeated, it replaces what was asked before."""
        known = self.streams.get(key)
        stream = self.streams.setdefault(key, RemoteStream(*key))
        try:
            request = m.Subscribe(id=0, user_id=key[0], stream_type=key[1], audio=audio, video=video)
            accepted = await self._ask(request, m.SubscribeOk)
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT), self._reached:
                await self._reached.wait_for(lambda: self._revision >= accepted.revision)
        except (RtcError, TimeoutError) as error:
            if known is None:
                self.forget(key)
            if isinstance(error, RtcError):
                raise
            what = f"the tracks of {key[0]} were not offered in {SUBSCRIBE_TIMEOUT:g} s"
            raise RtcError(ErrorCode.SUBSCRIPTION_TIMEOUT, what) from error
        self._wanted[key] = (audio, video)
        return stream

    async def unsubscribe(self, key: StreamKey) -> None:
        """Receive a stream no more."""
        if key not in self.streams:
            raise RtcError(ErrorCode.INVALID_OPERATION, f"the {key[1]} stream of {key[0]} is not subscribed")
        await self._ask(m.Unsubscribe(id=0, user_id=key[0], stream_type=key[1]), m.Empty)
        self.forget(key)

    def forget(self, key: StreamKey) -> None:
        """The stream is gone: its readers end."""
        self._wanted.pop(key, None)
        stream = self.streams.pop(key, None)
        if stream is not None:
            stream.end()

    async def restart(self) -> None:
        """Ask the server for a new link."""
        await self._ask(m.DownlinkRestart(id=0), m.Empty)

    async def restore(self, held: dict[StreamKey, tuple[bool, bool]]) -> None:
        """After a resumed session: ask again for what the server no longer sends."""
        for key, (audio, video) in list(self._wanted.items()):
            if held.get(key) != (audio, video):
                await self._ask(
                    m.Subscribe(id=0, user_id=key[0], stream_type=key[1], audio=audio, video=video), m.SubscribeOk
                )

    async def answer(self, offer: m.DownlinkOffer) -> None:
        """Answer the server's offer."""
        if offer.restart or self._link is None or not self._link.is_open:
            self._close_link()
            self._link = self._open_link(["opus", "vp8", "h264"])
            self._link.on_frame = self._take
            self._link.on_failed = self._on_failed
        link = self._link
        self._tracks = {track.mid: ((track.user_id, track.stream_type), track.kind) for track in offer.tracks}
        for mid, (key, kind) in self._tracks.items():
            if key in self.streams:
                self.streams[key].place(kind, link, mid)
        try:
            sdp = link.accept_offer(offer.sdp)
        except RuntimeError as error:
            raise RtcError(ErrorCode.DOWNLINK_RECONNECTION_FAILED, f"the server's offer is refused: {error}") from error
        await self._ask(m.DownlinkAnswer(id=0, revision=offer.revision, sdp=sdp), m.Empty)
        async with self._reached:
            self._revision = offer.revision
            self._reached.notify_all()

    def failed(self, reason: str) -> None:
        """The server says that the link is dead; a new one that is still connecting is not the one it means."""
        if self._link is not None and self._link.was_connected:
            self._link.fail(reason)

    def close(self) -> None:
        """Close the link and end the readers."""
        for key in list(self.streams):
            self.forget(key)
        self._close_link()
        self._revision = 0

    def _take(self, mid: str, frame: EncodedFrame) -> None:
        key, _ = self._tracks.get(mid, (None, None))
        stream = self.streams.get(key) if key is not None else None
        if stream is not None:
            stream.take(frame)

    def _close_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
