"""A server that is killed in the middle of imports, over and over: what it acknowledged is there."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from parlour.storage import Account, Storage
from parlour.usersig import sign_v2

from tests.databases import SqliteDatabase
from tests.postgres import Cluster

APP = 1400000001
ADMIN = "administrator"
IMPORTERS = 12
MOST_BEFORE_THE_KILL = 80
UNLIMITED = {"PARLOUR_RATES__ACCOUNT_IMPORT": "0", "PARLOUR_ADMIN__REQUESTS_PER_SECOND": "0"}


@dataclass
class Importers:
    """Back ends that import accounts at the same time and write down which of them were acknowledged."""

    user_sig: str
    numbers: Iterator[int] = field(default_factory=itertools.count)
    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)

    async def run(self, url: str, process: asyncio.subprocess.Process, kill_after: int) -> None:
        """Import into a server, which is killed at the acknowledgement of that number, until nobody answers."""
        enough = len(self.acknowledged) + kill_after
        parameters = {
            "sdkappid": str(APP), "identifier": ADMIN, "usersig": self.user_sig, "random": "1", "contenttype": "json",
        }  # fmt: skip

        async def one(client: httpx.AsyncClient) -> None:
            while True:
                user_id = f"user-{next(self.numbers)}"
                self.sent.add(user_id)
                answer = await client.post(
                    "/v4/im_open_login_svc/account_import", params=parameters, json={"UserID": user_id, "Nick": user_id}
                )
                said = answer.json()
                assert said["ErrorCode"] == 0, said
                self.acknowledged.add(user_id)
                if len(self.acknowledged) == enough:
                    process.kill()

        async def until_nobody_answers(client: httpx.AsyncClient) -> None:
            with suppress(httpx.TransportError):
                await one(client)

        async with httpx.AsyncClient(base_url=url, timeout=30, verify=False) as client:
            await asyncio.gather(*(until_nobody_answers(client) for _ in range(IMPORTERS)))


async def launched(stack: AsyncExitStack, data: Path, database: str) -> asyncio.subprocess.Process:
    """A real server that is about to start; it does not outlive the stack."""
    environment = os.environ | UNLIMITED | ({"PARLOUR_DATABASE": database} if database else {})
    stderr = stack.enter_context((data.parent / "log").open("ab"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "parlour", "serve", "--json", "--log-json",
        "--data", str(data), "--port", "0", "--media-port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=stderr, env=environment,
    )  # fmt: skip
    stack.push_async_callback(ended, process)
    return process


async def url_of(process: asyncio.subprocess.Process) -> str:
    """Where it listens, once it does."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        line = await process.stdout.readline()
    assert line, "It did not start; its log says why."
    return str(json.loads(line)["url"])


async def ended(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def killed_while_importing(data: Path, database: str, times: int) -> tuple[Importers, list[Account]]:
    """Who was imported, and what the store holds after so many kills."""
    now = int(time.time())
    async with await Storage.open(data, url=database) as store:
        app = await store.create_app(APP, now=now)
    importers = Importers(sign_v2(APP, ADMIN, app.keys.secrets[0], now=now))
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown when the test fails
    drawn = random.Random(seed)
    async with AsyncExitStack() as stack:
        following = await launched(stack, data, database)
        for number in range(times):
            process = following
            url = await url_of(process)
            if number + 1 < times:  # loads its code while this one works, and as a rule opens the store after its end
                following = await launched(stack, data, database)
            await importers.run(url, process, drawn.randint(1, MOST_BEFORE_THE_KILL))
            assert await process.wait() == -signal.SIGKILL
    found: list[Account] = []
    async with await Storage.open(data, url=database) as store:
        while page := await store.accounts.page(APP, after=found[-1].user_id if found else "", limit=1000):
            found += page
    return importers, found


def nothing_was_lost(importers: Importers, found: list[Account], times: int) -> None:
    stored = {account.user_id for account in found}
    assert len(importers.acknowledged) >= times, "each server has acknowledged something"
    assert importers.acknowledged - stored == set(), "acknowledged, but not there"
    assert stored - importers.sent == set(), "there, but never sent"
    assert [account for account in found if account.nick != account.user_id] == [], "half-written"


@pytest.mark.timeout(600)
async def test_a_hundred_kills_lose_no_acknowledged_account(tmp_path: Path) -> None:
    importers, found = await killed_while_importing(tmp_path / "data", "", 100)
    nothing_was_lost(importers, found, 100)
    database = SqliteDatabase(tmp_path / "data" / "parlour.db")
    assert database.sql("PRAGMA integrity_check") == [("ok",)]
    assert database.sql("PRAGMA foreign_key_check") == []


@pytest.mark.timeout(300)
async def test_twenty_kills_lose_no_acknowledged_account_in_postgresql(
    postgres_cluster: Cluster, tmp_path: Path
) -> None:
    database = postgres_cluster.new_database()
    importers, found = await killed_while_importing(tmp_path / "data", database.url, 20)
    nothing_was_lost(importers, found, 20)
    database.drop()
