"""`parlour usersig` in a terminal and for programs: what it signs, and what it says about what is broken."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from parlour.cli import main
from parlour.usersig import AppKeys, sign_private_map_key, sign_v2, verify_private_map_key

from tests.cli import Done, Here, elsewhere
from tests.unit.test_usersig_inspect import MISTAKES, OTHER_KEY, V1_KEYS, Broken, ticket
from tests.unit.usersigs import APP, KEY, KEYS, TIME, USER, members_v2, pack

WHO = ("--app", str(APP), "--user", USER, "--key", KEY, "--time", str(TIME))


Usersig = Callable[..., Done]


@pytest.fixture
def usersig(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Usersig:
    """Runs `parlour usersig` in this process, far from any data folder."""
    return partial(Here(monkeypatch, capsys, elsewhere(tmp_path / "home")), "usersig")


# --- inspect ----------------------------------------------------------------------------------------------------------


def options(broken: Broken) -> list[str] | None:
    """How a broken one is given on the command line; None for what only a server can know."""
    if {"methods", "room_exists"} & broken.against.keys():
        return None
    if any(words in broken.mistake for words in ("this key belongs", "older key")):
        return None  # told from the keys in the data folder
    against: dict[str, Any] = {"user_id": USER, "keys": KEYS, "now": TIME} | broken.against
    keys: AppKeys = against["keys"]
    if keys not in (KEYS, V1_KEYS):
        return None  # --key takes one
    chosen = ["--app", str(APP), "--user", against["user_id"], "--time", str(against["now"])]
    chosen += ["--key", (keys.secrets or keys.public_keys)[0]]
    if "ticket" in against:
        chosen.append("--ticket")
    if "room" in against:
        chosen += ["--room", str(against["room"])]
        chosen += ["--string-room"] if isinstance(against["room"], str) else []
    return chosen


ON_THE_COMMAND_LINE = {
    name: (broken, given) for name, broken in MISTAKES.items() if (given := options(broken)) is not None
}


def test_most_of_the_mistakes_can_be_met_on_the_command_line() -> None:
    assert len(ON_THE_COMMAND_LINE) >= 60


@pytest.mark.parametrize(("broken", "given"), ON_THE_COMMAND_LINE.values(), ids=ON_THE_COMMAND_LINE.keys())
def test_inspect_names_code_and_mistake_for_programs_and_for_people(
    usersig: Usersig, broken: Broken, given: list[str]
) -> None:
    as_json = usersig("inspect", "--json", *given, "--", broken.sig)
    assert as_json.status == 1
    assert as_json.json["code"] == broken.code
    assert broken.mistake in as_json.json["mistake"]
    assert as_json.json["remedy"]
    shown = usersig("inspect", *given, "--", broken.sig)
    assert shown.status == 1
    assert f"Refused with {broken.code} {as_json.json['key']}" in shown.out
    assert broken.mistake in shown.out
    assert KEY not in shown.out.replace(broken.sig, "") + shown.err


def test_a_good_one_is_shown_with_the_key_that_signed_it(usersig: Usersig) -> None:
    done = usersig("inspect", pack(members_v2()), *WHO)
    assert done.status == 0
    assert "signed with key 0345c13c214c9e35" in done.out
    assert "86400  (1 d, until 2023-11-15 22:13:20 UTC, 1 d left)" in done.out
    assert "No check of the UserSig failed." in done.out
    assert "accepted" not in done.out
    assert not any(line != line.rstrip() for line in done.out.splitlines())


def test_the_keys_in_the_data_folder_name_the_app_whose_key_it_was(
    usersig: Usersig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ("--data", str(tmp_path / "data"))
    for app, key in ((str(APP), KEY), ("1400000002", OTHER_KEY)):
        monkeypatch.setattr(sys, "argv", ["parlour", "app", "create", app, "--key", key, *data])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
    done = usersig("inspect", pack(members_v2(key=OTHER_KEY)), "--time", str(TIME), "--json", *data)
    assert (done.status, done.json["code"]) == (1, 70009)
    assert "this key belongs to app 1400000002" in done.json["mistake"]


def test_a_ticket_is_taken_apart(usersig: Usersig) -> None:
    done = usersig("inspect", ticket("room-A", privileges=42), *WHO, "--room", "room-A")
    assert done.status == 0
    for text in ("privateMapKey of version 2", "room-A  (a name)", "42  (enter, receive-audio, receive-video)"):
        assert text in done.out
    as_json = usersig("inspect", ticket("room-A", privileges=42), *WHO, "--room", "room-A", "--json").json
    assert as_json["ticket"] is True
    assert as_json["userbuf"] == {
        "userId": USER,
        "sdkAppId": APP,
        "room": "room-A",
        "expiresAt": TIME + 300,
        "privilegeMap": 42,
        "privileges": ["enter", "receive-audio", "receive-video"],
    }
    login = usersig("inspect", ticket("room-A"), "--time", str(TIME))
    assert "with --ticket it is judged as one" in login.out


def test_a_userbuf_that_a_terminal_would_obey_is_shown_harmless(usersig: Usersig) -> None:
    hostile = sign_private_map_key(APP, "\x1b[31m", KEY, room="\x1b]0;x\x07", now=TIME)
    done = usersig("inspect", hostile, *WHO, "--ticket")
    assert "\x1b" not in done.out
    assert "\\x1b[31m" in done.out


# --- the key through standard input -----------------------------------------------------------------------------------


def test_a_secret_key_can_come_through_a_pipe(usersig: Usersig) -> None:
    who = ("--app", str(APP), "--user", USER, "--time", str(TIME), "--key", "-")
    signed = usersig("sign", *who, stdin=f"{KEY}\n")
    assert signed == Done(0, sign_v2(APP, USER, KEY, now=TIME, expire=604_800) + "\n", "")
    assert usersig("verify", signed.out.strip(), *who, stdin=f"{KEY}\n").out == "0\n"
    assert usersig("verify", signed.out.strip(), *who, stdin=OTHER_KEY).out == "70009\n"
    assert "signed with key 0345c13c214c9e35" in usersig("inspect", signed.out.strip(), *who, stdin=KEY).out


def test_a_pem_key_can_come_through_a_pipe(usersig: Usersig) -> None:
    from tests.unit.usersigs import ec_keys

    private, public = ec_keys()
    who = ("--app", str(APP), "--user", USER, "--time", str(TIME), "--key", "-")
    signed = usersig("sign", *who, stdin=private).out.strip()
    for pem in (private, public):
        assert usersig("verify", signed, *who, stdin=pem).out == "0\n"


def test_one_standard_input_does_not_hold_two_things(usersig: Usersig) -> None:
    for name in ("verify", "inspect"):
        done = usersig(name, "-", "--app", str(APP), "--user", USER, "--key", "-", stdin=KEY)
        assert (done.status, done.out) == (2, "")
        assert "not both" in done.err
    empty = usersig("sign", "--app", str(APP), "--user", USER, "--key", "-", stdin="\n")
    assert (empty.status, empty.out) == (2, "")
    assert "no key in standard input" in empty.err


# --- sign -------------------------------------------------------------------------------------------------------------


def test_sign_with_a_room_prints_a_ticket_alone(usersig: Usersig) -> None:
    done = usersig("sign", *WHO, "--room", "7")
    assert done == Done(0, sign_private_map_key(APP, USER, KEY, room=7, now=TIME) + "\n", "")
    named = usersig("sign", *WHO, "--room", "7", "--string-room", "--expire", "60", "--privileges", "42").out.strip()
    assert named == sign_private_map_key(APP, USER, KEY, room="7", now=TIME, expire=60, privileges=42)
    done = usersig("sign", *WHO, "--room", "lobby", "--privileges", "enter, receive-audio", "--json")
    assert done.json == {
        "privateMapKey": sign_private_map_key(APP, USER, KEY, room="lobby", now=TIME, privileges=10),
        "sdkAppId": APP,
        "userId": USER,
        "issuedAt": TIME,
        "expiresAt": TIME + 300,
        "room": "lobby",
        "privileges": ["enter", "receive-audio"],
    }
    allowed = verify_private_map_key(
        done.json["privateMapKey"], sdk_app_id=APP, user_id=USER, room="lobby", room_exists=True, keys=KEYS, now=TIME
    )
    assert allowed == 10


def test_sign_without_a_room_is_a_usersig_for_seven_days(usersig: Usersig) -> None:
    assert usersig("sign", *WHO).out.strip() == sign_v2(APP, USER, KEY, now=TIME, expire=604_800)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--room", "0"], "a room number is from 1 to 4294967294"),
        (["--room", "99999999999"], "a room number is from 1 to 4294967294"),
        (["--room", ""], "1 to 64 bytes"),
        (["--room", "x" * 65], "1 to 64 bytes"),
        (["--room", "a\nb"], "no control characters"),
        (["--string-room"], "give the room's name with --room"),
        (["--room", "1", "--privileges", "256"], "from 0 to 255"),
        (["--room", "1", "--privileges", "fly"], "fly is none; there are create, enter,"),
    ],
)
def test_a_slip_in_the_room_is_told(usersig: Usersig, given: list[str], said: str) -> None:
    done = usersig("sign", *WHO, *given)
    assert (done.status, done.out) == (2, "")
    assert said in " ".join(done.err.split())


def test_a_ticket_is_not_signed_with_a_pem_key(usersig: Usersig, tmp_path: Path) -> None:
    from tests.unit.usersigs import ec_keys

    (tmp_path / "private.pem").write_text(ec_keys()[0])
    done = usersig("sign", "--app", "5", "--user", "a", "--room", "1", "--key", str(tmp_path / "private.pem"))
    assert (done.status, done.out) == (1, "")
    assert "signed with the app's secret key" in done.err
