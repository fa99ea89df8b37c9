"""Where rooms are placed: to the shard that works least, never to a hot one, and evenly before anybody is connected."""

from __future__ import annotations

from collections import Counter

from parlour.media.placement import COOL, HOT, PROMISE, WINDOW, Placement

MANY = 10_000


def working(placement: Placement, shares: list[float], *, since: float = 0.0, seconds: float = 2 * WINDOW) -> float:
    """Have the shards work so much of their time for a while, measured each second; when that is over."""
    for second in range(int(seconds) + 1):
        placement.measure(since + second, [1000 + share * second + since for share in shares])
    return since + seconds


def test_rooms_that_are_opened_together_are_spread_before_anybody_is_connected() -> None:
    placement = Placement(3)
    picked = Counter(placement.pick(1.0, [0, 0, 0], MANY) for _ in range(30))
    assert picked == {0: 10, 1: 10, 2: 10}


def test_what_a_room_promised_and_did_not_bring_is_forgotten() -> None:
    placement = Placement(2)
    assert placement.pick(0.0, [0, 0], MANY) == 0
    assert placement.pick(1.0, [0, 0], MANY) == 1
    # The room on shard 1 was joined by nobody; that on shard 0 has three connections.
    assert placement.pick(2 + PROMISE, [3, 0], MANY) == 1
    assert placement.pick(2 + PROMISE, [3, 0], MANY) == 1
    assert placement.pick(2 + PROMISE, [3, 0], MANY) == 0


def test_the_shard_that_works_least_gets_the_room_however_many_are_connected_to_it() -> None:
    placement = Placement(2)
    now = working(placement, [0.5, 0.1])
    assert placement.pick(now, [2, 400], MANY) == 1


def test_of_shards_that_work_about_as_much_the_one_with_the_fewest_connections_gets_the_room() -> None:
    placement = Placement(3)
    now = working(placement, [0.31, 0.29, 0.33])
    assert placement.pick(now, [40, 30, 20], MANY) == 2


def test_a_hot_shard_takes_no_room_and_says_so_once_until_it_has_cooled_down() -> None:
    placement = Placement(2)
    placement.measure(0.0, [0.0, 0.0])
    changes = [placement.measure(float(second), [second * (HOT + 0.05), 0.0]) for second in range(1, 8)]
    assert [change for change in changes if change] == [[(0, True)]]
    assert placement.hot == [True, False]
    assert {placement.pick(7.0, [0, 900], MANY) for _ in range(5)} == {1}
    # A little less is no end of it, or it would be hot and cool by turns.
    worked = 7 * (HOT + 0.05)
    changes = [placement.measure(7.0 + second, [worked + second * (COOL + 0.05), 0.0]) for second in range(1, 8)]
    assert not any(changes)
    worked += 7 * (COOL + 0.05)
    changes = [placement.measure(14.0 + second, [worked + second * 0.01, 0.0]) for second in range(1, 8)]
    assert [change for change in changes if change] == [[(0, False)]]
    assert placement.pick(21.0, [0, 900], MANY) == 0


def test_a_moments_burst_makes_no_shard_hot() -> None:
    placement = Placement(1)
    placement.measure(0.0, [0.0])
    assert placement.measure(1.0, [1.0]) == []
    assert placement.measure(2.0, [1.1]) == []


def test_where_all_are_hot_or_full_none_takes_a_room() -> None:
    placement = Placement(2)
    assert placement.pick(0.0, [9, 10], 10) is None
    assert placement.pick(0.0, [8, 10], 10) == 0
    now = working(placement, [1.0, 1.0])
    assert placement.pick(now, [0, 0], MANY) is None


def test_a_thread_in_the_place_of_one_that_died_begins_anew() -> None:
    placement = Placement(1)
    now = working(placement, [1.0])
    assert placement.hot == [True]
    assert placement.measure(now + 1, [0.0]) == [(0, False)]
    assert placement.measure(now + 2, [0.05]) == []
