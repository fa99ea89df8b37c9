"""The account store on real databases: made once, seen by all at once, refused in one sentence when it is not one."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest
from parlour.storage import (
    AccountType,
    AppExistsError,
    AppLimits,
    EndpointVerification,
    MasterKeyError,
    NewerDatabaseError,
    NoSuchAppError,
    OidcVerification,
    SealedError,
    Storage,
    StorageError,
    UnreadableDatabaseError,
    UnreadableRowError,
    UnwritableError,
)

from tests.contract.stores import Opener, on
from tests.databases import AnyDatabase, SqliteDatabase, snapshot

# --- apps and keys ----------------------------------------------------------------------------------------------------


async def test_apps_are_kept_with_their_keys(opened: Opener) -> None:
    store = await opened.accounts()
    made = await store.create_app(1400000001, now=5, name="one")
    await store.create_app(7, now=6, secret="k" * 64, public_keys=("PEM",))
    assert len(made.keys.secrets[0]) == 64
    await store.close()
    again = await opened.accounts()
    assert await again.get_app(1400000001) == made
    assert await again.get_app(2) is None
    second = await again.get_app(7)
    assert second is not None
    assert (second.keys.secrets, second.keys.public_keys) == (("k" * 64,), ("PEM",))
    assert [app.sdk_app_id for app in await again.list_apps()] == [7, 1400000001]


@pytest.mark.parametrize(
    "verification",
    [None, EndpointVerification("https://idp.example/check", "s" * 40), OidcVerification("https://idp.example", "me")],
)
async def test_everything_about_an_app_is_kept(
    opened: Opener, verification: EndpointVerification | OidcVerification | None
) -> None:
    store = await opened.accounts()
    made = await store.create_app(
        4294967295, now=2**40, name="ä 'quoted' \\ app", account_type=None, owner=2**53 - 1, admins=("äda", "bob"),
        registration="imported", kinds=("phone",), advanced_permission=True,
        limits=AppLimits(max_accounts=0, logins_per_second=7), verification=verification,
    )  # fmt: skip
    assert await store.get_app(4294967295) == made


async def test_an_app_is_made_once_even_by_two_at_a_time(opened: Opener) -> None:
    one, two = await opened.accounts(), await opened.accounts()
    made = await asyncio.gather(
        *(store.create_app(app, now=1) for app in range(1, 9) for store in (one, two)), return_exceptions=True
    )
    assert sum(isinstance(result, AppExistsError) for result in made) == 8
    assert len(await one.list_apps()) == 8


async def test_what_another_process_writes_is_seen_at_once(opened: Opener) -> None:
    running, command = await opened.accounts(), await opened.accounts()
    assert await running.get_app(5) is None
    await command.create_app(5, now=1)
    assert await running.get_app(5) is not None
    await command.change_app(5, state="suspended", limits=AppLimits(max_accounts=3))
    app = await running.get_app(5)
    assert app is not None
    assert (app.state, app.limits.max_accounts) == ("suspended", 3)
    assert await command.delete_app(5)
    assert await running.get_app(5) is None


async def test_keys_are_added_and_taken_away_by_their_numbers(opened: Opener) -> None:
    store = await opened.accounts()
    first = (await store.create_app(5, now=1)).keys.secrets[0]
    second = await store.add_secret(5, now=2)
    public = await store.add_public_key(5, "PEM", now=3)
    assert [(key.kind, key.value, key.created_at) for key in await store.keys(5)] == [
        ("secret", first, 1),
        ("secret", second.value, 2),
        ("public", "PEM", 3),
    ]
    assert not await store.remove_key(6, second.id)
    assert await store.remove_key(5, second.id)
    assert not await store.remove_key(5, second.id)
    app = await store.get_app(5)
    assert app is not None
    assert (app.keys.secrets, app.keys.public_keys) == ((first,), ("PEM",))
    assert public.id != second.id


async def test_what_is_asked_of_an_app_that_is_not_there_is_said_so(opened: Opener) -> None:
    store = await opened.accounts()
    with pytest.raises(NoSuchAppError, match=r"^There is no app 5\.$"):
        await store.change_app(5, name="x")
    with pytest.raises(NoSuchAppError):
        await store.add_secret(5, now=1)
    assert not await store.delete_app(5)
    assert await store.keys(5) == ()


async def test_secrets_are_sealed_in_the_database(opened: Opener, database: AnyDatabase) -> None:
    store = await opened.accounts()
    app = await store.create_app(5, now=1, verification=EndpointVerification("https://idp.example", "endpoint-secret"))
    added = await store.add_secret(5, now=2)
    await store.token_secret()
    held = repr(snapshot(database))
    for secret in (app.keys.secrets[0], added.value, "endpoint-secret", (await store.token_secret()).hex()):
        assert secret not in held
    assert held.count("sealed:1:") == 4


async def test_an_account_type_goes_only_when_no_app_is_set_up_under_it(opened: Opener) -> None:
    store = await opened.accounts()
    await store.put_account_type(AccountType(7, "seven", ("hmac",)))
    await store.put_account_type(AccountType(7, "sieben", ("ecdsa", "hmac")))
    assert [(kind.number, kind.name, kind.methods) for kind in await store.list_account_types()][1:] == [
        (7, "sieben", ("ecdsa", "hmac"))
    ]
    await store.create_app(5, now=1, account_type=7)
    assert not await store.remove_account_type(7)
    await store.change_app(5, account_type=None)
    assert await store.remove_account_type(7)
    assert not await store.remove_account_type(7)
    assert not await store.remove_account_type(0)


async def test_the_token_secret_survives_and_is_not_the_same_elsewhere(opened: Opener, tmp_path: Path) -> None:
    first = await (await opened.accounts()).token_secret()
    assert await (await opened.accounts()).token_secret() == first
    async with await Storage.open(tmp_path / "elsewhere") as store:
        assert await store.token_secret() != first


# --- opening ----------------------------------------------------------------------------------------------------------


async def test_many_may_open_a_new_database_together(opened: Opener) -> None:
    stores = await asyncio.gather(*(opened.accounts() for _ in range(6)))
    secrets = await asyncio.gather(*(store.token_secret() for store in stores))
    assert len(set(secrets)) == 1
    await stores[0].create_app(5, now=1, secret="k")
    for store in stores:
        app = await store.get_app(5)
        assert app is not None
        assert app.keys.secrets == ("k",)


async def test_many_may_open_every_store_of_a_new_database_together(opened: Opener) -> None:
    opened.data.mkdir(exist_ok=True)
    await asyncio.gather(
        *(opening() for _ in range(4) for opening in (opened.accounts, opened.login_states, opened.counters))
    )


async def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    async with await Storage.open(tmp_path / "data") as store:
        await store.create_app(5, now=1)
        files = list((tmp_path / "data").iterdir())
        assert {path.name for path in files} == {"parlour.db", "parlour.db-wal", "parlour.db-shm", "master.key"}
        for path in (tmp_path / "data", *files):
            assert path.stat().st_mode & 0o077 == 0, path
        with sqlite3.connect(tmp_path / "data" / "parlour.db") as other:
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_nothing_but_the_database_and_the_key_is_left_behind(tmp_path: Path) -> None:
    async with await Storage.open(tmp_path) as store:
        await store.create_app(5, now=1)
    assert sorted(os.listdir(tmp_path)) == ["master.key", "parlour.db"]


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


async def test_a_newer_database_is_one_sentence_and_stays_untouched(opened: Opener, database: AnyDatabase) -> None:
    store = await opened.accounts()
    await store.create_app(5, now=1)
    await store.close()
    await on(database, "UPDATE alembic_version SET version_num = '9999'")
    before = snapshot(database)
    with pytest.raises(NewerDatabaseError, match=r"was written by a newer Parlour \(schema 9999, this one knows up to"):
        await opened.accounts()
    assert snapshot(database) == before


async def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "parlour.db").write_bytes(b"hello world " * 1000)
    with pytest.raises(UnreadableDatabaseError, match="is damaged or no database of Parlour"):
        await Storage.open(tmp_path)


@pytest.mark.parametrize("table", ["apps", "app_keys", "accounts", "standings", "account_types", "meta"])
async def test_a_missing_table_is_found_at_the_start(opened: Opener, database: AnyDatabase, table: str) -> None:
    await (await opened.accounts()).close()
    await on(database, f"ALTER TABLE {table} RENAME TO elsewhere")
    with pytest.raises(
        UnreadableDatabaseError, match=rf"^The account store in .* is damaged: it has no table {table}\.$"
    ):
        await opened.accounts()


@pytest.mark.parametrize(("table", "column"), [("apps", "limits"), ("accounts", "nick"), ("standings", "reason")])
async def test_a_missing_column_is_found_at_the_start(
    opened: Opener, database: AnyDatabase, table: str, column: str
) -> None:
    await (await opened.accounts()).close()
    await on(database, f"ALTER TABLE {table} DROP COLUMN {column}")
    with pytest.raises(UnreadableDatabaseError, match=f"is damaged: its table {table} has no column {column}"):
        await opened.accounts()


@pytest.mark.parametrize("name", ["login_states", "counters"])
async def test_the_other_stores_look_at_their_tables_too(opened: Opener, database: AnyDatabase, name: str) -> None:
    opening = getattr(opened, name)
    store = await opening()
    table = {"login_states": "logins", "counters": "locks"}[name]
    where = store.database.dialect.where
    await store.close()
    file = SqliteDatabase(Path(where)) if isinstance(database, SqliteDatabase) else database
    await on(file, f"ALTER TABLE {table} RENAME TO elsewhere")
    with pytest.raises(UnreadableDatabaseError, match=f"it has no table {table}"):
        await opening()


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("UPDATE apps SET state = 'banana'", "about app 5 cannot be read: 'banana' is none of active, suspended"),
        ("UPDATE apps SET registration = ''", "about app 5 cannot be read: '' is none of automatic, imported"),
        ("UPDATE apps SET kinds = '[\"banana\"]'", "about app 5 cannot be read: 'banana' is none of plain"),
        ("UPDATE apps SET admins = '[1]'", "about app 5 cannot be read: a text is a int"),
        ("UPDATE apps SET admins = '{'", "about app 5 cannot be read: a structure is no JSON"),
        ("UPDATE apps SET limits = '[]'", "about app 5 cannot be read: an object is a list"),
        ("UPDATE apps SET limits = '{\"banana\": 1}'", "about app 5 cannot be read: .*banana"),
        ("UPDATE apps SET verification = '{\"mode\": 1}'", "about app 5 cannot be read: its verification has no mode"),
        ('UPDATE apps SET verification = \'{"mode": "oidc"}\'', "about app 5 cannot be read: 'issuer'"),
        ("UPDATE app_keys SET kind = 'banana'", "A stored key of app 5 cannot be read: 'banana' is none of"),
        ("UPDATE app_keys SET value = 'banana'", "is stored as the secret of key of app 5 has no form that is known"),
        ("UPDATE app_keys SET value = 'sealed:1:0:%'", "is stored as the secret of key of app 5 is damaged"),
    ],
)
async def test_a_damaged_row_is_named(opened: Opener, database: AnyDatabase, damage: str, why: str) -> None:
    store = await opened.accounts()
    await store.create_app(5, now=1)
    await on(database, damage)
    with pytest.raises(UnreadableRowError, match=why):
        await store.get_app(5)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE apps SET created_at = 'soon'",
        "UPDATE apps SET name = x'00ff'",
        "UPDATE apps SET account_type = 'x'",
        "UPDATE app_keys SET value = x'00ff'",
        "UPDATE app_keys SET created_at = 'soon'",
    ],
)
async def test_a_value_of_another_type_which_sqlite_alone_takes_is_named(tmp_path: Path, damage: str) -> None:
    async with await Storage.open(tmp_path) as store:
        await store.create_app(5, now=1)
        await on(SqliteDatabase(tmp_path / "parlour.db"), damage)
        with pytest.raises(UnreadableRowError, match="app 5 cannot be read"):
            await store.get_app(5)


async def test_a_damaged_account_type_is_named(opened: Opener, database: AnyDatabase) -> None:
    store = await opened.accounts()
    await on(database, "UPDATE account_types SET methods = '[\"magic\"]'")
    with pytest.raises(UnreadableRowError, match="The stored account type 0 cannot be read: 'magic' is none of hmac"):
        await store.list_account_types()


async def test_a_damaged_token_secret_is_named(opened: Opener, database: AnyDatabase) -> None:
    store = await opened.accounts()
    await store.token_secret()
    await on(database, "UPDATE meta SET value = 'short'")
    with pytest.raises(UnreadableRowError, match="secret of token_secret has no form that is known"):
        await store.token_secret()


async def test_a_secret_sealed_for_another_place_does_not_open(opened: Opener, database: AnyDatabase) -> None:
    store = await opened.accounts()
    await store.create_app(5, now=1)
    await store.create_app(6, now=1)
    await on(database, "UPDATE app_keys SET value = (SELECT value FROM app_keys WHERE sdk_app_id = 5)")
    assert await store.get_app(5) is not None
    with pytest.raises(SealedError, match=r"^The secret of key of app 6 does not open with master key [0-9a-f]{12}\.$"):
        await store.get_app(6)


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
async def test_a_store_may_be_an_sqlite_file_anywhere(tmp_path: Path, form: str) -> None:
    file = tmp_path / "else where" / "accounts.db"
    async with await Storage.open(tmp_path / "data", url=form.format(file)) as store:
        await store.create_app(5, now=1)
    assert file.is_file()
    assert not (tmp_path / "data" / "parlour.db").exists()


async def test_a_database_of_another_kind_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"^mysql:// is no database of Parlour: give postgresql://"):
        await Storage.open(tmp_path, url="mysql://root:hunter2@host/name")


async def test_two_who_change_different_members_of_an_app_do_not_undo_each_others(opened: Opener) -> None:
    one, two = await opened.accounts(), await opened.accounts()
    await one.create_app(5, now=1)
    for turn in range(10):
        await asyncio.gather(
            one.change_app(5, name=f"{turn}"),
            two.change_app(5, owner=turn),
            one.change_app(5, limits={"max_accounts": turn}),
        )
        changed = await two.change_app(5, limits={"logins_per_second": turn})
        assert (changed.name, changed.owner) == (f"{turn}", turn)
        assert changed.limits == AppLimits(max_accounts=turn, logins_per_second=turn)


async def test_a_missing_master_key_is_not_replaced_while_something_needs_it(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    async with await Storage.open(tmp_path) as store:
        made = await store.create_app(5, now=1)
    kept = file.read_bytes()
    file.unlink()
    async with await Storage.open(tmp_path) as store:
        with pytest.raises(SealedError, match="this server has none"):
            await store.get_app(5)
        with pytest.raises(MasterKeyError, match="is missing: put it back"):
            await store.create_app(6, now=1)
        assert not file.exists()
        file.write_bytes(kept)
        file.chmod(0o600)
        assert await store.get_app(5) == made  # without a restart
