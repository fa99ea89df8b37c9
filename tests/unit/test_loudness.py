"""Who in a room is told how loud everybody is, what that costs, and whose pictures are left out."""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from parlour.media import Level
from parlour.protocol.messages import Event, Volumes
from parlour.protocol.words import StreamType
from parlour.rooms import Room, RoomId, RoomLimits
from parlour.rooms.volumes import MOST_VOLUMES
from parlour.sdp import TrackSpec
from parlour.signaling.codec import encode_event
from parlour.signaling.loudness import BEHIND, Loudness
from parlour.signaling.uplink import PublishedTrack

from tests.unit.downlink_client import Book

SOUND = TrackSpec("0", "audio", "opus", 111)


@dataclass
class Channel:
    waiting: int = 0
    texts: list[str] = field(default_factory=list)

    def tell_text(self, text: str) -> None:
        self.texts.append(text)


class Session:
    """What of a session is used here."""

    def __init__(self, user_id: str) -> None:
        self.id, self.user_id = f"session of {user_id}", user_id
        self.volume_interval = 0
        self.missed_volumes = False
        self.channel: Channel | None = Channel()
        self.owed = 0
        self.looked = 0
        self.published: dict[tuple[StreamType, str], PublishedTrack] = {}

    @property
    def uplink(self) -> Session:
        return self

    @property
    def downlink(self) -> Session:
        return self

    def look_who_is_seen(self, changed: frozenset[str]) -> None:
        assert changed
        self.looked += 1

    def tell(self, event: Event) -> None:
        if self.channel is not None:
            self.channel.tell_text(encode_event(event))

    def owe(self, *, lines: int) -> None:
        self.owed += lines

    def told(self) -> list[dict[str, Any]]:
        assert self.channel is not None
        texts, self.channel.texts = self.channel.texts, []
        return [json.loads(text) for text in texts]


class Stage:
    """A room, its loudness, and a clock that the test moves."""

    def __init__(self, last_n: int = 0) -> None:
        self.now = 50.0
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count(1)
        self.book = Book()
        self.room: Room[Session] = Room(RoomId(1, False), RoomLimits())
        self.loudness = Loudness(cast("Any", self.room), self.book, last_n, lambda: self.now, self.later)
        self.producers: dict[tuple[str, StreamType], int] = {}
        self.spoken: dict[int, float] = {}

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self.timers, (self.now + delay, next(self.numbers), callback))

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            self.now, _, callback = heapq.heappop(self.timers)
            callback()
        self.now = end

    def enter(self, user_id: str) -> Session:
        session = Session(user_id)
        self.room.enter(user_id, session)
        self.loudness.changed()
        return session

    def publish(self, user_id: str, stream_type: StreamType = "main", *, video: bool = False) -> Session:
        session = self.room.session(user_id) or self.enter(user_id)
        producer = self.producers[user_id, stream_type] = next(self.numbers)
        session.published[stream_type, "audio"] = PublishedTrack(SOUND, (producer,))
        self.room.publish(user_id, session, stream_type, stream_id="s", audio=True, video=video)
        self.loudness.changed()
        return session

    def mute(self, user_id: str, muted: bool) -> None:
        self.room.mute(user_id, self.session(user_id), "main", audio=muted)
        self.loudness.changed()

    def leave(self, user_id: str) -> None:
        session = self.session(user_id)
        self.room.leave(user_id, session)
        self.loudness.left(cast("Any", session))
        self.loudness.changed()

    def session(self, user_id: str) -> Session:
        session = self.room.session(user_id)
        assert session is not None
        return session

    def heard(self, user_id: str, volume: int, stream_type: StreamType = "main") -> None:
        self.loudness.heard(Level(self.producers[user_id, stream_type], volume, volume > 10, 0.0))

    def speak(self, user_id: str, seconds: float) -> None:
        """As the media core tells of it."""
        producer = self.producers[user_id, "main"]
        for _ in range(round(seconds * 2)):
            self.wait(0.5)
            self.spoken[producer] = self.spoken.get(producer, 0.0) + 0.5
            self.loudness.heard(Level(producer, 50, True, self.spoken[producer]))

    def listen(self, user_id: str, interval: int) -> int:
        return self.loudness.listen(cast("Any", self.session(user_id)), interval)


def volumes(events: list[dict[str, Any]]) -> list[dict[str, int]]:
    assert all(event["type"] == "volumes" for event in events)
    return [{one["userId"]: one["volume"] for one in event["volumes"]} for event in events]


def test_nobody_is_watched_and_nothing_runs_while_nobody_wants_to_know() -> None:
    stage = Stage()
    ann, bob = stage.publish("ann"), stage.publish("bob")
    stage.wait(10)
    assert (stage.book.watched, stage.timers) == ({}, [])
    assert stage.listen("bob", 200) == 200
    assert stage.book.watched == {stage.producers["ann", "main"]: 0.2, stage.producers["bob", "main"]: 0.2}
    stage.publish("cat")
    assert len(stage.book.watched) == 3
    assert stage.listen("bob", 0) == 0
    assert stage.book.watched == {}
    stage.heard("ann", 50)
    stage.wait(10)
    assert stage.timers == []
    assert ann.told() == []
    assert volumes(bob.told()) == [{}], "once, when it asked"


def test_the_next_shorter_interval_is_taken_and_the_shortest_one_of_all_is_asked_of_the_core() -> None:
    stage = Stage()
    stage.publish("ann")
    for name, asked, got in [("bob", 30, 100), ("cat", 250, 200), ("dan", 86_400_000, 2000), ("eve", 10**30, 2000)]:
        stage.enter(name)
        assert stage.listen(name, asked) == got
    assert list(stage.book.watched.values()) == [0.1]
    audience = stage.session("bob")
    stage.room.leave("bob", audience)
    stage.loudness.left(cast("Any", audience))
    assert list(stage.book.watched.values()) == [0.2], "also when nobody that can be heard has left"
    assert stage.listen("cat", -5) == 0
    assert list(stage.book.watched.values()) == [2.0]


def test_a_batch_an_interval_is_told_of_what_changed_and_none_when_nothing_did() -> None:
    stage = Stage()
    bob, _ = stage.publish("bob"), [stage.publish(f"user{number}") for number in range(5)]
    stage.listen("bob", 500)
    bob.told()
    for tick in range(100):
        for number in range(5):
            stage.heard(f"user{number}", 20 + 10 * number + tick % 2 * 5)
        stage.wait(0.02)
    told = bob.told()
    assert 4 <= len(told) <= 6, "two seconds, a batch each half"
    assert len(volumes(told)[0]) == 1, "the first is told at once"
    assert volumes(told)[1].keys() >= {"user1", "user2", "user3", "user4"}
    for _ in range(100):
        for number in range(5):
            stage.heard(f"user{number}", 20 + 10 * number)
        stage.wait(0.02)
    assert len(bob.told()) <= 1
    # Of all of them nothing more is told by the core.
    stage.wait(10)
    told = bob.told()
    assert len(told) == 2, "they cannot be heard, and later they speak no more"
    assert volumes(told) == [dict.fromkeys([f"user{number}" for number in range(5)], 0), {}]
    assert told[-1]["speakers"] == []
    assert stage.timers == []


def test_who_is_muted_is_silent_whatever_its_packets_say() -> None:
    stage = Stage()
    stage.publish("ann")
    bob = stage.enter("bob")
    stage.listen("bob", 100)
    stage.heard("ann", 60)
    told = bob.told()
    assert volumes(told)[-1] == {"ann": 60}
    assert told[-1]["speakers"] == ["ann"]
    stage.mute("ann", True)
    stage.wait(0.1)
    told = bob.told()
    assert volumes(told) == [{"ann": 0}]
    assert told[-1]["speakers"] == []
    for _ in range(20):
        stage.heard("ann", 90)
        stage.wait(0.1)
    assert bob.told() == []
    stage.mute("ann", False)
    stage.heard("ann", 30)
    stage.wait(0.1)
    assert volumes(bob.told()) == [{"ann": 30}]
    stage.leave("ann")
    stage.wait(0.1)
    assert volumes(bob.told()) == [{"ann": 0}]


def test_a_screen_has_a_volume_of_its_own_and_does_not_speak() -> None:
    stage = Stage()
    stage.publish("ann", "auxiliary")
    bob = stage.enter("bob")
    stage.listen("bob", 100)
    bob.told()
    stage.heard("ann", 60, "auxiliary")
    (event,) = bob.told()
    assert event["volumes"] == [{"userId": "ann", "streamType": "auxiliary", "volume": 60}]
    assert "speakers" not in event


def test_what_the_core_tells_of_another_room_or_of_nothing_any_more_is_nobodys() -> None:
    stage = Stage()
    stage.publish("ann")
    bob = stage.enter("bob")
    stage.listen("bob", 100)
    bob.told()
    stage.loudness.heard(Level(4711, 99, True, 5.0))
    stage.wait(1)
    assert bob.told() == []


def test_who_listens_anew_is_told_all_that_the_others_know() -> None:
    stage = Stage()
    stage.publish("ann")
    stage.enter("bob")
    cat = stage.enter("cat")
    stage.listen("bob", 100)
    stage.heard("ann", 60)
    stage.listen("cat", 100)
    (event,) = cat.told()
    assert event == {
        "type": "volumes",
        "volumes": [{"userId": "ann", "volume": 60}],
        "speakers": ["ann"],
        "whole": True,
    }


def test_who_does_not_read_is_told_nothing_more_and_all_of_it_when_it_reads_again() -> None:
    stage = Stage()
    stage.publish("ann")
    bob, cat = stage.enter("bob"), stage.enter("cat")
    for name in ("bob", "cat"):
        stage.listen(name, 100)
    assert bob.channel is not None
    bob.told()
    bob.channel.waiting = BEHIND
    for tick in range(50):
        stage.heard("ann", 20 + tick % 2 * 40)
        stage.wait(0.1)
    assert bob.told() == []
    assert len(cat.told()) > 40
    bob.channel.waiting = 0
    stage.heard("ann", 20)
    stage.wait(0.2)
    assert bob.told()[0]["whole"]
    # One without a socket is told nothing, and all of it with the next.
    bob.channel = None
    stage.heard("ann", 90)
    stage.wait(0.1)
    bob.channel = Channel()
    stage.loudness.repeat(cast("Any", bob))
    assert volumes(bob.told()) == [{"ann": 90}]


def test_in_a_full_room_a_second_of_noise_is_so_many_texts_and_each_is_bounded() -> None:
    stage = Stage()
    listeners = [stage.enter(f"listener{number}") for number in range(250)]
    for number in range(50):
        stage.publish(f"user{number}")
    for session in listeners:
        stage.listen(session.user_id, 200)
        session.told()
    texts: list[list[str]] = []
    for tick in range(100):
        for number in range(50):
            stage.heard(f"user{number}", (tick * 37 + number * 11) % 100)
        stage.wait(0.1)
    for session in listeners:
        assert session.channel is not None
        texts.append(session.channel.texts)
    assert 45 <= len(texts[0]) <= 52, "ten seconds, five a second"
    assert all(own == texts[0] for own in texts)
    assert all(one is other for one, other in zip(texts[0], texts[1], strict=True)), "encoded once"
    assert max(len(text) for text in texts[0]) < 1500
    assert max(len(json.loads(text)["volumes"]) for text in texts[0]) == MOST_VOLUMES
    session = listeners[0]
    assert session.owed == 50
    before = session.owed
    for _ in range(10):
        stage.listen(session.user_id, 0)
        stage.listen(session.user_id, 200)
    assert session.owed == before + 20 * 50, "who asks again and again pays for it"


def seen(stage: Stage) -> list[str]:
    users = [member.user_id for member in stage.room.members]
    return [user_id for user_id in users if stage.loudness.why_unseen(user_id, "main") is None]


def test_the_last_who_spoke_are_seen_and_in_a_small_room_everybody() -> None:
    stage = Stage(last_n=2)
    ann = stage.publish("ann", video=True)
    stage.publish("bob", video=True)
    assert (seen(stage), stage.book.watched) == (["ann", "bob"], {})
    stage.publish("cat", video=True)
    stage.publish("dan", video=True)
    assert seen(stage) == ["ann", "bob"]
    assert stage.loudness.why_unseen("dan", "main") == "dan is not among the last 2 who spoke"
    assert stage.loudness.why_unseen("dan", "auxiliary") is None, "screens are always seen"
    assert set(stage.book.watched.values()) == {0.5}
    stage.speak("dan", 2)
    assert seen(stage) == ["ann", "dan"]
    looked = ann.looked
    stage.speak("dan", 60)
    stage.speak("ann", 60)
    assert ann.looked == looked, "who speaks is seen already: nothing changes"
    stage.speak("cat", 4)
    assert seen(stage) == ["ann", "cat"]
    # Who shows nothing takes nobody's place.
    stage.room.mute("cat", stage.session("cat"), "main", video=True)
    stage.loudness.changed()
    assert seen(stage) == ["ann", "dan"]
    stage.leave("bob")
    stage.leave("dan")
    assert seen(stage) == ["ann", "cat"]
    assert stage.book.watched == {}


def test_however_wildly_a_room_speaks_who_is_seen_changes_once_a_second_at_most() -> None:
    stage = Stage(last_n=1)
    ann = stage.publish("ann", video=True)
    people = ["ann", *(f"user{number}" for number in range(9))]
    for user_id in people[1:]:
        stage.publish(user_id, video=True)
    before, begun = ann.looked, stage.now
    for tick in range(1200):
        user_id = people[tick * 7 % 10]
        producer = stage.producers[user_id, "main"]
        stage.spoken[producer] = stage.spoken.get(producer, 0.0) + 0.3
        stage.loudness.heard(Level(producer, 50, tick % 3 > 0, stage.spoken[producer]))
        stage.wait(0.1)
    assert 5 < ann.looked - before <= stage.now - begun


def test_an_event_has_what_the_protocol_says() -> None:
    assert Volumes(volumes=[]).speakers is None
