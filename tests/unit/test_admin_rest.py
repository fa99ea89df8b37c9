"""The account REST over HTTP with an account system in memory: its checks in order, its answers, its failures."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from parlour.accounts import AccountRefusedError, PluginError
from parlour.admin import AdminSettings, Answer, Call, Proceed
from parlour.errors import ErrorCode
from parlour.usersig import sign_v2

from tests.unit.admin_memory import ADMIN, APP, KEY, USER_SIG, Json, MemoryRest, running

IMPORT = "im_open_login_svc/account_import"
MULTI = "im_open_login_svc/multiaccount_import"
DELETE = "im_open_login_svc/account_delete"
CHECK = "im_open_login_svc/account_check"
QUERY = "openim/query_online_status"
OK = {"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0}


@pytest.fixture
async def rest() -> AsyncIterator[MemoryRest]:
    async with running() as found:
        yield found


# --- the convention -------------------------------------------------------------------------------------------


async def test_every_answer_has_the_headers_of_the_convention(rest: MemoryRest) -> None:
    for answer in (
        await rest.client.post(f"/v4/{IMPORT}", params=rest.parameters, json={"UserID": "ann"}),
        await rest.client.get("/v4/nothing"),
        await rest.client.options(f"/v4/{IMPORT}"),
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-methods"] == "POST"
        assert answer.headers["access-control-allow-headers"] == "X-Requested-With"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
async def test_any_method_but_post_is_60009(rest: MemoryRest, method: str) -> None:
    answer = await rest.client.request(method, f"/v4/{IMPORT}", params=rest.parameters)
    assert answer.status_code == 200
    if method != "HEAD":
        assert answer.json()["ErrorCode"] == 60009
        assert method in answer.json()["ErrorInfo"]


@pytest.mark.parametrize(
    "path", ["/v4", "/v4/", "/v4/openim", "/v4/openim/", "/v4//kick", "/v4/a/b/c", f"/v4/{IMPORT}/", "/v4/%2e%2e/x/y"]
)
async def test_a_path_of_another_shape_is_60009_before_all_other_checks(rest: MemoryRest, path: str) -> None:
    answer = await rest.client.post(path)
    assert (answer.status_code, answer.json()["ErrorCode"]) == (200, 60009)


async def test_names_are_case_sensitive_and_an_unknown_one_is_60009_that_names_those_there_are(
    rest: MemoryRest,
) -> None:
    answer = await rest.call("im_open_login_svc/Account_Import", {})
    assert answer["ErrorCode"] == 60009
    assert "account_import" in answer["ErrorInfo"]
    answer = await rest.call("im_open_login/account_import", {})
    assert answer["ErrorCode"] == 60009
    assert "im_open_login_svc" in answer["ErrorInfo"]
    assert (await rest.call(IMPORT, {"UserID": "ann"}, SDKAPPID="1"))["ErrorCode"] == 0
    assert (await rest.call(IMPORT, {"UserID": "ann"}, sdkappid=None, SDKAPPID=str(APP)))["ErrorCode"] == 60012


STEPS: list[tuple[str, dict[str, str | None], int]] = [
    ("no-sdkappid", {"sdkappid": None}, 60012),
    ("an-empty-sdkappid", {"sdkappid": ""}, 60012),
    ("a-word-as-sdkappid", {"sdkappid": "mine"}, 60006),
    ("sdkappid-0", {"sdkappid": "0"}, 60006),
    ("a-negative-sdkappid", {"sdkappid": "-1"}, 60006),
    ("an-sdkappid-too-large", {"sdkappid": "4294967296"}, 60006),
    ("an-sdkappid-of-5000-digits", {"sdkappid": "1" * 5000}, 60006),
    ("arabic-digits", {"sdkappid": "١٤٠٠٠٠٠٠٠١"}, 60006),
    ("an-unknown-app", {"sdkappid": "1400000002"}, 70020),
    ("no-identifier", {"identifier": None}, 60004),
    ("an-empty-identifier", {"identifier": ""}, 60004),
    ("no-usersig", {"usersig": None}, 70019),
    ("an-empty-usersig", {"usersig": ""}, 70019),
    ("an-identifier-of-33-bytes", {"identifier": "a" * 33}, 70402),
    ("an-identifier-with-a-nul", {"identifier": "a\0"}, 70402),
    ("a-usersig-of-another", {"identifier": "ann"}, 70013),
    ("a-cut-usersig", {"usersig": USER_SIG[:48]}, 70004),
    (
        "no-admin",
        {"identifier": "ann", "usersig": sign_v2(APP, "ann", KEY, expire=86_400, now=int(time.time()))},
        70403,
    ),
]


@pytest.mark.parametrize(("parameters", "code"), [step[1:] for step in STEPS], ids=[step[0] for step in STEPS])
async def test_parameters_of_the_url_have_their_codes_whatever_the_body(
    rest: MemoryRest, parameters: dict[str, str | None], code: int
) -> None:
    for command, body in ((IMPORT, b'{"UserID":"ann"}'), (IMPORT, b""), (IMPORT, b"}"), ("no_such/command", b"{}")):
        assert (await rest.raw(command, body, **parameters))["ErrorCode"] == code
    assert rest.memory.accounts == {}
    assert rest.memory.counted == []


async def test_of_several_mistakes_the_earliest_check_decides(rest: MemoryRest) -> None:
    wrong: dict[str, str | None] = {"identifier": None, "usersig": None}
    assert (await rest.raw("x/y", b"", **wrong, sdkappid=None))["ErrorCode"] == 60012
    assert (await rest.raw("x/y", b"", **wrong, sdkappid="x"))["ErrorCode"] == 60006
    assert (await rest.raw("x/y", b"", **wrong, sdkappid="5"))["ErrorCode"] == 70020
    rest.memory.app = replace(rest.memory.app, state="suspended")
    assert (await rest.raw("x/y", b"", **wrong))["ErrorCode"] == 60016
    rest.memory.app = replace(rest.memory.app, state="active")
    assert (await rest.raw("x/y", b"", **wrong))["ErrorCode"] == 60004
    assert (await rest.raw("x/y", b"", identifier="a" * 33, usersig=None))["ErrorCode"] == 70019
    for code in (ErrorCode.COMMAND_RATE_EXCEEDED, ErrorCode.APP_RATE_EXCEEDED, ErrorCode.COUNTERS_UNAVAILABLE):
        rest.memory.refuse_request = code
        assert (await rest.raw("x/y", b""))["ErrorCode"] == code
    rest.memory.refuse_request = None
    assert (await rest.raw("x/y", b""))["ErrorCode"] == 60009
    assert (await rest.raw(IMPORT, b""))["ErrorCode"] == 70101
    assert (await rest.raw(IMPORT, b"}"))["ErrorCode"] == 60003
    assert (await rest.raw(IMPORT, b"{}"))["ErrorCode"] == 70402
    assert (await rest.raw(IMPORT, b'{"AccountType":"x"}'))["ErrorCode"] == 70145
    assert rest.memory.accounts == {}


async def test_a_url_that_reads_in_two_ways_is_60002(rest: MemoryRest) -> None:
    for query in ("sdkappid=1&sdkappid=2", "identifier=%zz", "identifier=%ff"):
        answer = await rest.client.post(f"/v4/{IMPORT}?{query}")
        assert answer.json()["ErrorCode"] == 60002


async def test_openim_says_some_of_it_with_codes_of_its_own(rest: MemoryRest) -> None:
    ann = {"identifier": "ann", "usersig": sign_v2(APP, "ann", KEY, expire=86_400, now=int(time.time()))}
    for command in (QUERY, "openim/querystate", "openim/no_such"):
        assert (await rest.call(command, {}, **ann))["ErrorCode"] == 90009
    for command in (QUERY, "openim/querystate"):
        assert (await rest.raw(command, b"}"))["ErrorCode"] == 90001
        assert (await rest.raw(command, b'{"a":1,"a":1}'))["ErrorCode"] == 90001
        assert (await rest.raw(command, b""))["ErrorCode"] == 70101
        assert (await rest.call(command, {"To_Account": []}))["ErrorCode"] == 90001
        assert (await rest.call(command, {"To_Account": [1]}))["ErrorCode"] == 90003
        assert (await rest.call(command, {"To_Account": ["a"] * 501}))["ErrorCode"] == 90011


async def test_the_account_type_may_be_left_out_and_is_compared_where_it_is_given(rest: MemoryRest) -> None:
    for value, code in (
        (0, 0),
        ("0", 0),
        (None, 0),
        (9, 70140),
        ("x", 70145),
        ([], 70145),
        (True, 70145),
        (0.5, 70145),
    ):
        for command in (IMPORT, "parlour_account/register"):
            answer = await rest.call(command, {"UserID": "ann", "AccountType": value})
            assert answer["ErrorCode"] == code, value


async def test_calls_are_counted_by_command_and_what_does_not_exist_under_one_name(rest: MemoryRest) -> None:
    await rest.call(IMPORT, {"UserID": "ann"})
    await rest.call("openim/querystate", {"To_Account": ["ann"]})
    for number in range(3):
        await rest.call(f"guess/{number}", {})
    assert rest.memory.counted == ["account_import", "query_online_status", "unknown", "unknown", "unknown"]
    assert set(rest.memory.sources) == {"127.0.0.1"}


# --- the commands ---------------------------------------------------------------------------------------------


async def test_an_import_is_idempotent_and_keeps_the_profile_that_it_does_not_name(rest: MemoryRest) -> None:
    assert await rest.call(IMPORT, {"UserID": "ann", "Nick": "Ann", "FaceUrl": "u"}) == OK
    assert await rest.call(IMPORT, {"UserID": "ann", "Nick": "Anna"}) == OK
    assert rest.memory.accounts == {"ann": {"nick": "Anna", "face_url": "u"}}


async def test_look_alikes_and_sql_are_userids_like_any_other(rest: MemoryRest) -> None:
    users = ["paul", "pаul", "Paul", "'; DROP TABLE accounts;--", '" OR ""="', "%", "_", "\\", "\n", "🦊", "a b"]
    assert await rest.call(MULTI, {"Accounts": users}) == OK | {"FailAccounts": []}
    answer = await rest.call(CHECK, {"CheckItem": [{"UserID": user} for user in [*users, "PAUL", "%%"]]})
    there = {item["UserID"]: item["AccountStatus"] for item in answer["ResultItem"]}
    assert there == dict.fromkeys(users, "Imported") | {"PAUL": "NotImported", "%%": "NotImported"}


async def test_a_batch_that_ran_out_of_time_is_70202_and_lists_what_was_done(rest: MemoryRest) -> None:
    rest.memory.deadline = 2
    answer = await rest.call(MULTI, {"Accounts": ["a", "b", "c", "c"]})
    assert (answer["ActionStatus"], answer["ErrorCode"]) == ("FAIL", 70202)
    assert answer["FailAccounts"] == ["c", "c"]
    assert set(rest.memory.accounts) == {"a", "b"}
    answer = await rest.call(CHECK, {"CheckItem": [{"UserID": user} for user in "abc"]})
    assert (answer["ErrorCode"], [item["UserID"] for item in answer["ResultItem"]]) == (70202, ["a", "b"])
    answer = await rest.call(DELETE, {"DeleteItem": [{"UserID": user} for user in "abc"]})
    assert (answer["ErrorCode"], [item["UserID"] for item in answer["ResultItem"]]) == (70202, ["a", "b"])
    assert rest.memory.accounts == {}


async def test_an_item_that_a_batch_names_twice_is_answered_twice_and_done_once(rest: MemoryRest) -> None:
    await rest.call(MULTI, {"Accounts": ["ann", "ann"]})
    twice = [{"UserID": "ann"}, {"UserID": "bob"}, {"UserID": "ann"}]
    checked = await rest.call(CHECK, {"CheckItem": twice})
    assert [item["AccountStatus"] for item in checked["ResultItem"]] == ["Imported", "NotImported", "Imported"]
    deleted = await rest.call(DELETE, {"DeleteItem": twice})
    assert deleted == OK | {
        "ResultItem": [
            {"UserID": "ann", "ResultCode": 0, "ResultInfo": ""},
            {"UserID": "bob", "ResultCode": 70107, "ResultInfo": "Err_TLS_PT_Open_Login_Account_Not_Exist"},
            {"UserID": "ann", "ResultCode": 0, "ResultInfo": ""},
        ]
    }


async def test_kick_wants_an_account(rest: MemoryRest) -> None:
    assert (await rest.call("im_open_login_svc/kick", {"UserID": "ann"}))["ErrorCode"] == 70107
    await rest.call(IMPORT, {"UserID": "ann"})
    assert await rest.call("im_open_login_svc/kick", {"UserID": "ann"}) == OK


@pytest.mark.parametrize("command", [QUERY, "openim/querystate"])
async def test_the_online_query_answers_for_whom_it_can_and_fails_when_it_can_for_nobody(
    rest: MemoryRest, command: str
) -> None:
    await rest.call(MULTI, {"Accounts": ["ann", "bob"]})
    rest.memory.online_at = {"ann": ("Web", "Android")}
    answer = await rest.call(command, {"To_Account": ["bob", "nobody", "ann"], "IsNeedDetail": 1})
    detail = [{"Platform": "Web", "Status": "Online"}, {"Platform": "Android", "Status": "Online"}]
    assert answer == OK | {
        "QueryResult": [
            {"To_Account": "bob", "State": "Offline", "Status": "Offline", "Detail": []},
            {"To_Account": "ann", "State": "Online", "Status": "Online", "Detail": detail},
        ],
        "ErrorList": [{"To_Account": "nobody", "ErrorCode": 70107}],
    }
    answer = await rest.call(command, {"To_Account": ["ann"]})
    assert answer["QueryResult"] == [{"To_Account": "ann", "State": "Online", "Status": "Online"}]
    answer = await rest.call(command, {"To_Account": ["nobody"]})
    assert (answer["ErrorCode"], answer["ErrorList"]) == (70107, [{"To_Account": "nobody", "ErrorCode": 70107}])


async def test_registering_has_the_codes_of_the_formats_and_a_batch_has_them_for_each_item(rest: MemoryRest) -> None:
    misfits = {"phone": 70103, "email": 70104, "fax": 70106}
    for kind, code in misfits.items():
        assert (await rest.call("parlour_account/register", {"UserID": "ann", "Kind": kind}))["ErrorCode"] == code
    assert (await rest.call("parlour_account/register", {"UserID": "", "Kind": "tls"}))["ErrorCode"] == 70105
    assert await rest.call("parlour_account/register", {"UserID": "ann"}) == OK
    accounts = [{"UserID": f"a{kind}", "Kind": kind} for kind in misfits] + [{"UserID": "bob"}]
    answer = await rest.call("parlour_account/multi_register", {"Accounts": accounts})
    assert (answer["ErrorCode"], [item["ResultCode"] for item in answer["ResultItem"]]) == (0, [*misfits.values(), 0])
    assert all(item["ResultInfo"] for item in answer["ResultItem"][:-1])
    clash = [{"UserID": "eve"}, {"UserID": "eve", "Kind": "tls"}]
    assert (await rest.call("parlour_account/multi_register", {"Accounts": clash}))["ErrorCode"] == 70402
    assert set(rest.memory.accounts) == {"ann", "bob"}


async def test_the_blacklist_is_kept_and_read_page_by_page(rest: MemoryRest) -> None:
    for user in "edcba":
        assert await rest.call("parlour_account/blacklist_add", {"UserID": user, "Reason": f"why {user}"}) == OK
    pages: list[list[str]] = []
    after = ""
    for _ in range(3):
        answer = await rest.call("parlour_account/blacklist_get", {"After": after, "Limit": 2})
        pages.append([entry["UserID"] for entry in answer["BlackList"]])
        after = answer["Next"]
    assert (pages, after) == ([["a", "b"], ["c", "d"], ["e"]], "")
    assert answer["BlackList"] == [{"UserID": "e", "Reason": "why e", "BlockedAt": 1_700_000_000}]
    assert await rest.call("parlour_account/blacklist_delete", {"UserID": "a"}) == OK
    assert (await rest.call("parlour_account/blacklist_get", {}))["BlackList"][0]["UserID"] == "b"


async def test_an_owner_reads_and_changes_the_app_and_no_key_is_in_the_answer(rest: MemoryRest) -> None:
    read = await rest.call("parlour_app/get", {"Uin": 1001})
    assert read["App"]["Name"] == "Lessons"
    assert KEY not in str(read)
    changes = {"Name": "Talks", "Registration": "imported", "Kinds": ["tls", "tls", "plain"], "MaxAccounts": 0}
    changed = await rest.call("parlour_app/set", {"Uin": "1001"} | changes)
    assert changed["App"] == read["App"] | changes | {"Kinds": ["tls", "plain"]}
    assert (await rest.call("parlour_app/set", {"Uin": 1001, "MaxAccounts": None}))["App"]["MaxAccounts"] is None
    assert rest.memory.app.name == "Talks"
    nothing = await rest.call("parlour_app/set", {"Uin": 1001, "Nmae": "x"})
    assert nothing["ErrorCode"] == 70402
    assert "Name" in nothing["ErrorInfo"]


async def test_the_owners_number_has_its_codes(rest: MemoryRest) -> None:
    for uin in (None, 0, "x", [], True, 1.5):
        assert (await rest.call("parlour_app/get", {"Uin": uin}))["ErrorCode"] == 70211
        assert (await rest.call("parlour_app/set", {"Uin": uin, "Name": "x"}))["ErrorCode"] == 70211
    assert (await rest.call("parlour_app/get", {"Uin": 5}))["ErrorCode"] == 70115
    assert (await rest.call("parlour_app/set", {"Uin": 5, "Name": "x"}))["ErrorCode"] == 70210
    rest.memory.app = replace(rest.memory.app, owner=None)
    assert (await rest.call("parlour_app/get", {"Uin": 5}))["ErrorCode"] == 70209


# --- what goes wrong ------------------------------------------------------------------------------------------


async def test_a_code_of_the_stores_reaches_the_caller(rest: MemoryRest) -> None:
    for code in (70169, 70201, 70203, 70207, 70208, 70308):
        rest.memory.fault = AccountRefusedError(ErrorCode(code), "The store is down.")
        answer = await rest.call(IMPORT, {"UserID": "ann"})
        assert (answer["ErrorCode"], answer["ErrorInfo"]) == (code, "The store is down.")


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Json]:
    """The lines that are logged."""
    lines: list[Json] = []

    class Lines:
        def error(self, event: str, **values: object) -> None:
            lines.append({"event": event, **values})

    monkeypatch.setattr("parlour.admin.incidents.log", Lines())
    return lines


async def test_what_nobody_expected_is_70401_with_an_incident_that_stands_in_the_log(
    rest: MemoryRest, logged: list[Json]
) -> None:
    try:
        raise sqlite3.DatabaseError(f"it broke while {USER_SIG} was looked at")
    except sqlite3.DatabaseError as error:
        rest.memory.fault = error
    answer = await rest.call(IMPORT, {"UserID": "ann"})
    assert answer["ErrorCode"] == 70401
    (line,) = logged
    assert f"incident {line['incident']} " in answer["ErrorInfo"]
    assert "DatabaseError: it broke while … was looked at" in line["exception"]
    assert "admin_memory.py" in line["exception"]
    assert USER_SIG not in str(line)
    assert line["where"] == f"/v4/{IMPORT}"
    assert "broke" not in answer["ErrorInfo"]
    rest.memory.fault = None
    assert await rest.call(IMPORT, {"UserID": "ann"}) == OK


def test_the_log_keeps_the_traceback_readable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from parlour.admin.incidents import record_incident
    from parlour.logs import configure_logs

    # A logger keeps the configuration of its first use; this one is thrown away.
    monkeypatch.setattr("parlour.admin.incidents.log", structlog.get_logger())
    try:
        configure_logs("info", as_json=False)
        try:
            raise RuntimeError("two\nlines")
        except RuntimeError as error:
            incident = record_incident(error, "/v4/x/y", "secret")
        text = capsys.readouterr().err
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()
    assert incident in text
    assert "\nRuntimeError: two\nlines" in text


# --- plugins --------------------------------------------------------------------------------------------------

seen: list[Call] = []


async def watch(call: Call, proceed: Proceed) -> Answer:
    seen.append(call)
    answer = await proceed()
    assert isinstance(answer, Answer)
    return answer


async def refuse_bob(call: Call, proceed: Proceed) -> Answer:
    if call.identifier == "bob":
        raise AccountRefusedError(ErrorCode.REQUEST_DISABLED, "Bob may not.")
    return await proceed()


async def broken(call: Call, proceed: Proceed) -> Answer:
    raise RuntimeError("a plugin of the operator's is broken")


HERE = __name__


async def test_plugins_see_every_call_from_the_outermost_in_and_may_refuse_it() -> None:
    seen.clear()
    async with running(AdminSettings(rest_middleware=(f"{HERE}:watch", f"{HERE}:refuse_bob"))) as rest:
        assert await rest.call(IMPORT, {"UserID": "ann"}) == OK
        assert (await rest.call(IMPORT, {"UserID": "ann"}, identifier="bob"))["ErrorCode"] == 60017
        assert (await rest.call(IMPORT, {"UserID": "ann"}, sdkappid=None))["ErrorCode"] == 60012
    assert [(call.service, call.command, call.sdk_app_id, call.identifier, call.source) for call in seen] == [
        ("im_open_login_svc", "account_import", str(APP), ADMIN, "127.0.0.1"),
        ("im_open_login_svc", "account_import", str(APP), "bob", "127.0.0.1"),
        ("im_open_login_svc", "account_import", "", ADMIN, "127.0.0.1"),
    ]
    assert USER_SIG not in str(seen)


async def test_a_plugin_that_raises_is_70401(logged: list[Json]) -> None:
    async with running(AdminSettings(rest_middleware=(f"{HERE}:broken",))) as rest:
        answer = await rest.call(IMPORT, {"UserID": "ann"})
        assert answer["ErrorCode"] == 70401
        assert "a plugin of the operator's is broken" in logged[0]["exception"]
        assert rest.memory.accounts == {}


async def forgetful(_: Call, proceed: Proceed) -> None:
    await proceed()


async def test_a_plugin_that_forgets_to_return_the_answer_is_70401(logged: list[Json]) -> None:
    async with running(AdminSettings(rest_middleware=(f"{HERE}:forgetful",))) as rest:
        answer = await rest.call(IMPORT, {"UserID": "ann"})
        assert answer["ErrorCode"] == 70401
        assert "returned a NoneType and no Answer" in logged[0]["exception"]


async def test_the_plugin_of_the_page_does_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs/account-rest.md").read_text(encoding="utf-8")
    (tmp_path / "plugin_of_the_page.py").write_text(page.split("```python\n")[1].split("```")[0])
    monkeypatch.syspath_prepend(tmp_path)
    async with running(AdminSettings(rest_middleware=("plugin_of_the_page:no_deleting",))) as rest:
        assert await rest.call(IMPORT, {"UserID": "ann"}) == OK
        answer = await rest.call(DELETE, {"DeleteItem": [{"UserID": "ann"}]})
        assert (answer["ErrorCode"], answer["ErrorInfo"]) == (60017, "Accounts of this server are not deleted.")
        assert set(rest.memory.accounts) == {"ann"}


@pytest.mark.parametrize("name", ["nonsense", "no_such_module_here:x", "json:no_such", "json:__doc__", ":x", "json:"])
async def test_a_plugin_that_cannot_be_loaded_is_named(name: str) -> None:
    with pytest.raises(PluginError):
        async with running(AdminSettings(rest_middleware=(name,))):
            pass
