"""Codes of who may log in at all: lock-out, blacklist, kick, registration, login rate."""

from __future__ import annotations

import asyncio
import time

from parlour.storage.model import AppLimits

from tests.conftest import RunningServer, StartServer
from tests.scenarios.calls import IMPORT, account_code, done, logs_in, refused_call, refused_login, registered
from tests.scenarios.conftest import Unchanged
from tests.scenarios.registry import scenario
from tests.wire import Refused, Wire

KICK = "im_open_login_svc/kick"
DELETE = "im_open_login_svc/account_delete"
ANN = {"UserID": "ann"}
DEADLINE = 30.0


async def logs_in_again(server: RunningServer, user_id: str, meanwhile: int) -> None:
    """That a login that is refused with one code for now succeeds in the end."""
    async with asyncio.timeout(DEADLINE):
        while True:
            wire = await Wire.open(server)
            try:
                await wire.login(server, user_id)
            except Refused as refused:
                account_code(refused, 0x4001, meanwhile)
                await asyncio.sleep(0.1)
            else:
                return
            finally:
                await wire.close()


@scenario(
    70050,
    cause="Too many wrong credentials came for this user from this address; it is locked for a while, also for a right"
    " one.",
    how="Logs in ten times with a UserSig cut off and then with a right one, here and over the REST.",
    part="lock-out",
)
async def test_too_many_wrong_logins(start_server: StartServer, unchanged: Unchanged) -> None:
    server = await start_server(lockout__duration=4)
    wire = await Wire.open(server)
    async with unchanged():
        for _ in range(10):
            await refused_login(wire, server, 70003, userSig=server.user_sig("ann")[:-1])
        assert "locked for this address for" in await refused_login(wire, server, 70050)
        assert (
            "user ann" in (await refused_call(server, 70050, IMPORT, {"UserID": "bob"}, identifier="ann"))["ErrorInfo"]
        )
    await logs_in(server, "bob")
    await logs_in_again(server, "ann", 70050)
    await wire.close()


@scenario(
    70051,
    cause="The user is on the app's blacklist.",
    how="Puts a user who is in a room on the blacklist: the socket is closed, and logging in again is refused.",
    part="blacklist",
)
async def test_a_user_on_the_blacklist(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    ticket = (await wire.login(server, "ann"))["ticket"]
    await wire.ask("enter", ticket=ticket, roomId=1)
    await done(server, "parlour_account/blacklist_add", ANN | {"Reason": "spam"})
    assert (await wire.closed())[0] == 4409
    again = await Wire.open(server)
    async with unchanged():
        assert f"ann is on the blacklist of app {server.app}" in await refused_login(again, server, 70051)
    assert await registered(server, "ann") == {"ann"}
    await done(server, "parlour_account/blacklist_delete", ANN)
    await again.login(server, "ann")
    await again.close()


@scenario(
    70052,
    cause="The user was kicked, or the account deleted, after this UserSig was signed.",
    how="Kicks a user who is logged in, who then tries the same UserSig again, and a new one; then deletes the account,"
    " with the same two attempts.",
    part="account service",
)
async def test_a_usersig_from_before_a_kick(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    before = server.user_sig("ann")
    await wire.ask("login", sdkAppId=server.app, userId="ann", userSig=before)
    await done(server, KICK, ANN)
    assert (await wire.closed())[0] == 4409
    again = await Wire.open(server)
    async with unchanged():
        text = await refused_login(again, server, 70052, userSig=before)
    assert "kicked or deleted after this UserSig was issued: sign a new one" in text
    held = server.user_sig("ann")
    await again.ask("login", sdkAppId=server.app, userId="ann", userSig=held)
    await done(server, DELETE, {"DeleteItem": [ANN]})
    assert (await again.closed())[0] == 4409
    third = await Wire.open(server)
    async with unchanged():
        assert "sign a new one" in await refused_login(third, server, 70052, userSig=held)
    await third.login(server, "ann")
    await third.close()


@scenario(
    70107,
    cause="The userId is no account of this app, and the app takes imported accounts only or the call is about one.",
    how="Logs in at such an app before the account is imported and after it was deleted; kicks and deletes a userId"
    " that was never there.",
    part="account service",
)
async def test_a_user_who_is_not_registered(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    await server.storage.change_app(server.app, registration="imported")
    async with unchanged():
        assert f"app {server.app} takes imported accounts only" in await refused_login(wire, server, 70107)
        assert "no account ann" in (await refused_call(server, 70107, KICK, ANN))["ErrorInfo"]
        (item,) = (await done(server, DELETE, {"DeleteItem": [ANN]}))["ResultItem"]
    assert item == ANN | {"ResultCode": 70107, "ResultInfo": "Err_TLS_PT_Open_Login_Account_Not_Exist"}
    await done(server, IMPORT, ANN)
    await wire.login(server, "ann")
    await done(server, DELETE, {"DeleteItem": [ANN]})
    assert (await wire.closed())[0] == 4409
    again = await Wire.open(server)
    await refused_login(again, server, 70107)
    await again.close()


@scenario(
    70114,
    cause="More users of the app log in within one second than its limit allows.",
    how="Twelve users log in at once at an app that allows two logins a second.",
    part="login rate",
)
async def test_logins_that_come_too_fast(server: RunningServer, unchanged: Unchanged) -> None:
    await server.storage.change_app(server.app, limits=AppLimits(logins_per_second=2))
    users = [f"user-{number}" for number in range(12)]
    wires = [await Wire.open(server) for _ in users]
    began = int(time.time())
    results = await asyncio.gather(
        *(wire.login(server, user) for wire, user in zip(wires, users, strict=True)), return_exceptions=True
    )
    refused = {user: result for user, result in zip(users, results, strict=True) if isinstance(result, BaseException)}
    seconds = int(time.time()) - began + 1
    assert refused
    assert len(users) - len(refused) <= 2 * seconds
    for refusal in refused.values():
        assert isinstance(refusal, Refused)
        assert "logins of this second" in account_code(refusal, 0x4001, 70114)
    assert await registered(server, *users) == set(users) - refused.keys()
    await logs_in_again(server, next(iter(refused)), 70114)
    for wire in wires:
        await wire.close()
