"""WorkQueue: so much work in one turn of the event loop, everybody before anybody twice, users before strangers."""

from __future__ import annotations

import asyncio
from functools import partial

from parlour.doorkeeper import MOST_AT_ONCE, Doorkeeper, DoorLimits
from parlour.work_queue import MOST, WorkQueue


async def test_a_turn_of_the_loop_does_so_much_and_everybody_comes_before_anybody_twice() -> None:
    turns = WorkQueue(clock=lambda: 0.0)
    done: list[int] = []

    def work(number: int) -> None:
        done.append(number)
        turns.ask(partial(done.append, -number))

    for number in range(MOST + 2):
        turns.ask(partial(work, number))
    await asyncio.sleep(0)
    assert done == list(range(MOST))
    for _ in range(4):
        await asyncio.sleep(0)
    assert done == [*range(MOST + 2), *(-number for number in range(MOST + 2))]


async def test_users_come_before_strangers_who_asked_earlier() -> None:
    turns = WorkQueue()
    done: list[str] = []
    turns.ask(lambda: done.append("stranger"))
    turns.ask(lambda: done.append("user"), user=True)
    await asyncio.sleep(0)
    assert done == ["user", "stranger"]


def test_a_source_has_so_many_requests_carried_out_at_once_and_the_next_goes_on_when_one_is_gone() -> None:
    door = Doorkeeper(DoorLimits())
    slots = [slot for _ in range(MOST_AT_ONCE + 2) if (slot := door.admit("a", lambda: None)) is not None]
    woken: list[int] = []
    for number, slot in enumerate(slots):
        if slot.may_go_on(partial(woken.append, number)):
            slot.serving()
    assert woken == []
    other = door.admit("b", lambda: None)
    assert other is not None
    assert other.may_go_on(lambda: None), "only those of that source wait"
    slots[0].served()
    slots[1].release()
    assert woken == [MOST_AT_ONCE, MOST_AT_ONCE + 1]
