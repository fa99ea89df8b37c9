"""One user in one room by one client. It survives its socket."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import structlog

from parlour.accounts import AcceptedLogin
from parlour.media import Policed, SourceSent
from parlour.protocol.messages import (
    DownlinkOffer,
    EncodingsWanted,
    Event,
    IceRestartWanted,
    MediaFailed,
    NetworkQuality,
)
from parlour.protocol.words import Role, StreamType
from parlour.signaling.channel import Channel
from parlour.signaling.downlink import Downlink
from parlour.signaling.encodings import WantedEncodings
from parlour.signaling.lines import TrackKey
from parlour.signaling.pace import Later, OfferPace, Pace
from parlour.signaling.ports import Media
from parlour.signaling.uplink import Uplink
from parlour.usersig import Privilege

if TYPE_CHECKING:
    from parlour.signaling.room_session import RoomSession

log = structlog.get_logger(__name__)


class Session:
    """Who it is, the socket it has now, and its two media connections."""

    def __init__(
        self,
        login: AcceptedLogin,
        privileges: Privilege,
        role: Role,
        channel: Channel,
        media: Media,
        room: RoomSession,
        clock: Callable[[], float],
        later: Later,
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self.login = login
        self.identity = login.identity
        self.privileges = privileges
        self.role: Role = role
        self.channel: Channel | None = channel
        self.room = room
        self.cname = secrets.token_hex(8)
        self.volume_interval = 0
        """Milliseconds between two messages that tell it volumes; 0: it is told none."""
        self.missed_volumes = False
        """Whether it was told some of them only, since too much waited for it."""
        self._clock = clock
        self._later = later
        self._host: str | None = None
        """Where its last socket came from."""
        # Downlinks of others keep their m-lines for a failed uplink's tracks: it will publish again, or leave.
        self.uplink = Uplink(
            media,
            room.shard,
            lambda reason: self._failed("uplink", reason),
            self._follow_encodings,
            self._policed,
            room.loudness.heard,
            lambda reason: self.tell(IceRestartWanted(reason=reason)),
        )
        self.downlink = Downlink(
            media,
            room.shard,
            find=room.find_track,
            send=self._offer,
            tell=self.tell,
            on_failed=lambda reason: self._failed("downlink", reason),
            on_source=self._source_sent,
            on_taken=room.taken,
            pace=OfferPace(clock, later),
            switch_pace=Pace(clock, later),
            unseen=lambda key: room.loudness.why_unseen(*key),
        )

    @property
    def user_id(self) -> str:
        """The user."""
        return self.identity.user_id

    def tell(self, event: Event) -> None:
        """Send an event; without a socket it is lost, and the snapshot of ``resume`` stands for it."""
        if self.channel is not None:
            self.channel.tell(event)

    def tell_quality(self, quality: NetworkQuality) -> None:
        """Tell it how its links are, unless it does not read: the next figure is a newer one."""
        if self.channel is not None:
            self.channel.tell_if_idle(quality)

    def owe(self, *, told: int = 0, renegotiated: int = 0, lines: int = 0) -> None:
        """Count against its socket's rate what a request of it caused."""
        if self.channel is not None:
            self.channel.connection.owe(told=told, renegotiated=renegotiated, lines=lines)

    def catch_up(self) -> None:
        """Tell a client that came back what no snapshot holds: failed transports, the offer without answer, and which
        encodings are wanted.
        """
        if self.uplink.failure is not None:
            self._failed("uplink", self.uplink.failure)
        if self.downlink.failure is not None:
            self._failed("downlink", self.downlink.failure)
        self.downlink.resend()
        self.uplink.repeat()
        self.room.loudness.repeat(self)

    def came_from(self, host: str) -> None:
        """It has a socket from there. When that is elsewhere than the last one, both connections restart ICE."""
        moved = self._host not in {None, host}
        self._host = host
        if moved:
            self.uplink.want_restart("moved")
            if self.downlink.failure is None:
                self.downlink.restart_ice()

    def close(self) -> None:
        """Stop its media."""
        self.channel = None
        self.downlink.close()
        self.uplink.close()

    def _offer(self, message: DownlinkOffer) -> bool:
        self.tell(message)
        return self.channel is not None

    def _follow_encodings(self, stream_type: StreamType, rids: tuple[str, ...]) -> WantedEncodings:
        def tell(wanted: tuple[str, ...]) -> None:
            self.tell(EncodingsWanted(stream_type=stream_type, rids=list(wanted)))

        return WantedEncodings(
            rids,
            biggest=lambda: self.room.biggest_taken((self.user_id, stream_type)),
            tell=tell,
            clock=self._clock,
            later=self._later,
        )

    def _policed(self, policed: Policed) -> None:
        log.warning(
            "a client sends more than it may; what is too much is dropped, video first",
            app=self.identity.sdk_app_id,
            user=self.identity.user_id,
            session=self.id,
            packets_dropped=policed.packets,
            bits_per_second=policed.bits_per_second,
            remedy="raise media.ingress_bitrate if this is wanted",
        )

    def _source_sent(self, of: TrackKey, sent: SourceSent) -> None:
        if sent.source is None:
            what = "the path to a client does not carry a picture"
        else:
            what = (
                "a client gets another picture than it wants" if sent.why else "a client gets the picture that it wants"
            )
        log.info(
            what,
            app=self.identity.sdk_app_id,
            user=self.identity.user_id,
            session=self.id,
            of=of[0],
            stream=of[1],
            source=sent.source,
            why=sent.why,
            kbit_available=sent.available // 1000,
            kbit_needed=sent.needed // 1000,
        )

    def _failed(self, link: Literal["uplink", "downlink"], reason: str) -> None:
        self.tell(MediaFailed(link=link, reason=reason))
