"""Codes of the kinds of accounts: ``parlour_account/register`` checks what a userId of a kind looks like."""

from __future__ import annotations

from tests.conftest import RunningServer
from tests.scenarios.calls import done, logs_in, refused_call, registered
from tests.scenarios.conftest import Unchanged
from tests.scenarios.registry import scenario

REGISTER, REGISTER_MANY = "parlour_account/register", "parlour_account/multi_register"
GOOD = {"plain": "ann", "phone": "+8613800138000", "email": "ann@example.com", "tls": "ann-1"}


async def refuses(server: RunningServer, code: int, kind: str, *user_ids: str) -> str:
    """That none of the userIds is registered as of that kind, alone or in a batch; what is said of the last one."""
    said = ""
    for user_id in user_ids:
        said = (await refused_call(server, code, REGISTER, {"UserID": user_id, "Kind": kind}))["ErrorInfo"]
    accounts = [{"UserID": user_id, "Kind": kind} for user_id in user_ids]
    items = (await done(server, REGISTER_MANY, {"Accounts": accounts}))["ResultItem"]
    assert [(item["UserID"], item["ResultCode"]) for item in items] == [(user_id, code) for user_id in user_ids]
    assert all(item["ResultInfo"] for item in items)
    return said


@scenario(
    70102,
    cause="The account is of a kind that the app does not take.",
    how="Registers a phone number at an app that takes plain accounts only.",
    part="account kind check",
)
async def test_a_kind_that_the_app_does_not_take(server: RunningServer, unchanged: Unchanged) -> None:
    await server.storage.change_app(server.app, kinds=("plain",))
    async with unchanged():
        said = await refuses(server, 70102, "phone", GOOD["phone"])
    assert "kind phone, only plain" in said
    await server.storage.change_app(server.app, kinds=("plain", "phone"))
    await done(server, REGISTER, {"UserID": GOOD["phone"], "Kind": "phone"})


@scenario(
    70103,
    cause="An account of kind phone has a userId that is no phone number in international form.",
    how="Registers phone numbers that are too short, not of any country, with spaces, or without their country.",
    part="account kind check",
)
async def test_a_phone_number_that_is_none(server: RunningServer, unchanged: Unchanged) -> None:
    async with unchanged():
        said = await refuses(server, 70103, "phone", "12", "+999123456789", "+86 138 0013 8000", "13800138000")
    assert "'13800138000' is no phone number" in said
    await done(server, REGISTER, {"UserID": GOOD["phone"], "Kind": "phone"})
    await logs_in(server, GOOD["phone"])


@scenario(
    70104,
    cause="An account of kind email has a userId that is no e-mail address.",
    how="Registers e-mail addresses without a domain, with two @ and with a space.",
    part="account kind check",
)
async def test_an_e_mail_address_that_is_none(server: RunningServer, unchanged: Unchanged) -> None:
    async with unchanged():
        said = await refuses(server, 70104, "email", "ann@", "a@b@example.com", "ann smith@example.com", "ann")
    assert "'ann' is no e-mail address" in said
    await done(server, REGISTER, {"UserID": GOOD["email"], "Kind": "email"})
    await logs_in(server, GOOD["email"])


@scenario(
    70105,
    cause="An account of kind tls has a userId that is empty, longer than 32 characters, or not printable ASCII.",
    how="Registers such userIds, one of them with a letter that only looks like ASCII.",
    part="account kind check",
)
async def test_a_tls_account_that_is_none(server: RunningServer, unchanged: Unchanged) -> None:
    async with unchanged():
        said = await refuses(server, 70105, "tls", "", "x" * 33, "tab\t", "\N{CYRILLIC SMALL LETTER A}nn")
    assert "not all of them ASCII" in said
    await done(server, REGISTER, {"UserID": GOOD["tls"], "Kind": "tls"})
    await logs_in(server, GOOD["tls"])


@scenario(
    70106,
    cause="There is no such kind of account.",
    how="Registers an account of kind banana, and one of kind Phone with a capital letter.",
    part="account kind check",
)
async def test_a_kind_that_is_none(server: RunningServer, unchanged: Unchanged) -> None:
    async with unchanged():
        await refuses(server, 70106, "Phone", GOOD["phone"])
        said = await refuses(server, 70106, "banana", "ann")
    assert "'banana' is no kind of account; there are plain, phone, email, tls" in said
    for kind, user_id in GOOD.items():
        await done(server, REGISTER, {"UserID": user_id, "Kind": kind})
    assert await registered(server, *GOOD.values()) == set(GOOD.values())
