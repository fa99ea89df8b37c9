"""The adapter for Parlour: its signaling, without any of the care that a client takes for what may change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from parlour.client.channel import Channel
from parlour.errors import RtcError
from parlour.load import description
from parlour.load.errors import LoadError
from parlour.load.patterns import Track
from parlour.load.peers import Member, Peers
from parlour.protocol import messages as m

OFFER_TIMEOUT = 20.0
"""Seconds that the server has for an offer after it accepted a subscription."""

Ok = TypeVar("Ok", bound=m.Message)

UserSigs = Callable[[str], Awaitable[str]]
"""Gets the UserSig of a user."""


class ParlourMember:
    """A user in a room of a Parlour server."""

    def __init__(self, peers: Peers, name: str, host: str) -> None:
        self.name = name
        self.uplink: int | None = None
        self.downlink: int | None = None
        self._peers = peers
        self._host = host
        self._local: description.Local | None = None
        self._offers: asyncio.Queue[m.DownlinkOffer | LoadError] = asyncio.Queue()
        self.channel = Channel(self._on_event, self._on_lost)

    async def enter(self, url: str, sdk_app_id: int, user_sig: str, room: int) -> None:
        """Log in and enter."""
        await self.channel.open(url)
        login = m.Login(id=0, sdk_app_id=sdk_app_id, user_id=self.name, user_sig=user_sig, sdk_version="load")
        logged_in = await self.channel.request(login, m.LoginOk)
        await self.channel.request(m.Enter(id=0, ticket=logged_in.ticket, room_id=room), m.EnterOk)
        self.channel.start_heartbeat(logged_in.heartbeat_interval)

    async def publish(self, tracks: Sequence[Track]) -> None:
        """Offer the uplink and connect it."""
        sending = self._peers.sending(tracks)
        mids = {track.kind: str(place) for place, track in enumerate(tracks)}
        request = m.Publish(id=0, sdp=sending.offer, audio_mid=mids.get("audio"), video_mid=mids.get("video"))
        answer = await self._ask(request, m.PublishOk)
        self.uplink = await self._peers.connect(sending.local, description.read(answer.sdp, self._host), sending)

    async def subscribe(self, others: Sequence[Member]) -> None:
        """Subscribe to all, and answer offers until there is one with everything."""
        revision = 0
        for other in others:
            accepted = await self._ask(m.Subscribe(id=0, user_id=other.name), m.SubscribeOk)
            revision = max(revision, accepted.revision)
        while revision > 0:
            try:
                offer = await asyncio.wait_for(self._offers.get(), OFFER_TIMEOUT)
            except TimeoutError:
                raise LoadError(f"no downlink offer came in {OFFER_TIMEOUT:g} s after a subscription") from None
            if isinstance(offer, LoadError):
                raise offer
            await self._answer(offer)
            if offer.revision >= revision:
                return

    async def leave(self) -> None:
        """Leave and close the socket."""
        for peer in (self.uplink, self.downlink):
            if peer is not None:
                self._peers.generator.remove([peer])
        self.uplink = self.downlink = None
        await self.channel.close()

    async def _answer(self, offer: m.DownlinkOffer) -> None:
        local = self._local or self._peers.local()
        remote = description.read(offer.sdp, self._host)
        await self._ask(m.DownlinkAnswer(id=0, revision=offer.revision, sdp=description.answer(local, remote)), m.Empty)
        if self._local is None:
            self._local = local
            self.downlink = await self._peers.connect(local, remote)

    async def _ask(self, request: m.Request, answer: type[Ok]) -> Ok:
        try:
            return await self.channel.request(request, answer)
        except RtcError as error:
            what = request.__struct_config__.tag
            raise LoadError(f"the server refused {what} of {self.name}: {error.message}") from error

    def _on_event(self, event: m.AnyEvent) -> None:
        match event:
            case m.DownlinkOffer():
                self._offers.put_nowait(event)
            case m.MediaFailed():
                self._offers.put_nowait(LoadError(f"the server gave up the {event.link}: {event.reason}"))
            case m.ClientBanned():
                self._offers.put_nowait(LoadError(f"the server removed {self.name} ({event.reason}): {event.message}"))

    def _on_lost(self, code: int, reason: str) -> None:
        self._offers.put_nowait(LoadError(f"the signaling channel of {self.name} was closed ({code} {reason})"))


class ParlourRooms:
    """A Parlour server by its address."""

    def __init__(self, peers: Peers, url: str, sdk_app_id: int, user_sig: UserSigs) -> None:
        self._peers = peers
        self._url = url
        self._app = sdk_app_id
        self._user_sig = user_sig
        self._host = urlsplit(url).hostname or ""

    async def join(self, room: int, name: str) -> ParlourMember:
        """Log a user in and take it into a room."""
        user_sig = await self._user_sig(name)
        member = ParlourMember(self._peers, name, self._host)
        try:
            await member.enter(self._url, self._app, user_sig, room)
        except RtcError as error:
            await member.channel.close()
            raise LoadError(f"{name} was not let in: {error.message}") from error
        return member
