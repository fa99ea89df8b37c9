"""Who has the floor of a room, over time that the tests make themselves."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parlour.rooms import Speakers
from parlour.rooms.speakers import REST, STALE, TAKES_OVER, TURN

STEP = 0.1
HOLD = 2.5
"""For so long the media core calls somebody a speaker who fell silent."""


class Talk:
    """A room, of whose people each speaks or not at a time, as the media core would tell it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.speakers = Speakers()
        self.spoken: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.held: list[tuple[float, str | None]] = []

    def go_on(self, seconds: float, *who: str) -> None:
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            for user_id in {*who, *self.spoken}:
                spoken = self.spoken.get(user_id, 0.0)
                if user_id in who:
                    self.spoken[user_id], self.last[user_id] = spoken + STEP, self.now
                speaks = self.now - self.last.get(user_id, -HOLD) < HOLD
                self.speakers.heard(self.now, user_id, speaks=speaks, spoken=self.spoken[user_id])
            if not self.held or self.held[-1][1] != self.speakers.holder:
                self.held.append((self.now, self.speakers.holder))

    def share(self, user_id: str, since: float) -> float:
        """Of the time since then, how much the floor was that user's."""
        ends = [at for at, _ in self.held[1:]] + [self.now]
        had = sum(
            max(0.0, end - max(begun, since))
            for (begun, holder), end in zip(self.held, ends, strict=True)
            if holder == user_id
        )
        return had / (self.now - since)


def test_who_speaks_alone_has_the_floor_and_keeps_it_between_sentences() -> None:
    talk = Talk()
    for _ in range(5):
        talk.go_on(3, "ann")
        assert talk.speakers.holder == "ann"
        talk.go_on(2)
        assert talk.speakers.holder == "ann"
    talk.go_on(1)
    assert talk.speakers.holder is None
    assert talk.speakers.speaking(talk.now) == []


def test_a_yes_does_not_take_the_floor_and_a_question_does() -> None:
    talk = Talk()
    talk.go_on(20, "ann")
    for _ in range(5):
        talk.go_on(0.5, "ann", "bob")
        talk.go_on(4, "ann")
    assert talk.speakers.holder == "ann"
    talk.go_on(TAKES_OVER + 2 * STEP, "ann", "bob")
    assert talk.speakers.holder == "bob"
    assert talk.speakers.speaking(talk.now) == ["bob", "ann"]
    talk.go_on(4, "ann")
    assert talk.speakers.holder == "ann", "bob has ended"


def test_who_says_that_it_always_speaks_has_the_floor_in_its_turn_alone() -> None:
    talk = Talk()
    talk.go_on(60, "liar")
    begun = talk.now
    talk.go_on(TAKES_OVER + 2 * STEP, "liar", "ann")
    assert talk.speakers.holder == "ann", "who begins to speak is heard"
    talk.go_on(120, "liar", "ann")
    assert 0.4 <= talk.share("liar", begun) <= 0.6
    begun = talk.now
    talk.go_on(120, "liar", "ann", "bob")
    assert talk.share("liar", begun) <= 0.45
    assert min(talk.share("ann", begun), talk.share("bob", begun)) >= 0.25


def test_who_begins_anew_again_and_again_does_not_keep_others_out() -> None:
    talk = Talk()
    talk.go_on(5, "ann")
    begun = talk.now
    for _ in range(30):
        talk.go_on(2.2, "ann", "liar")
        talk.go_on(2.6, "ann")
    assert talk.share("ann", begun) >= 0.6


def test_who_is_muted_or_left_or_not_heard_of_any_more_gives_the_floor_back() -> None:
    talk = Talk()
    talk.go_on(5, "ann")
    talk.go_on(0.5, "ann", "bob")
    talk.speakers.silence(talk.now, "ann")
    assert talk.speakers.holder == "bob"
    talk.speakers.keep(talk.now, ["ann"])
    assert talk.speakers.holder is None
    talk.go_on(3, "ann")
    assert talk.speakers.holder == "ann"
    talk.speakers.heard(talk.now + STALE, "cat", speaks=True, spoken=1.0)
    assert talk.speakers.holder == "cat"
    assert talk.speakers.last(["ann", "bob", "cat", "dan"], 2) == {"cat", "ann"}


def test_those_who_had_the_floor_last_are_seen_and_before_them_those_who_came_first() -> None:
    talk = Talk()
    room = ["ann", "bob", "cat", "dan", "eve"]
    assert talk.speakers.last(room, 2) == {"ann", "bob"}
    talk.go_on(2, "eve")
    assert talk.speakers.last(room, 2) == {"eve", "ann"}
    talk.go_on(4)
    talk.go_on(2, "dan")
    assert talk.speakers.last(room, 2) == {"dan", "eve"}
    talk.go_on(60)
    assert talk.speakers.last(room, 2) == {"dan", "eve"}, "silence changes nothing"
    assert talk.speakers.last(["ann", "bob"], 2) == {"ann", "bob"}


def test_a_track_that_begins_anew_has_said_nothing_yet() -> None:
    speakers = Speakers()
    speakers.heard(0.0, "ann", speaks=True, spoken=1.0)
    for at in range(1, 100):
        speakers.heard(at * STEP, "ann", speaks=True, spoken=1.0 + at * STEP)
        # Of bob a track ends and another begins with each report, each of which claims hours of speech.
        speakers.heard(at * STEP, "bob", speaks=True, spoken=3600.0 * (at % 2))
    assert speakers.holder in {"ann", "bob"}
    speakers.heard(10.0, "cat", speaks=True, spoken=1e9)
    assert speakers.holder != "cat", "nothing was heard of what it claims"


@pytest.mark.parametrize("seed", range(6))
def test_in_no_room_the_floor_changes_hands_faster_than_it_may(seed: int) -> None:
    rng = random.Random(seed)
    talk = Talk()
    people = [f"user{number}" for number in range(rng.randrange(2, 12))]
    for _ in range(200):
        talk.go_on(rng.choice([0.1, 0.3, 1, 3]), *rng.sample(people, rng.randrange(len(people))))
    changes = [at for at, holder in talk.held if holder is not None]
    assert len(changes) > 3
    assert all(after - before >= REST - STEP / 2 for before, after in itertools.pairwise(changes))


def check(speakers: Speakers, now: float, people: list[str]) -> None:
    """What holds after whatever happened."""
    speaking = speakers.speaking(now)
    assert len(set(speaking)) == len(speaking)
    assert speakers.holder is None or speakers.holder == speaking[0]
    later = speakers.speaking(now + REST)
    assert not later or speakers.holder == later[0], "somebody who speaks has it soon"
    for count in range(len(people) + 2):
        last = speakers.last(people, count)
        assert len(last) == min(count, len(people))
        assert last <= set(people)


PEOPLE = ["ann", "bob", "cat", "dan"]
HAPPENINGS = st.one_of(
    st.tuples(
        st.just("heard"),
        st.sampled_from(PEOPLE),
        st.booleans(),
        st.floats(min_value=-1e9, max_value=1e9, allow_nan=False),
    ),
    st.tuples(st.just("silence"), st.sampled_from(PEOPLE), st.booleans(), st.just(0.0)),
    st.tuples(st.just("keep"), st.sampled_from(PEOPLE), st.booleans(), st.just(0.0)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(min_value=0, max_value=3), HAPPENINGS), max_size=60))
def test_whatever_is_said_somebody_who_speaks_has_the_floor(
    story: list[tuple[float, tuple[str, str, bool, float]]],
) -> None:
    speakers, now = Speakers(), 0.0
    for passed, (what, user_id, flag, spoken) in story:
        now += passed + REST  # the check looks ahead
        if what == "heard":
            speakers.heard(now, user_id, speaks=flag, spoken=spoken)
        elif what == "silence":
            speakers.silence(now, user_id)
        else:
            speakers.keep(now, [user_id])
        check(speakers, now, PEOPLE)


def test_turns_are_longer_than_what_it_takes_to_have_one() -> None:
    assert REST < TAKES_OVER < HOLD < STALE < TURN
