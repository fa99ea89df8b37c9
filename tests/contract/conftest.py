"""Every contract that a running server keeps, it keeps on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import AnyDatabase, SqliteDatabase
from tests.postgres import Cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyDatabase]:
    """Where ``start_server`` keeps its data: its SQLite file, or an empty database of the run's PostgreSQL."""
    if request.param == "sqlite":
        yield SqliteDatabase(tmp_path / "data" / "parlour.db")
        return
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    made = cluster.new_database()
    yield made
    made.drop()
