"""Gathering questions: each gets its own answer, in order and in time, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import pytest
from parlour.storage.batcher import MOST, Batcher, Budget
from parlour.storage.errors import ConflictError, StorageError, StoreTimeoutError, StoreUnreachableError

Answers = Sequence[int | StorageError]


class Store:
    """Answers a question with its double, when it is let; ``answer`` may do otherwise."""

    def __init__(self, answer: Callable[[list[int], bool], Answers] | None = None, *, timeout: float = 20) -> None:
        self.batches: list[tuple[list[int], bool]] = []
        self.free = asyncio.Event()
        self.free.set()
        self.batcher: Batcher[int, int] = Batcher(self._run, timeout=timeout)
        self._answer = answer or (lambda questions, alone: [2 * question for question in questions])

    async def _run(self, questions: list[int], budget: Budget) -> Answers:
        alone = budget.retries == 0
        self.batches.append((questions, alone))
        await self.free.wait()
        return self._answer(questions, alone)

    async def hold_up(self) -> asyncio.Task[int]:
        """A question 0 that is being answered until ``free`` is set; whoever asks now is gathered."""
        self.free.clear()
        first = asyncio.create_task(self.batcher.ask(0))
        await until(lambda: len(self.batches) == 1)
        return first


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


async def ask_all(store: Store, questions: Sequence[int]) -> list[int | BaseException]:
    return await asyncio.gather(*map(store.batcher.ask, questions), return_exceptions=True)


async def test_one_question_is_asked_at_once() -> None:
    store = Store()
    assert await store.batcher.ask(7) == 14
    assert store.batches == [([7], False)]


async def test_questions_asked_meanwhile_are_one_batch_in_their_order() -> None:
    store = Store()
    first = await store.hold_up()
    rest = asyncio.create_task(ask_all(store, [5, 3, 9, 3]))
    await asyncio.sleep(0)
    store.free.set()
    assert await rest == [10, 6, 18, 6]
    assert await first == 0
    assert store.batches == [([0], False), ([5, 3, 9, 3], False)]


async def test_a_batch_has_a_bound_and_the_rest_comes_next() -> None:
    store = Store()
    first = await store.hold_up()
    rest = asyncio.create_task(ask_all(store, range(1, 2 * MOST + 11)))
    await asyncio.sleep(0)
    store.free.set()
    assert await rest == [2 * question for question in range(1, 2 * MOST + 11)]
    await first
    assert [len(questions) for questions, _ in store.batches] == [1, MOST, MOST, 10]


async def test_an_error_in_the_answers_is_that_questions_alone() -> None:
    def answer(questions: list[int], alone: bool) -> Answers:
        return [StorageError(f"no {question}") if question == 3 else question for question in questions]

    store = Store(answer)
    first = await store.hold_up()
    rest = asyncio.create_task(ask_all(store, [1, 3, 5]))
    await asyncio.sleep(0)
    store.free.set()
    one, three, five = await rest
    await first
    assert (one, str(three), five) == (1, "no 3", 5)
    assert len(store.batches) == 2


async def test_a_batch_that_fails_is_asked_again_one_by_one() -> None:
    def answer(questions: list[int], alone: bool) -> Answers:
        if 3 in questions:
            raise ConflictError("3 is in the way")
        return questions

    store = Store(answer)
    first = await store.hold_up()
    rest = asyncio.create_task(ask_all(store, [1, 3, 5]))
    await asyncio.sleep(0)
    store.free.set()
    one, three, five = await rest
    await first
    assert (one, five) == (1, 5)
    assert isinstance(three, ConflictError)
    assert store.batches[1:] == [([1, 3, 5], False), ([1], True), ([3], True), ([5], True)]


@pytest.mark.parametrize("error", [StoreTimeoutError("late"), StoreUnreachableError("gone"), OSError("what?")])
async def test_where_the_store_itself_fails_all_fail_and_nobody_is_asked_again(error: Exception) -> None:
    def answer(questions: list[int], alone: bool) -> Answers:
        raise error

    store = Store(answer)
    first = await store.hold_up()
    rest = asyncio.create_task(ask_all(store, [1, 3, 5]))
    await asyncio.sleep(0)
    store.free.set()
    assert await rest == [error, error, error]
    assert await asyncio.gather(first, return_exceptions=True) == [error]
    assert len(store.batches) == 2


async def test_after_a_failure_the_next_question_is_answered() -> None:
    failing = True

    def answer(questions: list[int], alone: bool) -> Answers:
        if failing:
            raise StoreUnreachableError("gone")
        return questions

    store = Store(answer)
    with pytest.raises(StoreUnreachableError):
        await store.batcher.ask(1)
    failing = False
    assert await store.batcher.ask(2) == 2


async def test_a_question_that_waits_too_long_is_a_timeout_and_is_not_asked_any_more() -> None:
    store = Store(timeout=0.1)
    first = await store.hold_up()
    began = time.monotonic()
    with pytest.raises(StoreTimeoutError, match=r"^No answer within 0\.1 s\.$"):
        await store.batcher.ask(1)
    assert 0.1 <= time.monotonic() - began < 5
    store.free.set()
    assert await first == 0  # it was under way: only the store knows what was done, and ends in time by itself
    await store.batcher.close()
    assert store.batches == [([0], False)]


async def test_who_was_cancelled_is_not_asked_for_and_the_others_are() -> None:
    store = Store()
    first = await store.hold_up()
    one, two, three = (asyncio.create_task(store.batcher.ask(question)) for question in (1, 2, 3))
    await asyncio.sleep(0)
    two.cancel()
    first.cancel()
    await asyncio.sleep(0)
    store.free.set()
    assert await asyncio.gather(one, three) == [2, 6]
    assert two.cancelled()
    assert first.cancelled()
    assert store.batches == [([0], False), ([1, 3], False)]


async def test_closing_waits_for_what_is_under_way() -> None:
    store = Store()
    first = await store.hold_up()
    second = asyncio.create_task(store.batcher.ask(1))
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.batcher.close())
    await asyncio.sleep(0)
    assert not closing.done()
    store.free.set()
    await closing
    assert await asyncio.gather(first, second) == [0, 2]


async def test_closing_one_that_was_never_asked_is_nothing() -> None:
    await Store().batcher.close()


async def test_who_has_time_left_when_the_oldest_of_the_batch_has_none_is_asked_again() -> None:
    def answer(questions: list[int], alone: bool) -> Answers:
        if questions == [1, 2]:
            while time.monotonic() < old_ends:  # the store takes all the time that the oldest has
                time.sleep(0.01)
            raise StoreTimeoutError("the time of the oldest is over")
        return [2 * question for question in questions]

    store = Store(answer)
    first = await store.hold_up()
    store.batcher._timeout = 1.0
    old = asyncio.create_task(store.batcher.ask(1))
    await asyncio.sleep(0)
    store.batcher._timeout, old_ends = 20, time.monotonic() + 1.1
    young = asyncio.create_task(store.batcher.ask(2))
    await asyncio.sleep(0)
    store.free.set()
    assert await asyncio.gather(first, young) == [0, 4]
    with pytest.raises(StoreTimeoutError, match="the time of the oldest is over"):
        await old
    assert store.batches == [([0], False), ([1, 2], False), ([2], False)]
