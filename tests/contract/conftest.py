"""Every contract that a running server keeps with what it stores, it keeps on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contract.stores import Opener, Service, opener
from tests.databases import AnyDatabase, SqliteDatabase
from tests.postgres import Cluster

ON_ONE_DATABASE = {
    *("test_account_rest_bad_input", "test_http", "test_schemathesis", "test_trusted_proxies", "test_verifiers"),
    *("test_client", "test_client_media", "test_client_reconnect", "test_load", "test_media", "test_media_limits"),
    *("test_client_ice_restart", "test_client_live", "test_ice_restart", "test_live_rooms", "test_shards"),
    *("test_metrics", "test_traces"),
    *("test_cli_app", "test_cli_load", "test_demo", "test_signing_snippets", "test_supervision"),
    *(
        "test_encodings_wanted",
        "test_liveness",
        "test_other_servers",
        "test_private_map_key",
        "test_resume",
        "test_signaling",
        "test_small_streams",
        "test_volumes",
    ),
}
"""Modules about sockets, media, requests, arguments and processes: what is behind them makes no difference. What does
of them says so by its own parameters."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses a database on both, unless it says on which."""
    chosen = any("database" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "database" in metafunc.fixturenames and not chosen:
        one = metafunc.module.__name__.rpartition(".")[2] in ON_ONE_DATABASE
        metafunc.parametrize("database", ["sqlite"] if one else ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyDatabase]:
    """Where ``start_server`` keeps its data: its SQLite file, or an empty database of the run's PostgreSQL."""
    if request.param == "sqlite":
        yield SqliteDatabase(tmp_path / "data" / "parlour.db")
        return
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    made = cluster.new_database()
    yield made
    made.drop()


@pytest.fixture
async def opened(database: AnyDatabase, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens the stores in that database, and closes them after the test."""
    async with opener(database, tmp_path) as stores:
        yield stores


@pytest.fixture
async def service(opened: Opener) -> Service:
    """The account system, where no failure locks."""
    return await opened.service(lockout__failures=0, lockout__source_failures=0)
