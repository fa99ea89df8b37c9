"""What one client sends: its uplink transport and the producers on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import structlog

from parlour.errors import ErrorCode, RtcError
from parlour.media import Level, MediaFullError, Policed
from parlour.protocol.messages import Publish
from parlour.protocol.words import Kind, StreamType
from parlour.sdp import RemoteTransport, TrackSpec, UplinkOffer, read_uplink_offer, write_uplink_answer
from parlour.signaling.encodings import WantedEncodings
from parlour.signaling.ports import Media, Transport

log = structlog.get_logger(__name__)

RestartReason = Literal["silent", "moved"]
"""Why a client is asked to restart ICE: its path answers no checks, or its socket comes from another address."""


@contextlib.contextmanager
def _closing() -> Iterator[None]:
    try:
        yield
    except LookupError:
        # The transport closed just now; its event is on the way and tells the client the reason.
        raise RtcError(ErrorCode.INVALID_OPERATION, "the uplink's transport has closed; publish with restart") from None


@dataclass(frozen=True, slots=True)
class PublishedTrack:
    """A published track. ``producers`` are its encodings, the biggest first; none while its uplink has no transport."""

    track: TrackSpec
    producers: tuple[int, ...]


class Uplink:
    """One client's uplink. ``published`` are its tracks by stream and kind, ``encodings`` those of its videos that are
    sent in several.
    """

    def __init__(
        self,
        media: Media,
        shard: int,
        on_failed: Callable[[str], None],
        follow_encodings: Callable[[StreamType, tuple[str, ...]], WantedEncodings],
        on_policed: Callable[[Policed], None] | None = None,
        on_level: Callable[[Level], None] | None = None,
        on_restart_wanted: Callable[[RestartReason], None] = lambda _: None,
    ) -> None:
        self._media = media
        self._shard = shard
        self._on_failed = on_failed
        self._follow_encodings = follow_encodings
        self._on_policed = on_policed
        self._on_level = on_level
        self._on_restart_wanted = on_restart_wanted
        self._restart_wanted: RestartReason | None = None
        self._transport: Transport | None = None
        self._remote: RemoteTransport | None = None
        self._version = 0
        self.published: dict[tuple[StreamType, Kind], PublishedTrack] = {}
        self.encodings: dict[StreamType, WantedEncodings] = {}
        self.failure: str | None = None

    @property
    def transport_id(self) -> int | None:
        """Its transport, while it has one."""
        return None if self._transport is None else self._transport.id

    def read(self, request: Publish) -> tuple[UplinkOffer, dict[Kind, TrackSpec]]:
        """Check a ``publish`` against the state without changing it: the offer and the stream's tracks in it."""
        goes_on = self._remote is not None and not request.restart
        offer = read_uplink_offer(request.sdp, self._remote.setup if goes_on and self._remote is not None else None)
        if offer.candidates:
            log.debug("candidates of an offer, of which none is used", kinds=dict(offer.candidates))
        tracks: dict[Kind, TrackSpec] = {}
        mids: tuple[tuple[Kind, str | None], ...] = (("audio", request.audio_mid), ("video", request.video_mid))
        for kind, mid in mids:
            if mid is None:
                continue
            track = offer.track(mid)
            if track.kind != kind:
                raise RtcError(ErrorCode.INVALID_PARAMETER, f"{kind}Mid names an m-line of {track.kind}")
            tracks[kind] = track
        if not tracks:
            raise RtcError(ErrorCode.INVALID_PARAMETER, "publish needs an audioMid or a videoMid")
        if not request.restart:
            for (stream_type, kind), source in self.published.items():
                mid = source.track.mid
                if stream_type != request.stream_type and mid in {track.mid for track in tracks.values()}:
                    raise RtcError(
                        ErrorCode.INVALID_PARAMETER,
                        f"the m-line with mid {mid} carries the {kind} of the {stream_type} stream already",
                    )
            if self._transport is not None:
                self._check_connection(offer)
        return offer, tracks

    def _check_connection(self, offer: UplinkOffer) -> None:
        if self._remote is not None and offer.remote.fingerprint != self._remote.fingerprint:
            raise RtcError(
                ErrorCode.INVALID_OPERATION,
                "the offer is from another connection than the uplink's; publish it with restart",
            )

    # --- ICE restarts ---

    def restart_ice(self, sdp: str) -> str:
        """Go on with the ICE credentials of this offer of the same connection. Returns the answer with ours.

        The same offer again, after an answer that was lost, is answered again and restarts nothing.
        """
        offer = read_uplink_offer(sdp, None if self._remote is None else self._remote.setup)
        if self._transport is None:
            raise RtcError(ErrorCode.INVALID_OPERATION, "there is no uplink to restart; publish with restart")
        self._check_connection(offer)
        with _closing():
            self._follow(offer.remote)
            return self._answer(self._transport, offer)

    def _follow(self, remote: RemoteTransport) -> None:
        """The client's credentials are other ones than before: it restarts ICE (RFC 8839 §4.4.1.1.1), and so do we."""
        if self._transport is None or remote == self._remote:
            return
        self._transport = self._media.restart_ice(self._transport.id)
        self._media.set_remote(self._transport.id, remote)
        self._remote = remote
        self._restart_wanted = None

    def want_restart(self, reason: RestartReason) -> None:
        """The client may be somewhere else; it is asked for a restart, and again with its next socket."""
        if self._transport is not None:
            self._restart_wanted = reason
            self._on_restart_wanted(reason)

    def _answer(self, transport: Transport, offer: UplinkOffer) -> str:
        self._version += 1
        used = [source.track.mid for source in self.published.values() if source.producers]
        return write_uplink_answer(offer, transport.local, used, session_id=transport.id, version=self._version)

    def accept(self, request: Publish, offer: UplinkOffer, tracks: dict[Kind, TrackSpec]) -> str:
        """Carry out what ``read`` checked. Returns the answer."""
        try:
            with _closing():
                return self._accept(request, offer, tracks)
        except MediaFullError as full:
            raise RtcError(
                ErrorCode.SERVER_TIMEOUT,
                f"the media service takes nobody more: {full}",
                extra=ErrorCode.MEDIA_NODE_UNAVAILABLE,
            ) from None

    def _accept(self, request: Publish, offer: UplinkOffer, tracks: dict[Kind, TrackSpec]) -> str:
        if request.restart or self._transport is None:
            self._drop_transport()
            self._transport = self._media.create_transport(
                self._shard,
                on_closed=self._closed,
                on_policed=self._on_policed,
                on_silent=lambda: self.want_restart("silent"),
                on_level=self._on_level,
            )
            self._media.set_remote(self._transport.id, offer.remote)
            self._remote = offer.remote
            self.failure = None
            self._version = 0
        self._follow(offer.remote)
        wanted = self._others(request.stream_type, offer) | {
            (request.stream_type, kind): track for kind, track in tracks.items()
        }
        for key in [key for key in self.published if key[0] == request.stream_type and key not in wanted]:
            self._remove(key)
        for key, track in wanted.items():
            old = self.published.get(key)
            if old is not None and old.producers:
                if old.track == track:
                    continue
                self._stop(old)
            producers = tuple(
                self._media.add_producer(self._transport.id, track, rid=rid) for rid in track.rids or ("",)
            )
            self.published[key] = PublishedTrack(track, producers)
            if key[1] == "video":
                self._begin_encodings(key[0], track.rids)
        return self._answer(self._transport, offer)

    def _begin_encodings(self, stream_type: StreamType, rids: tuple[str, ...]) -> None:
        """A video is sent anew, in all of its encodings: those that were paused before are to be paused again."""
        known = self.encodings.get(stream_type)
        if known is not None and known.rids == rids:
            known.repeat()
            return
        self._stop_encodings(stream_type)
        if rids:
            self.encodings[stream_type] = self._follow_encodings(stream_type, rids)

    def _stop_encodings(self, stream_type: StreamType) -> None:
        if (known := self.encodings.pop(stream_type, None)) is not None:
            known.stop()

    def repeat(self) -> None:
        """The client has a new socket, and may have missed which encodings are wanted, and that a restart is."""
        if self._restart_wanted is not None:
            self._on_restart_wanted(self._restart_wanted)
        for encodings in self.encodings.values():
            encodings.repeat()

    def _others(self, stream_type: StreamType, offer: UplinkOffer) -> dict[tuple[StreamType, Kind], TrackSpec]:
        """The living tracks of the other stream, as this newer offer describes them."""
        lines = {line.mid: line.track for line in offer.lines if line.track is not None and line.sends}
        return {
            key: lines.get(source.track.mid, source.track)
            for key, source in self.published.items()
            if key[0] != stream_type and source.producers
        }

    def unpublish(self, stream_type: StreamType) -> None:
        """Stop a stream's tracks; without any left the transport closes."""
        for key in [key for key in self.published if key[0] == stream_type]:
            self._remove(key)
        if not self.published:
            self._drop_transport()
            self.failure = None

    def close(self) -> None:
        """Stop everything."""
        self._drop_transport()
        self.published.clear()
        for stream_type in tuple(self.encodings):
            self._stop_encodings(stream_type)

    def _remove(self, key: tuple[StreamType, Kind]) -> None:
        self._stop(self.published.pop(key))
        if key[1] == "video":
            self._stop_encodings(key[0])

    def _stop(self, source: PublishedTrack) -> None:
        for producer in source.producers:
            self._media.remove_producer(producer)

    def _drop_transport(self) -> None:
        if self._transport is not None:
            self._media.remove_transport(self._transport.id)
        self._forget()

    def _forget(self) -> None:
        """The transport is gone, and the producers with it; the streams stay published."""
        self._transport = self._remote = self._restart_wanted = None
        self.published = {key: PublishedTrack(source.track, ()) for key, source in self.published.items()}

    def _closed(self, reason: str) -> None:
        self._forget()
        self.failure = reason
        self._on_failed(reason)
