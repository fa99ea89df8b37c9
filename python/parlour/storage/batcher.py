"""Many questions, one query: while one query is under way, those who ask meanwhile are gathered for the next.

A query costs the same for one answer as for a hundred, nearly. So a busy server asks the store a few hundred times a
second, however many log in, and a quiet one waits for nothing. Nothing is cached: every answer is read after it was
asked for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from parlour.storage.database import RETRIES
from parlour.storage.errors import (
    ContendedError,
    StorageError,
    StoreTimeoutError,
    StoreUnreachableError,
    UnwritableError,
)

Question = TypeVar("Question")
Answer = TypeVar("Answer")

MOST = 256
"""Questions that one query answers at most."""

_ALL_ALIKE = (StoreTimeoutError, StoreUnreachableError, UnwritableError, ContendedError)
"""Failures of the store itself; others may be one question's fault, so the rest is asked again without it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one query may take: seconds, and further attempts of a write that met another one."""

    within: float
    retries: int = RETRIES


class _Pending(Generic[Question, Answer]):
    """A question that waits for its answer until a moment of the loop's clock."""

    __slots__ = ("answer", "deadline", "question", "under_way")

    def __init__(self, question: Question, answer: asyncio.Future[Answer], deadline: float) -> None:
        self.question = question
        self.answer = answer
        self.deadline = deadline
        self.under_way = False

    def settle(self, answer: Answer | Exception) -> None:
        if self.answer.done():
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class Batcher(Generic[Question, Answer]):
    """``run(questions, budget)`` answers a list, in order, an exception standing for a question that fails by itself.

    It ends within the budget's seconds. ``timeout`` is in seconds, from the asking. When a batch fails by the fault of
    one question, each is asked again by itself, without retries.
    """

    def __init__(
        self,
        run: Callable[[list[Question], Budget], Awaitable[Sequence[Answer | StorageError]]],
        *,
        timeout: float,
    ) -> None:
        self._run = run
        self._timeout = timeout
        self._waiting: deque[_Pending[Question, Answer]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """The answer, or the exception that stands for it; ``StoreTimeoutError`` when it is not there in time."""
        loop = asyncio.get_running_loop()
        asked = _Pending[Question, Answer](question, loop.create_future(), loop.time() + self._timeout)
        self._waiting.append(asked)
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        late = loop.call_at(asked.deadline, self._expire, asked)
        try:
            return await asked.answer
        finally:
            late.cancel()

    async def close(self) -> None:
        """Wait until what was asked is done, also what nobody waits for any more."""
        if self._worker is not None:
            await asyncio.wait({self._worker})

    def _expire(self, asked: _Pending[Question, Answer]) -> None:
        # Once its query is under way, the store decides: it ends at this moment too, and only it knows what was done.
        if not asked.under_way:
            asked.settle(StoreTimeoutError(f"No answer within {self._timeout:g} s."))

    async def _work(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # whoever asks in this turn of the loop comes along
                batch: list[_Pending[Question, Answer]] = []
                while self._waiting and len(batch) < MOST:
                    asked = self._waiting.popleft()
                    if not asked.answer.done():  # nobody waits for it any more
                        asked.under_way = True
                        batch.append(asked)
                if batch:
                    await self._answer(batch, RETRIES)
        finally:
            self._worker = None

    def _put_back(self, batch: list[_Pending[Question, Answer]]) -> list[_Pending[Question, Answer]]:
        """When the oldest question's time is over, so is the batch's; others have some left. Returns those without."""
        now = asyncio.get_running_loop().time()
        over = [asked for asked in batch if asked.deadline <= now]
        if not over:
            return batch  # it was not their time that ended it
        for asked in reversed(batch):
            if asked.deadline > now:
                asked.under_way = False
                self._waiting.appendleft(asked)
        return over

    async def _answer(self, batch: list[_Pending[Question, Answer]], retries: int) -> None:
        within = min(asked.deadline for asked in batch) - asyncio.get_running_loop().time()
        try:
            answers: Sequence[Answer | StorageError] = await self._run(
                [asked.question for asked in batch], Budget(max(0.0, within), retries)
            )
        except Exception as error:
            if len(batch) > 1 and isinstance(error, StorageError) and not isinstance(error, _ALL_ALIKE):
                for asked in batch:
                    await self._answer([asked], 0)
                return
            if isinstance(error, StoreTimeoutError):
                batch = self._put_back(batch)
            for asked in batch:
                asked.settle(error)
            return
        for asked, answer in zip(batch, answers, strict=True):
            asked.settle(answer)
