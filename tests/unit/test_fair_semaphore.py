"""A fair semaphore: a crowd of one asker takes its share and no more, and nothing that was taken is lost."""

from __future__ import annotations

import asyncio
import random

import pytest
from parlour.accounts.fair_semaphore import (
    MOST_WAITING,
    MOST_WAITING_EACH,
    FairSemaphore,
    FairSemaphores,
    TooManyWaitError,
)


async def soon() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_who_has_the_share_waits_while_others_go_on() -> None:
    semaphore = FairSemaphore(4, 2)
    for _ in range(2):
        await semaphore.acquire("crowd")
    third = asyncio.create_task(semaphore.acquire("crowd"))
    await soon()
    assert not third.done()
    await semaphore.acquire("ann")
    semaphore.release("crowd")
    await third
    assert not semaphore.idle


async def test_when_all_turns_are_taken_the_first_who_may_is_next() -> None:
    semaphore = FairSemaphore(2, 1)
    await semaphore.acquire("a")
    await semaphore.acquire("b")
    order: list[str] = []

    async def wait(asker: str) -> None:
        await semaphore.acquire(asker)
        order.append(asker)

    waiting = []
    for asker in ("a", "c", "d"):
        waiting.append(asyncio.create_task(wait(asker)))
        await soon()
    semaphore.release("b")
    await soon()
    assert order == ["c"]
    semaphore.release("a")
    await soon()
    assert order == ["c", "a"]
    semaphore.release("c")
    await asyncio.gather(*waiting)
    assert order == ["c", "a", "d"]


async def test_who_goes_while_waiting_or_just_when_the_turn_comes_leaves_nothing_taken() -> None:
    semaphore = FairSemaphore(1, 1)
    await semaphore.acquire("a")
    gone, late = asyncio.create_task(semaphore.acquire("b")), asyncio.create_task(semaphore.acquire("c"))
    await soon()
    gone.cancel()
    await asyncio.wait({gone})
    semaphore.release("a")
    late.cancel()  # its turn was given, it has not run since
    await asyncio.wait({late})
    assert late.cancelled()
    assert semaphore.idle


async def test_more_than_may_wait_are_refused_at_once_and_a_crowd_leaves_others_room_to_wait() -> None:
    semaphore = FairSemaphore(1, 1)
    await semaphore.acquire("a")
    crowd = [asyncio.create_task(semaphore.acquire("a")) for _ in range(MOST_WAITING_EACH)]
    await soon()
    with pytest.raises(TooManyWaitError):
        await semaphore.acquire("a")
    others = [asyncio.create_task(semaphore.acquire(f"{n}")) for n in range(MOST_WAITING - MOST_WAITING_EACH)]
    await soon()
    with pytest.raises(TooManyWaitError):
        await semaphore.acquire("one more")
    for task in (*crowd, *others):
        task.cancel()
    await asyncio.wait((*crowd, *others))
    semaphore.release("a")
    assert semaphore.idle


async def test_never_more_than_allowed_have_a_turn_and_all_get_one() -> None:
    semaphore, rng = FairSemaphore(5, 2), random.Random(7)
    having: dict[str, int] = {}
    most = 0
    done = 0

    async def one(asker: str) -> None:
        nonlocal most, done
        try:
            async with asyncio.timeout(rng.choice([0.001, 30])):
                await semaphore.acquire(asker)
        except TimeoutError:
            return
        having[asker] = having.get(asker, 0) + 1
        most = max(most, sum(having.values()))
        assert having[asker] <= 2
        await asyncio.sleep(rng.random() / 1000)
        having[asker] -= 1
        semaphore.release(asker)
        done += 1

    await asyncio.gather(*(one(rng.choice("abcde")) for _ in range(500)))
    assert semaphore.idle
    assert most == 5
    assert done >= 200


async def test_a_name_without_askers_is_forgotten() -> None:
    names = FairSemaphores(2, 1)
    for name in range(100):
        with names.of(name) as semaphore:
            await semaphore.acquire("a")
            semaphore.release("a")
    assert names._by_name == {}
