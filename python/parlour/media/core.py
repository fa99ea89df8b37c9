"""``MediaCore``: the media engine on an event loop. Commands go down at once, events come back as callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from parlour._media import MediaEngine
from parlour.media.addresses import announced
from parlour.media.counters import MediaCounters, decode
from parlour.media.model import (
    CONNECTION_ENDS,
    Level,
    MediaFullError,
    Policed,
    SourceSent,
    TcpLimits,
    TransportHandle,
    Watched,
    ice_credentials,
)
from parlour.media.numbers import MediaNumbers, numbers_of
from parlour.media.placement import Placement
from parlour.sdp.model import Candidate, LocalTransport, MediaProtocol, RemoteTransport, TrackSpec

if TYPE_CHECKING:
    from parlour._media import TransportClosed as ClosedEvent

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

_RETRY_FULL_RING = 0.005
"""Seconds until commands that found a full ring are tried again. A shard takes some hundred in a millisecond."""

_LOOK_AT_LOADS = 1.0
"""Seconds between two looks at how much the shards work."""

_DEATHS, _OF_LATE = 3, 60.0
"""So many deaths of shards within so many seconds are no accident: the core has failed."""

_CLOSED_MEANWHILE = {"unknown-transport", "unknown-producer", "unknown-consumer"}
"""Refusals by a shard of what named something that its peer closed while the command was under way. A wrong id is
refused at the call."""

# Unique in the process, as the engine wants them, whatever they name.
_ids = itertools.count(1)


class MediaCore:
    """The shards of this process. All methods are called from the loop that :meth:`start` ran on; none blocks it.

    A transport, producer or consumer that a call names and that is gone raises LookupError; removing it does nothing.
    """

    def __init__(
        self,
        *,
        bind: str,
        port: int,
        shards: int = 1,
        announce: Sequence[str] = (),
        max_transports: int = 10_000,
        ingress_bitrate: int = 20_000_000,
        ingress_burst: float = 0.5,
        padding: bool = True,
        adapt: bool = True,
        segmentation: bool = True,
        tcp: TcpLimits | None = None,
        tell: Callable[..., None] | None = None,
        on_failed: Callable[[str], None] | None = None,
    ) -> None:
        """``announce`` are the addresses peers are told, or interfaces that have them; none: ``bind``, or if that is a
        wildcard those of this machine that are worth it. The shards have ``port`` and the ones above it, or with 0 any
        block that is free.

        ``on_failed`` is called with a sentence when shards die and cannot be started again. A shard takes
        ``max_transports``. Each may send ``ingress_bitrate`` bits per second, and what it saved in ``ingress_burst``
        seconds beside; the rest is dropped, video first. With ``padding`` video packets that are a byte shorter than
        others that leave with them are padded to their size, so that they leave as one message.
        With ``adapt`` what goes to a peer is fitted into what its path carries: pictures wait a moment, or are left
        out, so that sound goes through. With ``segmentation`` the kernel cuts runs of datagrams, where it can;
        otherwise each leaves as a message of its own. With ``tcp`` media may come over TCP, too, on the same ports.
        ``tell`` gets lines of the log about what strangers do, with their fields; it decides how many of them are kept.
        """
        self._bind, self._port, self._shards = bind, port, shards
        self._max_transports = max_transports
        self._ingress = ingress_bitrate, ingress_burst
        self._padding = padding
        self._adapt = adapt
        self._segmentation = segmentation
        self._tcp = tcp
        self._tell = tell or log.warning
        self._announce = tuple(announce)
        self._on_failed = on_failed
        self._placement = Placement(shards)
        self._deaths: deque[float] = deque(maxlen=_DEATHS)
        self._look: asyncio.TimerHandle | None = None
        self._engine: MediaEngine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._candidates: list[tuple[Candidate, ...]] = []
        self._transports: dict[int, Watched] = {}
        self._load = [0] * shards
        """How many of them each shard has."""
        self._backlog: deque[Callable[[], None]] = deque()
        self.watch: Callable[[int, str | None], None] | None = None
        """Called with each transport that connects (None), or closes or is removed (the reason)."""

    async def start(self) -> None:
        """Bind the ports and start the threads.

        Raises OSError (with errno, and where in ``filename``) when a port is taken or not ours, AnnounceError when what
        is to be announced is not there.
        """
        self._loop = asyncio.get_running_loop()
        told = announced(self._bind, self._announce)
        bitrate, burst = self._ingress
        engine = await asyncio.to_thread(
            MediaEngine,
            bind=self._bind,
            port=self._port,
            shards=self._shards,
            max_transports=self._max_transports,
            ingress_bitrate=bitrate,
            ingress_burst=burst,
            adapts=self._adapt,
            segments=self._segmentation,
            **({} if self._tcp is None else self._tcp.arguments()),
        )
        protocols: tuple[MediaProtocol, ...] = ("udp",) if self._tcp is None else ("udp", "tcp")
        self._candidates = [
            tuple(Candidate(ip, port, protocol) for protocol in protocols for ip in told.addresses)
            for port in engine.ports
        ]
        self._engine = engine
        self._loop.add_reader(engine.event_fd(), self._drain_events)
        if len(engine.ports) > 1:
            self._look_at_loads()
        if told.left_out:
            log.info("addresses that clients are not told; --announce names others", left_out=told.reasons)

    async def close(self) -> None:
        """Say goodbye to every peer, stop the threads and free the ports. Idempotent; no callback comes after it."""
        if self._engine is None or self._loop is None:
            return
        engine, self._engine = self._engine, None
        if self._look is not None:
            self._look.cancel()
        self._loop.remove_reader(engine.event_fd())
        self._backlog.clear()
        for transport in self._transports:
            with contextlib.suppress(BlockingIOError):  # a full ring, or a dead shard: their consent expires instead
                engine.remove_transport(transport)
        self._transports.clear()
        self._load = [0] * self._shards
        await asyncio.to_thread(engine.close)

    @property
    def ports(self) -> list[int]:
        """The port of each shard, for UDP and, if media may come over it, for TCP."""
        return self._running.ports

    @property
    def protocols(self) -> tuple[MediaProtocol, ...]:
        """What media may come over."""
        return tuple(dict.fromkeys(candidate.protocol for candidate in self._candidates[0]))

    @property
    def announced(self) -> list[str]:
        """The addresses that peers are told."""
        return list(dict.fromkeys(candidate.ip for candidate in self._candidates[0]))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DTLS certificate, as SDP writes it."""
        return self._running.fingerprint

    def pick_shard(self) -> int:
        """The shard for a new room, on which all its members are. Raises MediaFullError when none takes more rooms."""
        now = asyncio.get_running_loop().time()
        picked = self._placement.pick(now, self._load, self._max_transports)
        if picked is None:
            raise MediaFullError("every media shard has as much to do as it can")
        return picked

    def has_room(self, shard: int, transports: int) -> bool:
        """Whether a shard can take so many transports more."""
        return self._load[shard] + transports <= self._max_transports

    def _take_out(self, transport: int) -> Watched | None:
        known = self._transports.pop(transport, None)
        if known is not None:
            self._load[known.shard] -= 1
        return known

    def create_transport(
        self,
        shard: int,
        *,
        on_connected: Callable[[str], None] | None = None,
        on_closed: Callable[[str], None] | None = None,
        on_producer_started: Callable[[int], None] | None = None,
        on_policed: Callable[[Policed], None] | None = None,
        on_source: Callable[[SourceSent], None] | None = None,
        on_level: Callable[[Level], None] | None = None,
        on_silent: Callable[[], None] | None = None,
    ) -> TransportHandle:
        """Make a transport that waits for its peer. Raises MediaFullError when its shard has as many as it may.

        ``on_connected(srtp_profile)`` and ``on_producer_started(producer)`` are called as it happens, ``on_policed``
        when it sends more than it may, once in 10 s, ``on_source`` when it gets another source of a picture than is
        wanted for it, none, or again the one that is, ``on_level`` for its producers that :meth:`watch_level` named,
        ``on_silent`` when it leaves three checks in a row unanswered, once until it answers again.
        ``on_closed(reason)`` comes last, once, and not after
        :meth:`remove_transport`.
        """
        if not 0 <= shard < len(self._candidates):
            raise ValueError(f"there is no shard {shard}: the engine has {len(self._candidates)}, from 0 up")
        if not self.has_room(shard, 1):
            raise MediaFullError(f"shard {shard} has its {self._max_transports} transports and takes no more")
        transport = next(_ids)
        ufrag, pwd = ice_credentials()
        add = self._running.add_transport
        self._submit(partial(add, shard=shard, transport=transport, local_ufrag=ufrag, local_pwd=pwd))
        self._load[shard] += 1
        self._transports[transport] = Watched(
            shard, on_connected, on_closed, on_producer_started, on_policed, on_source, on_level, on_silent
        )
        return TransportHandle(transport, self._local(shard, ufrag, pwd))

    def restart_ice(self, transport: int) -> TransportHandle:
        """Give a transport new credentials (RFC 8445 §9); the peer's new ones come with :meth:`set_remote`.

        Until a path is proven under them all goes on under the old ones; another restart before that takes its place.
        """
        known = self._transports.get(transport)
        if known is None:
            raise LookupError(f"there is no transport {transport}")
        ufrag, pwd = ice_credentials()
        self._submit(partial(self._running.restart_ice, transport, local_ufrag=ufrag, local_pwd=pwd))
        return TransportHandle(transport, self._local(known.shard, ufrag, pwd))

    def _local(self, shard: int, ufrag: str, pwd: str) -> LocalTransport:
        return LocalTransport(ufrag=ufrag, pwd=pwd, fingerprint=self.fingerprint, candidates=self._candidates[shard])

    def set_remote(self, transport: int, remote: RemoteTransport) -> None:
        """Say who the peer is."""
        name = partial(self._running.set_remote, transport, remote_ufrag=remote.ufrag, remote_pwd=remote.pwd)
        self._submit(partial(name, fingerprint=remote.fingerprint, is_dtls_client=remote.setup == "passive"))

    def remove_transport(self, transport: int) -> None:
        """Close it with all its producers and consumers. Its callbacks are called no more."""
        if self._take_out(transport) is not None:
            self._tell_watch(transport, "removed")
            self._submit(partial(self._running.remove_transport, transport))

    def allocate_ssrc(self, transport: int) -> int:
        """An SSRC that no outgoing track of this transport has or had.

        They count up from a random one (RFC 3550 §8.1): the core has to remember all that were used under a key, and
        remembers neighbours as one range.
        """
        known = self._transports.get(transport)
        if known is None:
            raise LookupError(f"there is no transport {transport}")
        ssrc = known.next_ssrc or 1
        known.next_ssrc = (ssrc + 1) % 2**32
        return ssrc

    def add_producer(self, transport: int, track: TrackSpec, *, rid: str = "") -> int:
        """Accept an incoming track. Returns the producer's id.

        ``rid`` is that of one of several encodings on one m-line (RFC 8853), each of which is a producer of its own;
        its packets say it in the two RID extensions (RFC 8852).
        """
        producer = next(_ids)
        self._submit(
            partial(
                self._running.add_producer,
                producer=producer,
                transport=transport,
                kind=track.kind,
                codec=track.codec,
                mid=track.mid,
                rid=rid,
                payload_type=track.payload_type,
                red_payload_type=track.red_payload_type,
                rtx_payload_type=track.rtx_payload_type,
                ssrc=track.ssrc,
                rtx_ssrc=track.rtx_ssrc,
                mid_extension=track.mid_extension,
                rid_extension=track.rid_extension,
                repaired_rid_extension=track.repaired_rid_extension,
                twcc_extension=track.twcc_extension,
                dependency_descriptor_extension=track.dependency_descriptor_extension,
                level_extension=track.level_extension,
                nack=track.nack,
                pli=track.pli,
                remb=track.remb,
            )
        )
        return producer

    def remove_producer(self, producer: int) -> None:
        """Stop an incoming track, and every consumer that has no other source."""
        self._submit(partial(self._running.remove_producer, producer))

    def watch_level(self, producer: int, every: float | None) -> None:
        """Tell how loud a producer is every so many seconds, 0.05 or more, while it can be heard; None: no more."""
        self._submit(partial(self._running.watch_level, producer, every))

    def add_consumer(
        self,
        transport: int,
        producers: Sequence[int],
        track: TrackSpec,
        *,
        cname: str,
        source: int = 0,
        temporal: int | None = None,
        rank: int = 0,
    ) -> int:
        """Forward a producer as ``track`` says, whose ``ssrc`` is ours. Returns the consumer's id.

        ``producers`` are one to three encodings of the same picture, from the biggest to the smallest: ``source`` says
        which is wanted, ``temporal`` up to which temporal layer (None: all). Another one is forwarded while that one is
        missing, and producers that are gone are missing. ``cname`` ties one user's tracks together for synchronisation
        (RFC 3550 §6.5.1). Of the pictures that share a path those with a lower ``rank`` are served first.
        """
        if track.ssrc is None:
            raise ValueError(f"the track for mid {track.mid} has no SSRC: a forwarded track needs one of ours")
        consumer = next(_ids)
        self._submit(
            partial(
                self._running.add_consumer,
                consumer=consumer,
                transport=transport,
                producers=list(producers),
                source=source,
                temporal=temporal,
                mid=track.mid,
                payload_type=track.payload_type,
                red_payload_type=track.red_payload_type,
                rtx_payload_type=track.rtx_payload_type,
                ssrc=track.ssrc,
                rtx_ssrc=track.rtx_ssrc,
                mid_extension=track.mid_extension,
                twcc_extension=track.twcc_extension,
                dependency_descriptor_extension=track.dependency_descriptor_extension,
                pads=self._padding,
                rank=rank,
                cname=cname,
            )
        )
        return consumer

    def remove_consumer(self, consumer: int) -> None:
        """Stop forwarding."""
        self._submit(partial(self._running.remove_consumer, consumer))

    def set_consumer_source(self, consumer: int, source: int, temporal: int | None = None) -> None:
        """Say which of its producers a consumer wants, by its place among them, and up to which temporal layer.

        It goes on with what it has until a keyframe of the other begins, which is asked for.
        """
        self._submit(partial(self._running.set_consumer_source, consumer, source, temporal))

    def set_consumer_paused(self, consumer: int, paused: bool) -> None:
        """Pause or go on; going on with video asks for a keyframe."""
        self._submit(partial(self._running.set_consumer_paused, consumer, paused))

    def processor_times(self) -> list[float]:
        """Seconds that each shard's thread has worked so far."""
        return self._running.processor_times()

    async def snapshot(self, timeout: float = 1.0) -> MediaCounters:
        """All counters. Raises TimeoutError when a shard does not answer in that many seconds."""
        engine = self._running
        return await asyncio.to_thread(lambda: decode(engine.snapshot(timeout)))

    async def numbers(self, timeout: float = 1.0) -> MediaNumbers:
        """The figures to watch: cheaper than a snapshot, since what subscribers get is summed up a track.

        Read in small pieces, so that the loop goes on between them. One caller at a time. Raises TimeoutError when a
        shard does not answer in that many seconds, RuntimeError when the core is closed.
        """
        return await numbers_of(*await asyncio.to_thread(self._running.numbers, timeout))

    @property
    def _running(self) -> MediaEngine:
        if self._engine is None:
            raise RuntimeError("the media core is not running: it was not started, or was closed")
        return self._engine

    def _submit(self, command: Callable[[], None]) -> None:
        """Pass a command on, or keep it and those behind it in order while a ring is full."""
        if not self._backlog:
            try:
                command()
                return
            except BlockingIOError:
                self._retry_later()
        self._backlog.append(command)

    def _retry_later(self) -> None:
        asyncio.get_running_loop().call_later(_RETRY_FULL_RING, self._submit_backlog)

    def _submit_backlog(self) -> None:
        while self._backlog:
            command = self._backlog.popleft()
            try:
                command()
            except BlockingIOError:
                self._backlog.appendleft(command)
                self._retry_later()
                return
            except LookupError:
                pass  # What it names closed while the command waited.
            except Exception:
                log.exception("a media command that had waited was refused", command=repr(command))

    def _drain_events(self) -> None:
        engine = self._engine
        if engine is None:
            return
        for event in engine.drain_events():
            transport = event["transport"]
            known = self._transports.get(transport)
            if event["type"] == "command-refused" and event["reason"] in _CLOSED_MEANWHILE:
                log.debug("a command came too late for the media core", **event)
            elif event["type"] == "command-refused":
                # A description that was checked above does not get here: it is a fault of ours, and the log says which.
                log.error("the media core refused a command", **event)
                if event["reason"] == "too-many-ssrcs" and known is not None:
                    # Nothing more can be sent under this key; whoever owns the transport makes a fresh one.
                    self.remove_transport(transport)
                    self._call(known.on_closed, event["reason"])
            elif event["type"] == "connections-ended":
                self._tell(CONNECTION_ENDS[event["reason"]], reason=event["reason"], connections=event["count"])
            elif known is None:
                continue
            elif event["type"] == "transport-connected":
                self._tell_watch(transport, None)
                self._call(known.on_connected, event["srtp_profile"])
            elif event["type"] == "producer-started":
                self._call(known.on_producer_started, event["object"])
            elif event["type"] == "ingress-policed":
                self._call(known.on_policed, Policed(event["packets"], event["bits_per_second"]))
            elif event["type"] == "consumer-source":
                sent = SourceSent(event["object"], event["source"], event["why"], event["needed"], event["available"])
                self._call(known.on_source, sent)
            elif event["type"] == "producer-level":
                level = Level(event["object"], event["volume"], event["speaks"], event["spoken"])
                self._call(known.on_level, level)
            elif event["type"] == "path-silent":
                self._call(_without_argument(known.on_silent), None)
            elif event["type"] == "transport-closed":
                self._close_transport(event)
        for shard, closed in engine.drain_deaths():
            self._replace_shard(engine, shard, closed)

    def _close_transport(self, event: ClosedEvent) -> None:
        known = self._take_out(event["transport"])
        if known is not None:
            self._tell_watch(event["transport"], event["reason"])
            self._call(known.on_closed, event["reason"])

    def _replace_shard(self, engine: MediaEngine, shard: int, closed: Sequence[ClosedEvent]) -> None:
        """A shard died: start another in its place, and tell who was on it."""
        now = asyncio.get_running_loop().time()
        where = f"media shard {shard} (UDP port {engine.ports[shard]})"
        log.error("a media shard died; who was on it is told to come back", shard=shard, connections=len(closed))
        self._deaths.append(now)
        try:
            if len(self._deaths) == _DEATHS and now - self._deaths[0] < _OF_LATE:
                raise OSError(0, f"{_DEATHS} died within {_OF_LATE:.0f} s")
            engine.revive(shard)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self._call(self._on_failed, f"The {where} died and could not be started again: {why}.")
        else:
            log.warning("a media shard was started again", shard=shard, port=engine.ports[shard])
        for event in closed:
            self._close_transport(event)

    def _look_at_loads(self) -> None:
        loop, engine = asyncio.get_running_loop(), self._running
        for shard, is_hot in self._placement.measure(loop.time(), engine.processor_times()):
            share = round(self._placement.share(shard), 2)
            said = "takes no new rooms: it is busy" if is_hot else "takes new rooms again"
            log.warning(f"a media shard {said}", shard=shard, port=engine.ports[shard], share=share)
        self._look = loop.call_later(_LOOK_AT_LOADS, self._look_at_loads)

    def _tell_watch(self, transport: int, closed: str | None) -> None:
        if self.watch is not None:
            self.watch(transport, closed)

    def _call(self, callback: Callable[[_T], None] | None, argument: _T) -> None:
        if callback is None:
            return
        try:
            callback(argument)
        except Exception:
            # One transport's listener must not keep the events of the others.
            log.exception("a media callback raised", callback=repr(callback), argument=argument)


def _without_argument(callback: Callable[[], None] | None) -> Callable[[None], None] | None:
    return None if callback is None else lambda _: callback()
