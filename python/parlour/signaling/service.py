"""Requests carried out: login, rooms, media. One service a process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from parlour.accounts import Accounts, Identity, TokenSigner, resume_refused
from parlour.errors import ErrorCode, RtcError, enter_refused
from parlour.rooms import RoomId, RoomLimits, Rooms, read_room_id
from parlour.signaling import messages
from parlour.signaling.codec import request_type
from parlour.signaling.connection import ConnectionLimits
from parlour.signaling.hall import Hall, stream_info
from parlour.signaling.link import Link
from parlour.signaling.messages import AnyRequest, CloseCode, Empty, Message
from parlour.signaling.ports import Media
from parlour.signaling.session import Session

log = structlog.get_logger(__name__)

REAP_INTERVAL = 0.5
"""Seconds between two looks at users whose time without a socket may be over."""

LOGGED_REFUSALS = 3
"""Refused requests of one socket that are worth a line in the log each; a flood is not."""

MAX_RESUME_TOKEN_LIFE = 7 * 86_400.0
"""Seconds; the session itself ends earlier. A token is renewed with every resume."""


@dataclass(frozen=True, slots=True)
class SignalingLimits:
    """Bounds and times of signaling; seconds and counts."""

    connection: ConnectionLimits = field(default_factory=ConnectionLimits)
    rooms: RoomLimits = field(default_factory=RoomLimits)
    send_queue: int = 256
    heartbeat_interval: float = 10.0


class SignalingService:
    """All sockets, sessions and rooms. ``wall`` gives unix seconds for tokens, ``clock`` monotonic ones else."""

    def __init__(
        self,
        accounts: Accounts,
        tokens: TokenSigner,
        media: Media,
        limits: SignalingLimits,
        version: str,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.clock = clock
        self._accounts = accounts
        self._tokens = tokens
        self._media = media
        self._version = version
        self._wall = wall
        self._rooms = Rooms(limits.rooms)
        self._halls: dict[tuple[int, RoomId], Hall] = {}
        self._sessions: dict[str, tuple[Hall, Session]] = {}
        self._by_link: dict[Link, tuple[Hall, Session]] = {}
        self._links: set[Link] = set()
        self._stopping = False
        self._idle = asyncio.Event()

    # --- sockets ---

    def opened(self, link: Link) -> None:
        """A socket is open."""
        self._links.add(link)
        if self._stopping:
            self._dismiss(link)

    def closed(self, link: Link, code: int) -> None:
        """A socket is gone. With 1000 or 1001 from the client its user leaves, else the user stays for a while."""
        self._links.discard(link)
        if self._stopping and not self._links:
            self._idle.set()
        found = self._by_link.pop(link, None)
        if found is None:
            return
        hall, session = found
        if session.link is not link:
            return
        if link.closing is None and code in {1000, 1001}:
            self._leave(hall, session)
        else:
            log.info("socket lost", session=session.id, user=session.user_id, code=code)
            hall.lose(session, self.clock())

    async def stop(self, timeout: float) -> None:
        """Tell every client that the server goes down and close; wait for that up to ``timeout`` seconds."""
        self._stopping = True
        if not self._links:
            return
        for link in tuple(self._links):
            self._dismiss(link)
        try:
            await asyncio.wait_for(self._idle.wait(), timeout)
        except TimeoutError:
            log.warning("some clients did not close in time", sockets=len(self._links))

    def _dismiss(self, link: Link) -> None:
        text = "the server is going down; come back in a moment"
        link.tell(messages.ServerStopping(message=text))
        link.close(CloseCode.SERVER_STOPPING, text)

    async def reap(self) -> None:
        """Let users leave whose time without a socket is over. Runs until cancelled."""
        while True:
            await asyncio.sleep(REAP_INTERVAL)
            for hall in tuple(self._halls.values()):
                for member in hall.room.expired(self.clock()):
                    found = self._sessions.get(member.session)
                    if found is not None and found[1].link is None:
                        log.info("session expired", session=member.session, user=member.user_id)
                        self._leave(*found)
                        await asyncio.sleep(0)  # the others read what they are told before there is more

    # --- requests ---

    async def handle(self, link: Link, request: AnyRequest) -> None:
        """Carry out one request and answer it."""
        try:
            if isinstance(request, messages.Login):
                await self._login(link, request)
            else:
                self._carry_out(link, request)
        except RtcError as error:
            link.refusals += 1
            log.log(
                logging.INFO if link.refusals <= LOGGED_REFUSALS else logging.DEBUG,
                "request refused",
                request=request_type(request),
                code=error.code,
                extra_code=error.extra_code,
                reason=error.message,
                user=link.identity.user_id if link.identity else None,
                source=link.source,
            )
            link.refuse(request.id, error)
        except Exception:
            # One request may fail; the socket, the room and the others go on.
            log.exception("a request failed", request=request_type(request))
            link.refuse(request.id, RtcError(ErrorCode.UNKNOWN, "the server failed to carry out the request"))

    def _carry_out(self, link: Link, request: AnyRequest) -> None:
        match request:
            case messages.Enter():
                self._enter(link, request)
                return
            case messages.Resume():
                self._resume(link, request)
                return
            case messages.Ping():
                link.answer(request.id, Empty())
                return
        found = self._by_link.get(link)
        if found is None:
            raise RtcError(ErrorCode.INVALID_OPERATION, "this socket is in no room; enter one first")
        hall, session = found
        link.answer(request.id, self._in_room(link, hall, session, request))

    def _in_room(self, link: Link, hall: Hall, session: Session, request: AnyRequest) -> Message:
        match request:
            case messages.Publish():
                return hall.publish(session, request)
            case messages.Unpublish():
                hall.unpublish(session, request.stream_type)
            case messages.Subscribe():
                return messages.SubscribeOk(revision=hall.subscribe(session, request))
            case messages.Unsubscribe():
                session.downlink.drop(request.user_id, request.stream_type)
            case messages.DownlinkAnswer():
                session.downlink.answer(request.revision, request.sdp)
            case messages.DownlinkRestart():
                session.downlink.restart()
            case messages.Mute():
                hall.mute(session, request)
            case messages.Leave():
                self._leave(hall, session)
                link.connection.left()
        return Empty()

    async def _login(self, link: Link, request: messages.Login) -> None:
        identity = await self._accounts.login(
            request.sdk_app_id, request.user_id, request.user_sig, request.account_type
        )
        if link.closing is not None:
            return
        ticket, expires_at = self._tokens.issue_ticket(identity, self._wall())
        link.identity = identity
        link.connection.logged_in()
        link.answer(
            request.id,
            messages.LoginOk(
                ticket=ticket,
                ticket_expires_at=expires_at,
                server_version=self._version,
                heartbeat_interval=self.limits.heartbeat_interval,
                max_message_bytes=self.limits.connection.message_bytes,
            ),
        )

    def _enter(self, link: Link, request: messages.Enter) -> None:
        identity = self._tokens.read_ticket(request.ticket, self._wall())
        if identity != link.identity:
            raise enter_refused(ErrorCode.TICKET_INVALID, "the ticket belongs to another login than this socket's")
        room_id = read_room_id(request.room_id, string_room=request.string_room)
        if request.scene == "live":
            raise RtcError(ErrorCode.INVALID_OPERATION, "the scene live is not there yet; enter with rtc")
        hall = self._open_hall(identity.sdk_app_id, room_id)
        session = Session(identity, "anchor", link, self._media, hall.shard, hall.find_track)
        try:
            snapshot = hall.enter(session)
        except RtcError:
            self._close_hall_if_empty(hall)
            raise
        self._sessions[session.id] = self._by_link[link] = (hall, session)
        link.connection.entered()
        log.info("entered", app=identity.sdk_app_id, room=str(room_id), user=identity.user_id, session=session.id)
        link.answer(
            request.id,
            messages.EnterOk(
                session_id=session.id,
                resume_token=self._resume_token(session.id, identity),
                resume_timeout=self.limits.rooms.resume_timeout,
                snapshot=snapshot,
            ),
        )

    def _resume(self, link: Link, request: messages.Resume) -> None:
        session_id, identity = self._tokens.read_resume(request.resume_token, self._wall())
        found = self._sessions.get(session_id)
        if found is None:
            raise resume_refused(ErrorCode.LOGIN_STATE_INVALID, "the session is over: log in again")
        hall, session = found
        if session.link is not None:
            self._by_link.pop(session.link, None)
        snapshot = hall.resume(session, link)
        self._by_link[link] = found
        link.identity = identity
        link.connection.entered()
        streams = (hall.room.stream(session.user_id, kind) for kind in ("main", "auxiliary"))
        link.answer(
            request.id,
            messages.ResumeOk(
                session_id=session.id,
                resume_token=self._resume_token(session.id, identity),
                resume_timeout=self.limits.rooms.resume_timeout,
                snapshot=snapshot,
                published=[stream_info(stream) for stream in streams if stream is not None],
                subscriptions=[
                    messages.Subscription(
                        user_id=user_id, stream_type=stream_type, audio="audio" in kinds, video="video" in kinds
                    )
                    for (user_id, stream_type), kinds in session.downlink.wanted.items()
                ],
            ),
        )
        session.catch_up()

    def _resume_token(self, session_id: str, identity: Identity) -> str:
        return self._tokens.issue_resume(session_id, identity, expires_at=self._wall() + MAX_RESUME_TOKEN_LIFE)

    # --- rooms ---

    def _leave(self, hall: Hall, session: Session) -> None:
        hall.leave(session)
        self._close_hall_if_empty(hall)

    def _departed(self, session: Session) -> None:
        """A session is in its room no more, by whatever way it went."""
        self._sessions.pop(session.id, None)
        if session.link is not None:
            self._by_link.pop(session.link, None)

    def _open_hall(self, sdk_app_id: int, room_id: RoomId) -> Hall:
        key = (sdk_app_id, room_id)
        if key not in self._halls:
            room = self._rooms.open(sdk_app_id, room_id)
            self._halls[key] = Hall(room, sdk_app_id, self._media.pick_shard(), self._departed)
        return self._halls[key]

    def _close_hall_if_empty(self, hall: Hall) -> None:
        room_id = hall.room.room_id
        if self._rooms.close_if_empty(hall.sdk_app_id, room_id):
            del self._halls[hall.sdk_app_id, room_id]
