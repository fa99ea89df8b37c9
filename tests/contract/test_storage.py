"""The store on real files: made once, seen by all at once, refused in one sentence when it cannot be used."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from parlour.storage import (
    AppExistsError,
    NewerDatabaseError,
    Storage,
    StorageError,
    StoreTimeoutError,
    StoreUnreachableError,
    UnreadableDatabaseError,
    UnreadableRowError,
    UnwritableError,
)
from parlour.storage import migrate as migrations
from parlour.storage.schema import metadata
from sqlalchemy import create_engine


async def test_apps_are_kept_with_their_keys(tmp_path: Path) -> None:
    async with await Storage.open(tmp_path / "new" / "folder") as store:
        made = await store.create_app(1400000001, now=5, name="one")
        await store.create_app(7, now=6, secret="k" * 64, public_keys=("PEM",))
        assert len(made.keys.secrets[0]) == 64
    async with await Storage.open(tmp_path / "new" / "folder") as store:
        assert await store.get_app(1400000001) == made
        assert await store.get_app(2) is None
        second = await store.get_app(7)
        assert second is not None
        assert (second.keys.secrets, second.keys.public_keys) == (("k" * 64,), ("PEM",))
        assert [app.sdk_app_id for app in await store.list_apps()] == [7, 1400000001]


async def test_an_app_is_made_once_even_by_two_at_a_time(tmp_path: Path) -> None:
    async with await Storage.open(tmp_path) as one, await Storage.open(tmp_path) as two:
        made = await asyncio.gather(
            *(store.create_app(app, now=1) for app in range(1, 9) for store in (one, two)), return_exceptions=True
        )
        assert sum(isinstance(result, AppExistsError) for result in made) == 8
        assert len(await one.list_apps()) == 8


async def test_what_another_process_writes_is_seen_at_once(tmp_path: Path) -> None:
    async with await Storage.open(tmp_path) as running, await Storage.open(tmp_path) as command:
        assert await running.get_app(5) is None
        await command.create_app(5, now=1)
        assert await running.get_app(5) is not None


async def test_many_may_open_a_new_folder_together(tmp_path: Path) -> None:
    stores = await asyncio.gather(*(Storage.open(tmp_path) for _ in range(6)))
    secrets = await asyncio.gather(*(store.token_secret() for store in stores))
    assert len(set(secrets)) == 1
    for store in stores:
        await store.close()


async def test_the_token_secret_survives_and_is_not_the_same_elsewhere(tmp_path: Path) -> None:
    async with await Storage.open(tmp_path / "a") as store:
        first = await store.token_secret()
    async with await Storage.open(tmp_path / "a") as store:
        assert await store.token_secret() == first
    async with await Storage.open(tmp_path / "b") as store:
        assert await store.token_secret() != first


async def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    async with await Storage.open(tmp_path / "data") as store:
        await store.create_app(5, now=1)
        for path in (tmp_path / "data").iterdir():
            assert path.stat().st_mode & 0o077 == 0, path
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0
        assert sqlite3.connect(store.database).execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_nothing_but_the_database_is_left_behind(tmp_path: Path) -> None:
    async with await Storage.open(tmp_path) as store:
        await store.create_app(5, now=1)
    assert os.listdir(tmp_path) == ["parlour.db"]


async def test_a_folder_name_may_have_any_characters(tmp_path: Path) -> None:
    folder = tmp_path / "a b#?%20'é"
    async with await Storage.open(folder) as store:
        await store.create_app(5, now=1)
    assert (folder / "parlour.db").stat().st_size > 0


async def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match=r"^The data folder .*/file/x cannot be written: Not a directory\."):
        await Storage.open(tmp_path / "file" / "x")
    with pytest.raises(UnwritableError, match=r"^The data folder .*/file cannot be written: File exists\. Choose"):
        await Storage.open(tmp_path / "file")


async def test_a_newer_database_is_one_sentence_and_stays_untouched(tmp_path: Path) -> None:
    async with await Storage.open(tmp_path) as store:
        await store.create_app(5, now=1)
    with sqlite3.connect(tmp_path / "parlour.db") as newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    before = (tmp_path / "parlour.db").read_bytes()
    with pytest.raises(NewerDatabaseError, match=r"was written by a newer Parlour \(schema 9999, this one knows up to"):
        await Storage.open(tmp_path)
    assert (tmp_path / "parlour.db").read_bytes() == before


async def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "parlour.db").write_bytes(b"hello world " * 1000)
    with pytest.raises(UnreadableDatabaseError, match="is damaged or no database of Parlour"):
        await Storage.open(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE apps SET state = 'banana'",
        "UPDATE apps SET created_at = 'soon'",
        "UPDATE app_keys SET kind = 'banana'",
        "UPDATE app_keys SET value = x'00ff'",
    ],
)
async def test_a_damaged_row_is_named(tmp_path: Path, damage: str) -> None:
    async with await Storage.open(tmp_path) as store:
        await store.create_app(5, now=1)
        with sqlite3.connect(store.database) as other:
            other.execute(damage)
        with pytest.raises(UnreadableRowError, match="The stored app 5 cannot be read"):
            await store.get_app(5)


async def test_a_damaged_token_secret_is_named(tmp_path: Path) -> None:
    async with await Storage.open(tmp_path) as store:
        await store.token_secret()
        with sqlite3.connect(store.database) as other:
            other.execute("UPDATE meta SET value = 'short'")
        with pytest.raises(UnreadableRowError, match="token_secret"):
            await store.token_secret()


async def test_a_held_lock_is_a_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parlour.storage.store.LOCK_TIMEOUT", 0.05)
    async with await Storage.open(tmp_path) as store:
        holder = sqlite3.connect(store.database, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreTimeoutError, match="is locked by another process"):
            await store.create_app(5, now=1)
        holder.execute("ROLLBACK")
        await store.create_app(5, now=1)


async def test_a_database_that_vanished_is_not_made_anew(tmp_path: Path) -> None:
    async with await Storage.open(tmp_path) as store:
        await store.close()
        (tmp_path / "parlour.db").unlink()
        with pytest.raises(StoreUnreachableError, match="cannot be reached"):
            await store.get_app(5)
        assert not (tmp_path / "parlour.db").exists()


async def test_a_failed_migration_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: object, where: Path) -> None:
        migrations_upgrade(connection, where)  # type: ignore[arg-type]
        raise StorageError("stopped in the middle")

    migrations_upgrade = migrations.upgrade
    monkeypatch.setattr("parlour.storage.migrate.upgrade", broken)
    with pytest.raises(StorageError, match="in the middle"):
        await Storage.open(tmp_path)
    assert sqlite3.connect(tmp_path / "parlour.db").execute("SELECT name FROM sqlite_master").fetchall() == []


def test_the_steps_known_are_the_steps_there_are() -> None:
    config = Config()
    config.set_main_option("script_location", "parlour.storage:migrations")
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == migrations.REVISIONS
    assert scripts.get_current_head() == migrations.HEAD


async def test_the_migrations_lead_to_the_schema_of_the_code(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata

    async with await Storage.open(tmp_path) as store:
        engine = create_engine(f"sqlite:///{store.database}")
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        engine.dispose()
