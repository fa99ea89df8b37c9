"""The login states on real databases, and the presence that is written to them in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from parlour.accounts import AcceptedLogin, Identity
from parlour.accounts import presence as presence_module
from parlour.accounts.presence import PresenceTracker
from parlour.storage import Back, Ended, LoggedIn, LoginStates, Lost, StorageError

from tests import broken
from tests.contract.stores import APP, NOW, Opener, beside, on


@pytest.fixture
async def states(opened: Opener) -> LoginStates:
    return await opened.login_states(timeout=20)


def logged_in(
    login_id: str, user_id: str = "ann", *, node: str = "n1", platform: str = "Web", app: int = APP
) -> LoggedIn:
    return LoggedIn(login_id, app, user_id, node, platform, NOW)


async def online(states: LoginStates, *user_ids: str, now: int = NOW, app: int = APP) -> dict[str, list[str]]:
    return await states.online(app, user_ids or ("ann", "bob"), now=now)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - what is waited for is in a database
            await asyncio.sleep(0.02)


async def stored(opened: Opener) -> list[tuple[str, object]]:
    rows = await on(
        beside(opened.database, "login-state.db"), "SELECT login_id, online_until FROM logins ORDER BY login_id"
    )
    return [
        (str(login_id), None if online_until is None else int(str(online_until))) for login_id, online_until in rows
    ]


# --- the store --------------------------------------------------------------------------------------------------------


async def test_who_logged_in_is_online_until_the_login_ends(states: LoginStates) -> None:
    assert await online(states) == {}
    assert await states.note(logged_in("1"))
    assert await online(states) == {"ann": ["Web"]}
    assert await online(states, app=5) == {}
    assert await states.note(Ended("1"))
    assert await online(states) == {}
    assert not await states.note(Ended("1"))


async def test_a_user_is_online_by_every_platform_once(states: LoginStates) -> None:
    for number, platform in enumerate(("Web", "iPhone", "Web")):
        await states.note(logged_in(str(number), platform=platform))
    assert {user: sorted(by) for user, by in (await online(states)).items()} == {"ann": ["Web", "iPhone"]}
    await states.note(Ended("0"))
    assert sorted((await online(states))["ann"]) == ["Web", "iPhone"]


async def test_who_lost_the_socket_stays_online_for_a_while_unless_back(states: LoginStates) -> None:
    await states.note(logged_in("1"))
    assert await states.note(Lost("1", NOW + 60))
    assert await online(states, now=NOW + 59) == {"ann": ["Web"]}
    assert await online(states, now=NOW + 60) == {}
    assert await states.note(Back("1"))
    assert await online(states, now=NOW + 60) == {"ann": ["Web"]}


async def test_a_login_that_was_revoked_never_comes_back(states: LoginStates) -> None:
    for login_id, user_id, app in (("1", "ann", APP), ("2", "ann", APP), ("3", "bob", APP), ("4", "ann", 5)):
        await states.note(logged_in(login_id, user_id, app=app))
    assert await states.revoke(APP, ["ann", "nobody"]) == 2
    assert not await states.note(Back("1"))
    assert not await states.note(Lost("2", NOW))
    assert await online(states) == {"bob": ["Web"]}
    assert await online(states, app=5) == {"ann": ["Web"]}
    assert await states.revoke(APP, []) == 0


async def test_a_server_that_starts_anew_forgets_its_own_logins_alone(opened: Opener) -> None:
    one, other = await opened.login_states(), await opened.login_states()
    await one.note(logged_in("1", "ann", node="one"))
    await other.note(logged_in("2", "bob", node="other"))
    await one.forget_node("one")
    assert await online(other) == {"bob": ["Web"]}


async def test_changes_that_come_together_are_done_in_their_order(states: LoginStates) -> None:
    changes = [logged_in("1"), Lost("1", NOW + 9), Back("1"), Ended("1"), Back("1"), logged_in("2"), Lost("2", NOW + 9)]
    assert await asyncio.gather(*map(states.note, changes)) == [True, True, True, True, False, True, True]
    assert await online(states, now=NOW + 8) == {"ann": ["Web"]}
    assert await online(states, now=NOW + 9) == {}


async def test_a_thousand_logins_at_a_time_are_all_written(states: LoginStates) -> None:
    await asyncio.gather(*(states.note(logged_in(str(number), f"user-{number}")) for number in range(1000)))
    found = await states.online(APP, [f"user-{number}" for number in range(1000)], now=NOW)
    assert len(found) == 1000


async def test_a_login_that_is_there_already_fails_alone(states: LoginStates) -> None:
    await states.note(logged_in("7"))
    results = await asyncio.gather(
        *(states.note(logged_in(str(number), f"user-{number}")) for number in range(10)), return_exceptions=True
    )
    assert [number for number, result in enumerate(results) if isinstance(result, StorageError)] == [7]
    assert len(await states.online(APP, [f"user-{number}" for number in range(10)], now=NOW)) == 9


# --- presence ---------------------------------------------------------------------------------------------------------


def login(login_id: str) -> AcceptedLogin:
    return AcceptedLogin(Identity(APP, "ann"), login_id, NOW, None, "")


async def test_changes_are_written_in_the_background(opened: Opener, states: LoginStates) -> None:
    presence = PresenceTracker(states, lambda: NOW, offline_after=60)
    for login_id in ("1", "2", "3"):
        await states.note(logged_in(login_id))
    presence.lost(login("1"))
    presence.ended(login("2"))
    await presence.close()
    assert await stored(opened) == [("1", NOW + 60), ("3", None)]
    assert await presence.back(login("1"))
    assert not await presence.back(login("2"))
    assert await stored(opened) == [("1", None), ("3", None)]


async def test_while_the_store_is_away_nobody_waits_and_all_is_written_in_order_when_it_is_back(
    opened: Opener, states: LoginStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_module, "RETRY_PAUSE", 0.05)
    clock = iter(range(NOW, NOW + 100))
    presence = PresenceTracker(states, lambda: next(clock), offline_after=60)
    numbers = [f"{number:02}" for number in range(20)]
    for number in numbers:
        await states.note(logged_in(number))
    async with broken.missing(beside(opened.database, "login-state.db"), "logins"):
        for number in numbers:
            presence.lost(login(number))
        await asyncio.sleep(0.2)  # some attempts fail
        for number in numbers[::2]:
            presence.lost(login(number))
        presence.ended(login("01"))
        await asyncio.sleep(0.1)
        with pytest.raises(StorageError):
            await presence.back(login("03"))
    expected = [
        (number, NOW + 60 + 20 + at // 2 if at % 2 == 0 else NOW + 60 + at)
        for at, number in enumerate(numbers)
        if number != "01"
    ]

    async def all_written() -> bool:
        return await stored(opened) == expected

    await until(all_written)
    await presence.close()


async def test_who_is_back_before_the_loss_was_written_stays_online(
    opened: Opener, states: LoginStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_module, "RETRY_PAUSE", 0.3)
    presence = PresenceTracker(states, lambda: NOW, offline_after=60)
    await states.note(logged_in("1"))
    await states.note(logged_in("2"))
    async with broken.missing(beside(opened.database, "login-state.db"), "logins"):
        for login_id in ("1", "2"):
            presence.lost(login(login_id))
        with pytest.raises(StorageError):
            await states.note(Back("1"))  # asked after the losses, so those have failed as well
    assert await presence.back(login("1"))

    async def second_is_lost() -> bool:
        return ("2", NOW + 60) in await stored(opened)

    await until(second_is_lost)
    await presence.close()
    assert await stored(opened) == [("1", None), ("2", NOW + 60)]


async def test_a_login_that_is_over_does_not_come_back_before_that_is_written(
    opened: Opener, states: LoginStates
) -> None:
    presence = PresenceTracker(states, lambda: NOW, offline_after=60)
    await states.note(logged_in("1"))
    presence.lost(login("1"))
    presence.ended(login("1"))
    assert not await presence.back(login("1"))
    await presence.close()
    assert await stored(opened) == []


async def test_a_stop_does_not_wait_for_a_store_that_stays_away(
    opened: Opener, states: LoginStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_module, "FLUSH_TIMEOUT", 0.2)
    presence = PresenceTracker(states, lambda: NOW, offline_after=60)
    await states.note(logged_in("1"))
    async with broken.missing(beside(opened.database, "login-state.db"), "logins"):
        presence.ended(login("1"))
        async with asyncio.timeout(10):
            await presence.close()
    assert await stored(opened) == [("1", None)]


async def test_of_too_many_changes_the_oldest_are_forgotten(
    opened: Opener, states: LoginStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_module, "MOST", 5)
    presence = PresenceTracker(states, lambda: NOW, offline_after=60)
    for number in range(8):
        await states.note(logged_in(str(number)))
    for number in range(8):
        presence.ended(login(str(number)))
    await presence.close()
    assert await stored(opened) == [("0", None), ("1", None), ("2", None)]


async def test_closing_without_any_change_is_nothing(states: LoginStates) -> None:
    await PresenceTracker(states, lambda: NOW, offline_after=60).close()
