"""A call goes on while the numbers are asked for every 10 ms by many: with the right to, without it, and beside it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.attacks.test_call_next_door import loses_nothing_during

if TYPE_CHECKING:
    from tests.attacks.conftest import StartProcess
    from tests.peers.aiortc_peer import AiortcPeer

SECONDS = 6.0
SCRAPERS = 4
INTERVAL = 0.01


def value(text: str, name: str) -> float:
    """A metric without labels."""
    (family,) = [one for one in text_string_to_metric_families(text) if f"{one.name}_total" == name]
    return family.samples[0].value


async def test_a_scrape_every_10_ms_by_several_takes_nothing_from_a_call(serve: StartProcess) -> None:
    server = await serve()
    told: dict[str, float] = {}

    async def scrape(_: AiortcPeer) -> None:
        began = time.monotonic()
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            before = (await client.get("/metrics")).text

            async def often(headers: dict[str, str], status: int) -> None:
                while time.monotonic() - began < SECONDS:
                    answer = await client.get("/metrics", headers=headers)
                    assert answer.status_code == status
                    await asyncio.sleep(INTERVAL)

            await asyncio.gather(
                *(often({}, 200) for _ in range(SCRAPERS)),
                often({"X-Forwarded-For": "198.51.100.1"}, 403),
                often({"Authorization": "Bearer guessed-guessed-guessed"}, 401),
            )
            after = (await client.get("/metrics")).text
        for name in ("parlour_scrapes_total", "parlour_expositions_total"):
            told[name] = value(after, name) - value(before, name)
        told["seconds"] = time.monotonic() - began

    await loses_nothing_during(server, scrape)
    assert told["parlour_expositions_total"] <= told["seconds"] + 2, told
    assert told["parlour_scrapes_total"] > 3 * told["parlour_expositions_total"], told
