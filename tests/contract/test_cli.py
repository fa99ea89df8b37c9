"""The command line as a person and as a program use it: results, messages, exit statuses."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from parlour.errors import catalogue
from parlour.usersig import sign_v1, sign_v2

from tests.cli import Done, Here, elsewhere
from tests.unit.usersigs import APP, KEY, TIME, USER, ec_keys, members_v1, members_v2, pack


@pytest.fixture
def parlour(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Here:
    return Here(monkeypatch, capsys, elsewhere(tmp_path / "home"))


# --- explain ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["70009", "-8", "-10012", "0x4001", "0X4001", "16385", "unkown", "join_room_failed"])
def test_explain_tells_cause_and_remedy(parlour: Here, code: str) -> None:
    done = parlour("explain", code)
    assert (done.status, done.err) == (0, "")
    assert "What happened" in done.out
    assert "What to do" in done.out
    as_json = parlour("explain", code, "--json")
    assert as_json.status == 0
    assert as_json.json["cause"] in done.out
    assert as_json.json["remedy"] in done.out


def test_every_code_can_be_explained_by_number_and_by_key(parlour: Here) -> None:
    for entry in catalogue():
        for typed in (str(entry.code), entry.shown, entry.key.lower(), *entry.aliases):
            assert parlour("explain", typed, "--json").json["code"] == entry.code


def test_explain_takes_a_negative_code_wherever_the_option_stands(parlour: Here) -> None:
    for arguments in (["-8", "--json"], ["--json", "-8"], ["--json", "--", "-8"]):
        assert parlour("explain", *arguments).json["code"] == -8


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("4001", "0x4001"), ("70011", "70010"), ("-70009", "70009"), ("JOIN_ROOM_FAILD", "0x4004"), ("0x4009", "0x4008")],
)
def test_explain_suggests_what_was_meant(parlour: Here, typed: str, meant: str) -> None:
    done = parlour("explain", typed)
    assert (done.status, done.out) == (1, "")
    assert f"Did you mean {meant} (" in done.err
    assert parlour("explain", typed, "--json").json["nearest"]["shown"] == meant


@pytest.mark.parametrize("typed", ["qqqqqqqqqqqq", "9999999999", "9" * 5000, "0x99999999", "?", "nonsense"])
def test_explain_names_the_nearest_however_far_it_is(parlour: Here, typed: str) -> None:
    done = parlour("explain", typed)
    assert (done.status, done.out) == (1, "")
    assert "Did you mean " in done.err
    assert done.err.count("\n") == 1


def test_explain_of_nothing_has_no_neighbour(parlour: Here) -> None:
    done = parlour("explain", "")
    assert (done.status, done.err) == (1, "parlour: There is no code or key '' in the catalogue.\n")


# --- app --------------------------------------------------------------------------------------------------------------


def test_an_app_is_made_once_and_listed(parlour: Here, tmp_path: Path) -> None:
    made = parlour("app", "create", "1400000001", "--name", "demo")
    assert made.status == 0
    pairs = dict(line.split(maxsplit=1) for line in made.out.splitlines())
    assert pairs["sdkAppId"] == "1400000001"
    assert len(bytes.fromhex(pairs["key"])) == 32
    assert (tmp_path / "home/.local/share/parlour/parlour.db").exists()

    again = parlour("app", "create", "1400000001")
    assert (again.status, again.out) == (1, "")
    assert "There is an app 1400000001 already" in again.err

    listed = parlour("app", "list")
    assert "1400000001" in listed.out
    assert "demo" in listed.out
    assert pairs["key"] not in listed.out
    assert pairs["key"] in parlour("app", "list", "--keys").out
    assert parlour("app", "list", "--json").json[0]["name"] == "demo"
    assert parlour("app", "list", "--json", "--keys").json[0]["keys"] == [pairs["key"]]


def test_app_create_for_programs(parlour: Here, tmp_path: Path) -> None:
    done = parlour("app", "create", "7", "--json", "--data", str(tmp_path / "d"))
    assert done.json["sdkAppId"] == 7
    assert len(done.json["key"]) == 64


def test_an_app_can_move_here_with_its_key(parlour: Here) -> None:
    assert parlour("app", "create", str(APP), "--key", KEY, "--json").json["key"] == KEY
    assert parlour("app", "create", "5", "--key", "short").status == 2


@pytest.mark.parametrize("app", ["0", "-1", "4294967296", "x", "1.5", "", "0x10", "٧", "9" * 5000])
def test_an_impossible_app_id_is_wrong_usage(parlour: Here, app: str) -> None:
    for arguments in (["app", "create"], ["usersig", "sign", "--user", "a", "--app"]):
        done = parlour(*arguments, app)
        assert (done.status, done.out) == (2, "")


def test_a_public_key_is_checked_before_it_is_kept(parlour: Here, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    rsa_pem = rsa.generate_private_key(65537, 2048).public_key()
    (tmp_path / "rsa.pem").write_bytes(
        rsa_pem.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "p384.pem").write_text(ec_keys("secp384r1")[1])
    (tmp_path / "none.pem").write_text("hello")
    (tmp_path / "good.pem").write_text(ec_keys()[1])
    for name, reason in (("rsa", "no EC key"), ("p384", "The curve secp384r1 is not"), ("none", "not a public key")):
        done = parlour("app", "create", "5", "--public-key", str(tmp_path / f"{name}.pem"))
        assert done.status == 1
        assert reason in done.err
    assert "cannot be read" in parlour("app", "create", "5", "--public-key", str(tmp_path / "absent")).err
    assert parlour("app", "create", "5", "--public-key", str(tmp_path / "good.pem")).status == 0
    assert "1 secret, 1 public" in parlour("app", "list").out


def test_a_folder_that_cannot_be_used_is_one_sentence(parlour: Here, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = parlour("app", "create", "5", "--data", str(tmp_path / "file"))
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("parlour: The data folder ")
    assert done.err.count("\n") == 1
    assert parlour("app", "list", "--data", "").status == 2


def test_looking_does_not_make_a_folder(parlour: Here, tmp_path: Path) -> None:
    for arguments in (["app", "list"], ["usersig", "sign", "--app", "5", "--user", "a"]):
        done = parlour(*arguments, "--data", str(tmp_path / "none"))
        assert done.status == 1
        assert "make one with `parlour app create ID`" in done.err
    assert not (tmp_path / "none").exists()


def test_the_environment_names_the_data_folder_and_slips_in_it_are_told(
    parlour: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLOUR_DATA", str(tmp_path / "elsewhere"))
    assert parlour("app", "create", "5").status == 0
    assert (tmp_path / "elsewhere" / "parlour.db").exists()
    monkeypatch.setenv("PARLOUR_DATAA", "x")
    done = parlour("app", "list")
    assert done.status == 0, "another program may set a variable of this prefix"
    assert "Did you mean PARLOUR_DATA?" in done.err


# --- usersig ----------------------------------------------------------------------------------------------------------


def test_sign_prints_the_signature_alone(parlour: Here) -> None:
    done = parlour("usersig", "sign", "--app", str(APP), "--user", USER, "--key", KEY, "--time", str(TIME))
    assert done == Done(0, sign_v2(APP, USER, KEY, now=TIME) + "\n", "")
    done = parlour(
        *("usersig", "sign", "--app", str(APP), "--user", USER, "--key", KEY, "--time", str(TIME)),
        *("--expire", "86400", "--json"),
    )
    assert done.json == {
        "userSig": sign_v2(APP, USER, KEY, now=TIME, expire=86400),
        "sdkAppId": APP,
        "userId": USER,
        "issuedAt": TIME,
        "expiresAt": TIME + 86400,
    }


def test_sign_and_verify_with_the_stored_key(parlour: Here) -> None:
    parlour("app", "create", "5")
    sig = parlour("usersig", "sign", "--app", "5", "--user", "ann").out.strip()
    good = parlour("usersig", "verify", sig, "--app", "5", "--user", "ann")
    assert (good.status, good.out) == (0, "0\n")
    wrong_user = parlour("usersig", "verify", sig, "--app", "5", "--user", "Ann")
    assert (wrong_user.status, wrong_user.out) == (1, "70013\n")
    wrong_app = parlour("usersig", "verify", sig, "--app", "6", "--user", "ann", "--json")
    assert (wrong_app.status, wrong_app.json["code"]) == (1, 70020)
    wrong_key = parlour("usersig", "verify", sig, "--app", "5", "--user", "ann", "--key", KEY)
    assert (wrong_key.status, wrong_key.out) == (1, "70009\n")


def test_sign_for_an_unknown_app_or_a_bad_user_is_refused(parlour: Here) -> None:
    parlour("app", "create", "5")
    done = parlour("usersig", "sign", "--app", "6", "--user", "ann")
    assert (done.status, done.out) == (1, "")
    assert "no app 6" in done.err
    for user in ("", "x" * 33, "a\nb", "\udcff"):
        assert parlour("usersig", "sign", "--app", "5", "--user", user).status == 2


def test_version_1_is_signed_and_verified_with_pem_files(parlour: Here, tmp_path: Path) -> None:
    private, public = ec_keys()
    (tmp_path / "private.pem").write_text(private)
    (tmp_path / "public.pem").write_text(public)
    signed = parlour("usersig", "sign", "--app", "5", "--user", "ann", "--key", str(tmp_path / "private.pem"))
    for name in ("private.pem", "public.pem"):
        done = parlour(
            "usersig", "verify", signed.out.strip(), "--app", "5", "--user", "ann", "--key", str(tmp_path / name)
        )
        assert (done.status, done.out) == (0, "0\n")
    (tmp_path / "junk").write_text("junk")
    done = parlour("usersig", "sign", "--app", "5", "--user", "ann", "--key", str(tmp_path / "junk"))
    assert done.status == 1
    assert "holds no PEM key" in done.err


def test_inspect_shows_fields_checks_mistake_and_remedy(parlour: Here) -> None:
    sig = pack(members_v2(identifier="Bob"))
    done = parlour(
        *("usersig", "inspect", sig, "--app", str(APP), "--user", "bob", "--key", KEY, "--time", str(TIME + 60))
    )
    assert done.status == 1
    for text in (
        "version 2",
        "TLS.identifier",
        "Bob",
        "2023-11-14 22:13:20 UTC",
        "23 h 59 min left",
        "FAILED",
        "70013",
    ):
        assert text in done.out
    assert "It was made for user Bob, not bob: upper and lower case differ." in done.out
    assert "What to do" in done.out


def test_inspect_alone_checks_what_it_can(parlour: Here) -> None:
    sig = sign_v2(APP, USER, KEY, now=TIME)
    done = parlour("usersig", "inspect", sig, "--time", str(TIME))
    assert done.status == 0
    assert "No check of the UserSig failed." in done.out
    assert "no key was given to verify with" in done.out


def test_inspect_finds_the_key_by_the_app_inside_and_names_another_apps_key(parlour: Here) -> None:
    parlour("app", "create", "5", "--key", "five" * 16)
    parlour("app", "create", "6", "--key", "six!" * 16)
    good = parlour("usersig", "inspect", sign_v2(5, "ann", "five" * 16, now=TIME), "--time", str(TIME), "--json").json
    outcomes = {check["title"]: check["outcome"] for check in good["checks"]}
    assert outcomes["the signature matches the key"] == "passed"
    wrong = parlour("usersig", "inspect", sign_v2(5, "ann", "six!" * 16, now=TIME), "--time", str(TIME), "--json").json
    assert wrong["code"] == 70009
    assert wrong["mistake"] == "It was signed with another app's key: this key belongs to app 6."


@pytest.mark.parametrize("sig", ["", "x", "eJyrVgrx", "\x1b[31m", pack([1]), pack({"TLS.ver": "9\x1b[31m"}), pack({})])
def test_inspect_shows_garbage_without_obeying_it(parlour: Here, sig: str) -> None:
    done = parlour("usersig", "inspect", sig)
    assert done.status == 1
    assert "\x1b" not in done.out
    assert "Refused with 700" in done.out
    assert parlour("usersig", "inspect", sig, "--json").json["code"] >= 70002


def test_a_time_beyond_any_calendar_is_shown(parlour: Here) -> None:
    done = parlour("usersig", "inspect", sign_v2(5, "ann", KEY, now=2**62))
    assert "no date of any calendar" in done.out


# --- usersig beside what is stored ------------------------------------------------------------------------------------


def judged(parlour: Here, sig: str, user: str = "ann") -> tuple[int, list[int]]:
    """What `verify` says of a UserSig for app 5, and what `inspect` says is wrong around it."""
    verified = parlour("usersig", "verify", sig, "--app", "5", "--user", user, "--json")
    assert verified.status == (1 if verified.json["code"] else 0)
    inspected = parlour("usersig", "inspect", sig, "--app", "5", "--user", user, "--json")
    around = [refusal["code"] for refusal in inspected.json["around"]]
    assert inspected.status == (1 if inspected.json["code"] or around else 0)
    shown = parlour("usersig", "inspect", sig, "--app", "5", "--user", user)
    assert shown.status == inspected.status
    for code in around:
        assert f"A login is refused with {code} " in shown.out
    assert ("A login is refused" in shown.out) == bool(around)
    return verified.json["code"], around


@pytest.fixture
def sig(parlour: Here) -> str:
    parlour.good("app", "create", "5")
    signed = parlour.good("usersig", "sign", "--app", "5", "--user", "ann")["userSig"]
    assert judged(parlour, signed) == (0, [])
    return str(signed)


def test_verify_and_inspect_know_the_methods_of_the_account_type(parlour: Here, sig: str) -> None:
    parlour.good("app", "types", "set", "7", "--methods", "ecdsa")
    parlour.good("app", "set", "5", "--account-type", "7")
    assert judged(parlour, sig) == (70015, [])
    assert parlour("usersig", "inspect", sig, "--json").json["code"] == 70015


def test_verify_and_inspect_refuse_an_app_without_an_account_type(parlour: Here, sig: str) -> None:
    parlour.good("app", "set", "5", "--account-type", "none")
    assert judged(parlour, sig) == (70204, [70204])
    assert parlour("usersig", "verify", "", "--app", "5", "--user", "", "--json").json["code"] == 70204


def test_verify_and_inspect_tell_an_account_type_that_cannot_be_looked_up(
    parlour: Here, sig: str, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "home/.local/share/parlour/parlour.db")) as database, database:
        database.execute("UPDATE account_types SET methods = 'broken'")
    assert judged(parlour, sig) == (70205, [70205])


def test_verify_and_inspect_compare_the_account_type_of_version_1(parlour: Here, sig: str, tmp_path: Path) -> None:
    private, public = ec_keys()
    (tmp_path / "public.pem").write_text(public)
    parlour.good("app", "key", "add", "5", "--public-key", tmp_path / "public.pem")
    v1 = sign_v1(5, "ann", private, now=int(time.time()))
    assert judged(parlour, v1) == (0, [])
    parlour.good("app", "types", "set", "7")
    parlour.good("app", "set", "5", "--account-type", "7")
    assert judged(parlour, v1) == (70140, [70140])
    assert judged(parlour, pack(members_v1(account_type="99"))) == (70145, [70145])


def test_verify_and_inspect_know_the_blacklist(parlour: Here, sig: str) -> None:
    parlour.good("account", "block", "5", "ann")
    assert judged(parlour, sig) == (70051, [70051])
    assert judged(parlour, "x") == (70051, [70051])
    assert judged(parlour, sig, "bob") == (70013, [])
    named_inside = parlour("usersig", "inspect", sig, "--json")
    assert (named_inside.status, named_inside.json["around"][0]["key"]) == (1, "ACCOUNT_BLACKLISTED")


def test_verify_and_inspect_know_who_was_kicked(parlour: Here, sig: str) -> None:
    parlour.good("account", "import", "5", "-", stdin="ann\n")
    parlour.good("account", "kick", "5", "ann")
    assert judged(parlour, sig) == (70052, [70052])
    again = parlour.good("usersig", "sign", "--app", "5", "--user", "ann", "--time", int(time.time()) + 2)["userSig"]
    assert judged(parlour, again) == (0, [])


def test_verify_and_inspect_know_who_has_to_be_registered(parlour: Here, sig: str) -> None:
    parlour.good("app", "set", "5", "--registration", "imported")
    assert judged(parlour, sig) == (70107, [70107])
    parlour.good("app", "admin", "add", "5", "ann")
    assert judged(parlour, sig) == (0, [])
    parlour.good("app", "admin", "remove", "5", "ann")
    parlour.good("account", "import", "5", "-", stdin="ann\n")
    assert judged(parlour, sig) == (0, [])


def test_with_a_key_nothing_stored_is_looked_at(parlour: Here, sig: str) -> None:
    parlour.good("account", "block", "5", "ann")
    own = sign_v2(5, "ann", KEY, now=TIME)
    options = ("--app", "5", "--user", "ann", "--key", KEY, "--time", TIME)
    assert parlour("usersig", "verify", own, *options).out == "0\n"
    assert parlour("usersig", "inspect", own, *options, "--json").json["around"] is None


def test_what_verify_and_inspect_leave_out_is_said_in_their_help(parlour: Here) -> None:
    for name in ("verify", "inspect"):
        assert "lock-out after failed logins" in " ".join(parlour("usersig", name, "--help").out.split())


def test_usersig_finds_the_store_by_the_settings_file(parlour: Here, tmp_path: Path) -> None:
    (tmp_path / "parlour.toml").write_text(f"data = {json.dumps(str(tmp_path / 'there'))}\n")
    config = ("--config", tmp_path / "parlour.toml")
    parlour.good("app", "create", "5", *config)
    signed = parlour.good("usersig", "sign", "--app", "5", "--user", "ann", *config)["userSig"]
    assert parlour.good("usersig", "verify", signed, "--app", "5", "--user", "ann", *config)["code"] == 0
    found = parlour.good("usersig", "inspect", signed, *config)
    assert (found["around"], bool(found["keyFingerprint"])) == ([], True)


# --- the command itself -----------------------------------------------------------------------------------------------


def test_wrong_usage_is_2_and_help_is_0(parlour: Here) -> None:
    for arguments in ([], ["app"], ["usersig"], ["exlain", "3"], ["explain"], ["explain", "1", "2"], ["--nope"]):
        done = parlour(*arguments)
        assert (done.status, done.out) == (2, ""), arguments
        assert done.err
    assert "Did you mean 'explain'?" in parlour("exlain").err
    for arguments in (["--help"], ["app", "--help"], ["usersig", "sign", "-h"]):
        assert parlour(*arguments).status == 0


def test_the_version_is_printed(parlour: Here) -> None:
    done = parlour("--version")
    assert done.status == 0
    assert done.out.startswith("parlour ")
    assert set(parlour("--version", "--json").json) == {"version"}


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "parlour", *arguments], check=False, capture_output=True, text=True, **options
    )


def test_a_signature_can_come_through_a_pipe() -> None:
    sig = sign_v2(APP, USER, KEY, now=TIME)
    done = run(
        *("usersig", "verify", "-", "--app", str(APP), "--user", USER, "--key", KEY, "--time", str(TIME)),
        input=sig + "\n",
    )
    assert (done.returncode, done.stdout) == (0, "0\n")


BUFFERING = pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
"""What a command writes leaves it at its end, or at once."""


def buffered(buffering: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | buffering


@BUFFERING
def test_a_reader_that_leaves_is_no_failure_worth_a_word(buffering: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "parlour", "explain", "70009"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered(buffering),
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 1
    process.stderr.close()


@BUFFERING
def test_output_that_cannot_be_written_is_said_in_one_sentence(buffering: dict[str, str]) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "parlour", "explain", "70009"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=buffered(buffering), check=False)
    assert done.returncode == 1
    assert done.stderr.decode().count("No space left on device") == 1, done.stderr
    assert done.stderr.count(b"\n") <= 2


def test_a_terminal_without_our_characters_gets_replacements() -> None:
    done = run("usersig", "inspect", "x", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    assert "70003" in done.stdout
    assert done.stderr == ""


def test_explain_loads_nothing_heavy() -> None:
    code = "import sys; sys.argv = ['parlour', 'explain', '70009']\nfrom parlour.cli import main\n"
    code += "try: main()\nfinally: print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    for heavy in (
        "sqlalchemy",
        "alembic",
        "pydantic_settings",
        "fastapi",
        "uvicorn",
        "cryptography",
        "asyncio",
        "parlour._media",
    ):
        assert f"'{heavy}'" not in done.stderr, heavy


def test_a_failure_is_json_too_when_json_was_asked_for(parlour: Here, tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.touch()
    parlour("app", "create", str(APP), "--data", str(tmp_path / "data"))
    for arguments in (
        ["app", "create", str(APP), "--data", str(tmp_path / "data")],
        ["app", "create", "7", "--data", str(taken)],
        ["app", "list", "--data", str(taken)],
        ["usersig", "sign", "--app", "7", "--user", "ann", "--data", str(tmp_path / "data")],
        ["usersig", "verify", "x", "--app", "7", "--user", "ann", "--data", str(tmp_path / "nowhere")],
        ["serve", "--data", str(taken), "--port", "0", "--media-port", "0"],
        ["demo", "--data", str(taken), "--port", "0", "--media-port", "0"],
    ):
        done = parlour(*arguments, "--json")
        assert done.status == 1
        assert done.err.endswith(f"parlour: {done.json['error']}\n")
        assert parlour(*arguments).out == ""


@pytest.mark.parametrize("user", ["", "x" * 33, "é" * 17])
def test_verify_refuses_a_user_id_that_no_login_could_have(parlour: Here, user: str) -> None:
    done = parlour("usersig", "verify", "", "--app", str(APP), "--user", user, "--key", KEY)
    assert (done.status, done.out) == (1, "70402\n")


def test_a_key_that_is_empty_or_a_missing_file_signs_nothing(parlour: Here, tmp_path: Path) -> None:
    arguments = ["usersig", "sign", "--app", str(APP), "--user", USER, "--key"]
    assert parlour(*arguments, "").status == 2
    done = parlour(*arguments, str(tmp_path / "private.pem"))
    assert (done.status, done.out) == (1, "")
    assert "There is no key file" in done.err


def test_every_command_has_json(parlour: Here) -> None:
    for command in ("serve", "demo", "explain", "app create", "app list", "account list", "backup", "master-key show"):
        assert "--json" in parlour(*command.split(), "--help").out, command
    for command in ("sign", "verify", "inspect"):
        assert "--json" in parlour("usersig", command, "--help").out, command
