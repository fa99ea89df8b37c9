"""Turns: a crowd of one asker takes its share and no more, and nothing that was taken is lost."""

from __future__ import annotations

import asyncio
import random

import pytest
from parlour.accounts.turns import MOST_WAITING, NoTurnError, Turns, TurnsByName


async def soon() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_who_has_the_share_waits_while_others_go_on() -> None:
    turns = Turns(4, 2)
    for _ in range(2):
        await turns.take("crowd")
    third = asyncio.create_task(turns.take("crowd"))
    await soon()
    assert not third.done()
    await turns.take("ann")
    turns.give_back("crowd")
    await third
    assert not turns.idle


async def test_when_all_turns_are_taken_the_first_who_may_is_next() -> None:
    turns = Turns(2, 1)
    await turns.take("a")
    await turns.take("b")
    order: list[str] = []

    async def wait(asker: str) -> None:
        await turns.take(asker)
        order.append(asker)

    waiting = []
    for asker in ("a", "c", "d"):
        waiting.append(asyncio.create_task(wait(asker)))
        await soon()
    turns.give_back("b")
    await soon()
    assert order == ["c"]
    turns.give_back("a")
    await soon()
    assert order == ["c", "a"]
    turns.give_back("c")
    await asyncio.gather(*waiting)
    assert order == ["c", "a", "d"]


async def test_who_goes_while_waiting_or_just_when_the_turn_comes_leaves_nothing_taken() -> None:
    turns = Turns(1, 1)
    await turns.take("a")
    gone, late = asyncio.create_task(turns.take("b")), asyncio.create_task(turns.take("c"))
    await soon()
    gone.cancel()
    await asyncio.wait({gone})
    turns.give_back("a")
    late.cancel()  # its turn was given, it has not run since
    await asyncio.wait({late})
    assert late.cancelled()
    assert turns.idle


async def test_more_than_may_wait_are_refused_at_once() -> None:
    turns = Turns(1, 1)
    await turns.take("a")
    waiting = [asyncio.create_task(turns.take("a")) for _ in range(MOST_WAITING)]
    await soon()
    with pytest.raises(NoTurnError):
        await turns.take("a")
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    turns.give_back("a")
    assert turns.idle


async def test_never_more_than_allowed_have_a_turn_and_all_get_one() -> None:
    turns, rng = Turns(5, 2), random.Random(7)
    having: dict[str, int] = {}
    most = 0
    done = 0

    async def one(asker: str) -> None:
        nonlocal most, done
        try:
            async with asyncio.timeout(rng.choice([0.001, 30])):
                await turns.take(asker)
        except TimeoutError:
            return
        having[asker] = having.get(asker, 0) + 1
        most = max(most, sum(having.values()))
        assert having[asker] <= 2
        await asyncio.sleep(rng.random() / 1000)
        having[asker] -= 1
        turns.give_back(asker)
        done += 1

    await asyncio.gather(*(one(rng.choice("abcde")) for _ in range(500)))
    assert turns.idle
    assert most == 5
    assert done >= 200


async def test_a_name_without_askers_is_forgotten() -> None:
    names = TurnsByName(2, 1)
    for name in range(100):
        with names.of(name) as turns:
            await turns.take("a")
            turns.give_back("a")
    assert names._by_name == {}
