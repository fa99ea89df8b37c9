"""A downlink's client, and a media core that keeps books alone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from parlour.media import Level, Policed, SourceSent
from parlour.protocol.messages import DownlinkOffer, VideoReceived
from parlour.sdp import Candidate, LocalTransport, RemoteTransport, TrackSpec
from parlour.signaling.downlink import Downlink
from parlour.signaling.lines import RemoteTrack, TrackKey
from parlour.signaling.pace import OfferPace, Pace
from parlour.signaling.ports import Transport
from parlour.signaling.video_types import StreamKey

H264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"


@dataclass
class Handle:
    id: int
    local: LocalTransport


@dataclass
class Book:
    """Keeps the books of a media core: refuses what a real one would refuse."""

    transports: dict[int, Callable[[str], None] | None] = field(default_factory=dict)
    consumers: dict[int, tuple[int, tuple[int, ...], TrackSpec]] = field(default_factory=dict)
    sources: dict[int, int] = field(default_factory=dict)
    switches: int = 0
    remotes: dict[int, RemoteTransport] = field(default_factory=dict)
    fingerprints: dict[int, str] = field(default_factory=dict)
    ssrcs: list[tuple[int, int]] = field(default_factory=list)
    sent: set[tuple[int, int]] = field(default_factory=set)
    ranks: dict[int, int] = field(default_factory=dict)
    paused: set[int] = field(default_factory=set)
    watched: dict[int, float] = field(default_factory=dict)
    on_source: Callable[[SourceSent], None] | None = None
    on_silent: Callable[[], None] | None = None
    restarts: int = 0
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def pick_shard(self) -> int:
        return 0

    def has_room(self, shard: int, transports: int) -> bool:
        return True

    def create_transport(
        self,
        shard: int,
        *,
        on_closed: Callable[[str], None] | None = None,
        on_policed: Callable[[Policed], None] | None = None,
        on_source: Callable[[SourceSent], None] | None = None,
        on_level: Callable[[Level], None] | None = None,
        on_silent: Callable[[], None] | None = None,
    ) -> Transport:
        number = next(self.ids)
        self.transports[number] = on_closed
        self.on_source = on_source
        self.on_silent = on_silent
        local = LocalTransport(f"ufrag{number}", "p" * 24, ":".join(["AB"] * 32), (Candidate("127.0.0.1", 1),))
        return Handle(number, local)

    def set_remote(self, transport: int, remote: RemoteTransport) -> None:
        assert transport in self.transports
        known = self.remotes.setdefault(transport, remote)
        assert known == remote, "a peer has another name after a restart alone"
        assert remote.fingerprint == self.fingerprints.setdefault(transport, remote.fingerprint)

    def restart_ice(self, transport: int) -> Transport:
        if transport not in self.transports:
            raise LookupError(transport)
        assert self.remotes.pop(transport, None) or self.restarts, "nobody is there to restart with"
        self.restarts += 1
        ufrag = f"ufrag{transport}restart{self.restarts}"
        return Handle(transport, LocalTransport(ufrag, "p" * 24, ":".join(["AB"] * 32), (Candidate("127.0.0.1", 1),)))

    def remove_transport(self, transport: int) -> None:
        self.transports.pop(transport, None)
        self.consumers = {key: value for key, value in self.consumers.items() if value[0] != transport}

    def allocate_ssrc(self, transport: int) -> int:
        ssrc = 1000 + next(self.ids)
        self.ssrcs.append((transport, ssrc))
        return ssrc

    def add_producer(self, transport: int, track: TrackSpec, *, rid: str = "") -> int:
        return next(self.ids)

    def remove_producer(self, producer: int) -> None:
        pass

    def add_consumer(
        self,
        transport: int,
        producers: Sequence[int],
        track: TrackSpec,
        *,
        cname: str,
        source: int = 0,
        rank: int = 0,
    ) -> int:
        assert transport in self.transports
        assert track.ssrc is not None
        assert (transport, track.ssrc) not in self.sent, "an SSRC sent with twice repeats packet indices"
        self.sent.add((transport, track.ssrc))
        number = next(self.ids)
        assert source < len(producers)
        self.consumers[number] = (transport, tuple(producers), track)
        self.sources[number] = source
        self.ranks[number] = rank
        return number

    def set_consumer_source(self, consumer: int, source: int, temporal: int | None) -> None:
        assert source < len(self.consumers[consumer][1])
        assert source != self.sources[consumer], "nothing changes"
        self.sources[consumer] = source
        self.switches += 1

    def set_consumer_paused(self, consumer: int, paused: bool) -> None:
        assert consumer in self.consumers
        assert paused != (consumer in self.paused), "nothing changes"
        (self.paused.add if paused else self.paused.discard)(consumer)

    def watch_level(self, producer: int, every: float | None) -> None:
        if every is None:
            del self.watched[producer]
        else:
            self.watched[producer] = every

    def remove_consumer(self, consumer: int) -> None:
        self.consumers.pop(consumer, None)
        self.paused.discard(consumer)

    def fail(self, transport: int, reason: str) -> None:
        """The transport dies, as the core would tell."""
        told = self.transports.pop(transport)
        self.consumers = {key: value for key, value in self.consumers.items() if value[0] != transport}
        assert told is not None
        told(reason)


def answer_to(offer: str, refuse: frozenset[str] = frozenset(), client: str = "clientfrag") -> str:
    """What a client would answer that refuses the m-lines with these mids."""
    text = re.sub(r"a=(candidate|end-of|msid|ssrc|ice-lite)[^\r]*\r\n", "", offer)
    text = text.replace("a=setup:actpass", "a=setup:active").replace("a=sendonly", "a=recvonly")
    text = re.sub(r"a=ice-ufrag:\S+", f"a=ice-ufrag:{client}", text)
    head, *sections = re.split(r"(?=m=)", text)
    for place, section in enumerate(sections):
        mid = re.findall(r"a=mid:(\S+)", section)[0]
        if mid in refuse:
            sections[place] = re.sub(r"(m=\w+) 9", r"\1 0", section).replace("a=recvonly", "a=inactive")
            head = re.sub(rf"(BUNDLE.*?) {mid}\b", r"\1", head)
    head = re.sub(r"a=group:BUNDLE ?\r\n", "", head)
    return head + "".join(sections)


class Client:
    """A downlink with its client: what could be received, what was offered, and whether there is a socket."""

    def __init__(self) -> None:
        self.book = Book()
        self.tracks: dict[TrackKey, RemoteTrack] = {}
        self.offers: list[DownlinkOffer] = []
        self.failures: list[str] = []
        self.sent: list[tuple[TrackKey, SourceSent]] = []
        self.told: list[VideoReceived] = []
        self.taken: list[tuple[StreamKey, int | None, int | None]] = []
        self.unseen: dict[StreamKey, str] = {}
        self.online = True
        self.now = 0.0
        self.hurried = False
        self.later: list[Callable[[], None]] = []
        self.downlink = Downlink(
            self.book,
            0,
            find=self.tracks.get,
            send=self._send,
            tell=self._tell,
            on_failed=self.failures.append,
            on_source=lambda key, sent: self.sent.append((key, sent)),
            on_taken=lambda key, before, after: self.taken.append((key, before, after)),
            pace=OfferPace(self._clock, lambda delay, callback: self.later.append(callback)),
            switch_pace=Pace(self._clock, lambda delay, callback: self.later.append(callback)),
            unseen=self.unseen.get,
        )

    def _clock(self) -> float:
        """Time enough for an offer goes by each time one looks, unless the test is in a hurry."""
        self.now += 0 if self.hurried else 10
        return self.now

    def wait(self) -> None:
        """Time goes by, until an offer may be made."""
        self.now += 10
        later, self.later = self.later, []
        for callback in later:
            callback()

    def _send(self, offer: DownlinkOffer) -> bool:
        if self.online:
            self.offers.append(offer)
        return self.online

    def _tell(self, event: VideoReceived) -> None:
        if self.online:
            self.told.append(event)

    def publish(
        self,
        user: str,
        kind: str = "video",
        *,
        stream: str = "main",
        codec: str = "vp8",
        fmtp: str = H264,
        living: bool = True,
        encodings: int = 1,
    ) -> None:
        key: TrackKey = (user, stream, kind)  # type: ignore[assignment]
        producers = tuple(next(self.book.ids) for _ in range(encodings if living else 0))
        track = TrackSpec("9", kind, "opus" if kind == "audio" else codec, 50, fmtp=fmtp if codec == "h264" else "")  # type: ignore[arg-type]
        self.tracks[key] = RemoteTrack(track, producers, f"stream-{user}", f"cname-{user}")
        self.downlink.refresh()

    def unpublish(self, user: str) -> None:
        for key in [key for key in self.tracks if key[0] == user]:
            del self.tracks[key]
        self.downlink.gone(user, "main")

    def answer(self, refuse: frozenset[str] = frozenset()) -> None:
        offer = self.offers[-1]
        server = re.findall(r"a=ice-ufrag:(\S+)", offer.sdp)[0]
        self.downlink.answer(offer.revision, answer_to(offer.sdp, refuse, f"client-of-{server}"))

    @property
    def receiving(self) -> set[int]:
        """Producers that are forwarded."""
        return {producers[self.book.sources[number]] for number, (_, producers, _) in self.book.consumers.items()}

    def producer(self, user: str, kind: str = "video", encoding: int = 0) -> int:
        return self.tracks[user, "main", kind].producers[encoding]  # type: ignore[index]
