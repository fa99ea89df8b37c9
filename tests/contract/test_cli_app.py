"""``parlour app``: everything about apps from the command line, alone and beside a running server."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from parlour.usersig import sign_v2

from tests.cli import Beside, Here, environment
from tests.conftest import RunningServer, StartServer
from tests.databases import AnyDatabase
from tests.unit.usersigs import KEY, ec_keys
from tests.wire import Wire

OLD, NEW = "old!" * 16, "new!" * 16


ON_BOTH = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def parlour(
    database: AnyDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Here:
    return Here(monkeypatch, capsys, environment(tmp_path, tmp_path / "data", database))


@pytest.fixture
def beside(database: AnyDatabase, tmp_path: Path) -> Beside:
    return Beside(environment(tmp_path, tmp_path / "data", database))


# --- apps -------------------------------------------------------------------------------------------------------------


def test_an_app_is_made_with_everything_and_shown(parlour: Here, tmp_path: Path) -> None:
    (tmp_path / "public.pem").write_text(ec_keys()[1])
    made = parlour(
        *("app", "create", 5, "--name", "Läden", "--key", KEY, "--public-key", tmp_path / "public.pem"),
        *("--account-type", 0, "--owner", 77, "--registration", "imported", "--kinds", "phone,plain"),
        "--advanced-permission",
    )
    assert (made.status, made.pairs["key"].strip()) == (0, KEY)
    shown = parlour.good("app", "show", 5, "--keys")
    assert abs(shown.pop("createdAt") - time.time()) < 60
    assert shown == {
        "sdkAppId": 5,
        "name": "Läden",
        "state": "active",
        "accountType": 0,
        "owner": 77,
        "admins": ["administrator"],
        "registration": "imported",
        "kinds": ["plain", "phone"],
        "advancedPermission": True,
        "limits": {"maxAccounts": None, "loginsPerSecond": None, "requestsPerSecond": None},
        "verification": None,
        "accounts": 0,
        "keys": [KEY],
        "publicKeys": [ec_keys()[1]],
    }
    people = parlour("app", "show", 5)
    assert people.pairs["kinds"].strip() == "plain, phone"
    assert people.pairs["keys"].strip() == "1 secret, 1 public"


def test_set_changes_what_is_given_and_nothing_else(parlour: Here) -> None:
    parlour("app", "create", 5, "--name", "shop", "--owner", 77)
    before = parlour.good("app", "show", 5)
    changed = parlour.good("app", "set", 5, "--max-accounts", 0, "--logins-per-second", 3, "--no-advanced-permission")
    assert changed == before | {"limits": {"maxAccounts": 0, "loginsPerSecond": 3, "requestsPerSecond": None}}
    changed = parlour.good(
        "app", "set", 5, "--logins-per-second", "default", "--owner", "none", "--account-type", "none"
    )
    assert changed == before | {
        "limits": {"maxAccounts": 0, "loginsPerSecond": None, "requestsPerSecond": None},
        "owner": None,
        "accountType": None,
    }
    assert parlour.good("app", "show", 5) == changed


@pytest.mark.parametrize(
    "option",
    [
        ("--owner", "0"),
        ("--owner", "-1"),
        ("--owner", str(2**53)),
        ("--account-type", "x"),
        ("--registration", "Automatic"),
        ("--kinds", ""),
        ("--kinds", "plain,fax"),
        ("--max-accounts", "many"),
        ("--max-accounts", "9" * 5000),
        ("--name", "x" * 101),
        ("--name", "a\nb"),
        (),
    ],
)
def test_a_value_that_cannot_be_is_wrong_usage_and_changes_nothing(parlour: Here, option: tuple[str, ...]) -> None:
    before = parlour.good("app", "create", 5) and parlour.good("app", "show", 5)
    done = parlour("app", "set", 5, *option)
    assert (done.status, done.out) == (2, "")
    assert "Error: " in done.err
    assert parlour.good("app", "show", 5) == before


def test_an_app_is_suspended_disabled_and_activated(parlour: Here) -> None:
    parlour("app", "create", 5)
    for command, state, code in (("suspend", "suspended", "10006"), ("disable", "disabled", "-100027")):
        assert code in parlour("app", command, 5).out
        assert parlour.good("app", "show", 5)["state"] == state
    assert parlour.good("app", "activate", 5) == {"sdkAppId": 5, "state": "active"}


def test_an_app_is_deleted_only_when_one_says_so(parlour: Here) -> None:
    parlour("app", "create", 5, "--name", "shop")
    parlour("account", "import", 5, "-", stdin="ann\nbob\n")
    done = parlour("app", "delete", 5)
    assert (done.status, done.out) == (1, "")
    assert 'App 5 "shop" has 1 key and 2 accounts, which go with it: say so with --yes.' in done.err
    assert parlour.good("app", "show", 5)["accounts"] == 2
    assert parlour.good("app", "delete", 5, "--yes") == {"sdkAppId": 5, "deleted": True, "accounts": 2}
    assert parlour.good("app", "list") == []
    parlour("app", "create", 5)
    assert parlour.good("account", "list", 5) == {"accounts": [], "next": None}


UNKNOWN = [
    ("app", "show", 6),
    ("app", "set", 6, "--name", "x"),
    ("app", "suspend", 6),
    ("app", "activate", 6),
    ("app", "disable", 6),
    ("app", "delete", 6, "--yes"),
    ("app", "key", "list", 6),
    ("app", "key", "add", 6),
    ("app", "key", "remove", 6, 1),
    ("app", "admin", "list", 6),
    ("app", "admin", "add", 6, "ann"),
    ("app", "admin", "remove", 6, "ann"),
    ("app", "verify-with", 6, "none"),
    ("account", "list", 6),
    ("account", "show", 6, "ann"),
    ("account", "import", 6, "-"),
    ("account", "block", 6, "ann"),
    ("account", "unblock", 6, "ann"),
    ("account", "kick", 6, "ann"),
    ("account", "delete", 6, "ann"),
    ("account", "unlock", 6, "ann"),
]


def test_an_unknown_app_is_one_sentence_everywhere(parlour: Here) -> None:
    parlour("app", "create", 5)
    for arguments in UNKNOWN:
        done = parlour(*arguments, "--json")
        assert done.status == 1, arguments
        assert "There is no app 6 in " in done.json["error"], arguments
        assert done.err == f"parlour: {done.json['error']}\n", arguments


def test_secrets_are_shown_only_when_they_are_asked_for(parlour: Here) -> None:
    parlour("app", "create", 5, "--key", OLD)
    secret = parlour.good("app", "verify-with", 5, "endpoint", "https://auth.example.com")["verification"]["secret"]
    for arguments in (("app", "list"), ("app", "show", 5), ("app", "key", "list", 5), ("app", "set", 5, "--name", "x")):
        for form in ((), ("--json",)):
            said = parlour(*arguments, *form)
            assert OLD not in said.out + said.err
            assert secret not in said.out + said.err
    assert OLD in parlour("app", "list", "--keys").out
    shown = parlour("app", "show", 5, "--keys").out
    assert OLD in shown and secret in shown


def test_a_settings_file_names_the_stores_too(parlour: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARLOUR_DATA")
    (tmp_path / "parlour.toml").write_text(f'data = "{tmp_path / "elsewhere"}"\n')
    parlour("app", "create", 5, "--config", tmp_path / "parlour.toml")
    assert [app["sdkAppId"] for app in parlour.good("app", "list", "--config", tmp_path / "parlour.toml")] == [5]
    assert (tmp_path / "elsewhere").is_dir()
    assert "cannot be read" in parlour("app", "list", "--config", tmp_path / "none.toml").err


def test_a_database_that_cannot_be_reached_is_one_sentence_without_its_password(
    parlour: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLOUR_DATABASE", "postgresql://parlour:planted@127.0.0.1:1/none")
    for arguments in (("app", "list"), ("account", "list", 5), ("master-key", "rotate")):
        done = parlour(*arguments)
        assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
        assert "127.0.0.1:1/none" in done.err
        assert "planted" not in done.err


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_are_rotated_with_overlap(parlour: Here) -> None:
    parlour("app", "create", 5, "--key", OLD)
    with_old, with_new = (sign_v2(5, "ann", key, now=int(time.time())) for key in (OLD, NEW))
    added = parlour.good("app", "key", "add", 5, "--key", NEW)
    assert (added["kind"], added["key"]) == ("secret", NEW)
    for sig in (with_old, with_new):
        assert parlour("usersig", "verify", sig, "--app", 5, "--user", "ann").status == 0
    old, new = parlour.good("app", "key", "list", 5)
    assert new["number"] == added["number"]
    assert parlour("app", "key", "remove", 5, old["number"]).status == 0
    assert parlour("usersig", "verify", with_old, "--app", 5, "--user", "ann").out == "70009\n"
    assert parlour("usersig", "verify", with_new, "--app", 5, "--user", "ann").out == "0\n"


def test_a_fresh_key_has_64_hex_digits_and_a_given_one_may_come_through_a_pipe(parlour: Here) -> None:
    parlour("app", "create", 5, "--key", "-", stdin=OLD + "\n")
    assert parlour.good("app", "show", 5, "--keys")["keys"] == [OLD]
    assert len(bytes.fromhex(parlour.good("app", "key", "add", 5)["key"])) == 32
    assert parlour("app", "key", "add", 5, "--key", "-", stdin="short\n").status == 2


def test_the_last_key_of_a_kind_goes_only_by_force(parlour: Here, tmp_path: Path) -> None:
    (tmp_path / "public.pem").write_text(ec_keys("secp256k1")[1])
    parlour("app", "create", 5, "--public-key", tmp_path / "public.pem")
    for key in parlour.good("app", "key", "list", 5):
        done = parlour("app", "key", "remove", 5, key["number"])
        assert done.status == 1
        assert f"is the last {key['kind']} key of app 5" in done.err
        assert parlour("app", "key", "remove", 5, key["number"], "--force").status == 0
    assert parlour.good("app", "key", "list", 5) == []
    assert "has no keys" in parlour("app", "key", "list", 5).err


def test_a_key_is_not_added_twice_and_not_taken_from_another_app(parlour: Here) -> None:
    parlour("app", "create", 5, "--key", OLD)
    parlour("app", "create", 6)
    (key,) = parlour.good("app", "key", "list", 5)
    assert f"has this key already: it is number {key['number']}" in parlour("app", "key", "add", 5, "--key", OLD).err
    done = parlour("app", "key", "remove", 6, key["number"], "--force")
    assert (done.status, len(parlour.good("app", "key", "list", 5))) == (1, 1)
    assert f"App 6 has no key {key['number']}" in done.err
    assert parlour("app", "key", "remove", 5, "x").status == 2


def test_a_public_key_that_verifies_nothing_is_refused_with_the_reason(parlour: Here, tmp_path: Path) -> None:
    parlour("app", "create", 5)
    public = rsa.generate_private_key(65537, 2048).public_key()
    (tmp_path / "rsa.pem").write_bytes(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    done = parlour("app", "key", "add", 5, "--public-key", tmp_path / "rsa.pem")
    assert (done.status, done.out) == (1, "")
    assert "this is no EC key" in done.err
    assert parlour("app", "key", "add", 5, "--public-key", tmp_path / "rsa.pem", "--key", NEW).status == 2
    assert len(parlour.good("app", "key", "list", 5)) == 1


# --- admins, types, verification --------------------------------------------------------------------------------------


def test_admins_are_added_up_to_ten_and_removed(parlour: Here) -> None:
    parlour("app", "create", 5)
    assert parlour("app", "admin", "list", 5).out == "administrator\n"
    for number in range(9):
        assert parlour("app", "admin", "add", 5, f"root{number}").status == 0
    assert "10 are allowed" in parlour("app", "admin", "add", 5, "one-more").err
    assert "is an admin of app 5 already" in parlour("app", "admin", "add", 5, "root1").err
    assert parlour("app", "admin", "add", 5, "x" * 33).status == 2
    assert "is no admin of app 5" in parlour("app", "admin", "remove", 5, "Root1").err
    for admin in parlour.good("app", "admin", "list", 5):
        done = parlour("app", "admin", "remove", 5, admin)
    assert "nobody may call its account REST now" in done.err
    assert parlour.good("app", "admin", "list", 5) == []


def test_account_types_are_made_changed_used_and_removed(parlour: Here) -> None:
    parlour("app", "create", 5)
    assert "There is no account type 9" in parlour("app", "set", 5, "--account-type", 9).err
    made = parlour.good("app", "types", "set", 9, "--name", "Web", "--methods", "third-party,hmac")
    assert made == {"number": 9, "name": "Web", "methods": ["hmac", "third-party"]}
    assert parlour.good("app", "types", "set", 9, "--methods", "ecdsa")["name"] == "Web"
    parlour.good("app", "set", 5, "--account-type", 9)
    assert {one["number"]: one["apps"] for one in parlour.good("app", "types", "list")} == {0: 0, 9: 1}
    assert "is the one of app 5" in parlour("app", "types", "remove", 9).err
    parlour.good("app", "set", 5, "--account-type", 0)
    assert parlour("app", "types", "remove", 9).status == 0
    assert "There is no account type 9" in parlour("app", "types", "remove", 9).err
    assert "is the one of new apps" in parlour("app", "types", "remove", 0).err
    for arguments in (("x",), ("-1",), ("1", "--methods", "rsa"), ("1", "--methods", "")):
        assert parlour("app", "types", "set", *arguments).status == 2


def test_an_endpoint_keeps_its_secret_when_its_address_changes(parlour: Here) -> None:
    parlour("app", "create", 5)
    first = parlour.good("app", "verify-with", 5, "endpoint", "https://Auth.Example.com/x")["verification"]
    assert first["url"] == "https://auth.example.com/x"
    assert len(bytes.fromhex(first["secret"])) == 32
    moved = parlour.good("app", "verify-with", 5, "endpoint", "https://auth.example.org")["verification"]
    assert moved["secret"] == first["secret"]
    given = parlour.good("app", "verify-with", 5, "endpoint", "https://auth.example.org", "--secret", NEW)
    assert given["verification"]["secret"] == NEW
    assert parlour.good("app", "verify-with", 5, "none") == {"sdkAppId": 5, "verification": None}
    assert parlour.good("app", "show", 5)["verification"] is None


def test_an_issuer_is_named_with_its_audience_and_claim(parlour: Here) -> None:
    parlour("app", "create", 5)
    how = {"mode": "oidc", "issuer": "https://id.example.com", "audience": "web", "claim": "name"}
    parlour.good("app", "verify-with", 5, "oidc", "https://id.example.com", "--audience", "web", "--claim", "name")
    assert parlour.good("app", "show", 5)["verification"] == how


@pytest.mark.parametrize(
    "arguments",
    [
        ("endpoint",),
        ("endpoint", "http://auth.example.com"),
        ("endpoint", "https://auth.example.com", "--audience", "web"),
        ("endpoint", "https://auth.example.com", "--secret", "short"),
        ("oidc", "https://id.example.com"),
        ("oidc", "https://id.example.com/?a=b", "--audience", "web"),
        ("oidc", "https://id.example.com", "--audience", "web", "--claim", ""),
        ("none", "https://id.example.com"),
        ("usersig",),
    ],
)
def test_a_verification_that_cannot_be_is_wrong_usage(parlour: Here, arguments: tuple[str, ...]) -> None:
    parlour("app", "create", 5)
    assert parlour("app", "verify-with", 5, *arguments).status == 2
    assert parlour.good("app", "show", 5)["verification"] is None


# --- beside a running server ------------------------------------------------------------------------------------------


async def rest(server: RunningServer, identifier: str) -> int:
    """The code that ``account_check`` answers an admin with."""
    query = {"sdkappid": server.app, "identifier": identifier, "usersig": server.user_sig(identifier)}
    query |= {"random": 1, "contenttype": "json"}
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        answer = await client.post(
            "/v4/im_open_login_svc/account_check", params=query, json={"CheckItem": [{"UserID": "ann"}]}
        )
    code: int = answer.json()["ErrorCode"]
    return code


async def enter(server: RunningServer, user_id: str) -> Any:
    """What a fresh login and its ``enter`` come to: None if both succeed, else the refusal."""
    wire = await Wire.open(server)
    try:
        login = await wire.login(server, user_id)
        return await wire.refused("enter", ticket=login["ticket"], roomId=1, stringRoom=False)
    except AssertionError:
        return None
    finally:
        await wire.close()


@ON_BOTH
async def test_a_running_server_sees_the_state_of_an_app_at_once(start_server: StartServer, beside: Beside) -> None:
    server = await start_server()
    assert await enter(server, "ann") is None
    for command, code in (("suspend", 10006), ("disable", -100027)):
        await beside.good("app", command, server.app)
        refusal = await enter(server, "ann")
        assert (refusal.code, refusal.extra) == (0x4004, code)
    assert await rest(server, "administrator") == 60016
    await beside.good("app", "activate", server.app)
    assert await enter(server, "ann") is None


@ON_BOTH
async def test_a_running_server_sees_keys_at_once(start_server: StartServer, beside: Beside) -> None:
    server = await start_server()
    old = server.key
    (first,) = await beside.good("app", "key", "list", server.app)
    new = (await beside.good("app", "key", "add", server.app))["key"]
    for key in (old, new):
        server.key = key
        wire = await Wire.open(server)
        await wire.login(server, "ann")
        await wire.close()
    await beside.good("app", "key", "remove", server.app, first["number"])
    wire = await Wire.open(server)
    refusal = await wire.refused(
        "login", sdkAppId=server.app, userId="ann", userSig=sign_v2(server.app, "ann", old, now=int(time.time()))
    )
    assert refusal.extra == 70009
    await wire.login(server, "ann")
    await wire.close()


@ON_BOTH
async def test_a_running_server_sees_admins_at_once(start_server: StartServer, beside: Beside) -> None:
    server = await start_server()
    assert (await rest(server, "administrator"), await rest(server, "root")) == (0, 70403)
    await beside.good("app", "admin", "add", server.app, "root")
    await beside.good("app", "admin", "remove", server.app, "administrator")
    assert (await rest(server, "administrator"), await rest(server, "root")) == (70403, 0)


# --- the forms of the output ------------------------------------------------------------------------------------------


def test_every_new_command_has_json_and_says_its_defaults(parlour: Here) -> None:
    groups = {
        ("app",): ("create", "list", "show", "set", "suspend", "activate", "disable", "delete", "verify-with"),
        ("app", "key"): ("list", "add", "remove"),
        ("app", "admin"): ("list", "add", "remove"),
        ("app", "types"): ("list", "set", "remove"),
        ("account",): ("list", "show", "import", "block", "unblock", "kick", "delete", "unlock"),
        ("master-key",): ("show", "rotate"),
        (): ("backup",),
    }
    for group, commands in groups.items():
        for command in commands:
            shown = parlour(*group, command, "--help")
            assert shown.status == 0
            for option in ("--json", "--data", "--config"):
                assert option in shown.out, (group, command)
        assert parlour(*group).status == 2


def test_what_is_piped_on_is_not_broken_into_lines(parlour: Here) -> None:
    parlour("app", "create", 5, "--key", OLD, "--name", "x" * 100)
    (row,) = [line for line in parlour("app", "list", "--keys").out.splitlines() if OLD in line]
    assert "x" * 100 in row
    assert json.loads(parlour("app", "list", "--json").out)[0]["name"] == "x" * 100
