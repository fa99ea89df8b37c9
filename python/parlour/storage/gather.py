"""Many questions, one query: while one query is under way, those who ask meanwhile are gathered for the next.

A query costs the same for one answer as for a hundred, nearly. So a busy server asks the store a few hundred times a
second, however many log in, and a quiet one waits for nothing. Nothing is cached: every answer is read after it was
asked for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from parlour.storage.errors import StorageError, StoreTimeoutError, StoreUnreachableError, UnwritableError

Question = TypeVar("Question")
Answer = TypeVar("Answer")

MOST = 256
"""Questions that one query answers at most."""

_ALL_ALIKE = (StoreTimeoutError, StoreUnreachableError, UnwritableError)
"""Failures of the store itself; others may be one question's fault, so the rest is asked again without it."""


class Gather(Generic[Question, Answer]):
    """``run(questions, alone)`` answers a list, in order, an exception standing for a question that fails by itself.

    ``alone`` tells that it is one question again after its batch failed. ``timeout`` is in seconds, from the asking.
    """

    def __init__(
        self,
        run: Callable[[list[Question], bool], Awaitable[Sequence[Answer | StorageError]]],
        *,
        timeout: float,
    ) -> None:
        self._run = run
        self._timeout = timeout
        self._waiting: deque[tuple[Question, asyncio.Future[Answer]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """The answer, or the exception that stands for it; ``StoreTimeoutError`` when it is not there in time."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((question, future))
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        late = loop.call_later(self._timeout, _expire, future, self._timeout)
        try:
            return await future
        finally:
            late.cancel()

    async def close(self) -> None:
        """Wait until what was asked is done, also what nobody waits for any more."""
        if self._worker is not None:
            await asyncio.wait({self._worker})

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch: list[tuple[Question, asyncio.Future[Answer]]] = []
                while self._waiting and len(batch) < MOST:
                    asked = self._waiting.popleft()
                    if not asked[1].done():  # nobody waits for it any more
                        batch.append(asked)
                if batch:
                    await self._answer(batch)
        finally:
            self._worker = None

    async def _answer(self, batch: list[tuple[Question, asyncio.Future[Answer]]], alone: bool = False) -> None:
        try:
            answers: Sequence[Answer | StorageError] = await self._run([question for question, _ in batch], alone)
        except Exception as error:
            if len(batch) > 1 and isinstance(error, StorageError) and not isinstance(error, _ALL_ALIKE):
                for asked in batch:
                    await self._answer([asked], alone=True)
                return
            for _, future in batch:
                _settle(future, error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            _settle(future, answer)


def _settle(future: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _expire(future: asyncio.Future[Answer], timeout: float) -> None:
    if not future.done():
        future.set_exception(StoreTimeoutError(f"No answer within {timeout:g} s."))
