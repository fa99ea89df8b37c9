"""What the account service says to those who logged in: entering rooms, and coming back to one."""

from __future__ import annotations

from parlour.accounts import Identity

from tests.contract.stores import APP, NOW, Service, on, refusal

WRONG_KEY = "?" * 64

# --- entering rooms ---------------------------------------------------------------------------------------------------


async def test_a_login_enters_with_its_own_ticket_alone(service: Service) -> None:
    ann, bob = await service.login("ann"), await service.login("bob")
    entrant = await service.accounts.enter(ann.login, ann.ticket)
    assert (entrant.login, entrant.app.sdk_app_id) == (ann.login, APP)
    for login, ticket, sentence in (
        (None, ann.ticket, "this socket has not logged in"),
        (ann.login, bob.ticket, "the ticket belongs to another login than this socket's"),
        (ann.login, (await service.login("ann")).ticket, "the ticket belongs to another login than this socket's"),
        (ann.login, "", "the ticket is not one that this server signed"),
    ):
        assert await refusal(service.accounts.enter(login, ticket)) == (70346, sentence)
    service.clock.now = NOW + 601
    assert await refusal(service.accounts.enter(ann.login, ann.ticket)) == (
        70347,
        "the ticket expired 1 s ago: log in again",
    )


async def test_a_usersig_that_expires_between_login_and_entering_is_minus_10013(service: Service) -> None:
    granted = await service.login("ann", service.sig(expire=60))
    service.clock.now = NOW + 60
    await service.accounts.enter(granted.login, granted.ticket)
    service.clock.now = NOW + 61
    assert await refusal(service.accounts.enter(granted.login, granted.ticket)) == (
        -10013,
        "the UserSig became invalid after login: it expired",
    )


async def test_entering_is_told_one_thing_after_the_other_too(service: Service) -> None:
    store, database = service.stores.accounts, service.database
    granted = await service.login("ann", service.sig(expire=1))
    service.clock.now = NOW + 601
    await store.accounts.block(APP, "ann", "", now=NOW)
    await service.change(state="disabled")
    sealed = (await on(database, "SELECT value FROM meta WHERE name = 'token_secret'"))[0][0]
    await on(database, "UPDATE meta SET value = 'damaged' WHERE name = 'token_secret'")

    async def code(ticket: str = granted.ticket) -> int:
        return (await refusal(service.accounts.enter(granted.login, ticket)))[0]

    assert await code() == 70348
    await on(database, f"UPDATE meta SET value = '{sealed}' WHERE name = 'token_secret'")
    assert [await code("x"), await code()] == [70346, 70347]
    service.clock.now = NOW + 2
    assert await code() == -100027
    await service.change(state="suspended")
    assert await code() == 10006
    await service.change(state="active")
    assert await code() == 70051
    await store.accounts.unblock(APP, "ann")
    assert await code() == -10013
    await store.delete_app(APP)
    assert await code() == -100027


async def test_a_suspended_app_still_takes_logins_and_refuses_at_the_door(service: Service) -> None:
    for state, code in (("suspended", 10006), ("disabled", -100027)):
        await service.change(state=state)
        granted = await service.login("ann")
        assert (await refusal(service.accounts.enter(granted.login, granted.ticket)))[0] == code


# --- coming back ------------------------------------------------------------------------------------------------------


async def resume_token(service: Service, user_id: str = "ann", *, expires_in: int = 90) -> str:
    granted = await service.login(user_id)
    entrant = await service.accounts.enter(granted.login, granted.ticket)
    return entrant.signer.issue_resume("session-1", granted.login, expires_at=service.clock.now + expires_in)


async def test_a_session_is_taken_up_again_until_its_login_is_ended(service: Service) -> None:
    token = await resume_token(service)
    returning = await service.accounts.resume(token)
    assert (returning.session_id, returning.entrant.login.identity) == ("session-1", Identity(APP, "ann"))
    assert returning.login_stands
    await service.stores.login_states.revoke(APP, ["ann"])
    assert not (await service.accounts.resume(token)).login_stands


async def test_coming_back_is_told_one_thing_after_the_other_too(service: Service) -> None:
    store, database = service.stores.accounts, service.database
    token = await resume_token(service)
    service.clock.now = NOW + 91
    await service.stores.login_states.revoke(APP, ["ann"])
    await store.accounts.invalidate(APP, "ann", now=NOW)
    await store.accounts.block(APP, "ann", "", now=NOW)
    await service.change(state="suspended")
    sealed = (await on(database, "SELECT value FROM meta WHERE name = 'token_secret'"))[0][0]
    await on(database, "UPDATE meta SET value = 'damaged' WHERE name = 'token_secret'")

    async def told(token: str = token) -> tuple[int, str]:
        return await refusal(service.accounts.resume(token))

    assert await told("nonsense") == (70236, "the resume token is not one of this server")
    assert (await told())[0] == 70348
    await on(database, f"UPDATE meta SET value = '{sealed}' WHERE name = 'token_secret'")
    assert await told(token[:-2] + ("00" if token[-2:] != "00" else "11")) == (
        70236,
        "the resume token is not one that this server signed",
    )
    assert await told() == (70221, "the session ended 1 s ago: log in again")
    service.clock.now = NOW + 9
    assert await told() == (70221, "the app is not active: log in again")
    await service.change(state="active")
    assert await told() == (70051, f"user ann is on the blacklist of app {APP}")
    await store.accounts.unblock(APP, "ann")
    assert await told() == (70221, "the user was kicked: log in again")
    await on(database, "DELETE FROM standings")
    assert not (await service.accounts.resume(token)).login_stands


async def test_a_session_outlives_its_usersig_but_not_its_key(service: Service) -> None:
    granted = await service.login("ann", service.sig(expire=10))
    entrant = await service.accounts.enter(granted.login, granted.ticket)
    token = entrant.signer.issue_resume("session-1", granted.login, expires_at=NOW + 90)
    service.clock.now = NOW + 60
    await service.accounts.resume(token)
    (key,) = await service.stores.accounts.keys(APP)
    await service.stores.accounts.remove_key(APP, key.id)
    assert await refusal(service.accounts.resume(token)) == (
        70221,
        "the key that signed it was taken away: log in again",
    )
