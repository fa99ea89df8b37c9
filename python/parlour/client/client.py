"""One user in one room."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, TypeVar

from parlour.client.call_queue import SESSION, CallQueue
from parlour.client.channel import Channel
from parlour.client.downlink import Downlink
from parlour.client.entry import FINAL_CLOSE_CODES, Entry
from parlour.client.events import (
    ClientBanned,
    ClientEvent,
    ConnectionChanged,
    Failed,
    NetworkQuality,
    RoomEvent,
    ServerStopping,
    StreamAdded,
    StreamRemoved,
    VideoReceived,
)
from parlour.client.peer_connection import PeerConnection
from parlour.client.reconciler import CONNECT_TIMEOUT
from parlour.client.room import RoomView, stream_key
from parlour.client.schedule import delays, is_unknown_session, may_pass
from parlour.client.streams import LocalStream, RemoteStream
from parlour.client.translation import translate
from parlour.client.uplink import Uplink
from parlour.client.volumes import VolumeView
from parlour.errors import ErrorCode, RtcError
from parlour.protocol import messages as m
from parlour.protocol.words import Codec, Kind, Role, Scene, StreamType, VideoType

Ok = TypeVar("Ok", bound=m.Message)
E = TypeVar("E")

EVENT_QUEUE = 4096
"""Ours: events that wait for :meth:`Client.events`; of more, the oldest are dropped."""

LEAVE_TIMEOUT = 3.0
"""Ours: seconds that a leaving client waits for the server's word."""


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
        self._entry = Entry(0, "rtc", "anchor", "")
        self._resume_token = ""
        self._resume_timeout = 0.0
        self._heartbeat = 10.0
        self._address = ""
        self._joined = False
        self._online = asyncio.Event()
        self._calls = CallQueue()
        self._uplink = Uplink(self._ask, self._open_connection, self._online, self._problem)
        self._downlink = Downlink(self._ask, self._open_connection, self._online, self._problem)
        self._volumes = VolumeView()
        self._volume_interval = 0
        self._handlers: list[tuple[type[Any], Callable[[Any], None]]] = []
        self._events: deque[ClientEvent] = deque(maxlen=EVENT_QUEUE)
        self._news = asyncio.Event()
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

    async def join(
        self, room_id: int | str, *, private_map_key: str = "", mode: Scene = "rtc", role: Role = "anchor"
    ) -> None:
        """Log in and enter a room: a number names a numeric room, a text a string room.

        A room of the ``mode`` ``live`` has anchors, who publish, and an audience, which the others do not see. What is
        there comes as events: every member, then every stream, then what is muted.
        """
        entry = Entry(room_id, mode, role, private_map_key)
        await self._calls.run(SESSION, lambda: self._join(entry))

    async def switch_role(self, role: Role, *, private_map_key: str | None = None) -> None:
        """Become an anchor or audience of a live room; who becomes audience publishes nothing any more.

        ``private_map_key``: None for that of ``join``. Raises 0x404A when it is refused, INVALID_OPERATION in a call.
        """

        async def work() -> None:
            self._must_have_joined()
            key = self._entry.private_map_key if private_map_key is None else private_map_key
            before, self._entry = self._entry, replace(self._entry, role=role, private_map_key=key)
            try:
                await self._ask(m.SwitchRole(id=0, role=role, private_map_key=key), m.Empty)
            except RtcError as error:
                if error.code in {ErrorCode.SWITCH_ROLE_FAILED, ErrorCode.INVALID_OPERATION}:
                    self._entry = before
                raise
            if role == "audience":
                self._uplink.withdraw_all()

        await self._calls.run(SESSION, work)

    async def leave(self) -> None:
        """Leave the room and close everything. Idempotent.

        What was called before and is not done yet is given up with INVALID_OPERATION.
        """
        text = f"{self.user_id} left the room before this was done"
        self._calls.abort(RtcError(ErrorCode.INVALID_OPERATION, text))
        await self._calls.run(SESSION, self._leave, abortable=False)

    async def publish(
        self,
        *,
        audio: bool = True,
        video: Literal["vp8", "h264"] | None = "vp8",
        stream_type: StreamType = "main",
    ) -> LocalStream:
        """Publish a stream; write encoded frames to what is returned, which reaches the server then.

        Rejects within ten seconds: 0x4041 when the server does not answer, 0x4003 when no media gets through.
        """

        async def work() -> LocalStream:
            self._must_have_joined()
            return await self._uplink.publish(stream_type, audio=audio, video=video)

        return await self._calls.run(stream_type, work)

    async def unpublish(self, stream: LocalStream) -> None:
        """Stop publishing a stream. Without a socket the server is told as soon as there is one."""

        async def work() -> None:
            self._must_have_joined()
            await self._uplink.unpublish(stream)

        await self._calls.run(stream.stream_type, work)

    async def mute(self, stream: LocalStream, *, audio: bool | None = None, video: bool | None = None) -> None:
        """Mute (true) or unmute (false) tracks of a published stream; others are told. None leaves a track alone."""
        muted: dict[Kind, bool] = {}
        if audio is not None:
            muted["audio"] = audio
        if video is not None:
            muted["video"] = video

        async def work() -> None:
            self._must_have_joined()
            await self._uplink.mute(stream, muted)
            if video is False:
                stream.on_keyframe_request()

        await self._calls.run(stream.stream_type, work)

    async def subscribe(
        self, user_id: str, stream_type: StreamType = "main", *, audio: bool = True, video: bool = True
    ) -> RemoteStream:
        """Receive a user's stream; returns once it is connected. Repeated, it replaces what was asked before.

        Rejects within ten seconds: 0x4042 when the server does not answer, 0x4003 when no media gets through.
        """

        async def work() -> RemoteStream:
            self._must_have_joined()
            return await self._downlink.subscribe((user_id, stream_type), audio=audio, video=video)

        return await self._calls.run((user_id, stream_type), work)

    async def unsubscribe(self, user_id: str, stream_type: StreamType = "main") -> None:
        """Receive a user's stream no more. Without a socket the server is told as soon as there is one."""

        async def work() -> None:
            self._must_have_joined()
            await self._downlink.unsubscribe((user_id, stream_type))

        await self._calls.run((user_id, stream_type), work)

    async def set_video_type(self, user_id: str, video_type: VideoType, stream_type: StreamType = "main") -> None:
        """Receive a user's video as the ``big`` or the ``small`` stream: from now on, or once it is subscribed to.

        It stays so until the stream is gone. Where the one is missing the other comes; ``VideoReceived`` tells which,
        and why. Without a socket the server is told as soon as there is one. Raises 0x4010 when the user publishes no
        such stream.
        """

        async def work() -> None:
            self._must_have_joined()
            await self._downlink.set_video_type((user_id, stream_type), video_type)

        await self._calls.run((user_id, stream_type), work)

    async def watch_volumes(self, interval: float = 2.0) -> None:
        """Be told by ``Volumes`` how loud everybody is and who speaks, whenever that changed.

        Not more often than every ``interval`` seconds: the next shorter one of 0.1, 0.2, 0.5, 1 and 2 is taken. 0: no
        more. It goes on until the client leaves. Raises INVALID_OPERATION for who may not receive audio.
        """
        if not 0 <= interval <= 86_400:
            raise RtcError(ErrorCode.INVALID_PARAMETER, f"an interval is 0 or more seconds, not {interval}")
        self._must_have_joined()
        asked = 0 if interval == 0 else max(1, round(interval * 1000))
        await self._ask(m.WatchVolumes(id=0, interval=asked), m.WatchVolumesOk)
        self._volume_interval = asked

    async def _watch_volumes_anew(self) -> None:
        """In another session, of which the server does not know that they are watched."""
        try:
            await self._ask(m.WatchVolumes(id=0, interval=self._volume_interval), m.WatchVolumesOk)
        except RtcError as error:
            self._problem(error)

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

    async def _join(self, entry: Entry) -> None:
        if self._joined:
            raise RtcError(ErrorCode.INVALID_OPERATION, f"{self.user_id} has joined already: leave first")
        self._entry = entry
        self._early = []
        channel = self._new_channel()
        try:
            await channel.open(self.server_url)
            entered = await self._enter(channel)
            self._address = channel.local_address
        except BaseException:
            await channel.close()
            raise
        self._joined = True
        self._events.clear()
        self.room = RoomView()
        self._volumes, self._volume_interval = VolumeView(), 0
        self._emit(ConnectionChanged("connected"))
        for work in (self._uplink.run(), self._downlink.run()):
            self._spawn(work)
        self._go_online(channel, entered)

    async def _enter(self, channel: Channel) -> m.EnterOk:
        login = m.Login(
            id=0,
            sdk_app_id=self.sdk_app_id,
            user_id=self.user_id,
            user_sig=self._user_sig,
            sdk_version=f"python/{m.PROTOCOL_VERSION}",
        )
        logged_in = await channel.request(login, m.LoginOk)
        self._heartbeat = logged_in.heartbeat_interval
        enter = m.Enter(
            id=0,
            ticket=logged_in.ticket,
            room_id=self._entry.room_id,
            string_room=isinstance(self._entry.room_id, str),
            scene=self._entry.mode,
            role=self._entry.role,
            private_map_key=self._entry.private_map_key,
        )
        return await channel.request(enter, m.EnterOk)

    async def _leave(self) -> None:
        channel, was_joined = self._channel, self._joined
        try:
            await self._stop()
            if channel is None and was_joined:
                channel = await self._channel_to_leave()
            if channel is not None:
                with contextlib.suppress(RtcError):
                    await channel.request(m.Leave(id=0), m.Empty, LEAVE_TIMEOUT)
        finally:
            # Whoever called may have lost patience: an open socket would keep the user in the room for ever.
            if channel is not None:
                await channel.close()
        if was_joined:
            self._emit(ConnectionChanged("disconnected"))

    async def _channel_to_leave(self) -> Channel | None:
        """A channel of the session without which the server would keep the user; None when it is not to be had soon."""
        channel = Channel(lambda _: None, lambda code, reason: None, max_delay=LEAVE_TIMEOUT)
        try:
            await channel.open(self.server_url)
            await channel.request(m.Resume(id=0, resume_token=self._resume_token), m.ResumeOk, LEAVE_TIMEOUT)
        except BaseException as error:
            await channel.close()
            if isinstance(error, RtcError):
                return None
            raise
        return channel

    async def _stop(self) -> None:
        """End the tasks of the session and its media."""
        self._joined = False
        self._online.clear()
        self._channel = None
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._uplink.close()
            self._downlink.close()

    async def _ask(self, request: m.Request, answer: type[Ok]) -> Ok:
        await self._online.wait()
        if self._channel is None:
            raise RtcError(ErrorCode.INVALID_OPERATION, "there is no signaling channel: join a room first")
        return await self._channel.request(request, answer)

    def _must_have_joined(self) -> None:
        if not self._joined:
            raise RtcError(ErrorCode.INVALID_OPERATION, f"{self.user_id} is in no room: join first")

    def _new_channel(self) -> Channel:
        channel = Channel(self._on_event, lambda code, reason: self._on_lost(channel, code, reason))
        return channel

    def _go_online(self, channel: Channel, entered: m.EnterOk | m.ResumeOk, *, anew: bool = False) -> None:
        """Go on with what the server says. ``anew``: in another session, where streams may come back a little later."""
        self._channel = channel
        self._resume_token, self._resume_timeout = entered.resume_token, entered.resume_timeout
        channel.start_heartbeat(self._heartbeat)
        early, self._early = self._early or [], None
        for event in self.room.catch_up(entered.snapshot):
            if anew and isinstance(event, StreamRemoved):
                self._downlink.away((event.user_id, event.stream_type), self._resume_timeout)
                self.room.apply(event)
                self._emit(event)
            else:
                self._tell(event)
        self._online.set()
        for message in early:
            self._on_event(message)

    def _on_event(self, message: m.AnyEvent) -> None:
        if self._early is not None:
            self._early.append(message)  # what is newer than the snapshot waits for it
            return
        match message:
            case m.DownlinkOffer():
                self._downlink.offered(message)
            case m.MediaFailed():
                (self._uplink if message.link == "uplink" else self._downlink).failed(message.reason)
            case m.Volumes():
                self._emit(self._volumes.apply(message))
            case m.IceRestartWanted():
                self._uplink.look_elsewhere()
            case m.EncodingsWanted():
                pass  # for who sends a video in several encodings
            case _:
                self._tell(translate(message))

    def _tell(self, event: RoomEvent | VideoReceived | NetworkQuality | ClientBanned | ServerStopping) -> None:
        """Follow what happened in the room, and tell the application."""
        self.room.apply(event)
        match event:
            case StreamRemoved():
                self._downlink.gone((event.user_id, event.stream_type))
            case StreamAdded():
                self._downlink.arrived(stream_key(event.stream))
        self._emit(event)

    def _on_lost(self, channel: Channel, code: int, reason: str) -> None:
        if not self._joined or self._channel is not channel:
            return  # join() and _reconnect() see by themselves that their attempt failed
        self._online.clear()
        self._channel = None
        if code in FINAL_CLOSE_CODES:
            self._end(None if code == m.CloseCode.REMOVED else f"the server closed the channel ({code}): {reason}")
        else:
            self._emit(ConnectionChanged("reconnecting"))
            self._spawn(self._reconnect())

    async def _reconnect(self) -> None:
        """Try until the session's end, the last time at that very moment."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._resume_timeout
        known = True
        for delay in delays(iter(random.random, -1)):
            left = end - loop.time()
            await asyncio.sleep(max(0.0, min(delay, left)))
            self._early = []
            channel = self._new_channel()
            try:
                await channel.open(self.server_url)
                if known:
                    try:
                        await self._resume(channel)
                        return
                    except RtcError as error:
                        if not is_unknown_session(error):
                            raise
                        known = False
                await self._enter_anew(channel)
                return
            except asyncio.CancelledError:
                # The session may be this channel's already, and nobody comes back to it.
                await channel.close()
                raise
            except RtcError as error:
                channel.give_up("the attempt failed")
                if left <= delay or not may_pass(error):
                    why = f"the session could not be taken up again: {error.message}"
                    self._end(why, ErrorCode.SIGNAL_CHANNEL_RECONNECTION_FAILED)
                    return

    async def _resume(self, channel: Channel) -> None:
        resumed = await channel.request(m.Resume(id=0, resume_token=self._resume_token), m.ResumeOk, CONNECT_TIMEOUT)
        if resumed.role != self._entry.role:  # a change was under way when the socket was lost
            again = m.SwitchRole(id=0, role=self._entry.role, private_map_key=self._entry.private_map_key)
            try:
                await channel.request(again, m.Empty, CONNECT_TIMEOUT)
            except RtcError as error:
                if error.code not in {ErrorCode.SWITCH_ROLE_FAILED, ErrorCode.INVALID_OPERATION}:
                    raise
                self._entry = replace(self._entry, role=resumed.role)
                self._emit(Failed(error))
        if self._entry.role == "audience":
            self._uplink.withdraw_all()
        before, self._address = self._address, channel.local_address
        if self._address != before:
            self._uplink.look_elsewhere()
            self._downlink.look_elsewhere()
        # Before what came meanwhile is looked at: a stream that was removed since is to be dropped from these, too.
        self._uplink.resumed(resumed.published)
        self._downlink.resumed(resumed.subscriptions, resumed.video_types)
        self._go_online(channel, resumed)
        self._emit(ConnectionChanged("connected"))

    async def _enter_anew(self, channel: Channel) -> None:
        """The server does not know the session: another one takes its place, with what is published and received."""
        entered = await self._enter(channel)
        self._address = channel.local_address
        self._uplink.entered_anew()
        self._downlink.entered_anew()
        self._go_online(channel, entered, anew=True)
        if self._volume_interval:
            self._spawn(self._watch_volumes_anew())
        self._emit(ConnectionChanged("connected"))

    def _end(self, problem: str | None, code: ErrorCode = ErrorCode.SIGNAL_CHANNEL_ERROR) -> None:
        self._joined = False
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        self._calls.abort(RtcError(code, problem or "the user was removed from the room"))
        self._uplink.close()
        self._downlink.close()
        if problem is not None:
            self._emit(Failed(RtcError(code, problem)))
        self._emit(ConnectionChanged("disconnected"))

    # --- media -------------------------------------------------------------------------------------------------

    def _open_connection(self, codecs: list[Codec]) -> PeerConnection:
        return PeerConnection(self._address, codecs, lambda: self._address)

    def _problem(self, error: RtcError) -> None:
        """Something that no call can raise; what a lost channel causes is told by its loss."""
        if self._joined:
            self._emit(Failed(error))

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
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault is not None and self._joined:
            # Whatever it was to do is done by nobody now.
            self._end(f"a task of the client died: {type(fault).__name__}: {fault}", ErrorCode.UNKNOWN)
