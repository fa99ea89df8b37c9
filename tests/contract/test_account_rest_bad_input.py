"""Bad input to the account REST of a running server: always an answer in the convention, soon, and nothing stored."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import examples
from tests.rest import UNLIMITED, Rest, checked

if TYPE_CHECKING:
    from tests.conftest import StartServer

SOON = 3.0
"""Seconds within which everything is answered, on a busy machine."""

IMPORT = "im_open_login_svc/account_import"
MULTI = "im_open_login_svc/multiaccount_import"
CHECK = "im_open_login_svc/account_check"
DELETE = "im_open_login_svc/account_delete"
QUERY = "openim/query_online_status"
SET = "parlour_app/set"


@pytest.fixture
async def rest(start_server: StartServer) -> AsyncIterator[Rest]:
    server = await start_server(**UNLIMITED)
    async with Rest.of(server) as found:
        yield found


MEGABYTES_10 = 10_000_000
BODIES: dict[str, tuple[str, Callable[[], bytes], int]] = {
    "nothing": (IMPORT, lambda: b"", 70101),
    "a-space": (IMPORT, lambda: b" ", 60003),
    "a-member-twice": (IMPORT, lambda: b'{"UserID":"ann","UserID":"bob"}', 60003),
    "an-unknown-member-twice": (IMPORT, lambda: b'{"UserID":"ann","x":1,"x":1}', 60003),
    "a-member-twice-in-an-item": (DELETE, lambda: b'{"DeleteItem":[{"UserID":"a","UserID":"b"}]}', 60003),
    "not-utf-8": (IMPORT, lambda: b'{"UserID":"\xff\xfe"}', 60003),
    "utf-16": (IMPORT, lambda: '{"UserID":"ann"}'.encode("utf-16-le"), 60003),
    "a-byte-order-mark": (IMPORT, lambda: b'\xef\xbb\xbf{"UserID":"ann"}', 60003),
    "gzip": (IMPORT, lambda: b"\x1f\x8b\x08\x00\x00\x00\x00\x00", 60003),
    "deep-arrays": (IMPORT, lambda: b'{"UserID":' + b"[" * 400_000, 60003),
    "deep-arrays-that-close": (IMPORT, lambda: b'{"UserID":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 60003),
    "deep-objects": (IMPORT, lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 60003),
    "a-number-of-a-million-digits": (SET, lambda: b'{"Uin":' + b"9" * 1_000_000 + b"}", 60003),
    "a-huge-number": (SET, lambda: b'{"Uin":' + b"9" * 4000 + b',"Name":"x"}', 70211),
    "a-huge-exponent": (SET, lambda: b'{"Uin":1e999999,"Name":"x"}', 70211),
    "not-a-number": (SET, lambda: b'{"Uin":NaN}', 60003),
    "a-nul": (IMPORT, lambda: b'{"UserID":"ann\\u0000"}', 70402),
    "half-a-surrogate-pair": (IMPORT, lambda: b'{"UserID":"\\ud800"}', 70402),
    "a-nick-with-a-nul": (IMPORT, lambda: b'{"UserID":"ann","Nick":"\\u0000"}', 70402),
    "a-nick-of-a-megabyte": (IMPORT, lambda: b'{"UserID":"ann","Nick":"' + b"x" * 1_000_000 + b'"}', 40601),
    "a-userid-of-a-megabyte": (IMPORT, lambda: b'{"UserID":"' + b"x" * 1_000_000 + b'"}', 70402),
    "a-list-of-500000": (MULTI, lambda: b'{"Accounts":[' + b"0," * 499_999 + b"0]}", 70206),
    "a-list-of-100000-objects": (CHECK, lambda: b'{"CheckItem":[' + b"{}," * 99_999 + b"{}]}", 70206),
    "a-list-of-a-million": (MULTI, lambda: b'{"Accounts":[' + b"0," * 999_999 + b"0]}", 60008),
    "a-query-of-100000": (QUERY, lambda: json.dumps({"To_Account": ["a"] * 100_000}).encode(), 90011),
    "60000-members-of-which-the-last-comes-twice": (
        IMPORT,
        lambda: b"{" + b"".join(b'"%d":0,' % number for number in range(60_000)) + b'"59999":0}',
        60003,
    ),
    "60000-members": (IMPORT, lambda: json.dumps({str(number): 0 for number in range(60_000)}).encode(), 70402),
    "10-megabytes": (IMPORT, lambda: b'{"UserID":"' + b"x" * MEGABYTES_10 + b'"}', 60008),
    "10-megabytes-of-nothing": (IMPORT, lambda: b"\0" * MEGABYTES_10, 60008),
    "10-megabytes-for-no-command": ("no/command", lambda: b"\0" * MEGABYTES_10, 60009),
}


async def test_a_bad_body_is_answered_soon_and_stores_nothing(rest: Rest) -> None:
    found = {}
    for name, (command, make, _) in BODIES.items():
        content = make()
        started = time.monotonic()
        answer = await rest.raw(command, content)
        assert time.monotonic() - started < SOON, name
        assert len(answer["ErrorInfo"]) < 400
        found[name] = answer["ErrorCode"]
    assert found == {name: code for name, (_, _, code) in BODIES.items()}
    assert await rest.imported("ann", "bob", "a", "0") == [False] * 4


async def test_sql_and_wildcards_are_names_like_any_other_and_stay_apart(rest: Rest) -> None:
    users = [
        *(
            "'",
            '"',
            "''",
            "';--",
            "') OR 1=1 --",
            "x'; DELETE FROM accounts;--",
            "%",
            "_",
            "\\",
            "\\'",
            "$1",
            ":a",
            "?",
        ),
        *("{}", "{0}", "%s", "../..", "a\nb", "\x7f", "\u202e", "🦊", "NULL", "null", "0", " "),
        *("paul", "pаul", "Paul", "pau1", "paul ", "é", "e\u0301", "ß", "ss", "ﬁ", "fi", "\u200bpaul"),
    ]
    assert len(set(users)) == len(users)
    assert (await rest.call(MULTI, {"Accounts": users[::2]}))["FailAccounts"] == []
    assert await rest.imported(*users) == [True, False] * (len(users) // 2) + [True] * (len(users) % 2)
    for user in users[::2]:
        code = await rest.code(IMPORT, {"UserID": user, "Nick": user, "FaceUrl": f"https://x/?{user}"})
        assert code == 0, user
        assert await rest.code("parlour_account/blacklist_add", {"UserID": user, "Reason": user}) == 0
    listed = await rest.call("parlour_account/blacklist_get", {"Limit": 500})
    assert {(entry["UserID"], entry["Reason"]) for entry in listed["BlackList"]} == {
        (user, user) for user in users[::2]
    }
    deleted = await rest.call(DELETE, {"DeleteItem": [{"UserID": user} for user in users]})
    assert [item["ResultCode"] for item in deleted["ResultItem"]] == [
        0 if place % 2 == 0 else 70107 for place in range(len(users))
    ]
    assert await rest.imported(*users) == [False] * len(users)


URLS = [  # up to the 8 KiB that a target may have; the server answers 414 to longer ones
    ("", 60012),
    ("sdkappid=1400000001&sdkappid=1400000001", 60002),
    ("sdkappid=%", 60002),
    ("sdkappid=%00", 60006),
    ("sdkappid=%ff", 60002),
    ("sdkappid=1%20OR%201=1", 60006),
    ("sdkappid=1400000001.0", 60006),
    ("sdkappid=" + "1" * 7_000, 60006),
    ("&".join(f"p{number}=" for number in range(100)), 60002),
    ("sdkappid=1400000001&identifier=%27%3B--", 70019),
    ("sdkappid=1400000001&identifier=a%00b&usersig=x", 70402),
    ("sdkappid=1400000001&identifier=administrator&usersig=%00", 70003),
    ("sdkappid=1400000001&identifier=administrator&usersig=" + "A" * 7_000, 70004),
]


async def test_a_bad_url_is_answered_soon_with_its_code(rest: Rest) -> None:
    found = []
    for query, _ in URLS:
        started = time.monotonic()
        answer = checked(await rest.client.post(f"/v4/{IMPORT}?{query}", content=b'{"UserID":"ann"}'))
        assert time.monotonic() - started < SOON, query[:80]
        assert "A" * 40 not in answer["ErrorInfo"]
        found.append((query, answer["ErrorCode"]))
    assert found == URLS
    assert await rest.imported("ann") == [False]


async def test_methods_and_content_types_other_than_the_usual(rest: Rest) -> None:
    for method in ("GET", "PUT", "PATCH", "DELETE", "TRACE"):
        answer = await rest.client.request(method, f"/v4/{IMPORT}", params=rest.parameters(), content=b'{"UserID":"x"}')
        assert checked(answer)["ErrorCode"] == 60009
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "x" * 1000,
        "*/*",
    ):
        answer = await rest.client.post(
            f"/v4/{IMPORT}", params=rest.parameters(), content=b'{"UserID":"ann"}', headers={"Content-Type": kind}
        )
        assert checked(answer)["ErrorCode"] == 0
    assert await rest.imported("ann", "x") == [True, False]


async def test_a_hundred_clients_that_stop_in_the_middle_of_a_body_disturb_nobody(rest: Rest) -> None:
    query = "&".join(f"{name}={value}" for name, value in rest.parameters().items())
    head = f"POST /v4/{IMPORT}?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode()
    writers = []
    for _ in range(100):
        _, writer = await asyncio.open_connection("127.0.0.1", rest.server.port)
        writer.write(head)
        writers.append(writer)
    await asyncio.gather(*(writer.drain() for writer in writers))
    started = time.monotonic()
    assert await rest.code(IMPORT, {"UserID": "ann"}) == 0
    assert time.monotonic() - started < SOON
    for writer in writers:
        writer.close()
    assert await rest.code(IMPORT, {"UserID": "bob"}) == 0


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["ann", "plain", "\0", "x" * 33, "administrator"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["UserID", "Kind", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
COMMANDS = [
    *(
        f"im_open_login_svc/{name}"
        for name in ("account_import", "multiaccount_import", "account_delete", "account_check")
    ),
    *("openim/query_online_status", "openim/querystate", "parlour_app/get", "parlour_app/set"),
    *(f"parlour_account/{name}" for name in ("register", "multi_register", "blacklist_add", "blacklist_delete")),
    "parlour_account/blacklist_get",
]
MEMBERS = ["UserID", "Nick", "FaceUrl", "Accounts", "DeleteItem", "CheckItem", "To_Account", "IsNeedDetail", "Kind"]
MORE = ["Reason", "After", "Limit", "Uin", "Name", "Kinds", "MaxAccounts", "AccountType", "Registration"]


async def test_whatever_stands_in_a_body_is_answered_in_the_convention_and_never_a_fault(rest: Rest) -> None:
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=examples(120),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(COMMANDS), st.dictionaries(st.sampled_from(MEMBERS + MORE), JSON, max_size=4))
    def send(command: str, body: dict[str, object]) -> None:
        answer = asyncio.run_coroutine_threadsafe(rest.raw(command, json.dumps(body).encode()), loop).result(30)
        assert answer["ErrorCode"] not in {70401, 70308, 70201, 70203, 70169, 60008}, answer

    await asyncio.to_thread(send)
    assert await rest.code(IMPORT, {"UserID": "ann"}) == 0
