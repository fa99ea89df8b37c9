"""A server that is killed in the middle of imports, over and over: what it acknowledged is there."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
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
from tests.forks import Fork
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

    async def run(self, url: str, process: Fork, kill_after: int) -> None:
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


@dataclass(frozen=True)
class Launched:
    """A server that is about to start, and what it says."""

    process: Fork
    said: asyncio.StreamReader


async def launched(stack: AsyncExitStack, data: Path, database: str) -> Launched:
    """A real server; it does not outlive the stack."""
    environment = os.environ | UNLIMITED | ({"PARLOUR_DATABASE": database} if database else {})
    arguments = ("serve", "--json", "--log-json", "--data", data, "--port", "0", "--media-port", "0")
    read, write = os.pipe()
    with (data.parent / "log").open("ab") as log:
        process = Fork.start(*arguments, env=environment, stdout=write, stderr=log)
    os.close(write)
    stack.callback(process.join, 0)
    said = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(said), os.fdopen(read, "rb")
    )
    stack.callback(pipe.close)
    return Launched(process, said)


async def url_of(server: Launched) -> str:
    """Where it listens, once it does."""
    async with asyncio.timeout(60):
        line = await server.said.readline()
    assert line, "It did not start; its log says why."
    return str(json.loads(line)["url"])


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
        for _ in range(times):
            server = await launched(stack, data, database)
            url = await url_of(server)
            await importers.run(url, server.process, drawn.randint(1, MOST_BEFORE_THE_KILL))
            assert await server.process.wait(60) == -signal.SIGKILL
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
