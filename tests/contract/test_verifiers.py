"""Verifiers of the operator's own that are slow: each has a bound of its own, and a share for each address."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from parlour.accounts.plugins import MOST_CALLS_PER_SOURCE, Applicant

from tests.contract.stores import APP, Opener, Service, opener
from tests.databases import AnyDatabase
from tests.peers.third_parties import until

release = threading.Event()
calls: list[str] = []


def brooding(applicant: Applicant) -> None:
    """Comes to no end for users whose names begin with "slow"."""
    calls.append(applicant.user_id)
    if applicant.user_id.startswith("slow"):
        release.wait(60)


async def dreaming(applicant: Applicant) -> None:
    """The same in the server's loop."""
    calls.append(applicant.user_id)
    if applicant.user_id.startswith("slow"):
        await asyncio.Event().wait()


@pytest.fixture
async def opened(database: AnyDatabase, tmp_path: Path) -> AsyncIterator[Opener]:
    release.clear()
    calls.clear()
    async with opener(database, tmp_path) as stores:
        yield stores
    release.set()


@pytest.fixture(params=["brooding", "dreaming"])
async def service(request: pytest.FixtureRequest, opened: Opener) -> Service:
    return await opened.service(plugins__verifiers=(f"{__name__}:{request.param}",))


async def test_sixty_logins_over_which_a_verifier_broods_hold_up_nobody_elsewhere(service: Service) -> None:
    crowd = [asyncio.create_task(service.refusal(f"slow-{number}", source="192.0.2.66")) for number in range(60)]
    await until(lambda: len(calls) == MOST_CALLS_PER_SOURCE)
    async with asyncio.timeout(2):  # a verifier has three seconds, so none of the crowd has given up
        await service.login("ann", source="198.51.100.7")
    assert {code for code, _ in await asyncio.gather(*crowd)} == {70017}
    assert await service.stores.counters.locked(APP, now=service.clock.now) == []


async def test_a_thread_that_is_stuck_keeps_its_place_until_it_ends(opened: Opener) -> None:
    service = await opened.service(plugins__verifiers=(f"{__name__}:brooding",))
    for _ in range(2):
        crowd = [service.refusal(f"slow-{number}", source="192.0.2.66") for number in range(MOST_CALLS_PER_SOURCE)]
        assert {code for code, _ in await asyncio.gather(*crowd)} == {70017}
    assert len(calls) == MOST_CALLS_PER_SOURCE
    release.set()
    await service.login("ann", source="192.0.2.66")


async def test_verifiers_do_not_wait_for_each_other(opened: Opener) -> None:
    """Nor does anything else that needs a thread wait for those that are stuck in one."""
    service = await opened.service(plugins__verifiers=(f"{__name__}:brooding",))
    crowd = [
        asyncio.create_task(service.refusal(f"slow-{number}", source=f"192.0.2.{number % 4}")) for number in range(64)
    ]
    await until(lambda: len(calls) == 64)
    async with asyncio.timeout(2):
        assert await asyncio.to_thread(lambda: "a thread of the loop's own") == "a thread of the loop's own"
    assert {code for code, _ in await asyncio.gather(*crowd)} == {70017}


def leaving(applicant: Applicant) -> None:
    """Ends in a way of which a thread tells nobody."""
    if applicant.user_id.startswith("slow"):
        raise SystemExit("the verifier gives up")


async def test_a_verifier_that_calls_for_the_end_of_the_process_keeps_no_turn(opened: Opener) -> None:
    service = await opened.service(plugins__verifiers=(f"{__name__}:leaving",))
    for number in range(MOST_CALLS_PER_SOURCE):
        code, _ = await service.refusal(f"slow-{number}", source="192.0.2.66")
        assert code == 70308, "it answered, if in a way of its own, and did not take too long"
    async with asyncio.timeout(2):
        await service.login("ann", source="192.0.2.66")
