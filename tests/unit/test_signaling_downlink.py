"""The downlink's negotiation: m-lines used again, one offer at a time, consumers only for what was taken."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from parlour.errors import RtcError
from parlour.media import Policed
from parlour.protocol.messages import DownlinkOffer
from parlour.sdp import Candidate, LocalTransport, RemoteTransport, TrackSpec
from parlour.signaling.downlink import MAX_LINES, REMEMBERED, Downlink, RemoteTrack, TrackKey
from parlour.signaling.pace import OfferPace
from parlour.signaling.ports import Transport

H264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"


@dataclass
class Handle:
    id: int
    local: LocalTransport


@dataclass
class Book:
    """Keeps the books of a media core: refuses what a real one would refuse."""

    transports: dict[int, Callable[[str], None] | None] = field(default_factory=dict)
    consumers: dict[int, tuple[int, int, TrackSpec]] = field(default_factory=dict)
    remotes: dict[int, RemoteTransport] = field(default_factory=dict)
    ssrcs: list[tuple[int, int]] = field(default_factory=list)
    sent: set[tuple[int, int]] = field(default_factory=set)
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
    ) -> Transport:
        number = next(self.ids)
        self.transports[number] = on_closed
        local = LocalTransport(f"ufrag{number}", "p" * 24, ":".join(["AB"] * 32), (Candidate("127.0.0.1", 1),))
        return Handle(number, local)

    def set_remote(self, transport: int, remote: RemoteTransport) -> None:
        assert transport in self.transports
        assert self.remotes.setdefault(transport, remote) == remote

    def remove_transport(self, transport: int) -> None:
        self.transports.pop(transport, None)
        self.consumers = {key: value for key, value in self.consumers.items() if value[0] != transport}

    def allocate_ssrc(self, transport: int) -> int:
        ssrc = 1000 + next(self.ids)
        self.ssrcs.append((transport, ssrc))
        return ssrc

    def add_producer(self, transport: int, track: TrackSpec) -> int:
        return next(self.ids)

    def remove_producer(self, producer: int) -> None:
        pass

    def add_consumer(self, transport: int, producer: int, track: TrackSpec, *, cname: str) -> int:
        assert transport in self.transports
        assert track.ssrc is not None
        assert (transport, track.ssrc) not in self.sent, "an SSRC sent with twice repeats packet indices"
        self.sent.add((transport, track.ssrc))
        number = next(self.ids)
        self.consumers[number] = (transport, producer, track)
        return number

    def remove_consumer(self, consumer: int) -> None:
        self.consumers.pop(consumer, None)

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
        self.online = True
        self.now = 0.0
        self.hurried = False
        self.later: list[Callable[[], None]] = []
        pace = OfferPace(self._clock, lambda delay, callback: self.later.append(callback))
        self.downlink = Downlink(
            self.book, 0, find=self.tracks.get, send=self._send, on_failed=self.failures.append, pace=pace
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

    def publish(
        self, user: str, kind: str = "video", *, codec: str = "vp8", fmtp: str = H264, producer: int | None = -1
    ) -> None:
        key: TrackKey = (user, "main", kind)  # type: ignore[assignment]
        number = next(self.book.ids) if producer == -1 else producer
        track = TrackSpec("9", kind, "opus" if kind == "audio" else codec, 50, fmtp=fmtp if codec == "h264" else "")  # type: ignore[arg-type]
        self.tracks[key] = RemoteTrack(track, number, f"stream-{user}", f"cname-{user}")
        self.downlink.refresh()

    def unpublish(self, user: str) -> None:
        for key in [key for key in self.tracks if key[0] == user]:
            del self.tracks[key]
        self.downlink.drop(user, "main")

    def answer(self, refuse: frozenset[str] = frozenset()) -> None:
        offer = self.offers[-1]
        server = re.findall(r"a=ice-ufrag:(\S+)", offer.sdp)[0]
        self.downlink.answer(offer.revision, answer_to(offer.sdp, refuse, f"client-of-{server}"))

    @property
    def receiving(self) -> set[int]:
        """Producers with a consumer."""
        return {producer for _, producer, _ in self.book.consumers.values()}

    def producer(self, user: str, kind: str = "video") -> int | None:
        return self.tracks[user, "main", kind].producer  # type: ignore[index]


def mids(offer: DownlinkOffer) -> dict[str, str]:
    return {track.mid: track.user_id for track in offer.tracks}


def test_a_consumer_comes_with_the_answer_and_only_for_what_it_takes() -> None:
    client = Client()
    client.publish("ann")
    client.publish("ann", "audio")
    assert client.downlink.subscribe("ann", "main", ["audio", "video"]) == 1
    assert client.receiving == set()
    assert mids(client.offers[0]) == {"0": "ann", "1": "ann"}
    client.answer(refuse=frozenset({"1"}))
    assert client.receiving == {client.producer("ann", "audio")}
    assert len(client.offers) == 1, "what was refused is not offered again"
    client.publish("bob")
    client.downlink.subscribe("bob", "main", ["video"])
    assert mids(client.offers[1]) == {"0": "ann", "2": "bob"}
    assert "m=video 0" in client.offers[1].sdp, "the refused m-line stays dead"


def test_changes_while_an_offer_is_unanswered_are_gathered() -> None:
    client = Client()
    for user in ("ann", "bob", "cyd"):
        client.publish(user)
    assert client.downlink.subscribe("ann", "main", ["video"]) == 1
    assert client.downlink.subscribe("bob", "main", ["video"]) == 2
    assert client.downlink.subscribe("cyd", "main", ["video"]) == 2
    client.downlink.drop("ann", "main")
    assert len(client.offers) == 1
    client.answer()
    assert client.receiving == set(), "ann was dropped before her offer was answered"
    assert len(client.offers) == 2
    assert sorted(mids(client.offers[1]).values()) == ["bob", "cyd"]
    client.answer()
    assert client.receiving == {client.producer("bob"), client.producer("cyd")}


def test_a_track_that_ends_stops_its_consumer_at_once_and_leaves_its_m_line_to_the_next() -> None:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.unpublish("ann")
    assert client.book.consumers == {}
    assert client.offers[-1].tracks == []
    assert "a=inactive" in client.offers[-1].sdp
    client.answer()
    client.publish("bob", codec="h264")
    client.downlink.subscribe("bob", "main", ["video"])
    assert mids(client.offers[-1]) == {"0": "bob"}
    client.answer()
    assert client.receiving == {client.producer("bob")}


def test_an_uplink_that_fails_and_comes_back_keeps_the_m_line_and_gets_new_ssrcs() -> None:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.publish("ann", producer=None)
    assert len(client.offers) == 1
    client.publish("ann")
    assert mids(client.offers[-1]) == {"0": "ann"}
    client.answer()
    assert client.receiving == {client.producer("ann")}
    ssrcs = [re.findall(r"a=ssrc:(\d+)", offer.sdp) for offer in client.offers]
    assert not set(ssrcs[0]) & set(ssrcs[1])


def test_a_failed_downlink_waits_for_the_restart_which_begins_anew() -> None:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.book.fail(next(iter(client.book.transports)), "consent-expired")
    assert client.failures == ["consent-expired"]
    client.publish("bob")
    client.downlink.subscribe("bob", "main", ["video"])
    assert len(client.offers) == 1
    client.downlink.restart()
    offer = client.offers[-1]
    assert (offer.revision, offer.restart, mids(offer)) == (2, True, {"0": "ann", "1": "bob"})
    client.downlink.answer(1, "too late")
    client.answer()
    assert client.receiving == {client.producer("ann"), client.producer("bob")}


@pytest.mark.parametrize("how", ["restart", "failure"])
def test_the_first_answer_to_an_offer_withdrawn_meanwhile_was_asked_for_and_no_other_is(how: str) -> None:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    if how == "failure":
        client.book.fail(next(iter(client.book.transports)), "consent-expired")
    client.downlink.restart()
    first, second = client.offers
    assert client.downlink.answer(first.revision, "of whatever length: it is not read")
    assert not client.downlink.answer(first.revision, "once more")
    assert client.downlink.answer(second.revision, answer_to(second.sdp))
    assert not client.downlink.answer(second.revision, answer_to(second.sdp))
    with pytest.raises(RtcError, match="no downlink-offer with revision 3"):
        client.downlink.answer(3, answer_to(second.sdp))


def test_offers_that_are_withdrawn_again_and_again_are_not_all_remembered() -> None:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    for _ in range(REMEMBERED + 1):
        client.downlink.restart()
    late = [client.downlink.answer(offer.revision, "late") for offer in client.offers[:-1]]
    assert late == [False] + [True] * REMEMBERED


def test_without_a_socket_the_offer_waits_and_an_unanswered_one_is_repeated() -> None:
    client = Client()
    client.publish("ann")
    client.online = False
    client.downlink.subscribe("ann", "main", ["video"])
    client.online = True
    client.downlink.resend()
    client.downlink.resend()
    assert [offer.revision for offer in client.offers] == [1, 1]
    client.answer()
    assert client.receiving == {client.producer("ann")}
    client.downlink.resend()
    assert len(client.offers) == 2


def test_an_answer_of_another_connection_is_refused_and_the_right_one_still_counts() -> None:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.publish("bob")
    client.downlink.subscribe("bob", "main", ["video"])
    with pytest.raises(RtcError) as refusal:
        client.downlink.answer(2, answer_to(client.offers[-1].sdp, client="stranger"))
    assert refusal.value.code == 0x1001
    client.answer()
    assert client.receiving == {client.producer("ann"), client.producer("bob")}


def h264(profile_level_id: str) -> str:
    return H264.replace("42e01f", profile_level_id)


def test_however_many_formats_were_published_a_later_codec_still_has_its_payload_types() -> None:
    client = Client()
    profiles = [f"{profile}{level:02x}" for profile in ("42e0", "4200", "4d00", "6400") for level in range(10, 60, 5)]
    for number, profile in enumerate(profiles):
        client.publish(f"user{number}", codec="h264", fmtp=h264(profile))
        client.downlink.subscribe(f"user{number}", "main", ["video"])
        client.answer()
        client.unpublish(f"user{number}")
        client.answer()
    client.publish("last")
    client.downlink.subscribe("last", "main", ["video"])
    client.answer()
    assert client.receiving == {client.producer("last")}
    assert len(client.downlink._payload_types) <= 9
    assert len(client.downlink._lines) == 1, "an m-line whose track is gone is used again"


def test_a_codec_that_the_client_refused_is_not_offered_again_and_another_of_that_stream_is() -> None:
    client = Client()
    client.publish("ann", codec="h264")
    client.publish("ann", "audio")
    client.downlink.subscribe("ann", "main", ["audio", "video"])
    video = next(track.mid for track in client.offers[0].tracks if track.kind == "video")
    client.answer(refuse=frozenset({video}))
    assert client.receiving == {client.producer("ann", "audio")}
    for _ in range(3):  # published anew, as after a lost uplink: still H264
        client.publish("ann", codec="h264")
    assert len(client.offers) == 1
    assert client.downlink.subscriptions["ann", "main"] == {"audio", "video"}, (
        "it is still wanted, once it can be played"
    )
    client.publish("ann", codec="vp8")
    client.answer()
    assert client.receiving == {client.producer("ann", "audio"), client.producer("ann")}


def test_a_client_that_refuses_everything_never_runs_out_of_m_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parlour.signaling.downlink.MAX_LINES", 40)
    client = Client()
    for number in range(50):
        user = f"user{number}"
        client.publish(user)
        client.downlink.subscribe(user, "main", ["video"])
        client.answer(refuse=frozenset(track.mid for track in client.offers[-1].tracks))
        client.unpublish(user)
    assert len(client.downlink._lines) <= 40
    assert client.downlink._refused == set()
    client.publish("last")
    client.downlink.subscribe("last", "main", ["video"])
    client.answer()
    assert client.receiving == {client.producer("last")}
    assert [offer.restart for offer in client.offers].count(True) == 1


def test_more_tracks_than_a_connection_has_m_lines_are_refused_with_a_code() -> None:
    client = Client()
    for number in range(MAX_LINES):
        client.downlink.subscribe(f"user{number}", "main", ["video"])
    with pytest.raises(RtcError, match="at most 512") as refusal:
        client.downlink.subscribe("one more", "main", ["video"])
    assert refusal.value.code == 0x1001
    client.downlink.subscribe("user0", "main", ["audio"])


def test_whatever_changes_before_the_next_offer_costs_nothing_for_each_change() -> None:
    client = Client()
    client.hurried = True
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    spent = len(client.book.ssrcs)
    for _ in range(100):  # before the pace lets the next offer be made
        client.publish("ann")
    assert (len(client.offers), len(client.book.ssrcs)) == (1, spent)
    client.wait()
    for _ in range(100):  # while that offer is unanswered
        client.publish("ann")
    assert (len(client.offers), len(client.book.ssrcs)) == (2, spent + 2)
    client.online = False
    client.answer()
    for _ in range(100):  # while there is no socket
        client.publish("ann")
        client.wait()
    assert len(client.book.ssrcs) <= spent + 4
    client.online = True
    client.downlink.resend()
    client.wait()
    client.answer()
    assert client.receiving == {client.producer("ann")}


def test_what_is_wanted_again_before_the_next_offer_is_received_again_under_new_ssrcs() -> None:
    client = Client()
    client.hurried = True
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.downlink.drop("ann", "main")
    assert client.receiving == set()
    revision = client.downlink.subscribe("ann", "main", ["video"])
    assert revision == 2
    client.wait()
    client.answer()
    assert client.downlink.revision == 2
    assert client.receiving == {client.producer("ann")}


class DownlinkMachine(RuleBasedStateMachine):
    """Anything in any order: after all is answered, exactly what is wanted, there and playable is received."""

    def __init__(self) -> None:
        super().__init__()
        self.client = Client()
        self.client.hurried = True

    users = st.sampled_from(["ann", "bob", "cyd"])
    kinds = st.sampled_from(["audio", "video"])

    @rule(user=users, kind=kinds, living=st.booleans())
    def publish(self, user: str, kind: str, living: bool) -> None:
        self.client.publish(user, kind, producer=-1 if living else None)

    @rule(user=users)
    def unpublish(self, user: str) -> None:
        self.client.unpublish(user)

    @rule(user=users, kinds=st.sets(kinds))
    def subscribe(self, user: str, kinds: set[str]) -> None:
        revision = self.client.downlink.subscribe(user, "main", kinds)  # type: ignore[arg-type]
        assert self.client.downlink.revision <= revision <= self.client.downlink.revision + 1

    @rule(user=users)
    def unsubscribe(self, user: str) -> None:
        self.client.downlink.drop(user, "main")

    @rule()
    def answer(self) -> None:
        if self.client.offers:
            self.client.answer()

    @rule(online=st.booleans())
    def socket(self, online: bool) -> None:
        self.client.online = online
        if online:
            self.client.downlink.resend()

    @rule()
    def wait(self) -> None:
        self.client.wait()

    @rule()
    def fail(self) -> None:
        for transport in list(self.client.book.transports):
            self.client.book.fail(transport, "consent-expired")

    @rule()
    def restart(self) -> None:
        self.client.downlink.restart()

    @invariant()
    def only_what_is_wanted_is_received(self) -> None:
        wanted = self.client.downlink.subscriptions
        for key, track in self.client.tracks.items():
            if track.producer in self.client.receiving:
                assert key[2] in wanted.get((key[0], key[1]), ())

    def teardown(self) -> None:
        client = self.client
        client.online, client.hurried = True, False
        client.wait()
        if client.downlink.failure is not None:
            client.downlink.restart()
        client.downlink.resend()
        for _ in range(4):
            if client.offers:
                client.answer()
        expected = {
            track.producer
            for key, track in client.tracks.items()
            if track.producer is not None and key[2] in client.downlink.subscriptions.get((key[0], key[1]), ())
        }
        assert expected <= client.receiving
        assert len(client.book.transports) <= 1
        client.downlink.close()
        assert client.book.transports == {}
        assert client.book.consumers == {}


DownlinkMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestDownlinkMachine = DownlinkMachine.TestCase
