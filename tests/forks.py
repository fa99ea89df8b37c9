"""Processes of ``parlour`` that begin with its modules loaded: each is a fork of one that loaded them before.

Loading takes a second of a processor, and tests run hundreds of commands. What a fresh interpreter does, those tests
look at that start one: ``tests/contract/test_cli.py``, ``test_serve.py`` and the packages' own.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from tempfile import TemporaryFile
from typing import Any, BinaryIO

LOADED = ("parlour.cli", "parlour.account_system", "parlour.server", "alembic.command", "aiosqlite", "asyncpg")

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([*LOADED, "tests.forks"])


def _nothing() -> None:
    pass


def _become(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    streams: tuple[Any, Any],
    before: Callable[[], object],
) -> None:
    """In the fork: be ``parlour`` with these arguments."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the process that forks is deaf to Ctrl-C
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream.detach(), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - they live as long as the process
        for number, mode in enumerate("rww")
    )
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["parlour", *arguments]
    before()
    from parlour.cli import main

    try:
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


class Fork:
    """One such process. What it says goes to the files that it was given."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process

    @classmethod
    def start(
        cls,
        *arguments: object,
        env: Mapping[str, str],
        stdout: BinaryIO | int,
        stderr: BinaryIO | int,
        before: Callable[[], object] = _nothing,
    ) -> Fork:
        """Start ``parlour`` with these arguments in that environment, without input. ``before`` is called first."""
        numbers = [one if isinstance(one, int) else one.fileno() for one in (stdout, stderr)]
        process = _context.Process(
            target=_become,
            args=(tuple(map(str, arguments)), dict(env), tuple(DupFd(number) for number in numbers), before),
            daemon=True,
        )
        process.start()
        return cls(process)

    def kill(self) -> None:
        """``kill -9``; nothing if it has ended."""
        self._process.kill()

    async def wait(self, seconds: float | None = None) -> int:
        """Its exit status, the negative signal where one ended it. TimeoutError when it does not end in time."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            async with asyncio.timeout(seconds):
                await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def join(self, seconds: float) -> int:
        """The same without an event loop; killed, it is -9, when it does not end in time."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self.kill()
            self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    status: int
    out: bytes
    err: bytes


@contextlib.contextmanager
def _outputs() -> Iterator[tuple[BinaryIO, BinaryIO, Callable[[int], Ended]]]:
    with TemporaryFile() as out, TemporaryFile() as err:

        def ended(status: int) -> Ended:
            for stream in (out, err):
                stream.seek(0)
            return Ended(status, out.read(), err.read())

        yield out, err, ended


async def run(*arguments: object, env: Mapping[str, str], seconds: float) -> Ended:
    """Run ``parlour`` to its end. TimeoutError, and it is gone, when it does not come in time."""
    with _outputs() as (out, err, ended):
        fork = Fork.start(*arguments, env=env, stdout=out, stderr=err)
        try:
            return ended(await fork.wait(seconds))
        except BaseException:
            fork.join(0)
            raise


def run_now(
    *arguments: object, env: Mapping[str, str], seconds: float, before: Callable[[], object] = _nothing
) -> Ended:
    """The same without an event loop; its status is -9 when it was not in time."""
    with _outputs() as (out, err, ended):
        return ended(Fork.start(*arguments, env=env, stdout=out, stderr=err, before=before).join(seconds))
