"""Which encodings of a video are taken, and when its publisher is told which of them to send."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from parlour.media import SourceSent
from parlour.signaling.encodings import PATIENCE, WantedEncodings
from parlour.signaling.video_types import SMALLEST

from tests.unit.downlink_client import Client

RIDS = ("big", "middle", "small")
ANN = "ann", "main"


class Video:
    """A published video, its receivers by the place that each takes, and a clock that the test moves."""

    def __init__(self, encodings: int = 2) -> None:
        rids = RIDS if encodings == 3 else ("big", "small")
        self.now = 0.0
        self.takers: dict[str, int] = {}
        self.told: list[tuple[str, ...]] = []
        self.looked = 0
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count()
        self.encodings = WantedEncodings(
            rids, biggest=self._biggest, tell=self.told.append, clock=lambda: self.now, later=self._later
        )

    def _biggest(self) -> int | None:
        self.looked += 1
        return min(self.takers.values(), default=None)

    def _later(self, delay: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self.timers, (self.now + delay, next(self.numbers), callback))
        assert len(self.timers) == 1, "one timer a video, however much happens"

    def take(self, who: str, place: int | None) -> None:
        before = self.takers.pop(who, None)
        if place is not None:
            self.takers[who] = place
        if before != place:
            self.encodings.changed(before, place)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            self.now, _, callback = heapq.heappop(self.timers)
            callback()
        self.now = end

    @property
    def wanted(self) -> tuple[str, ...]:
        return self.told[-1] if self.told else self.encodings.rids


def test_nobody_takes_it_and_it_is_paused_after_a_while_and_wanted_again_at_once() -> None:
    video = Video()
    video.wait(PATIENCE - 0.1)
    assert video.told == []
    video.wait(0.2)
    assert video.told == [()]
    video.take("bob", 0)
    assert video.told == [(), ("big", "small")]
    video.wait(10 * PATIENCE)
    assert len(video.told) == 2


def test_the_big_one_is_paused_while_all_want_the_small_one_and_comes_back_at_once() -> None:
    video = Video()
    video.take("bob", 0)
    video.take("eve", SMALLEST)
    video.wait(2 * PATIENCE)
    video.take("bob", SMALLEST)
    video.wait(PATIENCE - 0.1)
    assert video.told == []
    video.wait(0.2)
    assert video.told == [("small",)]
    video.take("bob", 0)
    assert video.told == [("small",), ("big", "small")]


def test_who_goes_and_comes_back_or_wants_the_small_one_for_a_moment_changes_nothing() -> None:
    video = Video()
    for place in (SMALLEST, None, SMALLEST, None):
        video.take("bob", 0)
        video.wait(PATIENCE)
        video.take("bob", place)
        video.wait(PATIENCE - 0.1)
    assert video.told == []


def test_of_three_those_below_the_biggest_that_is_taken_are_wanted() -> None:
    video = Video(3)
    video.take("bob", 1)
    video.wait(PATIENCE + 1)
    assert video.told == [("middle", "small")]
    video.take("bob", SMALLEST)
    video.wait(PATIENCE + 1)
    assert video.told == [("middle", "small"), ("small",)]


def test_each_encoding_has_its_own_patience() -> None:
    video = Video()
    video.take("bob", 0)
    video.take("eve", SMALLEST)
    video.wait(PATIENCE)
    video.take("bob", None)
    video.wait(PATIENCE - 1)
    video.take("eve", None)
    video.wait(1.5)
    assert video.told == [("small",)]
    video.wait(PATIENCE - 1)
    assert video.told == [("small",), ()]


@pytest.mark.parametrize("other", [None, SMALLEST])
def test_however_often_somebody_changes_the_publisher_is_told_twice_in_a_while_at_most(other: int | None) -> None:
    video = Video()
    for _ in range(60_000):
        video.take("bob", 0)
        video.wait(0.0005)
        video.take("bob", other)
        video.wait(0.0005)
    assert video.told == []
    assert video.looked == 0, "nobody is looked up for what was let go just now"
    video.told.clear()
    for _ in range(10):
        video.wait(PATIENCE)
        for _ in range(10_000):
            video.take("bob", 0)
            video.take("bob", other)
    assert len(video.told) <= 20
    assert video.looked <= 10


def test_on_a_new_socket_or_connection_it_is_told_what_was_told_before() -> None:
    video = Video()
    video.encodings.repeat()
    assert video.told == [], "all are wanted until something else is said"
    video.wait(PATIENCE)
    video.encodings.repeat()
    assert video.told == [(), ()]
    video.take("bob", 0)
    video.encodings.repeat()
    assert video.told[2:] == [("big", "small")] * 2, "that all are wanted again may have been missed"


def test_nothing_is_told_of_a_video_that_is_not_published_any_more() -> None:
    video = Video()
    video.encodings.stop()
    video.wait(2 * PATIENCE)
    assert video.told == []


class EncodingsMachine(RuleBasedStateMachine):
    """Whatever receivers do: what is taken is wanted, and nothing is paused that was taken a while ago."""

    def __init__(self) -> None:
        super().__init__()
        self.video = Video(3)
        self.needed = [0.0] * 3
        self.seen = 0

    @rule(who=st.sampled_from("abc"), place=st.sampled_from([None, 0, 1, 2]))
    def take(self, who: str, place: int | None) -> None:
        self.note()
        self.video.take(who, place)
        self.note()

    @rule(steps=st.integers(1, 30))
    def wait(self, steps: int) -> None:
        for _ in range(steps):
            self.note()
            self.video.wait(0.5)

    def note(self) -> None:
        """Those from the biggest taken one on are needed now."""
        for place in range(min(self.video.takers.values(), default=3), 3):
            self.needed[place] = self.video.now

    @invariant()
    def what_is_taken_is_wanted_and_nothing_is_paused_too_soon(self) -> None:
        first = 3 - len(self.video.wanted)
        assert self.video.wanted == RIDS[first:]
        assert first <= min(self.video.takers.values(), default=3)
        for place in range(first):
            assert self.needed[place] <= self.video.now - PATIENCE

    def teardown(self) -> None:
        self.video.wait(3 * PATIENCE)
        assert self.video.wanted == RIDS[min(self.video.takers.values(), default=3) :]


EncodingsMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestEncodingsMachine = EncodingsMachine.TestCase


def test_what_a_client_takes_follows_its_subscriptions_and_wishes() -> None:
    client = Client()
    client.publish("ann", "audio")
    client.publish("ann", encodings=2)
    client.downlink.subscribe(*ANN, ["audio"])
    assert client.taken == []
    client.downlink.subscribe(*ANN, ["audio", "video"])
    with client.downlink.taken.changing(ANN):
        client.downlink.video_types.want(ANN, "small")
    client.answer()
    client.downlink.subscribe(*ANN, ["audio"])
    client.downlink.subscribe(*ANN, ["video"])
    client.downlink.drop(*ANN)
    client.downlink.drop(*ANN)
    client.downlink.subscribe(*ANN, ["video"])
    client.downlink.close()
    changes = [(None, 0), (0, SMALLEST)] + [(SMALLEST, None), (None, SMALLEST)] * 2 + [(SMALLEST, None)]
    assert client.taken == [(ANN, before, after) for before, after in changes]


def test_who_gets_the_big_one_because_the_small_one_is_not_sent_takes_the_big_one_until_it_is() -> None:
    client = Client()
    client.publish("ann", encodings=2)
    client.downlink.video_types.want(ANN, "small")
    client.downlink.subscribe(*ANN, ["video"])
    client.answer()
    [consumer] = client.book.consumers
    assert client.book.on_source is not None
    client.taken.clear()
    client.book.on_source(SourceSent(consumer, 0, "missing", 100_000, 900_000))
    assert client.taken == [(ANN, SMALLEST, 0)]
    client.book.on_source(SourceSent(consumer, 1, None, 100_000, 900_000))
    assert client.taken == [(ANN, SMALLEST, 0), (ANN, 0, SMALLEST)]


def test_who_is_held_to_the_small_one_by_the_path_still_takes_the_big_one() -> None:
    client = Client()
    client.publish("ann", encodings=2)
    client.downlink.subscribe(*ANN, ["video"])
    client.answer()
    [consumer] = client.book.consumers
    assert client.book.on_source is not None
    client.taken.clear()
    for source in (1, None):
        client.book.on_source(SourceSent(consumer, source, "bandwidth", 900_000, 100_000))
    assert client.taken == [], "it comes back to it as soon as its path carries it"
