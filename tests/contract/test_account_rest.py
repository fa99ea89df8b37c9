"""The account REST of a running server: what back ends do with it, and every example of its page."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from parlour.admin import Answer, Call, Proceed
from structlog.testing import capture_logs

from tests.rest import ADMIN, Rest
from tests.wire import Wire

if TYPE_CHECKING:
    from tests.conftest import RunningServer, StartServer

PAGE = Path(__file__).parents[2] / "docs/account-rest.md"
IMPORT = "im_open_login_svc/account_import"
MULTI = "im_open_login_svc/multiaccount_import"
CHECK = "im_open_login_svc/account_check"
DELETE = "im_open_login_svc/account_delete"
KICK = "im_open_login_svc/kick"
QUERY = "openim/query_online_status"
OK = {"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0}


@pytest.fixture
async def rest(server: RunningServer) -> AsyncIterator[Rest]:
    async with Rest.of(server) as found:
        yield found


async def test_an_account_lives_from_import_to_deletion(rest: Rest) -> None:
    assert await rest.imported("ann") == [False]
    for _ in range(2):
        assert await rest.call(IMPORT, {"UserID": "ann", "Nick": "Ann", "FaceUrl": "u"}) == OK
    assert await rest.imported("ann", "Ann", "ann ") == [True, False, False]
    gone = {"UserID": "ann", "ResultCode": 0, "ResultInfo": ""}
    assert await rest.call(DELETE, {"DeleteItem": [{"UserID": "ann"}]}) == OK | {"ResultItem": [gone]}
    again = await rest.call(DELETE, {"DeleteItem": [{"UserID": "ann"}]})
    assert (again["ErrorCode"], again["ResultItem"][0]["ResultCode"]) == (0, 70107)
    assert await rest.imported("ann") == [False]


async def test_a_hundred_accounts_go_in_one_call_and_every_one_of_them_is_there(rest: Rest) -> None:
    users = [f"user-{number}" for number in range(100)]
    assert await rest.call(MULTI, {"Accounts": users}) == OK | {"FailAccounts": []}
    assert await rest.imported(*users) == [True] * 100
    deleted = await rest.call(DELETE, {"DeleteItem": [{"UserID": user} for user in (*users[:99], users[0])]})
    assert [item["ResultCode"] for item in deleted["ResultItem"]] == [0] * 100
    assert await rest.imported(*users) == [False] * 99 + [True]


async def test_a_batch_of_none_or_of_101_changes_nothing(rest: Rest) -> None:
    for count in (0, 101):
        users = [f"user-{number}" for number in range(count)]
        items = [{"UserID": user} for user in users]
        assert await rest.code(MULTI, {"Accounts": users}) == 70206
        assert await rest.code(CHECK, {"CheckItem": items}) == 70206
        assert await rest.code(DELETE, {"DeleteItem": items}) == 70206
        assert await rest.code("parlour_account/multi_register", {"Accounts": items}) == 70113
    assert await rest.imported("user-0", "user-100") == [False, False]


async def test_a_kick_voids_the_usersigs_up_to_now_and_none_that_is_made_after_it(rest: Rest) -> None:
    assert await rest.code(KICK, {"UserID": "nobody"}) == 70107
    await rest.call(IMPORT, {"UserID": ADMIN})
    assert await rest.call(KICK, {"UserID": ADMIN}) == OK
    fresh = rest.server.user_sig(ADMIN)
    assert await rest.code(IMPORT, {"UserID": "ann"}) == 70052
    rest.user_sig = fresh
    assert await rest.code(IMPORT, {"UserID": "ann"}) == 0


async def test_who_has_logged_in_is_online_and_is_an_account(rest: Rest) -> None:
    await rest.call(IMPORT, {"UserID": "bob"})
    wire = await Wire.open(rest.server)
    await wire.login(rest.server, "ann")
    answer = await rest.call(QUERY, {"To_Account": ["ann", "bob", "nobody"], "IsNeedDetail": 1})
    assert answer["ErrorCode"] == 0
    assert {state["To_Account"]: state["State"] for state in answer["QueryResult"]} == {
        "ann": "Online",
        "bob": "Offline",
    }
    assert [detail["Status"] for detail in answer["QueryResult"][0]["Detail"]] == ["Online"]
    assert answer["ErrorList"] == [{"To_Account": "nobody", "ErrorCode": 70107}]
    assert await rest.code(QUERY, {"To_Account": ["nobody"]}) == 70107
    assert await rest.imported("ann") == [True]
    await wire.close()


async def test_the_blacklist_keeps_a_user_out_until_it_is_taken_off(rest: Rest) -> None:
    assert await rest.call("parlour_account/blacklist_add", {"UserID": "ann", "Reason": "spam"}) == OK
    wire = await Wire.open(rest.server)
    user_sig = rest.server.user_sig("ann")
    login: dict[str, Any] = {"sdkAppId": rest.server.app, "userId": "ann", "userSig": user_sig}
    assert (await wire.refused("login", **login)).extra == 70051
    listed = await rest.call("parlour_account/blacklist_get", {})
    assert [(entry["UserID"], entry["Reason"]) for entry in listed["BlackList"]] == [("ann", "spam")]
    assert await rest.call("parlour_account/blacklist_delete", {"UserID": "ann"}) == OK
    await wire.close()
    wire = await Wire.open(rest.server)
    assert await wire.ask("login", **login)
    await wire.close()


async def test_the_blacklist_is_read_page_by_page(rest: Rest) -> None:
    users = [f"user-{number:02}" for number in range(25)]
    for user in users:
        assert await rest.code("parlour_account/blacklist_add", {"UserID": user}) == 0
    pages: list[list[str]] = []
    after = ""
    while not pages or after:
        answer = await rest.call("parlour_account/blacklist_get", {"After": after, "Limit": 10})
        pages.append([entry["UserID"] for entry in answer["BlackList"]])
        after = answer["Next"]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert list(itertools.chain(*pages)) == users


async def test_registering_checks_the_format_of_each_kind(rest: Rest) -> None:
    for user, kind, code in (
        ("+4930901820", "phone", 0),
        ("030901820", "phone", 70103),
        ("ann@example.com", "email", 0),
        ("ann@", "email", 70104),
        ("ann-1", "tls", 0),
        ("änn", "tls", 70105),
        ("a" * 33, "tls", 70105),
        ("\0", "tls", 70105),
        ("ann", "fax", 70106),
    ):
        assert await rest.code("parlour_account/register", {"UserID": user, "Kind": kind}) == code, (user, kind)
    assert await rest.imported("+4930901820", "ann@example.com", "ann-1", "ann@", "ann") == [
        True,
        True,
        True,
        False,
        False,
    ]


async def test_an_owner_changes_the_app_and_the_next_call_sees_it(rest: Rest) -> None:
    assert await rest.code("parlour_app/get", {"Uin": 1001}) == 70209
    await rest.server.storage.change_app(rest.server.app, owner=1001)
    answer = await rest.call("parlour_app/set", {"Uin": 1001, "Name": "Talks", "Kinds": ["plain"], "MaxAccounts": 0})
    assert (answer["App"]["Name"], answer["App"]["Kinds"], answer["App"]["MaxAccounts"]) == ("Talks", ["plain"], 0)
    assert rest.server.key not in json.dumps(answer)
    assert (await rest.call("parlour_app/get", {"Uin": "1001"}))["App"] == answer["App"]
    assert await rest.code("parlour_account/register", {"UserID": "a@example.com", "Kind": "email"}) == 70102
    assert await rest.code("parlour_app/get", {"Uin": "x"}) == 70211
    assert await rest.code("parlour_app/get", {"Uin": 2}) == 70115
    assert await rest.code("parlour_app/set", {"Uin": 2, "Name": "Mine"}) == 70210
    assert (await rest.call("parlour_app/get", {"Uin": 1001}))["App"]["Name"] == "Talks"


async def test_the_account_type_is_the_apps_or_is_left_out(rest: Rest) -> None:
    for value, code in ((0, 0), ("0", 0), (None, 0), ("phone", 70145), (-1, 70145), ([], 70145), (4_000_000, 70145)):
        assert await rest.code(IMPORT, {"UserID": "ann", "AccountType": value}) == code, value


async def test_a_command_and_an_app_have_their_rates(start_server: StartServer) -> None:
    server = await start_server(rates__account_check=2, admin__requests_per_second=5)
    async with Rest.of(server) as rest:
        body = {"CheckItem": [{"UserID": "ann"}]}
        codes = await asyncio.gather(*(rest.code(CHECK, body) for _ in range(4)))
        assert set(codes) <= {0, 60007}
        assert codes.count(0) >= 2
        assert 60007 in codes
        codes = await asyncio.gather(*(rest.code(IMPORT, {"UserID": "ann"}) for _ in range(12)))
        assert 60011 in codes


async def test_the_usersig_endpoint_is_off_by_default_and_signs_for_administrators_when_it_is_opened(
    start_server: StartServer, server: RunningServer
) -> None:
    async with Rest.of(server) as rest:
        assert (await rest.client.post("/api/v1/usersig", auth=(ADMIN, rest.user_sig), json={})).status_code == 404
    await server.stop()
    opened = await start_server(admin__usersig_endpoint=True)
    async with Rest.of(opened) as rest:
        body = {"sdkAppId": opened.app, "userId": "ann"}
        issued = (await rest.client.post("/api/v1/usersig", auth=(ADMIN, rest.user_sig), json=body)).json()
        wire = await Wire.open(opened)
        assert await wire.ask("login", sdkAppId=opened.app, userId="ann", userSig=issued["userSig"])
        await wire.close()
        refused = await rest.client.post("/api/v1/usersig", auth=("ann", issued["userSig"]), json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, 70403)


async def test_any_path_under_v4_keeps_the_convention_and_what_is_beside_it_does_not_change(rest: Rest) -> None:
    for path in ("/v4", "/v4/", "/v4/x", "/v4/x/y/z"):
        answer = await rest.client.get(path)
        assert (answer.status_code, answer.json()["ErrorCode"]) == (200, 60009)
    assert (await rest.client.get("/v4x")).status_code == 404
    assert (await rest.client.get("/openapi.json")).json()["info"]["title"] == "Parlour account REST"


async def broken(call: Call, proceed: Proceed) -> Answer:
    answer = await proceed()
    raise RuntimeError(f"a plugin broke over {answer}")


async def test_a_fault_is_70401_and_its_incident_stands_in_the_log(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A logger keeps the configuration of its first use, which may have been that of another test.
    monkeypatch.setattr("parlour.admin.incidents.log", structlog.get_logger())
    server = await start_server(plugins__rest_middleware=(f"{__name__}:broken",))
    async with Rest.of(server) as rest:
        with capture_logs() as lines:
            answer = await rest.call(KICK, {"UserID": "nobody"})
    assert answer["ErrorCode"] == 70401
    (line,) = [line for line in lines if line["event"] == "account_rest_fault"]
    assert line["incident"] in answer["ErrorInfo"]
    assert "RuntimeError: a plugin broke over" in line["exception"]
    assert rest.user_sig not in str(lines)


# --- the page -------------------------------------------------------------------------------------------------

_BLOCK = re.compile(r"^```sh\n(?P<call>(?:(?!```).)*)^```\n```json\n(?P<answer>.*?)^```", re.M | re.S)
_PRELUDE = re.compile(r"^```sh\n(?P<code>SERVER=.*?)^```", re.M | re.S)
_VARYING = {"CreatedAt", "BlockedAt", "issuedAt", "expiresAt", "userSig"}


def steady(value: Any) -> Any:
    """A value without what differs from run to run, of which the type stays."""
    if isinstance(value, dict):
        return {name: type(part).__name__ if name in _VARYING else steady(part) for name, part in value.items()}
    return [steady(part) for part in value] if isinstance(value, list) else value


async def test_every_example_of_the_page_runs_as_it_is_written_and_answers_what_it_shows(
    start_server: StartServer,
) -> None:
    server = await start_server(admin__usersig_endpoint=True)
    await server.storage.change_app(server.app, owner=1001)
    page = PAGE.read_text(encoding="utf-8")
    prelude = _PRELUDE.search(page)
    assert prelude is not None
    examples = list(_BLOCK.finditer(page))
    assert len(examples) == page.count("```json") == 14
    # Nothing but calls goes to the shell, whatever the page says between them.
    assert all(re.fullmatch(r"(api|curl) [^\n]*\n", example["call"]) for example in examples)
    environment = os.environ | {
        "SERVER": server.url,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PARLOUR_DATA": str(server.settings.data),
        "PARLOUR_DATABASE": str(server.settings.database or ""),
    }
    script = prelude["code"] + "\necho; echo ---\n".join(example["call"] for example in examples)
    bash = await asyncio.create_subprocess_exec(
        "bash", "-euc", script, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await asyncio.wait_for(bash.communicate(), 60)
    assert bash.returncode == 0, errors.decode()
    answers = out.decode().split("\n---\n")
    for example, answer in zip(examples, answers, strict=True):
        assert steady(json.loads(answer)) == steady(json.loads(example["answer"])), example["call"]
