"""What listeners are told of volumes, and that what they know follows what is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from parlour.rooms import News, Told, Volumes
from parlour.rooms.volumes import DEAD_BAND, MOST_SPEAKERS, MOST_VOLUMES, SoundKey

ANN: SoundKey = ("ann", "main")
BOB: SoundKey = ("bob", "main")
SCREEN: SoundKey = ("ann", "auxiliary")


def test_what_is_heard_no_more_is_silent_and_what_is_heard_again_is_not() -> None:
    volumes = Volumes()
    volumes.heard(0.0, ANN, 40)
    volumes.heard(0.0, BOB, 200)
    volumes.heard(1.0, ANN, 41)
    assert volumes.now == {ANN: 41, BOB: 100}
    volumes.settle(1.9, 1.5)
    assert volumes.now == {ANN: 41}
    volumes.heard(2.0, ANN, 0)
    assert volumes.now == {}
    volumes.heard(2.0, SCREEN, 9)
    volumes.silence(SCREEN)
    volumes.silence(SCREEN)
    assert volumes.now == {}


def test_only_what_changed_is_told_and_little_is_no_change() -> None:
    told = Told()
    assert told.news({}, []) is None
    assert told.news({ANN: 40, BOB: 30}, ["ann"]) == News([(ANN, 40), (BOB, 30)], ("ann",))
    assert told.news({ANN: 40 + DEAD_BAND, BOB: 30 - DEAD_BAND}, ["ann"]) is None
    assert told.news({ANN: 41 + DEAD_BAND, BOB: 30}, ["ann"]) == News([(ANN, 41 + DEAD_BAND)], None)
    assert told.news({ANN: 41 + DEAD_BAND}, []) == News([(BOB, 0)], ())
    # However quiet it was: silence is told.
    assert told.news({ANN: 41 + DEAD_BAND, BOB: 3}, []) == News([(BOB, 3)], None)
    assert told.news({ANN: 41 + DEAD_BAND, BOB: 1}, []) is None
    assert told.news({ANN: 41 + DEAD_BAND}, []) == News([(BOB, 0)], None)


def test_of_a_full_room_those_that_changed_most_are_told_first_and_all_of_them_soon() -> None:
    told, room = Told(), {(f"user{number}", "main"): 100 - number for number in range(50)}
    first = told.news(room, [user_id for user_id, _ in room])
    assert first is not None
    assert [volume for _, volume in first.volumes] == list(range(100, 100 - MOST_VOLUMES, -1))
    assert first.speakers is not None
    assert len(first.speakers) == MOST_SPEAKERS
    messages = 1
    while told.news(room, [user_id for user_id, _ in room]) is not None:
        messages += 1
    assert messages == -(-50 // MOST_VOLUMES)
    assert told.volumes == room


KEYS = st.sampled_from([ANN, BOB, SCREEN, ("cat", "main")])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(KEYS, st.integers(1, 100)), max_size=30))
def test_whoever_follows_the_news_knows_what_is(rooms: list[dict[SoundKey, int]]) -> None:
    told, known = Told(), {}
    for room in rooms:
        news = told.news(room, [])
        for key, volume in [] if news is None else news.volumes:
            known[key] = volume
        known = {key: volume for key, volume in known.items() if volume}
        assert known == told.volumes
        assert known.keys() <= room.keys()
        for key, volume in room.items():
            assert abs(known.get(key, 0) - volume) <= DEAD_BAND
