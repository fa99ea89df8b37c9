"""Codes of a request to the account REST that is not as it should be."""

from __future__ import annotations

from tests.conftest import RunningServer
from tests.scenarios.calls import ADMIN, CHECK, IMPORT, done, refused_call, refused_login, registered
from tests.scenarios.conftest import Unchanged
from tests.scenarios.registry import scenario
from tests.wire import Wire

IMPORT_MANY = "im_open_login_svc/multiaccount_import"
DELETE = "im_open_login_svc/account_delete"
REGISTER_MANY = "parlour_account/multi_register"
ANN = {"UserID": "ann"}
SIZES = (0, 101)


def users(count: int) -> list[str]:
    return [f"user-{number}" for number in range(count)]


@scenario(
    70019,
    cause="A call over HTTPS carries no credential.",
    how="Calls the REST without the parameter usersig, and with an empty one.",
    part="account REST",
)
async def test_a_call_without_a_usersig(server: RunningServer, unchanged: Unchanged) -> None:
    async with unchanged():
        for nothing in (None, ""):
            answer = await refused_call(server, 70019, IMPORT, ANN, usersig=nothing)
            assert "The URL has no usersig" in answer["ErrorInfo"]
    await done(server, IMPORT, ANN)


@scenario(
    70101,
    cause="The request has no body.",
    how="Imports an account with an empty body.",
    part="account REST",
)
async def test_an_empty_body(server: RunningServer, unchanged: Unchanged) -> None:
    async with unchanged():
        answer = await refused_call(server, 70101, IMPORT, b"")
    assert "The request has no body" in answer["ErrorInfo"]
    await done(server, IMPORT, ANN)


@scenario(
    70113,
    cause="A batch to register holds no account, or more than 100.",
    how="Registers no account, and 101 accounts, in one call of parlour_account/multi_register.",
    part="account REST",
)
async def test_a_batch_to_register_of_the_wrong_size(server: RunningServer, unchanged: Unchanged) -> None:
    async with unchanged():
        for size in SIZES:
            accounts = [{"UserID": user_id, "Kind": "plain"} for user_id in users(size)]
            answer = await refused_call(server, 70113, REGISTER_MANY, {"Accounts": accounts})
            assert f"Accounts holds {size} items; send between 1 and 100" in answer["ErrorInfo"]
    await done(server, REGISTER_MANY, {"Accounts": accounts[:100]})
    assert await registered(server, *users(100)) == set(users(100))


@scenario(
    70206,
    cause="A list in the request holds nobody, or more than 100.",
    how="Imports, checks and deletes nobody, and 101 users, in one call each.",
    part="account REST",
)
async def test_a_batch_of_the_wrong_size(server: RunningServer, unchanged: Unchanged) -> None:
    await done(server, IMPORT_MANY, {"Accounts": users(100)})
    async with unchanged():
        for size in SIZES:
            items = [{"UserID": user_id} for user_id in users(size)]
            for command, body in (
                (IMPORT_MANY, {"Accounts": users(size)}),
                (CHECK, {"CheckItem": items}),
                (DELETE, {"DeleteItem": items}),
            ):
                answer = await refused_call(server, 70206, command, body)
                assert f"{next(iter(body))} holds {size} items; send between 1 and 100" in answer["ErrorInfo"]
    await done(server, DELETE, {"DeleteItem": items[:100]})
    assert not await registered(server, *users(100))


@scenario(
    70402,
    cause="A field that the request needs is missing, has the wrong type, or holds what it may not.",
    how="Imports accounts with such bodies, and logs in with userIds that are empty, too long or hold a NUL.",
    part="account service",
)
async def test_a_field_that_is_wrong(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    async with unchanged():
        for body, words in (
            ({}, "UserID"),
            ({"UserID": 7}, "UserID"),
            ({"UserID": ""}, "UserID"),
            ({"UserID": "x" * 33}, "UserID"),
            ({"UserID": "a\0b"}, "UserID"),
            (ANN | {"Nick": 7}, "Nick"),
            (ANN | {"FaceUrl": ["x"]}, "FaceUrl"),
        ):
            assert words in (await refused_call(server, 70402, IMPORT, body))["ErrorInfo"]
        assert "Accounts" in (await refused_call(server, 70402, IMPORT_MANY, {"Accounts": "ann"}))["ErrorInfo"]
        assert "empty" in await refused_login(wire, server, 70402, "")
        assert "33 bytes; 32 are allowed" in await refused_login(wire, server, 70402, "x" * 33)
        assert "NUL" in await refused_login(wire, server, 70402, "a\0b")
    await done(server, IMPORT, ANN | {"Nick": "Ann", "FaceUrl": "https://example.com/ann.png"})
    await wire.login(server, "ann")


@scenario(
    70403,
    cause="The caller's UserSig is good, but the caller is no administrator of the app.",
    how="A user without that right imports an account, and again after becoming an administrator.",
    part="account REST",
)
async def test_a_caller_who_is_no_administrator(server: RunningServer, unchanged: Unchanged) -> None:
    own = {"identifier": "ann", "usersig": server.user_sig("ann")}
    async with unchanged():
        answer = await refused_call(server, 70403, IMPORT, {"UserID": "bob"}, **own)
    assert f"ann is not among the admins of app {server.app}" in answer["ErrorInfo"]
    await server.storage.change_app(server.app, admins=(ADMIN, "ann"))
    await done(server, IMPORT, {"UserID": "bob"}, **own)
