"""A real server on free ports in the test's own event loop, with one app; and the databases it may run on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from parlour.server import Server
from parlour.settings import load_settings
from parlour.usersig import sign_v2

from tests.databases import AnyDatabase, SqliteDatabase, lay_down_files
from tests.postgres import Cluster

APP = 1400000001
pytest_plugins = ["tests.workers"]


class RunningServer(Server):
    """The server with the app that tests log in to."""

    app: int = APP
    key: str = ""

    def user_sig(self, user_id: str, *, expire: int = 3600, age: int = 0) -> str:
        """A good UserSig; ``age`` seconds old."""
        return sign_v2(self.app, user_id, self.key, expire=expire, now=int(time.time()) - age)


StartServer = Callable[..., Awaitable[RunningServer]]


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """The PostgreSQL of the whole run. A test that stops it has to start it again."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def own_postgres() -> Iterator[Cluster]:
    """A PostgreSQL for one test alone."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def database(tmp_path: Path) -> AnyDatabase:
    """Where ``start_server`` keeps its data: the SQLite file of its data folder."""
    return SqliteDatabase(tmp_path / "data" / "parlour.db")


@pytest.fixture
async def start_server(tmp_path: Path, database: AnyDatabase) -> AsyncIterator[StartServer]:
    """Start servers with settings of your own, given as dotted keys with ``__`` for the dot."""
    async with AsyncExitStack() as stack:

        async def start(**settings: object) -> RunningServer:
            overrides = {"data": tmp_path / "data", "host": "127.0.0.1", "port": 0, "media_port": 0}
            if not isinstance(database, SqliteDatabase):
                overrides["database"] = database.url
            overrides |= {name.replace("__", "."): value for name, value in settings.items()}
            loaded = load_settings(None, overrides)
            lay_down_files(loaded)
            server = RunningServer(loaded)
            await server.start()
            stack.push_async_callback(server.stop)
            app = await server.storage.get_app(APP) or await server.storage.create_app(APP, now=int(time.time()))
            server.key = app.keys.secrets[0]
            return server

        yield start


@pytest.fixture
async def server(start_server: StartServer) -> RunningServer:
    """A server on the defaults."""
    return await start_server()
