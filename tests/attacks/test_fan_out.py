"""One participant who wants everything, or the same again and again: 23 of the attack list, beside a call."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING

from tests.attacks.test_call_next_door import loses_nothing_during
from tests.wire import Wire, answer_to, join

if TYPE_CHECKING:
    from tests.attacks.conftest import ServedProcess, StartProcess
    from tests.peers.aiortc_peer import AiortcPeer

FLAPS = 2_000
TRACKS = 10_000
IN_FLIGHT, PAUSE = 100, 0.05
"""Requests at once, and seconds between: 1,000 flaps a second. The call's ends are in this process, too."""


async def flood(wire: Wire, requests: list[dict[str, object]]) -> list[dict[str, object]]:
    """Send requests as fast as they are taken, and answer every offer; their answers."""
    sent, before, ids = 0, len(wire.strays), itertools.count(1_000_000)
    while sent < len(requests):
        for request in requests[sent : sent + IN_FLIGHT]:
            await wire.socket.send(json.dumps({"id": next(ids), **request}))
            sent += 1
        await wire.answered(before + sent)
        await asyncio.sleep(PAUSE)
        while not wire.events.empty():
            event = wire.events.get_nowait()
            if event["type"] == "downlink-offer":
                await wire.ask("downlink-answer", revision=event["revision"], sdp=answer_to(str(event["sdp"])))
    return list(wire.strays)


async def test_who_flaps_a_subscription_and_who_asks_for_ten_thousand_streams_take_nothing_from_a_call(
    serve: StartProcess,
) -> None:
    """ASVS 17.2.5. The bound on messages is raised, so that it is not that one that helps."""
    server: ServedProcess = await serve(LIMITS__MESSAGE_BURST=100_000, LIMITS__MESSAGES_PER_SECOND=100_000)

    async def wants(_: AiortcPeer) -> None:
        mal, _entered = await join(server, "mal")
        flaps = [{"type": kind, "userId": "ann"} for _ in range(FLAPS) for kind in ("subscribe", "unsubscribe")]
        answers = await flood(mal, flaps)
        assert len(answers) == 2 * FLAPS
        wanted = [{"type": "subscribe", "userId": f"nobody-{number}"} for number in range(TRACKS)]
        answers = await flood(mal, wanted)
        assert sum("error" in answer for answer in answers[2 * FLAPS :]) == TRACKS, "there is no such stream"
        await mal.close()

    await loses_nothing_during(server, wants)
