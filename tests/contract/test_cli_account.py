"""``parlour account``: importing, looking, blocking, kicking, unlocking, alone and beside a running server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from parlour.errors import ErrorCode

from tests.cli import Beside, Here, environment
from tests.conftest import StartServer
from tests.databases import AnyDatabase, SqliteDatabase
from tests.wire import Wire, join


@pytest.fixture
def settings(database: AnyDatabase, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, tmp_path / "data", database)


@pytest.fixture
def parlour(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    here = Here(monkeypatch, capsys, settings)
    assert here("app", "create", 5).status == 0
    return here


@pytest.fixture
def beside(settings: dict[str, str]) -> Beside:
    return Beside(settings)


def accounts(parlour: Here) -> dict[str, tuple[str, str]]:
    return {
        one["userId"]: (one["nick"], one["faceUrl"])
        for one in parlour.good("account", "list", 5, "--limit", 1000)["accounts"]
    }


# --- import -----------------------------------------------------------------------------------------------------------


def test_one_user_id_a_line_is_imported_as_it_stands(parlour: Here, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_bytes("\ufeffann\r\n\r\nb,c\n d \nŠtěpán\nann".encode())
    done = parlour("account", "import", 5, tmp_path / "users.txt")
    assert (done.status, done.err) == (0, "")
    assert {name: value.strip() for name, value in done.pairs.items()} == {
        "made": "4",
        "there already": "1",
        "failed": "0",
    }
    assert set(accounts(parlour)) == {"ann", "b,c", " d ", "Štěpán"}


def test_csv_brings_profiles_and_an_empty_cell_leaves_what_is_there(parlour: Here) -> None:
    given = 'nick,userId,faceUrl\n"Ann, the ""first""",ann,https://example.com/a.png\nBob,bob,\n'
    assert parlour.good("account", "import", 5, "-", stdin=given)["made"] == 2
    assert accounts(parlour) == {"ann": ('Ann, the "first"', "https://example.com/a.png"), "bob": ("Bob", "")}
    assert parlour.good("account", "import", 5, "-", stdin="userId,nick\nann,Anna\nbob,\n")["there"] == 2
    assert accounts(parlour) == {"ann": ("Anna", "https://example.com/a.png"), "bob": ("Bob", "")}


def test_json_lines_bring_profiles_and_the_later_line_of_a_user_wins(parlour: Here) -> None:
    lines = [{"userId": "ann", "nick": "A", "faceUrl": "x"}, {"userId": "bob"}, {"userId": "ann", "nick": "B"}]
    given = "\n".join(json.dumps(line) for line in lines)
    assert parlour.good("account", "import", 5, "-", stdin=given) == {
        "made": 2,
        "there": 1,
        "failed": 0,
        "failures": [],
    }
    assert accounts(parlour) == {"ann": ("B", "x"), "bob": ("", "")}


def test_bad_lines_are_told_with_their_number_and_the_rest_is_imported(parlour: Here) -> None:
    given = b"ann\n" + b"x" * 33 + b"\n\xff\nb\0b\n" + b"y" * 200_000 + b"\nbob\n"
    done = parlour("account", "import", 5, "-", "--json", stdin=given)
    assert (done.status, done.json["made"], done.json["failed"]) == (1, 2, 4)
    assert [(one["line"], one["reason"].split(";")[0]) for one in done.json["failures"]] == [
        (2, "userId has 33 bytes"),
        (3, "userId is not valid Unicode"),
        (4, "userId holds a NUL character"),
        (5, "userId has 65536 bytes"),
    ]
    assert set(accounts(parlour)) == {"ann", "bob"}
    done = parlour("account", "import", 5, "-", stdin=given)
    assert "line 2: userId has 33 bytes; 32 are allowed" in done.err
    for form in ("json", "csv"):
        assert parlour("account", "import", 5, "-", "--format", form, stdin=given).status == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[" * 50_000, "no JSON"),
        ("[]", "no JSON object"),
        ("{}", "userId is empty"),
        ('{"userId": 7}', "userId is not a text"),
        ('{"userId": "a", "nick": 7}', "nick is not a text"),
        ('{"userId": "a", "nick": "\\u0000"}', "NUL"),
        ('{"userId": "a", "nick": "\\ud800"}', "surrogate"),
        ('{"userId": "a", "name": "x"}', "'name' is no member"),
        (json.dumps({"userId": "a", "nick": "x" * 501}), "501 bytes"),
    ],
)
def test_a_json_line_that_names_no_account_is_told_why(parlour: Here, line: str, reason: str) -> None:
    done = parlour("account", "import", 5, "-", "--format", "json", "--json", stdin=line)
    assert (done.status, done.json["failed"]) == (1, 1)
    assert reason in done.json["failures"][0]["reason"]
    assert accounts(parlour) == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('ann,"Ann', "a quotation mark is not closed"),
        ('"ann,Ann', "a quotation mark is not closed"),
        ('ann,"Ann"a', "expected after"),
        ("ann,A\rnn", "carriage return"),
        ("ann", "the line has 1 cells, the header 2"),
    ],
)
def test_a_broken_csv_line_costs_itself_alone(parlour: Here, line: str, reason: str) -> None:
    good = [f"user{number},User {number}" for number in range(200)]
    given = "\n".join(["userId,nick", *good[:3], line, *good[3:]])
    done = parlour("account", "import", 5, "-", "--json", stdin=given)
    assert (done.status, done.json["made"], done.json["failed"]) == (1, 200, 1)
    (failure,) = done.json["failures"]
    assert (failure["line"], reason in failure["reason"]) == (5, True), failure
    assert accounts(parlour) == {f"user{number}": (f"User {number}", "") for number in range(200)}


@pytest.mark.parametrize(
    "header",
    ["userId,name", "nick,faceUrl", "userId,userId", "userId,", 'userId,"nick', 'userId,"nick"x', "userId,nick\ra,b"],
)
def test_a_csv_header_that_is_not_understood_imports_nothing(parlour: Here, header: str) -> None:
    given = f"{header}\na,b\n"
    done = parlour("account", "import", 5, "-", "--format", "csv", stdin=given)
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert "column" in done.err
    assert "unexpected failure" not in done.err
    assert "column" in parlour("account", "import", 5, "-", "--format", "csv", "--json", stdin=given).json["error"]
    assert accounts(parlour) == {}


@pytest.mark.parametrize("header", ['userId,"nick', '"userId,nick', "userId,nick\rann,Ann"])
def test_a_broken_csv_header_is_recognised_as_one(parlour: Here, header: str) -> None:
    done = parlour("account", "import", 5, "-", "--json", stdin=f"{header}\na,b\n")
    assert done.status == 1
    assert done.json["error"].startswith("The header with the columns cannot be used: the line is no CSV")
    assert accounts(parlour) == {}


def test_an_app_takes_no_more_accounts_than_it_may_have(parlour: Here) -> None:
    parlour("app", "set", 5, "--max-accounts", 3)
    done = parlour("account", "import", 5, "-", "--json", stdin="a\nb\nc\nd\ne\n")
    assert (done.status, done.json["made"], done.json["failed"]) == (1, 3, 2)
    assert done.json["failures"][0] == {"line": 4, "reason": "App 5 has its 3 accounts already"}
    assert parlour("account", "import", 5, "-", stdin="a\nb\n").status == 0


def test_a_file_that_is_not_there_is_one_sentence(parlour: Here, tmp_path: Path) -> None:
    done = parlour("account", "import", 5, tmp_path / "none")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "cannot be read: No such file" in done.err
    assert parlour.good("account", "import", 5, "-") == {"made": 0, "there": 0, "failed": 0, "failures": []}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # the reader is the same: one is enough
def test_a_long_import_needs_little_memory(database: AnyDatabase, settings: dict[str, str], tmp_path: Path) -> None:
    assert isinstance(database, SqliteDatabase)
    subprocess.run(
        [sys.executable, "-m", "parlour", "app", "create", "5"], env=settings, check=True, capture_output=True
    )

    def peak(count: int) -> int:
        """Kilobytes at the most, as the process itself tells at its end."""
        code = (
            "import resource, sys\nfrom parlour.cli import main\nsys.argv = ['parlour', *sys.argv[1:]]\n"
            "try: main()\nfinally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
        )
        users = tmp_path / f"{count}.txt"
        users.write_text("".join(f"{count}-{number}\n" for number in range(count)))
        done = subprocess.run(
            [sys.executable, "-c", code, "account", "import", "5", str(users)],
            env=settings,
            check=True,
            capture_output=True,
            text=True,
        )
        return int(done.stderr.split()[-1])

    few, many = peak(2_000), peak(60_000)
    assert many - few < 16 * 1024
    assert len(database.sql("SELECT user_id FROM accounts")) == 62_000


async def test_an_import_that_is_killed_keeps_what_it_committed_and_goes_on_when_it_is_run_again(
    database: AnyDatabase, beside: Beside, tmp_path: Path
) -> None:
    await beside.good("app", "create", 5)
    lines = [f"user{number:06}\n" for number in range(1_500)]
    users = tmp_path / "users.txt"
    users.write_text("".join(lines))
    process = await beside.start("account", "import", 5, "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write("".join(lines[:501]).encode())  # the one behind a batch is what has it stored
    deadline = time.monotonic() + 30
    while stored(database) == 0:
        assert time.monotonic() < deadline
    process.stdin.write("".join(lines[501:]).encode())  # so that the kill comes upon a batch in the middle
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    kept = stored(database)
    assert kept in {500, 1_000, 1_500}
    again = await beside.good("account", "import", 5, users)
    assert (again["there"], again["made"] + again["there"]) == (kept, 1_500)


def stored(database: AnyDatabase) -> int:
    return int(str(database.sql("SELECT count(*) FROM accounts")[0][0]))


# --- looking ----------------------------------------------------------------------------------------------------------


def test_accounts_are_listed_a_page_at_a_time(parlour: Here) -> None:
    parlour("account", "import", 5, "-", stdin="a\nb\nc\nd\ne\n")
    seen: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        page = parlour.good("account", "list", 5, "--limit", 2, "--after", page["next"])
        seen += [one["userId"] for one in page["accounts"]]
    assert seen == ["a", "b", "c", "d", "e"]
    assert "There are more: --after b" in parlour("account", "list", 5, "--limit", 2).err
    assert "has no account behind e" in parlour("account", "list", 5, "--after", "e").err


def test_an_account_is_shown_with_all_that_is_known_of_it(parlour: Here) -> None:
    parlour("account", "import", 5, "-", stdin="userId,nick\nann,Ann\n")
    parlour("account", "block", 5, "ann", "--reason", "spam")
    shown = parlour.good("account", "show", 5, "ann")
    assert (shown["account"]["nick"], shown["account"]["kind"]) == ("Ann", "plain")
    assert (shown["reason"], shown["online"], shown["locks"], shown["userSigsVoidUpTo"]) == ("spam", [], [], None)
    assert abs(shown["blockedAt"] - time.time()) < 60
    assert "spam" in parlour("account", "show", 5, "ann").pairs["blacklist"]
    assert "has no account Ann" in parlour("account", "show", 5, "Ann").err


def test_what_a_profile_holds_cannot_act_on_the_terminal(parlour: Here) -> None:
    parlour("account", "import", 5, "-", stdin=json.dumps({"userId": "a\x1b[31m", "nick": "\x1b]0;x\x07\nb"}))
    for arguments in (("list", 5), ("show", 5, "a\x1b[31m"), ("kick", 5, "a\x1b[31m"), ("kick", 5, "b\x1b[31m")):
        said = parlour("account", *arguments)
        assert "\x1b" not in said.out + said.err


# --- blocking, kicking, deleting --------------------------------------------------------------------------------------


def test_the_blacklist_holds_user_ids_with_and_without_an_account(parlour: Here) -> None:
    parlour("account", "import", 5, "-", stdin="ann\n")
    for user in ("ann", "nobody"):
        assert parlour.good("account", "block", 5, user) == {"sdkAppId": 5, "userId": user, "blocked": True}
    listed = parlour.good("account", "list", 5, "--blocked")
    assert [one["userId"] for one in listed["blacklist"]] == ["ann", "nobody"]
    assert parlour("account", "unblock", 5, "ann").status == 0
    assert "is not on the blacklist" in parlour("account", "unblock", 5, "ann").err
    assert parlour("account", "block", 5, "ann", "--reason", "x" * 501).status == 2


def test_deleting_tells_which_accounts_were_not_there(parlour: Here) -> None:
    parlour("account", "import", 5, "-", stdin="ann\nbob\ncid\n")
    done = parlour("account", "delete", 5, "ann", "bob", "nobody", "ann", "--json")
    assert (done.status, done.json) == (1, {"sdkAppId": 5, "deleted": ["ann", "bob"], "missing": ["nobody"]})
    assert "has no account nobody (70107)" in done.err
    assert set(accounts(parlour)) == {"cid"}
    assert parlour("account", "delete", 5, "cid").status == 0


def test_a_user_without_an_account_cannot_be_kicked(parlour: Here) -> None:
    done = parlour("account", "kick", 5, "nobody")
    assert (done.status, done.out) == (1, "")
    assert "App 5 has no account nobody (70107)." in done.err


async def test_who_is_kicked_or_blocked_is_refused_by_a_running_server(
    start_server: StartServer, beside: Beside
) -> None:
    server = await start_server(limits__login_timeout=120)  # a socket waits for a command meanwhile
    wire, _ = await join(server, "ann")
    assert (await beside.good("account", "show", server.app, "ann"))["online"] == ["Web"]
    before = server.user_sig("ann")
    await beside.good("account", "kick", server.app, "ann")
    fresh = await Wire.open(server)
    refusal = await fresh.refused("login", sdkAppId=server.app, userId="ann", userSig=before)
    assert refusal.extra == ErrorCode.USERSIG_INVALIDATED
    await fresh.login(server, "ann")  # signed after the kick
    await fresh.close()
    await beside.good("account", "block", server.app, "ann", "--reason", "spam")
    blocked = await Wire.open(server)
    sig = server.user_sig("ann")
    refusal = await blocked.refused("login", sdkAppId=server.app, userId="ann", userSig=sig)
    assert refusal.extra == ErrorCode.ACCOUNT_BLACKLISTED
    await beside.good("account", "unblock", server.app, "ann")
    await blocked.login(server, "ann")
    for one in (blocked, wire):
        await one.close()


async def test_a_lock_is_shown_and_lifted_beside_a_running_server(start_server: StartServer, beside: Beside) -> None:
    server = await start_server(lockout__failures=3, lockout__source_failures=5, lockout__duration=600)
    wire = await Wire.open(server)

    async def login(user: str, sig: str) -> int:
        return (await wire.refused("login", sdkAppId=server.app, userId=user, userSig=sig)).extra

    for _ in range(3):
        assert await login("ann", "wrong") != 70050
        await wire.close()
        wire = await Wire.open(server)
    assert await login("ann", server.user_sig("ann")) == 70050
    shown = await beside.good("account", "show", server.app, "ann")
    assert [(lock["source"], lock["everybody"]) for lock in shown["locks"]] == [("127.0.0.1", False)]
    assert (await beside.good("account", "unlock", server.app, "ann"))["lifted"] == 1
    await wire.close()
    wire = await Wire.open(server)
    await wire.login(server, "ann")
    await wire.close()
    for user in ("bob", "cid", "eve", "fay", "gus"):  # ann's are forgotten; five from one address lock it for everybody
        wire = await Wire.open(server)
        assert await login(user, "wrong") != 70050
        await wire.close()
    done = await beside("account", "unlock", server.app, "dan")
    assert "Locked for every user: 127.0.0.1" in done.err
    assert (await beside.good("account", "unlock", server.app, "dan", "--sources"))["lockedSources"] == []
    wire = await Wire.open(server)
    await wire.login(server, "dan")
    await wire.close()
