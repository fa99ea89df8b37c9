"""Logins against a real store: each code from its cause."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from parlour.accounts import Accounts, Identity
from parlour.errors import RtcError
from parlour.storage import Storage
from parlour.usersig import sign_v1, sign_v2
from structlog.testing import capture_logs

from tests.unit.usersigs import ec_keys

APP = 1400000001
NOW = 1_700_000_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Storage]:
    async with await Storage.open(tmp_path) as opened:
        yield opened


def accounts(store: Storage, now: float = NOW) -> Accounts:
    return Accounts(store, lambda: now)


async def refused(accounts: Accounts, *login: object) -> int:
    with pytest.raises(RtcError) as error:
        await accounts.login(*login)  # type: ignore[arg-type]
    assert error.value.code == 0x4001
    assert f"({error.value.extra_code}) <SIGNAL_CHANNEL_SETUP_FAILED 0x4001>" in error.value.message
    return error.value.extra_code


async def key_of_new_app(store: Storage, app: int = APP) -> str:
    return (await store.create_app(app, now=NOW)).keys.secrets[0]


async def test_a_right_usersig_logs_in(store: Storage) -> None:
    key = await key_of_new_app(store)
    login = await accounts(store).login(APP, "ann", sign_v2(APP, "ann", key, now=NOW), None)
    assert login == Identity(APP, "ann")


async def test_version_1_logs_in_with_the_public_key_of_the_app(store: Storage) -> None:
    private, public = ec_keys("secp256k1")
    await store.create_app(APP, now=NOW, public_keys=(public,))
    assert await accounts(store).login(APP, "ann", sign_v1(APP, "ann", private, now=NOW)) == Identity(APP, "ann")


@pytest.mark.parametrize("app", [5, 0, -1, 2**32, 2**80, "1400000001", 1.5, True, None, [APP]])
async def test_an_unknown_or_impossible_app_is_minus_8(store: Storage, app: object) -> None:
    key = await key_of_new_app(store)
    assert await refused(accounts(store), app, "ann", sign_v2(APP, "ann", key, now=NOW)) == -8


async def test_an_app_made_later_is_known_at_once(store: Storage) -> None:
    service = accounts(store)
    assert await refused(service, 6, "ann", "x") == -8
    key = await key_of_new_app(store, 6)
    assert await service.login(6, "ann", sign_v2(6, "ann", key, now=NOW)) == Identity(6, "ann")


@pytest.mark.parametrize("user", ["", None, 7, b"ann", "x" * 33, "é" * 17, "\ud800", ["ann"]])
async def test_a_user_id_is_a_text_of_1_to_32_bytes(store: Storage, user: object) -> None:
    key = await key_of_new_app(store)
    assert await refused(accounts(store), APP, user, sign_v2(APP, "ann", key, now=NOW)) == 70402


async def test_the_usersig_is_judged_by_its_own_codes(store: Storage) -> None:
    key = await key_of_new_app(store)
    good = sign_v2(APP, "ann", key, now=NOW, expire=60)
    service = accounts(store)
    assert await refused(service, APP, "ann", "") == 70002
    assert await refused(service, APP, "ann", None) == 70002
    assert await refused(service, APP, "ann", 7) == 70402
    assert await refused(service, APP, "ann", good[:-1]) == 70003
    assert await refused(service, APP, "ann", good[:40]) == 70004
    assert await refused(service, APP, "Ann", good) == 70013
    assert await refused(service, APP, "ann", sign_v2(5, "ann", key, now=NOW)) == 70014
    assert await refused(service, APP, "ann", sign_v2(APP, "ann", "?" * 64, now=NOW)) == 70009
    assert await refused(service, APP, "ann", sign_v1(APP, "ann", ec_keys()[0], now=NOW)) == 70016
    assert await refused(accounts(store, NOW + 61), APP, "ann", good) == 70001
    assert await accounts(store, NOW + 60.9).login(APP, "ann", good) == Identity(APP, "ann")


async def test_an_app_without_a_secret_key_is_70015(store: Storage) -> None:
    key = await key_of_new_app(store)
    with sqlite3.connect(store.database) as other:
        other.execute("DELETE FROM app_keys")
    assert await refused(accounts(store), APP, "ann", sign_v2(APP, "ann", key, now=NOW)) == 70015


async def test_the_app_is_judged_before_the_user_before_the_usersig(store: Storage) -> None:
    await key_of_new_app(store)
    assert await refused(accounts(store), 5, "", "") == -8
    assert await refused(accounts(store), APP, "", "") == 70402


async def test_a_store_that_misses_its_deadline_is_70169(store: Storage) -> None:
    await key_of_new_app(store)
    impatient = Accounts(store, lambda: NOW, store_timeout=0)
    assert await refused(impatient, APP, "ann", "x") == 70169
    await impatient.close()


async def test_a_store_that_is_gone_is_70201(store: Storage) -> None:
    await store.close()
    store.database.unlink()
    assert await refused(accounts(store), APP, "ann", "x") == 70201


async def test_a_damaged_row_is_70203(store: Storage) -> None:
    await key_of_new_app(store)
    with sqlite3.connect(store.database) as other:
        other.execute("UPDATE apps SET state = 'banana'")
    assert await refused(accounts(store), APP, "ann", "x") == 70203


async def test_an_unexpected_failure_is_70308_and_logged_with_its_incident_but_no_secret(store: Storage) -> None:
    key = await key_of_new_app(store)

    def broken_clock() -> float:
        raise OSError("no clock")

    with capture_logs() as logs, pytest.raises(RtcError) as error:
        await Accounts(store, broken_clock).login(APP, "ann", sign_v2(APP, "ann", key, now=NOW))
    assert error.value.extra_code == 70308
    incident = logs[0]["incident"]
    assert f"incident {incident}" in error.value.message
    assert "no clock" in logs[0]["trace"]
    assert key not in str(logs)
    assert "no clock" not in error.value.message
