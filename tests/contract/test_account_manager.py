"""What administrators do with accounts, over real stores: single commands, batches, kicks, and the blacklist."""

from __future__ import annotations

import asyncio
import time

import pytest
from parlour.account_system import AccountSystem
from parlour.accounts.manager import BatchResult, ItemResult
from parlour.settings import load_settings
from parlour.storage import AppLimits

from tests import broken
from tests.contract.stores import APP, NOW, Opener, Service, beside, refusal
from tests.databases import snapshot


@pytest.fixture
async def service(opened: Opener) -> Service:
    service = await opened.service(accounts__batch_timeout=20, limits__store_timeout=20)
    service.clock.now = NOW + 0.95  # so that a kick need not wait long for the end of its second
    return service


async def imported(service: Service, *user_ids: str) -> None:
    assert (await service.manager.import_many(await service.app(), user_ids)).code is None


async def users(service: Service) -> list[str]:
    return [account.user_id for account in await service.stores.accounts.accounts.page(APP, limit=1000)]


def codes(result: BatchResult) -> list[tuple[str, int]]:
    return [(item.user_id, int(item.code or 0)) for item in result.items]


# --- import, check, delete --------------------------------------------------------------------------------------------


async def test_importing_again_changes_what_is_given_and_keeps_the_rest(service: Service) -> None:
    app = await service.app()
    for nick, face_url, expected in (
        ("Ann", "https://x.example/a", ("Ann", "https://x.example/a")),
        (None, None, ("Ann", "https://x.example/a")),
        ("Anna", None, ("Anna", "https://x.example/a")),
        (None, "", ("Anna", "")),
        ("", "https://x.example/b", ("", "https://x.example/b")),
    ):
        await service.manager.import_account(app, "ann", nick=nick, face_url=face_url)
        (account,) = await service.stores.accounts.accounts.page(APP)
        assert (account.nick, account.face_url, account.created_at) == (*expected, NOW)


async def test_a_batch_answers_for_each_item_in_its_order(service: Service) -> None:
    app = await service.app()
    names = [f"user-{number:03}" for number in range(100)]
    made = await service.manager.import_many(app, [*names, "user-000"])
    assert made.items == [ItemResult(name, None, True) for name in [*names, "user-000"]]
    checked = await service.manager.check_many(app, ["nobody", "user-007", "User-007", "user-007"])
    assert [item.registered for item in checked.items] == [False, True, False, True]
    deleted = await service.manager.delete_many(app, ["user-001", "nobody", "user-001", "user-002"])
    assert codes(deleted) == [("user-001", 0), ("nobody", 70107), ("user-001", 0), ("user-002", 0)]
    assert await users(service) == [name for name in names if name not in ("user-001", "user-002")]


async def test_one_that_is_asked_for_alone_is_answered_alike(service: Service) -> None:
    await imported(service, "ann")
    for user_id, there in (("ann", True), ("bob", False)):
        assert (await service.manager.check_many(await service.app(), [user_id])).items == [
            ItemResult(user_id, None, there)
        ]


async def test_accounts_of_another_app_are_out_of_reach(service: Service) -> None:
    await imported(service, "ann")
    other = await service.stores.accounts.create_app(6, now=NOW)
    assert codes(await service.manager.delete_many(other, ["ann"])) == [("ann", 70107)]
    assert not (await service.manager.check_many(other, ["ann", "bob"])).items[0].registered
    assert await refusal(service.manager.kick(other, "ann")) == (70107, "app 6 has no account ann")
    assert await users(service) == ["ann"]


async def test_deleted_users_are_put_off_and_nothing_that_they_hold_is_good_any_more(service: Service) -> None:
    held = service.sig("ann")
    granted = await service.login("ann", held)
    entrant = await service.accounts.enter(granted.login, granted.ticket)
    token = entrant.signer.issue_resume("session-1", granted.login, expires_at=NOW + 90)
    await service.manager.delete_many(await service.app(), ["ann", "nobody"])
    assert service.put_off == [("ann",)]
    assert (await refusal(service.accounts.resume(token)))[0] == 70221
    assert (await refusal(service.accounts.enter(granted.login, granted.ticket)))[0] == -10013
    assert (await service.refusal("ann", held))[0] == 70052
    await service.change(registration="imported")
    assert (await service.refusal("ann", held))[0] == 70052
    await service.change(registration="automatic")
    assert await users(service) == []
    service.clock.now += 1
    await service.login("ann")  # what is signed after the deletion is good, and makes the account anew
    assert (await service.refusal("ann", held))[0] == 70052


async def test_what_is_signed_when_a_deletion_was_answered_is_good(opened: Opener, service: Service) -> None:
    """A UserSig tells whole seconds: the answer waits for the end of the one in which the deletion was."""
    real = time.time
    system = AccountSystem(load_settings(None, {"data": opened.data}), service.stores, clock=real)
    await system.manager.import_account(await service.app(), "ann", nick=None, face_url=None)
    before = real()
    await system.manager.delete_many(await service.app(), ["ann"])
    assert int(real()) > int(before)
    await system.close()


async def test_kinds_are_checked_when_an_account_is_registered(service: Service) -> None:
    app = await service.change(kinds=("plain", "phone", "tls"))
    await service.manager.register(app, "+8613800138000", "phone")
    for user_id, kind, code in (
        ("13800138000", "phone", 70103),
        ("ann@example.org", "email", 70102),
        ("é", "tls", 70105),
        ("ann", "banana", 70106),
        ("", "plain", 70402),
    ):
        assert (await refusal(service.manager.register(app, user_id, kind)))[0] == code
    many = await service.manager.register_many(app, [("ann", "plain"), ("x", "phone"), ("bob", "tls"), ("y", "?")])
    assert codes(many) == [("ann", 0), ("x", 70103), ("bob", 0), ("y", 70106)]
    assert await users(service) == ["+8613800138000", "ann", "bob"]


# --- how many there may be --------------------------------------------------------------------------------------------


async def test_an_app_has_no_more_accounts_than_it_may_have(service: Service) -> None:
    app = await service.change(limits=AppLimits(max_accounts=3))
    made = await service.manager.import_many(app, ["a", "b", "a", "c", "d", "b", "e"])
    assert codes(made) == [("a", 0), ("b", 0), ("a", 0), ("c", 0), ("d", 70398), ("b", 0), ("e", 70398)]
    sentence = "the app has as many accounts as it may have"
    assert await refusal(service.manager.import_account(app, "f", nick=None, face_url=None)) == (70398, sentence)
    assert await refusal(service.manager.register(app, "f", "plain")) == (70398, sentence)
    assert await service.refusal("f") == (70398, sentence)
    await service.manager.import_account(app, "a", nick="A", face_url=None)
    await service.login("a")
    await service.manager.delete_many(app, ["b"])
    await service.login("f")
    assert await users(service) == ["a", "c", "f"]


async def test_the_setting_holds_for_apps_without_a_bound_of_their_own(opened: Opener) -> None:
    service = await opened.service(accounts__max_accounts=1)
    await service.login("ann")
    assert (await service.refusal("bob"))[0] == 70398
    await service.change(limits=AppLimits(max_accounts=0))
    await service.login("bob")


async def test_many_at_a_time_do_not_get_past_the_bound(opened: Opener) -> None:
    service = await opened.service(limits__store_timeout=30)
    app = await service.change(limits=AppLimits(max_accounts=10))
    results = await asyncio.gather(
        *(service.manager.import_account(app, f"user-{n}", nick=None, face_url=None) for n in range(60)),
        return_exceptions=True,
    )
    assert sum(result is None for result in results) == 10
    assert len(await users(service)) == 10


# --- the deadline of a batch ------------------------------------------------------------------------------------------


async def test_a_batch_that_takes_too_long_is_70202_and_lists_what_was_done(opened: Opener) -> None:
    service = await opened.service(accounts__batch_timeout=1.5, limits__store_timeout=20)
    names = [f"user-{number:03}" for number in range(100)]
    async with broken.slow(opened.database, "accounts", seconds=0.3, after=30):
        result = await service.manager.import_many(await service.app(), names)
    done = [item.user_id for item in result.items]
    assert (int(result.code or 0), result.detail) == (
        70202,
        f"{len(done)} of 100 were done when the 1.5 s of a batch were over",
    )
    assert done == names[: len(done)]
    assert 0 < len(done) < 100
    await service.stores.accounts.close()
    after = await opened.accounts()
    assert [account.user_id for account in await after.accounts.page(APP)] == done


async def test_a_batch_that_meets_a_broken_store_says_which_and_does_nothing(opened: Opener) -> None:
    service = await opened.service()
    app = await service.app()
    before = snapshot(opened.database, without=("alembic_version",))
    async with broken.conflicting(opened.database, "accounts"):
        result = await service.manager.import_many(app, ["a", "b"])
        assert (int(result.code or 0), result.items) == (70207, [])
    async with broken.missing(opened.database, "accounts"):
        for asked in (service.manager.import_many, service.manager.check_many, service.manager.delete_many):
            assert int((await asked(app, ["a", "b"])).code or 0) == 70203
    assert snapshot(opened.database, without=("alembic_version",)) == before


# --- kick -------------------------------------------------------------------------------------------------------------


async def test_a_kick_voids_what_the_user_has_and_a_usersig_made_after_the_answer_is_good(service: Service) -> None:
    granted = await service.login("ann")
    entrant = await service.accounts.enter(granted.login, granted.ticket)
    token = entrant.signer.issue_resume("session-1", granted.login, expires_at=NOW + 90)
    old = service.sig("ann")
    await service.manager.kick(await service.app(), "ann")
    service.clock.now = NOW + 1
    assert service.put_off == [("ann",)]
    assert await service.refusal("ann", old) == (
        70052,
        "user ann was kicked or deleted after this UserSig was issued: sign a new one",
    )
    assert await refusal(service.accounts.enter(granted.login, granted.ticket)) == (
        -10013,
        "the UserSig became invalid after login: the user was kicked",
    )
    assert await refusal(service.accounts.resume(token)) == (70221, "the user was kicked: log in again")
    again = await service.login("ann", service.sig("ann"))
    await service.accounts.enter(again.login, again.ticket)
    await service.login("bob", service.sig("bob", age=1))


async def test_a_kick_answers_when_its_second_is_over(service: Service) -> None:
    await imported(service, "ann")
    loop = asyncio.get_running_loop()
    for fraction, least in ((0.5, 0.5), (0.9, 0.1)):
        service.clock.now = NOW + fraction
        began = loop.time()
        await service.manager.kick(await service.app(), "ann")
        assert loop.time() - began >= least - 0.01


async def test_a_kick_outlives_the_deletion_of_the_account(service: Service) -> None:
    await imported(service, "ann")
    old = service.sig("ann")
    await service.manager.kick(await service.app(), "ann")
    await service.manager.delete_many(await service.app(), ["ann"])
    assert (await service.refusal("ann", old))[0] == 70052


async def test_who_is_not_registered_cannot_be_kicked(service: Service) -> None:
    assert await refusal(service.manager.kick(await service.app(), "ann")) == (70107, f"app {APP} has no account ann")
    assert service.put_off == []


# --- the blacklist ----------------------------------------------------------------------------------------------------


async def test_who_is_on_the_blacklist_is_put_off_and_stays_out_until_taken_off_it(service: Service) -> None:
    app = await service.app()
    granted = await service.login("ann")
    await service.manager.block(app, "ann", "spam")
    sentence = f"user ann is on the blacklist of app {APP}"
    assert service.put_off == [("ann",)]
    assert await service.refusal("ann") == (70051, sentence)
    assert await refusal(service.accounts.enter(granted.login, granted.ticket)) == (70051, sentence)
    await service.login("Ann")
    await service.manager.unblock(app, "ann")
    await service.manager.unblock(app, "ann")
    await service.login("ann")


async def test_the_blacklist_comes_in_pages_and_holds_users_who_never_logged_in(service: Service) -> None:
    app = await service.app()
    for number in range(5):
        await service.manager.block(app, f"user-{number}", f"reason {number}")
    await service.manager.block(app, "user-3", "another reason")
    first = await service.manager.blocked(app, after="", limit=3)
    assert [(user_id, reason) for user_id, reason, _ in first] == [(f"user-{n}", f"reason {n}") for n in range(3)]
    rest = await service.manager.blocked(app, after="user-2", limit=3)
    assert rest == [("user-3", "another reason", NOW), ("user-4", "reason 4", NOW)]
    assert await users(service) == []


async def test_blocking_keeps_a_kick_and_a_kick_keeps_a_block(service: Service) -> None:
    app = await service.app()
    await imported(service, "ann")
    old = service.sig("ann")
    await service.manager.kick(app, "ann")
    await service.manager.block(app, "ann", "spam")
    await service.manager.kick(app, "ann")
    assert (await service.refusal("ann", old))[0] == 70051
    await service.manager.unblock(app, "ann")
    assert (await service.refusal("ann", old))[0] == 70052


# --- who is online ----------------------------------------------------------------------------------------------------


async def test_registered_users_are_online_or_offline_and_others_unknown(service: Service) -> None:
    await imported(service, "bob")
    await service.login("ann", platform="Web")
    found = await service.manager.online(await service.app(), ["ann", "bob", "nobody"])
    assert [(user.user_id, user.known, user.state, user.platforms) for user in found] == [
        ("ann", True, "Online", ("Web",)),
        ("bob", True, "Offline", ()),
        ("nobody", False, "Offline", ()),
    ]
    async with broken.missing(beside(service.database, "login-state.db"), "logins"):
        assert await refusal(service.manager.online(await service.app(), ["ann"])) == (
            70222,
            "the login-state store is not available",
        )


# --- owners -----------------------------------------------------------------------------------------------------------


async def test_an_app_is_its_owners(service: Service) -> None:
    app = await service.app()
    for uin in ("", "x", "0", 0, -1, 1.5, True, None, "1" * 17, 2**53, "１"):
        assert (await refusal(service.manager.app_of_owner(app, uin, write=False)))[0] == 70211, uin
    assert await refusal(service.manager.app_of_owner(app, 7, write=False)) == (70209, f"app {APP} has no owner")
    app = await service.change(owner=7)
    for uin in (7, "7", "007"):
        await service.manager.app_of_owner(app, uin, write=True)
    sentence = f"app {APP} does not belong to 8"
    assert await refusal(service.manager.app_of_owner(app, 8, write=False)) == (70115, sentence)
    assert await refusal(service.manager.app_of_owner(app, "8", write=True)) == (70210, sentence)
