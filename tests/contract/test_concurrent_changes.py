"""Several administrators at a time: what depends on what is there is decided when it is written, so nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from parlour.storage import (
    AccountType,
    App,
    AppLimits,
    KeyExistsError,
    LastKeyError,
    NoSuchAccountTypeError,
    Storage,
    StorageError,
)

from tests.cli import Beside, environment
from tests.contract.stores import APP, NOW, Opener
from tests.databases import AnyDatabase

AT_A_TIME = 8


@pytest.fixture
async def stores(opened: Opener) -> list[Storage]:
    """As many as there are administrators, on one database."""
    several = [await opened.accounts(timeout=30) for _ in range(4)]
    await several[0].create_app(APP, now=NOW, admins=())
    return several


async def test_admins_that_are_added_at_a_time_are_all_there(stores: list[Storage]) -> None:
    def with_admin(name: str) -> object:
        return lambda app: replace(app, admins=(*app.admins, name))

    names = [f"root{number}" for number in range(AT_A_TIME)]
    await asyncio.gather(
        *(store.edit_app(APP, with_admin(name)) for store, name in zip(itertools.cycle(stores), names))  # type: ignore[arg-type]
    )
    app = await stores[0].get_app(APP)
    assert app is not None
    assert sorted(app.admins) == names


async def test_commands_that_add_admins_at_a_time_all_have_their_way(
    opened: Opener, database: AnyDatabase, stores: list[Storage], tmp_path: Path
) -> None:
    parlour = Beside(environment(tmp_path, opened.data, database))
    done = await asyncio.gather(*(parlour("app", "admin", "add", APP, f"root{number}") for number in range(4)))
    assert [one.status for one in done] == [0] * 4, [one.err for one in done]
    assert sorted(await parlour.good("app", "admin", "list", APP)) == [f"root{number}" for number in range(4)]


async def test_bounds_that_are_set_at_a_time_are_all_kept(stores: list[Storage]) -> None:
    bounds = {"max_accounts": 5, "logins_per_second": 6, "requests_per_second": 7}
    await asyncio.gather(
        *(
            store.change_app(APP, limits={name: value})
            for store, (name, value) in zip(stores, bounds.items(), strict=False)
        )
    )
    app = await stores[0].get_app(APP)
    assert app is not None
    assert app.limits == AppLimits(5, 6, 7)


async def test_an_edit_that_is_refused_leaves_the_app_as_it_was(stores: list[Storage]) -> None:
    def refused(app: App) -> App:
        raise ValueError(app.sdk_app_id)

    before = await stores[0].get_app(APP)
    with pytest.raises(ValueError, match=str(APP)):
        await stores[0].edit_app(APP, refused)
    assert await stores[0].get_app(APP) == before


async def outcomes(*asked: object) -> list[type[StorageError] | None]:
    done = await asyncio.gather(*asked, return_exceptions=True)  # type: ignore[call-overload]
    assert all(not isinstance(one, BaseException) or isinstance(one, StorageError) for one in done), done
    return [type(one) if isinstance(one, StorageError) else None for one in done]


async def test_of_the_last_keys_of_a_kind_one_stays_whoever_removes_them_at_a_time(stores: list[Storage]) -> None:
    for _ in range(3):
        await stores[0].add_secret(APP, now=NOW)
    keys = [key.id for key in await stores[0].keys(APP)]
    told = await outcomes(*(store.remove_key(APP, key, last=False) for store, key in zip(stores, keys, strict=True)))
    assert sorted(map(str, told)) == sorted(map(str, [None] * 3 + [LastKeyError]))
    assert len(await stores[0].keys(APP)) == 1
    (left,) = await stores[0].keys(APP)
    assert await stores[0].remove_key(APP, left.id)


async def test_a_key_that_is_added_twice_at_a_time_is_there_once(stores: list[Storage]) -> None:
    told = await outcomes(*(store.add_secret(APP, now=NOW, secret="same" * 16) for store in stores))
    assert sorted(map(str, told)) == sorted(map(str, [None] + [KeyExistsError] * 3))
    assert [key.value for key in await stores[0].keys(APP)].count("same" * 16) == 1


async def test_members_of_an_account_type_that_are_set_at_a_time_are_all_kept(stores: list[Storage]) -> None:
    def named(there: AccountType | None) -> AccountType:
        return replace(there or AccountType(5, ""), name="five")

    def with_methods(there: AccountType | None) -> AccountType:
        return replace(there or AccountType(5, ""), methods=("hmac",))

    await asyncio.gather(stores[0].edit_account_type(5, named), stores[1].edit_account_type(5, with_methods))
    assert AccountType(5, "five", ("hmac",)) in await stores[0].list_account_types()


async def test_no_app_is_left_under_an_account_type_that_was_removed_at_that_time(stores: list[Storage]) -> None:
    for number in range(10, 20):
        await stores[0].put_account_type(AccountType(number, ""))
        put, removed = await asyncio.gather(
            stores[1].change_app(APP, account_type=number),
            stores[2].remove_account_type(number),
            return_exceptions=True,
        )
        known = {known.number for known in await stores[0].list_account_types()}
        app = await stores[0].get_app(APP)
        assert app is not None
        assert app.account_type in known
        assert (removed is True) == isinstance(put, NoSuchAccountTypeError) == (number not in known)
        await stores[0].change_app(APP, account_type=0)
