"""What a client wants to receive changes while it is asked for."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from parlour.client.downlink import Downlink
from parlour.client.peer_connection import PeerConnection
from parlour.errors import ErrorCode, RtcError
from parlour.protocol import messages as m

Ok = TypeVar("Ok", bound=m.Message)


async def test_a_stream_that_goes_in_the_moment_before_it_is_asked_for_is_not_asked_for() -> None:
    asked: list[str] = []

    async def ask(request: m.Request, answer: type[Ok]) -> Ok:
        assert isinstance(request, m.Subscribe)
        asked.append(request.user_id)
        raise RtcError(ErrorCode.REMOTE_STREAM_NOT_EXIST, "it went")

    downlink = Downlink(ask, lambda codecs: PeerConnection("127.0.0.1", codecs), asyncio.Event(), lambda problem: None)
    subscribing = [
        asyncio.create_task(downlink.subscribe((name, "main"), audio=True, video=True)) for name in ("a", "b")
    ]
    await asyncio.sleep(0)
    step = asyncio.create_task(downlink.step())
    await asyncio.sleep(0)  # the step has seen what is wanted; the requests begin a moment later
    downlink.gone(("a", "main"))
    assert await step == 0
    assert asked == ["b"]
    for task in subscribing:
        task.cancel()
    await asyncio.gather(*subscribing, return_exceptions=True)
