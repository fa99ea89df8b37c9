"""Codes of the app and of the account type that it is integrated under."""

from __future__ import annotations

from parlour.storage.model import AccountType
from parlour.usersig import sign_v1

from tests.conftest import RunningServer
from tests.scenarios.calls import CHECK, IMPORT, done, logs_in, refused_call, refused_login
from tests.scenarios.conftest import Unchanged
from tests.scenarios.registry import scenario
from tests.scenarios.test_usersig import now
from tests.unit.usersigs import ec_keys, members_v1, pack
from tests.wire import Wire

ANN = {"UserID": "ann"}
SCHOOLS = AccountType(7, "schools")


@scenario(
    70015,
    cause="The app has no secret key to verify a UserSig with, or its account type does not take this version.",
    how="Logs in at an app whose only secret key was removed, and at one whose account type takes version 1 only.",
)
async def test_no_method_to_verify_with(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    (key,) = await server.storage.keys(server.app)
    await server.storage.remove_key(server.app, key.id)
    async with unchanged():
        assert "secret key" in await refused_login(wire, server, 70015)
    await server.storage.add_secret(server.app, now=now(), secret=server.key)
    await wire.login(server, "ann")

    await server.storage.put_account_type(AccountType(SCHOOLS.number, SCHOOLS.name, ("ecdsa",)))
    await server.storage.change_app(server.app, account_type=SCHOOLS.number)
    async with unchanged():
        assert "account type" in await refused_login(wire, server, 70015)
    await server.storage.put_account_type(SCHOOLS)
    await wire.login(server, "ann")


@scenario(
    70020,
    cause="The server has no app with this sdkAppId.",
    how="Calls the REST, and logs in, with an sdkAppId that nobody made; the WebSocket says -8 for it.",
    part="app look-up",
)
async def test_an_app_that_nobody_made(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    async with unchanged():
        answer = await refused_call(server, 70020, IMPORT, ANN, sdkappid=1400000002)
        refused = await wire.refused("login", sdkAppId=1400000002, userId="ann", userSig=server.user_sig("ann"))
    assert "no app 1400000002" in answer["ErrorInfo"]
    assert (refused.code, refused.extra) == (0x4001, -8)
    await server.storage.create_app(1400000002, now=now(), secret=server.key)
    await refused_call(server, 70014, IMPORT, ANN, sdkappid=1400000002)
    await done(server, IMPORT, ANN)


@scenario(
    70140,
    cause="The request names an account type, and it is not the one that the app is set up under.",
    how="Logs in and calls the REST with another account type than the app's, and logs in with a version 1 UserSig that"
    " was made for another.",
    part="account type check",
)
async def test_another_account_type(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    private, public = ec_keys()
    await server.storage.put_account_type(SCHOOLS)
    await server.storage.add_public_key(server.app, public, now=now())
    other = pack(members_v1(identifier="ann", sdk_appid=str(server.app), time=str(now()), account_type="7"))
    async with unchanged():
        assert "account type 0, not 7" in await refused_login(wire, server, 70140, accountType=7)
        assert "account type 0, not 7" in await refused_login(wire, server, 70140, userSig=other)
        answer = await refused_call(server, 70140, IMPORT, ANN | {"AccountType": 7})
    assert "account type 0, not 7" in answer["ErrorInfo"]
    await done(server, IMPORT, ANN | {"AccountType": "0"})
    user_sig = sign_v1(server.app, "ann", private, now=now())
    await wire.ask("login", sdkAppId=server.app, userId="ann", userSig=user_sig, accountType=0)


@scenario(
    70145,
    cause="The account type of the request is no number, or none that this server knows.",
    how="Logs in and calls the REST with the account types 99 and banana.",
    part="account type check",
)
async def test_an_account_type_that_is_none(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    async with unchanged():
        for wrong in (99, "banana", -1):
            assert str(wrong) in await refused_login(wire, server, 70145, accountType=wrong)
            answer = await refused_call(server, 70145, IMPORT, ANN | {"AccountType": wrong})
            assert str(wrong) in answer["ErrorInfo"]
    await done(server, IMPORT, ANN | {"AccountType": 0})
    await wire.ask("login", sdkAppId=server.app, userId="ann", userSig=server.user_sig("ann"), accountType="0")


@scenario(
    70204,
    cause="The app is set up under no account type.",
    how="Takes the account type away from the app, then logs in and calls the REST.",
    part="account type check",
)
async def test_an_app_without_an_account_type(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    await server.storage.change_app(server.app, account_type=None)
    async with unchanged():
        assert f"app {server.app}" in await refused_login(wire, server, 70204)
        assert f"app {server.app}" in (await refused_call(server, 70204, IMPORT, ANN))["ErrorInfo"]
    await server.storage.change_app(server.app, account_type=0)
    await logs_in(server)
    await done(server, CHECK, {"CheckItem": [ANN]})
