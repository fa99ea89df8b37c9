"""What one client receives: its downlink transport, the m-lines we offer on it and the consumers behind them.

One offer is unanswered at a time; what changes meanwhile goes into the next, and nothing is made for it before. A
consumer exists only for a track that the client took. A new consumer always has new SSRCs, so that no packet index is
ever used twice under one key.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from parlour.errors import ErrorCode, RtcError
from parlour.media import MediaFullError, SourceSent
from parlour.protocol.messages import DownlinkOffer, DownlinkTrack, VideoReceived
from parlour.protocol.words import Kind, StreamType
from parlour.sdp import (
    DESCRIBED_CODECS,
    AcceptedLine,
    DownlinkLine,
    RemoteTransport,
    TrackSpec,
    downlink_format,
    read_downlink_answer,
    write_downlink_offer,
)
from parlour.signaling.encodings import OnTaken, TakenEncodings
from parlour.signaling.lines import Line, PayloadTypes, PendingOffer, RemoteTrack, TrackKey, lines_lacking
from parlour.signaling.pace import OfferPace, Pace
from parlour.signaling.ports import Media, Transport
from parlour.signaling.video_types import StreamKey, VideoTypes

MID_EXTENSION = 1
TWCC_EXTENSION = 2
DESCRIPTOR_EXTENSION = 3
MAX_LINES = 512
RANKS: dict[StreamType, int] = {"main": 0, "auxiliary": 1}
"""Who is served first of the pictures that share a path."""
REMEMBERED = 16
"""Withdrawn offers whose answers may still be on their way, of one client."""


class Downlink:
    """One client's downlink. ``send`` gets every offer, and says whether the client can be told now.

    ``tell`` gets what else is told; without a socket it is told again with the next. ``unseen`` says why nobody is sent
    a stream's video.
    """

    def __init__(
        self,
        media: Media,
        shard: int,
        *,
        find: Callable[[TrackKey], RemoteTrack | None],
        send: Callable[[DownlinkOffer], bool],
        tell: Callable[[VideoReceived], object],
        on_failed: Callable[[str], None],
        on_source: Callable[[TrackKey, SourceSent], None],
        on_taken: OnTaken,
        pace: OfferPace,
        switch_pace: Pace,
        unseen: Callable[[StreamKey], str | None] = lambda key: None,
    ) -> None:
        self._media = media
        self._shard = shard
        self._find = find
        self._send = send
        self._on_failed = on_failed
        self._on_source = on_source
        self._pace = pace
        self._unseen = unseen
        self._transport: Transport | None = None
        self._remote: RemoteTransport | None = None
        self._lines: list[Line] = []
        self._mids = itertools.count()
        self._payload_types = PayloadTypes()
        self._refused: set[tuple[TrackKey, str, str]] = set()
        self._pending: PendingOffer | None = None
        self._withdrawn: deque[int] = deque(maxlen=REMEMBERED)
        """Revisions of offers that were told and are not to be answered any more."""
        self._dirty = False
        self._fresh = False
        self._restart_due = False
        self._renamed = False
        """Whether our credentials are other ones than those of the last offer that was told."""
        self._unsent = False
        """Whether the offer that is due could not be told: none is made before the client has a socket again."""
        self.revision = 0
        self.failure: str | None = None
        self.subscriptions: dict[tuple[str, StreamType], frozenset[Kind]] = {}
        self.video_types = VideoTypes(switch_pace, tell, self._switch)
        self.taken = TakenEncodings(self.subscriptions, self.video_types, on_taken)

    # --- what the client asks for ---

    def subscribe(self, user_id: str, stream_type: StreamType, kinds: Iterable[Kind]) -> int:
        """Receive these kinds of a stream, in place of what was asked before. Returns the revision that has them.

        INVALID_OPERATION when that would be more tracks than a connection has m-lines.
        """
        asked = frozenset(kinds)
        others = sum(len(wanted) for key, wanted in self.subscriptions.items() if key != (user_id, stream_type))
        if others + len(asked) > MAX_LINES:
            raise RtcError(
                ErrorCode.INVALID_OPERATION,
                f"this client receives {others} tracks already; one connection has at most {MAX_LINES}",
            )
        with self.taken.changing((user_id, stream_type)):
            self.subscriptions[user_id, stream_type] = asked
        self.refresh()
        if self._dirty or self._differs():
            self._dirty = True  # the client waits for that offer, even if by then there is nothing new in it
            return self.revision + 1
        return self.revision

    def drop(self, user_id: str, stream_type: StreamType) -> None:
        """Receive nothing of a stream any more: its consumers stop now, its m-lines with the next offer."""
        with self.taken.changing((user_id, stream_type)):
            dropped = self.subscriptions.pop((user_id, stream_type), None)
        if dropped is not None:
            # Asked for again, it is offered again: the client may have learnt to play it.
            self._refused = {refused for refused in self._refused if refused[0][:2] != (user_id, stream_type)}
            self.refresh()

    def gone(self, user_id: str, stream_type: StreamType) -> None:
        """A stream is no longer published: nothing of it is received, or wanted."""
        self.drop(user_id, stream_type)
        self.video_types.forget((user_id, stream_type))

    def subscribes_to(self, user_id: str) -> bool:
        """Whether a stream of that user is to be received."""
        return (user_id, "main") in self.subscriptions or (user_id, "auxiliary") in self.subscriptions

    def restart(self) -> None:
        """Begin anew on a fresh transport; the next offer says so."""
        self._stop()
        self._fresh = self.revision > 0
        self.refresh()

    def restart_ice(self) -> int:
        """Go on with new ICE credentials on the connection there is. Returns the revision of the offer with them.

        Asked for again before that is answered it is the same restart. Without a connection there is nothing to do;
        INVALID_OPERATION when it is dead.
        """
        if self.failure is not None:
            raise RtcError(ErrorCode.INVALID_OPERATION, "the downlink is dead already; send downlink-restart")
        if self._transport is None or self._remote is None:
            return self.revision
        if self._pending is not None and self._pending.renamed:
            return self.revision
        if not self._restart_due and not self._renamed:
            self._restart_due = self._dirty = True
            self.refresh()
        return self.revision if self._pending is not None and self._pending.renamed else self.revision + 1

    def resend(self) -> None:
        """The client has a new socket: repeat the offer without answer, or make the one that is due."""
        self._unsent = False
        self.video_types.repeat()
        if self._pending is not None:
            self._send(self._pending.message)
        else:
            self.refresh()

    def close(self) -> None:
        """Stop everything."""
        for key in tuple(self.subscriptions):
            with self.taken.changing(key):
                del self.subscriptions[key]
        self._stop()

    @property
    def transport_id(self) -> int | None:
        """Its transport, while it has one."""
        return None if self._transport is None else self._transport.id

    @property
    def lines(self) -> int:
        """How many m-lines there are: what an offer costs."""
        return len(self._lines)

    def _stop(self) -> None:
        if self._transport is not None:
            self._media.remove_transport(self._transport.id)
        self._forget()
        self.failure = None
        self._lines.clear()
        self._mids = itertools.count()
        self._payload_types.clear()
        self._refused.clear()
        self._withdraw()
        self._dirty = False

    def _forget(self) -> None:
        """The transport is gone, and the consumers with it."""
        self._transport = self._remote = None
        self._restart_due = self._renamed = False
        for line in self._lines:
            line.consumer = None

    def _closed(self, reason: str) -> None:
        self._forget()
        self._withdraw()
        self.failure = reason
        self._on_failed(reason)

    def _silent(self) -> None:
        """Checks of ours are not answered: whether the client is somewhere else, a restart finds out."""
        self.restart_ice()

    def _withdraw(self) -> None:
        """The offer without answer is void; an answer may have been made by now."""
        if self._pending is not None:
            self._withdrawn.append(self._pending.message.revision)
            self._pending = None

    # --- from what is wanted to m-lines ---

    def refresh(self) -> None:
        """Compare what is wanted and there with the m-lines; offer what changed, as soon as an offer may be made."""
        if self.failure is not None:
            return  # a restart begins with no lines at all
        sources = self._sources()
        for line in self._lines:
            if line.consumer is not None and (line.key is None or line.key not in sources):
                self._stop_consumer(line)
                line.producers = ()  # wanted again, it gets new SSRCs
        if self._pending is not None or self._unsent or not (self._dirty or self._differs(sources)):
            return  # the answer brings us here again
        if not self._pace.take(self.refresh):
            return
        if self._is_worn_out(sources):
            self._begin_anew()
        for line in self._lines:
            if line.key is None:
                continue
            source = sources.pop(line.key, None)
            if source is None:
                self._free(line)
            elif source.producers and source.producers != line.producers:
                self._carry(line, line.key, source)
        for key, source in sources.items():
            if not source.producers or self._is_refused(key, source):
                continue
            line_for = self._free_line(key[2])
            if line_for is not None:
                self._carry(line_for, key, source)
        self._offer()

    def _differs(self, sources: dict[TrackKey, RemoteTrack] | None = None) -> bool:
        """Whether the m-lines are not as they should be."""
        missing = self._sources() if sources is None else dict(sources)
        for line in self._lines:
            if line.key is None:
                continue
            source = missing.pop(line.key, None)
            if source is None or source.producers not in {(), line.producers}:
                return True
        return any(source.producers and not self._is_refused(key, source) for key, source in missing.items())

    def _is_refused(self, key: TrackKey, source: RemoteTrack) -> bool:
        return (key, source.track.codec, downlink_format(source.track)) in self._refused

    def _is_worn_out(self, sources: dict[TrackKey, RemoteTrack]) -> bool:
        """Whether there is no m-line for a track, because rejected ones and ones of the other kind take its place."""
        carried = {line.key for line in self._lines}
        missing = [
            key
            for key, source in sources.items()
            if key not in carried and source.producers and not self._is_refused(key, source)
        ]
        more = lines_lacking(self._lines, missing, sources)
        return more > 0 and len(self._lines) + more > MAX_LINES

    def _begin_anew(self) -> None:
        refused = self._refused
        self._stop()
        self._refused = refused
        self._fresh = self.revision > 0

    def _sources(self) -> dict[TrackKey, RemoteTrack]:
        found: dict[TrackKey, RemoteTrack] = {}
        for (user_id, stream_type), kinds in self.subscriptions.items():
            for kind in ("audio", "video"):
                key: TrackKey = (user_id, stream_type, kind)
                source = self._find(key) if kind in kinds else None
                if source is not None:
                    found[key] = source
        return found

    def _free_line(self, kind: Kind) -> Line | None:
        """A line without a track, made when there is none; None when there are too many."""
        for line in self._lines:
            if line.key is None and line.offered.kind == kind and not line.offered.rejected:
                return line
        if len(self._lines) >= MAX_LINES:
            return None
        return Line(DownlinkLine(TrackSpec(str(next(self._mids)), kind, "opus", 0), active=False))

    def _carry(self, line: Line, key: TrackKey, source: RemoteTrack) -> None:
        """Put a track on a line, under new SSRCs and this connection's payload types."""
        self._stop_consumer(line)
        if self.failure is not None:
            return  # the transport could not be made; a restart begins with no lines at all
        if self._transport is None:
            try:
                self._transport = self._media.create_transport(
                    self._shard,
                    on_closed=self._closed,
                    on_source=self._source_sent,
                    on_silent=self._silent,
                )
            except MediaFullError:
                # The client tries anew, as after every failure of its downlink, and says so when it gives up.
                self._closed("media-full")
                return
        payload_type, second = self._payload_types.of(source.track)
        # Repair is between us and this client, whatever there is between us and the publisher. Lost sound comes again
        # as it was, under its own number: browsers have no RTX for it.
        video = source.track.kind == "video"
        track = TrackSpec(
            line.offered.mid,
            source.track.kind,
            source.track.codec,
            payload_type,
            second if video else None,
            self._media.allocate_ssrc(self._transport.id),
            self._media.allocate_ssrc(self._transport.id) if video else None,
            MID_EXTENSION,
            TWCC_EXTENSION,
            True,
            video,
            downlink_format(source.track),
            # For who has no transport-wide feedback.
            remb=video,
            # Of these the frames do not tell all that a decoder must know of them.
            dependency_descriptor_extension=DESCRIPTOR_EXTENSION if source.track.codec in DESCRIBED_CODECS else None,
            # Whether its publisher sends any is not known before it does.
            red_payload_type=None if video else second,
        )
        line.offered = DownlinkLine(track, active=True, stream_id=source.stream_id, cname=source.cname)
        line.key, line.producers = key, source.producers
        if line not in self._lines:
            self._lines.append(line)
        self._dirty = True

    def _free(self, line: Line) -> None:
        self._stop_consumer(line)
        line.key, line.producers = None, ()
        line.offered = replace(line.offered, active=False)
        self._dirty = True

    def _stop_consumer(self, line: Line) -> None:
        if line.consumer is not None:
            self._media.remove_consumer(line.consumer)
            line.consumer = None

    # --- offer and answer ---

    def _offer(self) -> None:
        if not self._dirty or self._pending is not None or self._transport is None:
            return
        if self._restart_due:
            self._restart_due = False
            try:
                self._transport = self._media.restart_ice(self._transport.id)
            except LookupError:
                return  # it closed just now; its event is on the way
            self._renamed = True
        lines = tuple(line.offered for line in self._lines)
        message = DownlinkOffer(
            revision=self.revision + 1,
            sdp=write_downlink_offer(
                self._transport.local, lines, session_id=self._transport.id, version=self.revision + 1
            ),
            tracks=[
                DownlinkTrack(mid=line.offered.mid, user_id=line.key[0], stream_type=line.key[1], kind=line.key[2])
                for line in self._lines
                if line.key is not None
            ],
            restart=self._fresh,
        )
        self._unsent = not self._send(message)
        if not self._unsent:
            self.revision += 1
            self._pending = PendingOffer(message, lines, self._renamed)
            self._dirty = self._fresh = self._renamed = False
            self._pace.offered(len(lines))

    def answer(self, revision: int, sdp: str) -> bool:
        """Take the client's answer. Raises RtcError; then the offer waits for a better one.

        Returns whether it is the first to an offer of ours, also to one that was withdrawn meanwhile.
        """
        if self._pending is None or revision != self._pending.message.revision:
            if revision in self._withdrawn:
                self._withdrawn.remove(revision)
                return True
            if revision <= self.revision:
                return False
            raise RtcError(ErrorCode.INVALID_PARAMETER, f"there was no downlink-offer with revision {revision}")
        offered = self._pending.lines
        answer = read_downlink_answer(sdp, offered)
        if self._transport is None:
            return True
        if answer.remote is not None and self._remote is None:
            self._media.set_remote(self._transport.id, answer.remote)
            self._remote = answer.remote
        elif answer.remote is not None and self._is_restart(self._pending, answer.remote):
            with contextlib.suppress(LookupError):  # it closed just now; its event is on the way
                self._media.set_remote(self._transport.id, answer.remote)
            self._remote = answer.remote
        elif answer.remote is not None and answer.remote != self._remote:
            raise RtcError(
                ErrorCode.INVALID_OPERATION,
                "the answer is from another connection than the downlink's; send downlink-restart for a new one",
            )
        self._pending = None
        sources = self._sources()
        for line, then in zip(self._lines, offered, strict=True):
            there = line.key is not None and line.key in sources and sources[line.key].producers == line.producers
            self._settle(line, then, answer.accepted.get(then.mid), then.mid in answer.refused, there=there)
        # A line that the client refused may have a better use.
        self.refresh()
        return True

    def _is_restart(self, pending: PendingOffer, remote: RemoteTransport) -> bool:
        """Whether this answers an ICE restart, for the connection that there is."""
        return pending.renamed and self._remote is not None and remote.fingerprint == self._remote.fingerprint

    def _settle(
        self, line: Line, then: DownlinkLine, accepted: AcceptedLine | None, refused: bool, *, there: bool
    ) -> None:
        """Make one line as the answer says; ``there``: its track still is, and is wanted."""
        if refused:
            if then.active and line.key is not None:
                self._refused.add((line.key, then.track.codec, then.track.fmtp))
            self._stop_consumer(line)
            line.key, line.producers = None, ()
            line.offered = replace(line.offered, active=False, rejected=True)
        elif not then.active or not there:
            return
        elif accepted is None:
            self._stop_consumer(line)
        elif line.consumer is None and line.key is not None and line.producers and self._transport is not None:
            track = replace(
                then.track,
                rtx_payload_type=accepted.rtx_payload_type,
                rtx_ssrc=then.track.rtx_ssrc if accepted.rtx_payload_type is not None else None,
                mid_extension=accepted.mid_extension,
                twcc_extension=accepted.twcc_extension,
                dependency_descriptor_extension=accepted.dependency_descriptor_extension,
                red_payload_type=accepted.red_payload_type,
            )
            if line.key[2] == "video":
                with self.taken.changing(line.key[:2]):
                    self.video_types.begin(line.key[:2])
            line.source = self._source(line.key, line)
            with contextlib.suppress(LookupError):  # one end closed just now; its event is on the way
                line.consumer = self._media.add_consumer(
                    self._transport.id,
                    line.producers,
                    track,
                    cname=then.cname,
                    source=line.source,
                    rank=RANKS[line.key[1]],
                )
            line.paused = False
            self._leave_out(line)

    def look_who_is_seen(self, changed: frozenset[str]) -> None:
        """These users' videos are left out, or not any more."""
        for line in self._lines:
            if line.key is not None and line.key[0] in changed:
                self._leave_out(line)

    def _leave_out(self, line: Line) -> None:
        if line.key is None or line.consumer is None or line.key[2] != "video":
            return
        why = self._unseen(line.key[:2])
        with self.taken.changing(line.key[:2]):
            self.video_types.leave_out(line.key[:2], why)
        if line.paused != (why is not None):
            line.paused = why is not None
            with contextlib.suppress(LookupError):  # it closed just now
                self._media.set_consumer_paused(line.consumer, line.paused)

    # --- big and small ---

    def _source(self, key: TrackKey, line: Line) -> int:
        """Which of the line's encodings is to be forwarded."""
        user_id, stream_type, kind = key
        return 0 if kind == "audio" else self.video_types.choose((user_id, stream_type), len(line.producers))

    def _source_sent(self, sent: SourceSent) -> None:
        for line in self._lines:
            if line.consumer == sent.consumer and line.key is not None:
                with self.taken.changing(line.key[:2]):
                    self.video_types.sent(line.key[:2], sent)
                self._on_source(line.key, sent)

    def _switch(self) -> None:
        """Forward of each video what is wanted now."""
        for line in self._lines:
            if line.consumer is None or line.key is None:
                continue
            source = self._source(line.key, line)
            if source != line.source:
                line.source = source
                with contextlib.suppress(LookupError):  # it closed just now
                    self._media.set_consumer_source(line.consumer, source, None)
