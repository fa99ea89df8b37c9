"""Three stores apart, on both databases, so that a scenario can break each of them alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.broken import SmallDisk
from tests.conftest import RunningServer, StartServer
from tests.databases import AnyDatabase, SqliteDatabase, snapshot
from tests.postgres import Cluster
from tests.wire import Wire

VOLATILE = frozenset({"logins", "failures", "locks", "windows"})
"""Tables that also a refused request may write to: who is online, and what is counted."""


@dataclass(frozen=True)
class Stores:
    """Where the server under test keeps what."""

    accounts: AnyDatabase
    login_state: AnyDatabase
    counters: AnyDatabase

    @property
    def settings(self) -> dict[str, str]:
        """What ``start_server`` is given."""
        return {"database": self.accounts.url, "login_state": self.login_state.url, "counters": self.counters.url}


@pytest.fixture(scope="session")
def login_state_cluster() -> Iterator[Cluster]:
    """A PostgreSQL of its own for the login state: stopping it leaves the accounts there."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def counters_cluster() -> Iterator[Cluster]:
    """A PostgreSQL of its own for the counters."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk. In a test that asks for it, the SQLite file of the account store lies there."""
    with SmallDisk.at(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture(autouse=True, params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    """The three stores of the server, each a database of its own: every scenario runs on either kind."""
    if request.param == "sqlite":
        small: SmallDisk | None = request.getfixturevalue("disk") if "disk" in request.fixturenames else None
        data = tmp_path / "data"
        accounts = SqliteDatabase((small.folder if small else data) / "parlour.db")
        yield Stores(accounts, SqliteDatabase(data / "login-state.db"), SqliteDatabase(data / "counters.db"))
        return
    names = ("postgres_cluster", "login_state_cluster", "counters_cluster")
    made = [request.getfixturevalue(name).new_database() for name in names]
    yield Stores(*made)
    for database in made:
        database.drop()


@pytest.fixture
def database(stores: Stores) -> AnyDatabase:
    """The account store."""
    return stores.accounts


@pytest.fixture
async def start_server(start_server: StartServer, stores: Stores) -> AsyncIterator[StartServer]:
    """Start servers on the three stores."""

    async def start(**settings: object) -> RunningServer:
        # A socket waits without a login while stores are broken and mended.
        return await start_server(**({"limits__login_timeout": 120} | stores.settings | settings))

    yield start


@pytest.fixture
async def wire(server: RunningServer) -> AsyncIterator[Wire]:
    """A socket to the server that nobody has logged in on."""
    opened = await Wire.open(server)
    yield opened
    await opened.close()


Unchanged = Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture
def unchanged(database: AnyDatabase) -> Unchanged:
    """``async with unchanged():`` asserts that no row of the account store is other, gone or new afterwards.

    Enter it before the part is broken and leave it when the part is mended: it reads the tables at both ends.
    """

    @asynccontextmanager
    async def guard() -> AsyncIterator[None]:
        before = await asyncio.to_thread(snapshot, database, without=VOLATILE)
        assert before, "The account store has no tables yet: start the server first."
        yield
        assert await asyncio.to_thread(snapshot, database, without=VOLATILE) == before

    return guard
