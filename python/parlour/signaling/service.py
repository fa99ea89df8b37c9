"""Requests carried out: login, rooms, media. One service a process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from parlour.accounts import AccountRefusedError, Accounts, Entrant, Identity, LoginRequest, Returning
from parlour.accounts.sources import counted_source
from parlour.errors import ErrorCode, RtcError, enter_refused, login_refused, resume_refused
from parlour.logs import OnceAWindow
from parlour.media import MediaFullError
from parlour.protocol import messages
from parlour.protocol.messages import AnyRequest, CloseCode, Empty, Message
from parlour.protocol.words import RemovalReason
from parlour.rooms import RoomId, RoomLimits, Rooms, read_room_id
from parlour.signaling.channel import Channel
from parlour.signaling.codec import request_type
from parlour.signaling.connection import ConnectionLimits
from parlour.signaling.ended import EndedSessions
from parlour.signaling.loudness import Loudness
from parlour.signaling.ports import Media
from parlour.signaling.room_session import REMOVED, RoomSession, stream_info
from parlour.signaling.session import Session
from parlour.signaling.tallies import Tallies
from parlour.signaling.traces import Traces
from parlour.supervisor import record_death

log = structlog.get_logger(__name__)

REAP_INTERVAL = 0.5
"""Seconds between two looks at users whose time without a socket may be over."""

LOGGED_REFUSALS = 3
"""Refused requests of one socket that are worth a line in the log each; a flood is not."""

LEFT = "the user left the room"

TRANSPORTS_OF_A_CLIENT = 2
"""Uplink and downlink: what a shard must have room for when somebody enters."""

MAX_RESUME_TOKEN_LIFE = 366 * 86_400.0
"""Seconds; who holds the session decides when it ends. A token is renewed with every resume only, and a socket that is
never lost may be older than any other bound."""


@dataclass(frozen=True, slots=True)
class SignalingLimits:
    """Bounds and times of signaling; seconds and counts."""

    connection: ConnectionLimits = field(default_factory=ConnectionLimits)
    rooms: RoomLimits = field(default_factory=RoomLimits)
    send_queue: int = 256
    heartbeat_interval: float = 10.0


class SignalingService:
    """All sockets, sessions and rooms. ``clock`` gives monotonic seconds."""

    def __init__(
        self,
        accounts: Accounts,
        media: Media,
        limits: SignalingLimits,
        version: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.clock = clock
        self._accounts = accounts
        self._media = media
        self._version = version
        self.rooms: Rooms[Session] = Rooms(limits.rooms, record_death)
        self._ended = EndedSessions(remember=MAX_RESUME_TOKEN_LIFE)
        self._channels: set[Channel] = set()
        self.tallies = Tallies()
        self.traces = Traces()
        self._refusals = OnceAWindow()
        self._stopping = False
        self._idle = asyncio.Event()

    @property
    def sockets(self) -> int:
        """How many signaling sockets are open."""
        return len(self._channels)

    # --- sockets ---

    def opened(self, channel: Channel) -> None:
        """A socket is open."""
        self._channels.add(channel)
        if self._stopping:
            self._dismiss(channel)

    def closed(self, channel: Channel, code: int) -> None:
        """A socket is gone. When the client says that its user leaves, it does; else the user stays for a while."""
        self._channels.discard(channel)
        self.traces.closed(channel)
        if self._stopping and not self._channels:
            self._idle.set()
        session, channel.session = channel.session, None
        if session is None or session.channel is not channel:
            if channel.login is not None:
                self._accounts.presence.ended(channel.login)
            return
        if channel.closing is None and code in messages.ENDS_SESSION:
            self._leave(session)
            self._ended.add(session.id, LEFT, self.clock())
            self._accounts.presence.ended(session.login)
        else:
            self._accounts.presence.lost(session.login)
            log.info("socket lost", session=session.id, user=session.user_id, code=code)
            session.room.lose(session, self.clock())

    async def stop(self, timeout: float) -> None:
        """Tell every client that the server goes down and close; wait for that up to ``timeout`` seconds."""
        self._stopping = True
        if not self._channels:
            return
        for channel in tuple(self._channels):
            self._dismiss(channel)
        try:
            await asyncio.wait_for(self._idle.wait(), timeout)
        except TimeoutError:
            log.warning("some clients did not close in time", sockets=len(self._channels))

    def _dismiss(self, channel: Channel) -> None:
        text = "the server is going down; come back in a moment"
        channel.tell(messages.ServerStopping(message=text))
        channel.close(CloseCode.SERVER_STOPPING, text)

    async def reap(self) -> None:
        """Let users leave whose time without a socket is over. Runs until cancelled."""
        while True:
            await asyncio.sleep(REAP_INTERVAL)
            for room in self.rooms:
                for member in room.expired(self.clock()):
                    session = member.session
                    if session.channel is None and room.session(member.user_id) is session:
                        log.info("session expired", session=session.id, user=member.user_id)
                        self._leave(session)
                        await asyncio.sleep(0)  # the others read what they are told before there is more

    # --- requests ---

    async def handle(self, channel: Channel, request: AnyRequest) -> None:
        """Carry out one request and answer it."""
        kind = request_type(request)
        try:
            with self.traces.request(channel, kind):
                await self._carry_out(channel, request)
        except (RtcError, AccountRefusedError) as thrown:
            error = thrown if isinstance(thrown, RtcError) else _as_refusal_of(request, thrown)
            self.tallies.refused(kind, error)
            self._log_refusal(channel, request, error)
            channel.refuse(request.id, error)
        except Exception:
            # One request may fail; the socket, the room and the others go on.
            log.exception("a request failed", request=kind)
            unknown = RtcError(ErrorCode.UNKNOWN, "the server failed to carry out the request")
            self.tallies.refused(kind, unknown)
            channel.refuse(request.id, unknown)
        else:
            self.tallies.carried_out(kind)

    def _log_refusal(self, channel: Channel, request: AnyRequest, error: RtcError) -> None:
        """Some lines of a socket's user; of sockets without one, one of a kind from an address in a window."""
        channel.refusals += 1
        loud, more = channel.refusals <= LOGGED_REFUSALS, {}
        if channel.login is None:
            kind = (counted_source(channel.host), request_type(request), error.code, error.extra_code)
            held = self._refusals.take(kind, self.clock())
            loud, more = held is not None, {"more_before": held} if held else {}
        log.log(
            logging.INFO if loud else logging.DEBUG,
            "request refused",
            request=request_type(request),
            code=error.code,
            extra_code=error.extra_code,
            reason=error.message,
            user=channel.user_id,
            source=channel.source,
            **more,
        )

    async def _carry_out(self, channel: Channel, request: AnyRequest) -> None:
        match request:
            case messages.Login():
                await self._login(channel, request)
                return
            case messages.Enter():
                await self._enter(channel, request)
                return
            case messages.Resume():
                await self._resume(channel, request)
                return
            case messages.Ping():
                channel.answer(request.id, Empty())
                return
            case messages.Leave() if channel.session is None:
                channel.answer(request.id, Empty())
                return
        if channel.session is None:
            raise RtcError(ErrorCode.INVALID_OPERATION, "this socket is in no room; enter one first")
        if isinstance(request, messages.SwitchRole):
            await self._switch_role(channel, channel.session, request)
            return
        channel.answer(request.id, self._in_room(channel, channel.session, request))

    def _in_room(self, channel: Channel, session: Session, request: AnyRequest) -> Message:
        match request:
            case messages.Publish():
                published = session.room.publish(session, request)
                self.traces.publishing(session)
                return published
            case messages.Unpublish():
                session.room.unpublish(session, request.stream_type)
            case messages.Subscribe():
                revision = session.room.subscribe(session, request)
                self.traces.subscribing(session)
                return messages.SubscribeOk(revision=revision)
            case messages.Unsubscribe():
                session.downlink.drop(request.user_id, request.stream_type)
            case messages.SetVideoType():
                session.room.set_video_type(session, request)
            case messages.WatchVolumes():
                return session.room.watch_volumes(session, request)
            case messages.DownlinkAnswer():
                try:
                    asked_for = session.downlink.answer(request.revision, request.sdp)
                except RtcError:
                    channel.connection.answered(request, asked_for=False)
                    raise
                channel.connection.answered(request, asked_for=asked_for)
            case messages.DownlinkRestart():
                session.owe(lines=session.downlink.lines)
                session.downlink.restart()
            case messages.UplinkIceRestart():
                return messages.UplinkIceRestartOk(sdp=session.uplink.restart_ice(request.sdp))
            case messages.DownlinkIceRestart():
                session.owe(lines=session.downlink.lines)
                return messages.SubscribeOk(revision=session.downlink.restart_ice())
            case messages.Mute():
                session.room.mute(session, request)
            case messages.Leave():
                self._leave(session)
                self._ended.add(session.id, LEFT, self.clock())
                channel.connection.left()
        return Empty()

    async def _switch_role(self, channel: Channel, session: Session, request: messages.SwitchRole) -> None:
        """Who becomes an anchor is looked at as who enters; nobody loses anything by a refusal."""
        room = session.room.room
        if request.role == "anchor" and session.role != "anchor" and room.scene == "live":
            entrant = await self._accounts.reconsider(session.login)
            if channel.session is not session:
                return
            session.privileges = entrant.admit(
                room.room_id.value, room_exists=True, private_map_key=request.private_map_key
            )
        session.room.switch_role(session, request.role)
        channel.answer(request.id, Empty())

    async def _login(self, channel: Channel, request: messages.Login) -> None:
        granted = await self._accounts.login(
            LoginRequest(
                request.sdk_app_id,
                request.user_id,
                request.user_sig,
                request.account_type,
                channel.host,
                platform_of(request.sdk_version),
            )
        )
        if channel.closing is not None or channel not in self._channels:
            self._accounts.presence.ended(granted.login)
            return
        if channel.login is not None:
            self._accounts.presence.ended(channel.login)
        channel.login = granted.login
        channel.connection.logged_in()
        channel.answer(
            request.id,
            messages.LoginOk(
                ticket=granted.ticket,
                ticket_expires_at=granted.ticket_expires_at,
                server_version=self._version,
                heartbeat_interval=self.limits.heartbeat_interval,
                max_message_bytes=self.limits.connection.message_bytes,
            ),
        )

    async def _enter(self, channel: Channel, request: messages.Enter) -> None:
        entrant = await self._accounts.enter(channel.login, request.ticket)
        if channel.closing is not None or channel not in self._channels:
            return
        identity = entrant.login.identity
        room_id = read_room_id(request.room_id, string_room=request.string_room)
        privileges = entrant.admit(
            room_id.value,
            room_exists=self.rooms.get(identity.sdk_app_id, room_id) is not None,
            private_map_key=request.private_map_key,
        )
        room_session = self._open_room_session(identity.sdk_app_id, room_id)
        if not self._media.has_room(room_session.shard, TRANSPORTS_OF_A_CLIENT):
            self._close_if_empty(room_session)
            raise enter_refused(ErrorCode.MEDIA_NODE_UNAVAILABLE)
        later = asyncio.get_running_loop().call_later
        session = Session(
            entrant.login, privileges, request.role, channel, self._media, room_session, self.clock, later
        )
        try:
            snapshot = room_session.enter(session, request.scene)
        except RtcError:
            self._close_if_empty(room_session)
            raise
        channel.session = session
        session.came_from(channel.host)
        channel.connection.entered()
        log.info("entered", app=identity.sdk_app_id, room=str(room_id), user=identity.user_id, session=session.id)
        channel.answer(
            request.id,
            messages.EnterOk(
                session_id=session.id,
                resume_token=_resume_token(session, entrant),
                resume_timeout=self.limits.rooms.resume_timeout,
                snapshot=snapshot,
            ),
        )

    async def _resume(self, channel: Channel, request: messages.Resume) -> None:
        returning = await self._accounts.resume(request.resume_token)
        entrant = returning.entrant
        session = self._session_of(entrant.login.identity, returning.room)
        if session is None or session.id != returning.session_id:
            self._accounts.presence.ended(entrant.login)
            raise self._not_resumed(returning)
        if not returning.login_stands:
            raise resume_refused(ErrorCode.LOGIN_STATE_INVALID, "the login was ended by an administrator: log in again")
        if channel.closing is not None or channel not in self._channels:
            self._accounts.presence.lost(entrant.login)
            return
        if session.channel is not None:
            session.channel.session = None
            session.channel.login = None  # the login goes on with the new socket; the old one's end is not its end
        snapshot = session.room.resume(session, channel)
        channel.session = session
        channel.login = entrant.login
        channel.connection.entered()
        streams = (session.room.room.stream(session.user_id, kind) for kind in ("main", "auxiliary"))
        channel.answer(
            request.id,
            messages.ResumeOk(
                session_id=session.id,
                resume_token=_resume_token(session, entrant),
                resume_timeout=self.limits.rooms.resume_timeout,
                snapshot=snapshot,
                role=session.role,
                published=[stream_info(stream) for stream in streams if stream is not None],
                subscriptions=[
                    messages.Subscription(
                        user_id=user_id, stream_type=stream_type, audio="audio" in kinds, video="video" in kinds
                    )
                    for (user_id, stream_type), kinds in session.downlink.subscriptions.items()
                ],
                video_types=[
                    messages.WantedVideo(user_id=user_id, stream_type=stream_type, video_type=video_type)
                    for (user_id, stream_type), video_type in session.downlink.video_types.wanted.items()
                ],
            ),
        )
        session.catch_up()
        session.came_from(channel.host)

    def _not_resumed(self, returning: Returning) -> RtcError:
        """Why there is no such session: somebody ended it, or this server just does not know it."""
        why = self._ended.why(returning.session_id)
        if why is None:
            # Ended by a server that has died since? Its user is back already, and is not to be put out by the old one.
            again = self._session_of(returning.entrant.login.identity, returning.room)
            why = REMOVED["kick"] if again is not None and again.channel is not None else None
        if why is not None:
            return resume_refused(ErrorCode.LOGIN_STATE_INVALID, f"the session is over, {why}: log in again")
        return resume_refused(
            ErrorCode.SESSION_UNKNOWN,
            "this server does not know the session, because it was started anew or the session was away for more than"
            f" {self.limits.rooms.resume_timeout:g} s: log in and enter again",
        )

    def _session_of(self, identity: Identity, room: str) -> Session | None:
        """The session by which a user is in a room, which is named as in a resume token."""
        found = self.rooms.get(identity.sdk_app_id, RoomId.shown(room))
        return None if found is None else found.session(identity.user_id)

    # --- administrators ---

    def force_off(self, sdk_app_id: int, user_ids: Sequence[str], why: str) -> None:
        """Put users of an app out of their rooms and close their sockets, at once."""
        users = set(user_ids)
        for room in self.rooms.of(sdk_app_id):
            if room.first is not None:
                room_session = room.first.session.room
                for user_id in users:
                    room_session.remove(user_id)
                self._close_if_empty(room_session)
        for channel in tuple(self._channels):
            identity = None if channel.login is None else channel.login.identity
            if identity is not None and identity.sdk_app_id == sdk_app_id and identity.user_id in users:
                channel.close(CloseCode.REMOVED, why)

    # --- rooms ---

    def _leave(self, session: Session) -> None:
        session.room.leave(session)
        self._close_if_empty(session.room)

    def _departed(self, session: Session, removed: RemovalReason | None) -> None:
        """A session is in its room no more, by whatever way it went."""
        if removed is not None:
            self._ended.add(session.id, REMOVED[removed], self.clock())
        if session.channel is not None:
            session.channel.session = None
        else:
            self._accounts.presence.ended(session.login)

    def _open_room_session(self, sdk_app_id: int, room_id: RoomId) -> RoomSession:
        """The room's; everybody who is in it leads to it, and for the first one it is made."""
        room = self.rooms.open(sdk_app_id, room_id)
        if room.first is not None:
            return room.first.session.room
        try:
            shard = self._media.pick_shard()
        except MediaFullError:
            self.rooms.close_if_empty(sdk_app_id, room_id)
            raise enter_refused(ErrorCode.MEDIA_NODE_UNAVAILABLE) from None
        later = asyncio.get_running_loop().call_later
        loudness = Loudness(room, self._media, self.limits.rooms.last_n, self.clock, later)
        return RoomSession(room, sdk_app_id, shard, self._departed, loudness)

    def _close_if_empty(self, room_session: RoomSession) -> None:
        self.rooms.close_if_empty(room_session.sdk_app_id, room_session.room.room_id)


def _resume_token(session: Session, entrant: Entrant) -> str:
    return entrant.signer.issue_resume(
        session.id, entrant.login, room=str(session.room.room.room_id), expires_at=entrant.now + MAX_RESUME_TOKEN_LIFE
    )


def _as_refusal_of(request: AnyRequest, refusal: AccountRefusedError) -> RtcError:
    """What the account service said, as the client of that request is told it."""
    match request:
        case messages.Enter():
            return enter_refused(refusal.code, refusal.detail)
        case messages.Resume():
            return resume_refused(refusal.code, refusal.detail)
        case messages.SwitchRole():
            return RtcError(ErrorCode.SWITCH_ROLE_FAILED, f"switchRole failed: {refusal.detail}", extra=refusal.code)
    return login_refused(refusal.code, refusal.detail)


def platform_of(sdk_version: str) -> str:
    """The platform of a client in the words of the account REST: the browser SDK's is Web, the Python SDK's PC."""
    return "PC" if sdk_version.startswith("python/") else "Web"
