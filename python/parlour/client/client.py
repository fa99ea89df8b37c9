"""One user in one room."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, TypeVar

from parlour.client.channel import Channel
from parlour.client.downlink import Downlink
from parlour.client.events import ClientEvent, ConnectionChanged, Failed
from parlour.client.link import Codec, Link
from parlour.client.room import RoomView
from parlour.client.streams import LocalStream, RemoteStream
from parlour.client.uplink import Uplink
from parlour.errors import ErrorCode, RtcError
from parlour.signaling import messages as m

Ok = TypeVar("Ok", bound=m.Message)
E = TypeVar("E")
LinkName = Literal["uplink", "downlink"]

EVENT_QUEUE = 4096
"""Ours: events that wait for :meth:`Client.events`; of more, the oldest are dropped."""

FINAL_CLOSE_CODES = frozenset({1000, 1002, 1009, 4400, 4409, 4429})
"""Close codes after which there is no use in coming back."""

MEDIA_RESTARTS = 5
"""Ours: attempts to bring a failed link back, at 0, 1, 2, 4 and 8 seconds."""


class Client:
    """One user in one room of a Parlour server, as a browser would be: an uplink and a downlink.

    ``server_url`` is the server's http or https address; ``user_sig`` proves ``user_id`` to it.
    Every refusal raises :class:`parlour.errors.RtcError` with the documented code.
    """

    def __init__(self, server_url: str, sdk_app_id: int, user_id: str, user_sig: str) -> None:
        self.server_url = server_url
        self.sdk_app_id = sdk_app_id
        self.user_id = user_id
        self.room = RoomView()
        """Who is in the room and what is published there, as far as the events told."""
        self._user_sig = user_sig
        self._channel: Channel | None = None
        self._early: list[m.AnyEvent] | None = None
        self._resume_token = ""
        self._resume_timeout = 0.0
        self._heartbeat = 10.0
        self._address = ""
        self._joined = False
        self._online = asyncio.Event()
        self._uplink = Uplink(self._ask, self._open_link, self._uplink_failed)
        self._downlink = Downlink(self._ask, self._open_link, self._downlink_failed)
        self._handlers: list[tuple[type[Any], Callable[[Any], None]]] = []
        self._events: deque[ClientEvent] = deque(maxlen=EVENT_QUEUE)
        self._news = asyncio.Event()
        self._failures: dict[LinkName, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    @property
    def joined(self) -> bool:
        """Whether the client is in a room; true also while it reconnects."""
        return self._joined

    async def join(self, room_id: int | str, *, private_map_key: str = "") -> None:
        """Log in and enter a room: a number names a numeric room, a text a string room.

        What is there comes as events: every member, then every stream, then what is muted.
        """
        if self._joined or self._channel is not None:
            raise RtcError(ErrorCode.INVALID_OPERATION, f"{self.user_id} has joined already: leave first")
        self._early = []
        channel = self._channel = Channel(self._on_event, self._on_lost)
        try:
            await channel.open(self.server_url)
            login = m.Login(
                id=0,
                sdk_app_id=self.sdk_app_id,
                user_id=self.user_id,
                user_sig=self._user_sig,
                sdk_version=f"python/{m.PROTOCOL_VERSION}",
            )
            logged_in = await channel.request(login, m.LoginOk)
            enter = m.Enter(
                id=0,
                ticket=logged_in.ticket,
                room_id=room_id,
                string_room=isinstance(room_id, str),
                private_map_key=private_map_key,
            )
            entered = await channel.request(enter, m.EnterOk)
            self._address = channel.local_address
        except BaseException:
            self._channel = None
            await channel.close()
            raise
        self._heartbeat = logged_in.heartbeat_interval
        self._joined = True
        self._failures = {"uplink": 0, "downlink": 0}
        self._events.clear()
        self.room = RoomView()
        self._emit(ConnectionChanged("connected"))
        self._go_online(channel, entered.resume_token, entered.resume_timeout, entered.snapshot)

    async def leave(self) -> None:
        """Leave the room and close everything. Idempotent."""
        channel, was_joined = self._channel, self._joined
        self._joined = False
        self._online.clear()
        self._channel = None
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._uplink.close()
        self._downlink.close()
        if channel is not None:
            if was_joined:
                with contextlib.suppress(RtcError):
                    await channel.request(m.Leave(id=0), m.Empty)
            await channel.close()
        if was_joined:
            self._emit(ConnectionChanged("disconnected"))

    async def publish(
        self,
        *,
        audio: bool = True,
        video: Literal["vp8", "h264"] | None = "vp8",
        stream_type: m.StreamType = "main",
    ) -> LocalStream:
        """Publish a stream; write encoded frames to what is returned."""
        self._must_have_joined()
        return await self._uplink.publish(stream_type, audio=audio, video=video)

    async def unpublish(self, stream: LocalStream) -> None:
        """Stop publishing a stream."""
        self._must_have_joined()
        await self._uplink.unpublish(stream)

    async def mute(self, stream: LocalStream, *, audio: bool | None = None, video: bool | None = None) -> None:
        """Mute (true) or unmute (false) tracks of a published stream; others are told. None leaves a track alone."""
        self._must_have_joined()
        await self._ask(m.Mute(id=0, stream_type=stream.stream_type, audio=audio, video=video), m.Empty)
        for kind, muted in (("audio", audio), ("video", video)):
            track = stream.track("audio" if kind == "audio" else "video")
            if track is not None and muted is not None:
                track.muted = muted
        if video is False:
            stream.on_keyframe_request()

    async def subscribe(
        self, user_id: str, stream_type: m.StreamType = "main", *, audio: bool = True, video: bool = True
    ) -> RemoteStream:
        """Receive a user's stream. Repeated, it replaces what was asked before."""
        self._must_have_joined()
        return await self._downlink.subscribe((user_id, stream_type), audio=audio, video=video)

    async def unsubscribe(self, user_id: str, stream_type: m.StreamType = "main") -> None:
        """Receive a user's stream no more."""
        self._must_have_joined()
        await self._downlink.unsubscribe((user_id, stream_type))

    def on(self, kind: type[E], handler: Callable[[E], None]) -> None:
        """Call ``handler`` for every event of a class of :mod:`parlour.client.events`, in the event loop."""
        self._handlers.append((kind, handler))

    async def events(self) -> AsyncIterator[ClientEvent]:
        """The events as they come, until the session is over. One reader a client."""
        while True:
            while self._events:
                event = self._events.popleft()
                yield event
                if event == ConnectionChanged("disconnected"):
                    return
            self._news.clear()
            await self._news.wait()

    # --- signaling ---------------------------------------------------------------------------------------------

    async def _ask(self, request: m.Request, answer: type[Ok]) -> Ok:
        if self._channel is None:
            raise RtcError(ErrorCode.INVALID_OPERATION, "there is no signaling channel: join a room first")
        return await self._channel.request(request, answer)

    def _must_have_joined(self) -> None:
        if not self._joined:
            raise RtcError(ErrorCode.INVALID_OPERATION, f"{self.user_id} is in no room: join first")

    def _go_online(self, channel: Channel, token: str, timeout: float, snapshot: m.Snapshot) -> None:
        self._resume_token, self._resume_timeout = token, timeout
        channel.start_heartbeat(self._heartbeat)
        early, self._early = self._early or [], None
        for event in [*self.room.catch_up(snapshot), *early]:
            self._on_event(event)
        self._online.set()

    def _on_event(self, event: m.AnyEvent) -> None:
        if self._early is not None:
            self._early.append(event)  # what is newer than the snapshot waits for it
            return
        self.room.apply(event)
        match event:
            case m.DownlinkOffer():
                self._spawn(self._answer(event))
            case m.MediaFailed():
                (self._uplink if event.link == "uplink" else self._downlink).failed(event.reason)
            case m.StreamRemoved():
                self._downlink.forget((event.user_id, event.stream_type))
                self._emit(event)
            case _:
                self._emit(event)

    def _on_lost(self, code: int, reason: str) -> None:
        if not self._joined or self._channel is None:
            return  # join() and _reconnect() see by themselves that their attempt failed
        self._online.clear()
        self._channel = None
        if code in FINAL_CLOSE_CODES:
            self._end(None if code in (1000, 4409) else f"the server closed the channel ({code}): {reason}")
        else:
            self._emit(ConnectionChanged("reconnecting"))
            self._spawn(self._reconnect())

    async def _reconnect(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._resume_timeout
        why = "no attempt was made"
        for delay in (0, 1, 2, 4, 8, 16, *[30] * 10):
            # The jitter keeps the clients of a restarted server from coming all at once.
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
            if loop.time() > end:
                break
            self._early = []
            channel = Channel(self._on_event, self._on_lost)
            try:
                await channel.open(self.server_url)
                resumed = await channel.request(m.Resume(id=0, resume_token=self._resume_token), m.ResumeOk)
                address = channel.local_address
            except asyncio.CancelledError:
                await channel.close()
                raise
            except RtcError as error:
                await channel.close()
                why = error.message
                if error.extra_code or error.code not in _PASSING:
                    break  # the server knows us and says no
                continue
            self._channel, self._address = channel, address
            self._go_online(channel, resumed.resume_token, resumed.resume_timeout, resumed.snapshot)
            self._emit(ConnectionChanged("connected"))
            with contextlib.suppress(RtcError):
                await self._uplink.restore({stream.stream_type for stream in resumed.published})
                held = {(s.user_id, s.stream_type): (s.audio, s.video) for s in resumed.subscriptions}
                await self._downlink.restore(held)
            return
        self._end(f"the session could not be taken up again: {why}", ErrorCode.SIGNAL_CHANNEL_RECONNECTION_FAILED)

    def _end(self, problem: str | None, code: ErrorCode = ErrorCode.SIGNAL_CHANNEL_ERROR) -> None:
        self._joined = False
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        self._uplink.close()
        self._downlink.close()
        if problem is not None:
            self._emit(Failed(RtcError(code, problem)))
        self._emit(ConnectionChanged("disconnected"))

    # --- media -------------------------------------------------------------------------------------------------

    def _open_link(self, codecs: list[Codec]) -> Link:
        return Link(self._address, codecs)

    async def _answer(self, offer: m.DownlinkOffer) -> None:
        try:
            await self._downlink.answer(offer)
        except RtcError as error:
            if self._joined and self._online.is_set():
                self._emit(Failed(error))

    def _uplink_failed(self, reason: str, was_connected: bool) -> None:
        self._link_failed("uplink", self._uplink.restart, reason, was_connected)

    def _downlink_failed(self, reason: str, was_connected: bool) -> None:
        self._link_failed("downlink", self._downlink.restart, reason, was_connected)

    def _link_failed(
        self, name: LinkName, restart: Callable[[], Coroutine[Any, Any, None]], reason: str, was_connected: bool
    ) -> None:
        if was_connected:
            self._failures[name] = 0
        self._spawn(self._bring_back(name, restart, reason))

    async def _bring_back(self, name: LinkName, restart: Callable[[], Coroutine[Any, Any, None]], reason: str) -> None:
        while self._failures[name] < MEDIA_RESTARTS:
            delay = 0 if self._failures[name] == 0 else 2 ** (self._failures[name] - 1)
            self._failures[name] += 1
            await asyncio.sleep(delay)
            await self._online.wait()
            try:
                return await restart()
            except RtcError as error:
                reason = error.message
        code = ErrorCode.UPLINK_RECONNECTION_FAILED if name == "uplink" else ErrorCode.DOWNLINK_RECONNECTION_FAILED
        self._emit(Failed(RtcError(code, f"the {name} could not be brought back: {reason}")))
        return None

    # --- events ------------------------------------------------------------------------------------------------

    def _emit(self, event: ClientEvent) -> None:
        self._events.append(event)
        self._news.set()
        for kind, handler in self._handlers:
            if isinstance(event, kind):
                # Not from here: what a handler raises is not the reader's to catch.
                asyncio.get_running_loop().call_soon(handler, event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_PASSING = frozenset(
    {ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, ErrorCode.SIGNAL_CHANNEL_ERROR, ErrorCode.API_CALL_TIMEOUT}
)
