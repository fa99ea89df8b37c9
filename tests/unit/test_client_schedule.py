"""When a lost channel is tried again, and the order of operations."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from parlour.client.call_queue import SESSION, CallQueue
from parlour.client.schedule import delays, is_unknown_session, may_pass
from parlour.errors import ErrorCode, RtcError


def test_the_first_attempts_come_soon_and_no_step_is_longer_than_five_seconds() -> None:
    longest = list(itertools.islice(delays(itertools.repeat(0.0)), 8))
    assert longest == [0, 0.5, 1, 2, 4, 5, 5, 5]
    shortest = list(itertools.islice(delays(itertools.repeat(1.0)), 8))
    assert shortest == [0.75 * delay for delay in longest]


@pytest.mark.parametrize(
    ("code", "extra", "passes"),
    [
        (ErrorCode.SIGNAL_CHANNEL_ERROR, None, True),
        (ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, None, False),
        (ErrorCode.API_CALL_TIMEOUT, None, True),
        (ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, ErrorCode.LOGIN_STATE_STORE_UNAVAILABLE, True),
        (ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, ErrorCode.LOGIN_RATE_EXCEEDED, True),
        (ErrorCode.JOIN_ROOM_FAILED, ErrorCode.MEDIA_NODE_UNAVAILABLE, True),
        (ErrorCode.UNKNOWN, None, True),
        (ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, ErrorCode.LOGIN_STATE_INVALID, False),
        (ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, ErrorCode.USERSIG_EXPIRED, False),
        (ErrorCode.JOIN_ROOM_FAILED, ErrorCode.ROOM_FULL, False),
        (ErrorCode.INVALID_PARAMETER, None, False),
    ],
)
def test_what_the_server_decided_is_final_and_what_it_lacks_may_pass(
    code: ErrorCode, extra: ErrorCode | None, passes: bool
) -> None:
    assert may_pass(RtcError(code, extra=extra)) is passes


def test_an_unknown_session_is_told_by_its_own_code() -> None:
    assert is_unknown_session(RtcError(ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, extra=ErrorCode.SESSION_UNKNOWN))
    assert not is_unknown_session(RtcError(ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, extra=ErrorCode.LOGIN_STATE_INVALID))


async def test_operations_take_turns_in_the_order_of_their_calls_and_other_things_do_not_wait() -> None:
    turns, done = CallQueue(), []
    gate = asyncio.Event()

    async def work(name: str) -> None:
        if name.startswith("slow"):
            await gate.wait()
        done.append(name)

    async def last() -> None:
        await turns.run("b", lambda: work("other"))
        gate.set()

    await asyncio.gather(
        turns.run(SESSION, lambda: work("join")),
        turns.run("a", lambda: work("slow a")),
        turns.run("a", lambda: work("second a")),
        last(),
    )
    assert done == ["join", "other", "slow a", "second a"]


async def test_what_is_aborted_raises_the_reason_and_what_comes_later_runs() -> None:
    turns = CallQueue()
    forever = asyncio.ensure_future(turns.run("a", asyncio.Event().wait))
    waiting = asyncio.ensure_future(turns.run("a", asyncio.Event().wait))
    await asyncio.sleep(0)
    turns.abort(RtcError(ErrorCode.INVALID_OPERATION, "left"))
    for task in (forever, waiting):
        with pytest.raises(RtcError, match="left"):
            await task

    async def work() -> str:
        return "done"

    assert await turns.run("a", work) == "done"
