"""The counters on real databases: what locks whom and for how long, rates, clocks that jump, and bounded tables."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from parlour.storage import Admission, Attempt, Counters, LockRules, Take

from tests.contract.stores import NOW, Opener, beside, on

ANN = Attempt(1, "192.0.2.1", "ann", NOW)
OPEN = Admission()
DAY = 86_400
RULES = LockRules(failures=3, source_failures=0, window=60, duration=30)


async def rows(opened: Opener, table: str) -> int:
    return int(str((await on(beside(opened.database, "counters.db"), f"SELECT count(*) FROM {table}"))[0][0]))


async def fail(counters: Counters, attempt: Attempt, times: int) -> None:
    for _ in range(times):
        await counters.failed(attempt)


def at(attempt: Attempt, seconds: float) -> Attempt:
    return replace(attempt, now=NOW + seconds)


# --- lock-out ---------------------------------------------------------------------------------------------------------


async def test_so_many_failures_lock_and_one_fewer_does_not(opened: Opener) -> None:
    counters = await opened.counters(RULES)
    await fail(counters, ANN, 2)
    assert await counters.attempt(ANN) == OPEN
    await fail(counters, ANN, 1)
    assert await counters.attempt(ANN) == Admission(locked_until=NOW + 30)
    assert await counters.locked(1, now=NOW) == [("192.0.2.1", "ann", NOW + 30)]


async def test_a_lock_is_for_one_app_source_and_user(opened: Opener) -> None:
    counters = await opened.counters(RULES)
    await fail(counters, ANN, 3)
    for other in (
        replace(ANN, user_id="bob"),
        replace(ANN, user_id="Ann"),
        replace(ANN, source="192.0.2.2"),
        replace(ANN, sdk_app_id=2),
    ):
        assert await counters.attempt(other) == OPEN, other
    assert await counters.locked(2, now=NOW) == []


async def test_failures_of_several_users_lock_none_of_them(opened: Opener) -> None:
    counters = await opened.counters(RULES)
    for user_id in ("ann", "bob", "eve"):
        await fail(counters, replace(ANN, user_id=user_id), 2)
    for user_id in ("ann", "bob", "eve"):
        assert await counters.attempt(replace(ANN, user_id=user_id)) == OPEN


async def test_a_lock_ends_after_its_duration(opened: Opener) -> None:
    counters = await opened.counters(RULES)
    await fail(counters, ANN, 3)
    assert (await counters.attempt(at(ANN, 29.9))).locked_until == NOW + 30
    assert await counters.attempt(at(ANN, 30)) == OPEN
    assert await counters.locked(1, now=NOW + 30) == []


async def test_failures_older_than_the_window_do_not_count(opened: Opener) -> None:
    counters = await opened.counters(RULES)
    await fail(counters, ANN, 2)
    await fail(counters, at(ANN, 60), 1)
    assert await counters.attempt(at(ANN, 60)) == OPEN
    await fail(counters, at(ANN, 61), 2)
    assert (await counters.attempt(at(ANN, 61))).locked_until == NOW + 91


async def test_a_count_of_zero_never_locks(opened: Opener) -> None:
    counters = await opened.counters(LockRules(failures=0, source_failures=0))
    await fail(counters, ANN, 50)
    assert await counters.attempt(ANN) == OPEN


async def test_who_tries_many_users_is_locked_out_for_all_of_them(opened: Opener) -> None:
    counters = await opened.counters(LockRules(failures=10, source_failures=5, window=60, duration=30))
    for number in range(5):
        await fail(counters, replace(ANN, user_id=f"user-{number}"), 1)
    assert await counters.attempt(replace(ANN, user_id="anybody")) == Admission(source_locked_until=NOW + 30)
    assert await counters.attempt(replace(ANN, source="192.0.2.2")) == OPEN
    assert await counters.attempt(replace(ANN, sdk_app_id=2)) == OPEN
    assert await counters.attempt(at(ANN, 30)) == OPEN
    await fail(counters, at(ANN, 31), 4)
    assert await counters.attempt(at(ANN, 31)) == OPEN
    await fail(counters, at(ANN, 31), 1)
    assert (await counters.attempt(at(ANN, 31))).source_locked_until == NOW + 61


async def test_an_unlocked_user_may_try_again(opened: Opener) -> None:
    counters = await opened.counters(RULES)
    await fail(counters, ANN, 3)
    await fail(counters, replace(ANN, source="192.0.2.2"), 3)
    assert await counters.unlock(1, "bob") == 0
    assert await counters.unlock(1, "ann") == 2
    assert await counters.attempt(ANN) == OPEN


async def test_locks_hold_for_every_server_and_after_a_restart(opened: Opener) -> None:
    first, second = await opened.counters(RULES), await opened.counters(RULES)
    await fail(first, ANN, 2)
    await fail(second, ANN, 1)
    assert (await first.attempt(ANN)).locked_until == NOW + 30
    await first.close()
    await second.close()
    assert (await (await opened.counters(RULES)).attempt(ANN)).locked_until == NOW + 30


async def test_two_hundred_failures_at_a_time_are_all_counted(opened: Opener) -> None:
    rules = LockRules(failures=200, source_failures=0, window=60, duration=30)
    counters, other = await opened.counters(rules, timeout=30), await opened.counters(rules, timeout=30)
    await asyncio.gather(*(store.failed(ANN) for _ in range(100) for store in (counters, other)))
    assert await rows(opened, "failures") == 200
    assert (await counters.attempt(ANN)).locked_until == NOW + 30


# --- clocks that jump -------------------------------------------------------------------------------------------------


async def test_a_clock_set_back_by_a_day_does_not_lock_for_a_day(opened: Opener) -> None:
    counters = await opened.counters(RULES)
    await fail(counters, ANN, 3)
    assert await counters.attempt(at(ANN, -DAY)) == OPEN
    await fail(counters, at(ANN, -DAY), 3)
    assert (await counters.attempt(at(ANN, -DAY))).locked_until == NOW - DAY + 30
    assert await counters.attempt(at(ANN, -DAY + 31)) == OPEN


async def test_a_clock_set_forward_by_a_day_ends_locks_and_forgets_failures(opened: Opener) -> None:
    counters = await opened.counters(RULES)
    await fail(counters, ANN, 2)
    await fail(counters, at(ANN, DAY), 1)
    assert await counters.attempt(at(ANN, DAY)) == OPEN
    await fail(counters, ANN, 3)
    assert await counters.attempt(at(ANN, DAY)) == OPEN


async def test_failures_from_before_a_clock_was_set_back_do_not_lock_at_the_first_slip(opened: Opener) -> None:
    counters = await opened.counters(RULES)
    await fail(counters, ANN, 2)
    await fail(counters, at(ANN, -DAY), 1)
    assert await counters.attempt(at(ANN, -DAY)) == OPEN


# --- rates ------------------------------------------------------------------------------------------------------------


async def test_so_many_logins_of_an_app_pass_in_each_second(opened: Opener) -> None:
    counters = await opened.counters(RULES)
    attempts = [replace(ANN, user_id=f"user-{number}", limit=5) for number in range(8)]
    admitted = [await counters.attempt(attempt) for attempt in attempts]
    assert admitted == [OPEN] * 5 + [Admission(too_many=True)] * 3
    assert await counters.attempt(replace(ANN, sdk_app_id=2, limit=5)) == OPEN
    assert await counters.attempt(at(replace(ANN, limit=5), 0.99)) == Admission(too_many=True)
    assert await counters.attempt(at(replace(ANN, limit=5), 1)) == OPEN
    assert await counters.attempt(ANN) == OPEN


async def test_many_at_a_time_get_exactly_what_there_is(opened: Opener) -> None:
    counters, other = await opened.counters(RULES, timeout=30), await opened.counters(RULES, timeout=30)
    attempts = [replace(ANN, user_id=f"user-{number}", limit=50) for number in range(200)]
    admitted = await asyncio.gather(
        *((counters, other)[number % 2].attempt(attempt) for number, attempt in enumerate(attempts))
    )
    assert admitted.count(OPEN) == 50
    assert admitted.count(Admission(too_many=True)) == 150


async def test_a_failure_gives_back_what_it_took_of_the_rate(opened: Opener) -> None:
    counters = await opened.counters(LockRules(failures=0, source_failures=0))
    guess = replace(ANN, limit=2)
    for _ in range(10):
        assert await counters.attempt(guess) == OPEN
        await counters.failed(guess)
    assert await counters.attempt(guess) == OPEN
    assert await counters.attempt(guess) == OPEN
    assert await counters.attempt(guess) == Admission(too_many=True)


async def test_a_locked_attempt_takes_nothing_of_the_rate(opened: Opener) -> None:
    counters = await opened.counters(RULES)
    await fail(counters, ANN, 3)
    for _ in range(5):
        assert (await counters.attempt(replace(ANN, limit=1))).locked_until == NOW + 30
    assert await counters.attempt(replace(ANN, user_id="bob", limit=1)) == OPEN


async def test_requests_are_counted_by_name_and_second(opened: Opener) -> None:
    counters = await opened.counters()
    assert [await counters.take(Take("rest 1 kick", NOW, 2)) for _ in range(3)] == [True, True, False]
    assert await counters.take(Take("rest 1 check", NOW, 2))
    assert await counters.take(Take("rest 1 kick", NOW + 1, 2))
    assert not await counters.take(Take("rest 1 kick", NOW, 2))


# --- sweeping ---------------------------------------------------------------------------------------------------------


async def test_hours_of_failures_leave_no_more_than_a_few_minutes_of_rows(opened: Opener) -> None:
    counters = await opened.counters(LockRules(failures=1, source_failures=0, window=60, duration=30))
    for minute in range(240):
        attempt = at(Attempt(1, f"192.0.2.{minute}", f"user-{minute}", NOW, limit=9), minute * 60)
        await counters.attempt(attempt)
        await counters.failed(attempt)
    for table, most in (("failures", 3), ("locks", 3), ("windows", 3)):
        assert 1 <= await rows(opened, table) <= most, table


async def test_what_a_clock_of_the_future_left_is_swept_when_the_clock_is_right_again(opened: Opener) -> None:
    counters = await opened.counters(RULES)
    await fail(counters, at(ANN, DAY), 3)
    await counters.take(Take("rest 1", NOW + DAY, 9))
    for seconds in range(0, 120, 20):
        await fail(counters, at(replace(ANN, user_id="bob"), seconds), 1)
        await counters.take(Take("rest 1", NOW + seconds, 9))
    stale = await on(
        beside(opened.database, "counters.db"),
        f"SELECT count(*) FROM failures WHERE at > {NOW + 200} UNION ALL"
        f" SELECT count(*) FROM locks WHERE until > {NOW + 200} UNION ALL"
        f" SELECT count(*) FROM windows WHERE second > {NOW + 200}",
    )
    assert [int(str(count)) for (count,) in stale] == [0, 0, 0]


async def test_an_attempt_that_waited_long_hides_no_lock_from_the_others(opened: Opener) -> None:
    counters = await opened.counters(rules=RULES)
    await fail(counters, ANN, 3)
    late, now = at(ANN, -5), at(ANN, 1)
    assert [found.locked_until for found in await asyncio.gather(counters.attempt(late), counters.attempt(now))] == [
        NOW + 30,
        NOW + 30,
    ]
    assert await counters.take(Take("anything", NOW - 5, 1))  # a server whose clock is behind sweeps nothing away
    assert (await counters.attempt(now)).locked_until == NOW + 30
