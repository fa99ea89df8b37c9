"""The steps of the schemas on real databases: from the first one, with what was stored then, to the newest."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from parlour.storage import MasterKey, MasterKeyError, SealedError, Storage, UnreadableDatabaseError
from parlour.storage.database import Database, dialect_of
from parlour.storage.migrate import ACCOUNTS, SCHEMAS, Schema
from sqlalchemy import Connection

from tests.contract.stores import Opener, data_of, on, url_of
from tests.databases import AnyDatabase, snapshot

SECRET, TOKEN_SECRET = "5bd2850fff3ecb11" * 4, "77" * 32


def alembic(store: Schema) -> Config:
    config = Config()
    config.set_main_option("script_location", "parlour.storage:migrations")
    config.set_main_option("version_locations", f"parlour.storage:migrations/{store.name}")
    config.set_main_option("path_separator", "newline")
    return config


async def by_step_0001(database: AnyDatabase, tmp_path: Path) -> None:
    """What the first Parlour left: an app with keys in plain text, and the secret that signs tickets."""
    dialect = dialect_of(url_of(database), data_of(database, tmp_path) / "parlour.db", timeout=5)
    dialect.prepare()

    def run(connection: Connection) -> None:
        config = alembic(ACCOUNTS)
        config.attributes.update(
            connection=connection, metadata=ACCOUNTS.metadata, version_table=ACCOUNTS.version_table
        )
        command.upgrade(config, "0001")

    old = Database(dialect, timeout=5)
    await old.write(lambda connection: connection.run_sync(run))
    await old.close()
    await on(
        database,
        "INSERT INTO apps (sdk_app_id, name, state, created_at) VALUES (1400000001, 'old', 'active', 7);"
        "INSERT INTO app_keys (sdk_app_id, kind, value, created_at) VALUES"
        f" (1400000001, 'secret', '{SECRET}', 7), (1400000001, 'public', 'PEM', 8);"
        f"INSERT INTO meta (name, value) VALUES ('token_secret', '{TOKEN_SECRET}')",
    )


async def revision(database: AnyDatabase) -> object:
    return (await on(database, "SELECT version_num FROM alembic_version"))[0][0]


async def test_a_store_of_the_first_schema_is_upgraded_and_keeps_everything(
    opened: Opener, database: AnyDatabase, tmp_path: Path
) -> None:
    await by_step_0001(database, tmp_path)
    store = await opened.accounts()
    assert await revision(database) == ACCOUNTS.head
    app = await store.get_app(1400000001)
    assert app is not None
    assert (app.name, app.state, app.created_at) == ("old", "active", 7)
    assert (app.keys.secrets, app.keys.public_keys) == ((SECRET,), ("PEM",))
    assert (app.account_type, app.owner, app.admins, app.registration) == (0, None, ("administrator",), "automatic")
    assert await store.token_secret() == bytes.fromhex(TOKEN_SECRET)


async def test_secrets_from_before_they_were_sealed_are_sealed_at_the_start(
    opened: Opener, database: AnyDatabase, tmp_path: Path
) -> None:
    await by_step_0001(database, tmp_path)
    await (await opened.accounts()).close()
    sealed = snapshot(database)
    assert SECRET not in repr(sealed)
    assert TOKEN_SECRET not in repr(sealed)
    assert repr(sealed).count("sealed:1:") == 2
    await (await opened.accounts()).close()
    assert snapshot(database) == sealed


async def test_the_upgrade_with_another_key_at_hand_later_opens_nothing(
    opened: Opener, database: AnyDatabase, tmp_path: Path
) -> None:
    await by_step_0001(database, tmp_path)
    await (await opened.accounts(master=MasterKey.of_text("aa" * 32))).close()
    other = await opened.accounts(master=MasterKey.of_text("bb" * 32))
    with pytest.raises(SealedError, match="was sealed with master key"):
        await other.get_app(1400000001)


async def test_several_that_upgrade_together_do_it_once(opened: Opener, database: AnyDatabase, tmp_path: Path) -> None:
    await by_step_0001(database, tmp_path)
    stores = await asyncio.gather(*(opened.accounts() for _ in range(4)))
    for store in stores:
        app = await store.get_app(1400000001)
        assert app is not None
        assert app.keys.secrets == (SECRET,)
    assert repr(snapshot(database)).count("sealed:1:") == 2


OPEN = """
import asyncio, sys
from parlour.storage import Storage

async def main():
    async with await Storage.open(sys.argv[1], url=sys.argv[2]) as store:
        print((await store.token_secret()).hex())

asyncio.run(main())
"""


async def test_several_processes_that_upgrade_together_do_it_once(database: AnyDatabase, tmp_path: Path) -> None:
    await by_step_0001(database, tmp_path)
    where = (str(data_of(database, tmp_path)), url_of(database))
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", OPEN, *where, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    ended = await asyncio.gather(*(process.communicate() for process in processes))
    assert [(out.decode().strip(), err.decode()) for out, err in ended] == [(TOKEN_SECRET, "")] * 3
    assert repr(snapshot(database)).count("sealed:1:") == 2


async def test_a_step_that_fails_leaves_the_database_as_it_was(
    opened: Opener, database: AnyDatabase, tmp_path: Path
) -> None:
    await by_step_0001(database, tmp_path)
    await on(database, "CREATE TABLE standings (mine int)")  # in the way of the step's last statement
    before, tables = snapshot(database), database.tables()
    with pytest.raises(UnreadableDatabaseError, match=r"standings.* already exists"):
        await opened.accounts()
    assert (snapshot(database), database.tables()) == (before, tables)
    await on(database, "DROP TABLE standings")
    assert await (await opened.accounts()).get_app(1400000001) is not None


async def test_a_master_key_that_cannot_be_read_leaves_the_database_as_it_was(
    opened: Opener, database: AnyDatabase, tmp_path: Path
) -> None:
    await by_step_0001(database, tmp_path)
    before = snapshot(database)
    opened.data.mkdir(exist_ok=True)
    key = opened.data / "master.key"
    key.write_text("aa" * 32)
    key.chmod(0o644)
    with pytest.raises(MasterKeyError, match="can be read by others"):
        await opened.accounts()
    assert snapshot(database) == before


async def test_resealing_keeps_every_secret_and_needs_the_old_key_no_more(opened: Opener) -> None:
    old, new = "aa" * 32, "bb" * 32
    first = await opened.accounts(master=MasterKey.of_text(old))
    app = await first.create_app(5, now=1)
    await first.add_secret(5, now=2)
    token_secret = await first.token_secret()
    both = await opened.accounts(master=MasterKey.of_text(f"{new},{old}"))
    assert await both.reseal() == 3
    after = await opened.accounts(master=MasterKey.of_text(new))
    found = await after.get_app(5)
    assert found is not None
    assert found.keys.secrets[0] == app.keys.secrets[0]
    assert await after.token_secret() == token_secret
    with pytest.raises(SealedError):
        await first.get_app(5)


async def test_resealing_is_all_or_nothing(opened: Opener, database: AnyDatabase) -> None:
    first = await opened.accounts(master=MasterKey.of_text("aa" * 32))
    await first.create_app(5, now=1)
    stranger: Storage = await opened.accounts(master=MasterKey.of_text("cc" * 32))
    await stranger.create_app(6, now=1)
    before = snapshot(database)
    both = await opened.accounts(master=MasterKey.of_text(f"{'bb' * 32},{'aa' * 32}"))
    with pytest.raises(SealedError, match="key of app 6"):
        await both.reseal()
    assert snapshot(database) == before


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_the_steps_known_are_the_steps_there_are(schema: Schema) -> None:
    scripts = ScriptDirectory.from_config(alembic(schema))
    assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == schema.revisions
    assert scripts.get_current_head() == schema.head


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
async def test_the_steps_lead_to_the_schema_of_the_code(opened: Opener, schema: Schema) -> None:
    opening: Any = {
        "accounts": opened.accounts,
        "login_state": opened.login_states,
        "counters": opened.counters,
    }[schema.name]

    def differences(connection: Connection) -> list[Any]:
        def ours(name: str | None, kind: str, _: object) -> bool:
            return kind != "table" or name in schema.metadata.tables

        context = MigrationContext.configure(connection, opts={"include_name": ours})
        return list(compare_metadata(context, schema.metadata))

    store = await opening()
    assert await store.database.read(lambda connection: connection.run_sync(differences)) == []
