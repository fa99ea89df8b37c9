"""Secrets planted in a real server, which is then used rightly and wrongly and broken: none comes out anywhere."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from parlour.accounts import AcceptedLogin, Applicant, Granted, Identity, LoginRequest
from parlour.storage import App, EndpointVerification, LoginContext, MasterKey, Restrictions, Storage, StoredKey
from parlour.usersig import AppKeys, open_envelope, sign_v1, sign_v2

from tests import broken
from tests.contract.stores import beside, data_of, on
from tests.databases import AnyDatabase, SqliteDatabase
from tests.peers.https_peer import Authority, HttpsPeer, Request, reply
from tests.unit.usersigs import ec_keys
from tests.wire import Refused, Wire

APP, JUDGED = 1400000001, 1400000002
ADMIN = "administrator"
IMPORT = "/v4/im_open_login_svc/account_import"

VERIFIER = """
def verifier(applicant):
    if applicant.user_id == "eve":
        raise KeyError(applicant.credential)
    if applicant.user_id == "kim":
        from parlour.accounts import Refuse
        raise Refuse(f"not with {applicant.credential}: {applicant}")
"""


@dataclass
class Planted:
    """What nobody may ever read, by what it is."""

    hmac_key: str = field(default_factory=lambda: secrets.token_hex(32))
    master_key: str = field(default_factory=lambda: secrets.token_hex(32))
    endpoint_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    credential: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    more: dict[str, str] = field(default_factory=dict)

    def found_in(self, text: str) -> list[str]:
        """Which of them, or which half of one, stand in a text."""
        named = {name: value for name, value in vars(self).items() if isinstance(value, str)} | self.more
        return [
            f"{name}: {part[:4]}…"
            for name, value in named.items()
            for part in (value[: len(value) // 2], value[len(value) // 2 :])
            if part in text
        ]


@dataclass
class Said:
    """Everything that came out of the servers, by where."""

    output: list[bytes] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    def text(self) -> str:
        return "\n".join([*(part.decode() for part in self.output), *self.answers])


@dataclass
class Served:
    """A real server in a process of its own, as ``Wire`` wants it."""

    url: str
    signaling_url: str


def environment(planted: Planted, database: AnyDatabase, **settings: str) -> dict[str, str]:
    url = (
        "" if isinstance(database, SqliteDatabase) else database.url.replace("parlour@", f"parlour:{planted.password}@")
    )
    variables = {"MASTER_KEY": planted.master_key, "DATABASE": url} | settings
    return os.environ | {f"PARLOUR_{name}": value for name, value in variables.items()}


def arguments(data: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "parlour", "serve", "--json", "--log-level", "debug",
        "--data", str(data), "--port", "0", "--media-port", "0", *more,
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def serving(command: list[str], variables: dict[str, str], said: Said) -> AsyncIterator[Served]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=variables, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    try:
        async with asyncio.timeout(60):
            line = await process.stdout.readline()
        assert line, "It did not start."
        started = json.loads(line)
        yield Served(started["url"], started["signaling"])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        said.output += [await process.stdout.read(), await errors]
        await process.wait()


@dataclass
class Visitor:
    """Somebody who uses a server and keeps every answer that is a refusal."""

    server: Served
    planted: Planted
    said: Said
    http: httpx.AsyncClient

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """One request on a socket of its own; the answer, or nothing when it was refused."""
        wire = await Wire.open(self.server)  # type: ignore[arg-type]
        try:
            return await wire.ask(kind, **fields)
        except Refused as refused:
            self.said.answers.append(json.dumps(refused.error, ensure_ascii=False))
        except ConnectionError as closed:
            self.said.answers.append(str(closed))
        finally:
            wire.drop()
        return {}

    async def login(self, user_id: object, user_sig: object, app: int = APP) -> dict[str, Any]:
        return await self.ask("login", sdkAppId=app, userId=user_id, userSig=user_sig)

    async def post(self, user_sig: str, body: str = '{"UserID": "ann"}', *, path: str = IMPORT, app: int = APP) -> int:
        """A call of the account REST; its code."""
        parameters = {
            "sdkappid": str(app), "identifier": ADMIN, "usersig": user_sig, "random": "1", "contenttype": "json",
        }  # fmt: skip
        answer = await self.http.post(path, params=parameters, content=body)
        self.said.answers.append(f"{answer.headers}{answer.text}")
        return int(answer.json()["ErrorCode"]) if answer.text.startswith("{") else -1


def plant(planted: Planted) -> dict[str, str]:
    """UserSigs, good and bad, which are secrets too."""
    now = int(time.time())
    made = {user_id: sign_v2(APP, user_id, planted.hmac_key, now=now) for user_id in ("ann", "eve", "kim", ADMIN)}
    made["old"] = sign_v2(APP, "ann", planted.hmac_key, now=now - 7200, expire=60)
    made["wrong"] = sign_v2(APP, "ann", planted.endpoint_secret, now=now)
    made["v1"] = sign_v1(APP, "ann", ec_keys()[0], now=now)
    # The beginning of every UserSig is the same and no secret: what counts is its second half.
    planted.more |= {f"UserSig {name}": user_sig[len(user_sig) // 2 :] for name, user_sig in made.items()}
    return made


async def use_it(visitor: Visitor, sigs: dict[str, str]) -> None:
    planted = visitor.planted
    ann = sigs["ann"]
    assert (await visitor.login("ann", ann))["ticket"]
    for user_id, user_sig in (
        ("ann", sigs["wrong"]), ("ann", sigs["old"]), ("ann", sigs["v1"]), ("bob", ann), ("ann", ann[:-1]),
        ("ann", ann[:40]), ("ann", ann + "x"), ("ann", planted.hmac_key), (ann, ann), ("ann", [ann]),
        ("ann", {"userSig": ann}), ("eve", sigs["eve"]), ("kim", sigs["kim"]),
    ):  # fmt: skip
        await visitor.login(user_id, user_sig)
    for credential in (planted.credential, planted.credential + "!", planted.credential[::-1] + "?"):
        await visitor.login("ann", credential, JUDGED)
    await tickets(visitor, ann)
    admin = sigs[ADMIN]
    assert await visitor.post(admin) == 0
    for user_sig in (sigs["wrong"], sigs["ann"], admin[:-4], planted.hmac_key, "", admin + "x"):
        assert await visitor.post(user_sig) != 0
    for body in ("", "{", f'{{"UserID": ["{admin}"]}}', f'{{"{planted.hmac_key}": 1}}', f'{{"UserID": "{admin}"}}'):
        assert await visitor.post(admin, body) != 0
    await visitor.post(admin, path="/v4/im_open_login_svc/nothing")
    await visitor.post(admin, app=5)
    await usersig_endpoint(visitor, admin, sigs["wrong"])


async def tickets(visitor: Visitor, ann: str) -> None:
    """Tickets and resume tokens, right and wrong."""
    wire = await Wire.open(visitor.server)  # type: ignore[arg-type]
    ticket = (await wire.ask("login", sdkAppId=APP, userId="ann", userSig=ann))["ticket"]
    visitor.planted.more["ticket"] = ticket.rpartition(".")[2]
    for wrong in (ticket[:-1], ticket + "00", ticket.replace("ticket", "resume"), ann):
        visitor.said.answers.append(json.dumps((await wire.refused("enter", ticket=wrong, roomId=1)).error))
    token = (await wire.ask("enter", ticket=ticket, roomId=1))["resumeToken"]
    visitor.planted.more["resume token"] = token.rpartition(".")[2]
    for wrong in (token[:-1], token.replace("resume", "ticket"), ticket, "x" + token):
        await visitor.ask("resume", resumeToken=wrong)
    wire.drop()
    await visitor.ask("resume", resumeToken=token)


async def usersig_endpoint(visitor: Visitor, admin: str, wrong: str) -> None:
    for user_sig, body in ((admin, "{"), (admin, '{"userId": 7}'), (wrong, "{}"), (admin[:-2], "{}")):
        basic = base64.b64encode(f"{ADMIN}:{user_sig}".encode()).decode()
        headers = {"authorization": f"Basic {basic}", "content-type": "application/json"}
        answer = await visitor.http.post(f"/api/v1/usersig?sdkAppId={APP}", content=body, headers=headers)
        assert answer.status_code >= 400
        visitor.said.answers.append(f"{answer.headers}{answer.text}")


async def break_it(visitor: Visitor, database: AnyDatabase, sigs: dict[str, str]) -> None:
    """Each part broken, with a login and a call on it."""
    planted = visitor.planted
    stored = str((await on(database, f"SELECT value FROM app_keys WHERE sdk_app_id = {APP}"))[0][0])
    set_key = f"UPDATE app_keys SET value = '{{}}' WHERE sdk_app_id = {APP}"
    for damage, repair in (
        ("UPDATE apps SET state = 'banana'", "UPDATE apps SET state = 'active'"),
        (set_key.format(planted.hmac_key), set_key.format(stored)),
        (set_key.format(stored[:-8] + "AAAAAAA="), set_key.format(stored)),
        (f"UPDATE apps SET limits = '[\"{planted.hmac_key}\"]'", "UPDATE apps SET limits = '{}'"),
        (f"UPDATE apps SET admins = '{{\"{planted.hmac_key}'", "UPDATE apps SET admins = '[\"administrator\"]'"),
    ):
        await on(database, damage)
        assert await visitor.login("ann", sigs["ann"]) == {}
        assert await visitor.post(sigs[ADMIN]) != 0
        await on(database, repair)
    for number, breaking in enumerate(
        (
            broken.missing(database, "standings"),
            broken.missing(beside(database, "login-state.db"), "logins"),
            broken.missing(beside(database, "counters.db"), "locks"),
            broken.conflicting(database, "accounts"),
            broken.unreachable(database),
        )
    ):
        user_id = f"new-{number}"
        user_sig = sign_v2(APP, user_id, planted.hmac_key, now=int(time.time()))
        planted.more[f"UserSig {user_id}"] = user_sig[len(user_sig) // 2 :]
        async with breaking:
            assert await visitor.login(user_id, user_sig) == {}
            await visitor.post(sigs[ADMIN])
    assert await visitor.login("ann", sigs["ann"]) != {}


@pytest.mark.parametrize("form", ["for people", "json"])
async def test_no_secret_comes_out_of_a_server_that_is_used_misused_and_broken(
    database: AnyDatabase, tmp_path: Path, form: str
) -> None:
    planted, said, data = Planted(), Said(), data_of(database, tmp_path)
    sigs = plant(planted)
    (tmp_path / "verifier_of_a_test.py").write_text(VERIFIER)
    authority = Authority(tmp_path)

    async def judge(request: Request, writer: asyncio.StreamWriter) -> None:
        right = request.members["credential"] == planted.credential
        await reply({"ok": right, "reason": f"{request.members['credential']} is no session"})(request, writer)

    async with HttpsPeer(authority.context("localhost"), judge) as peer:
        url = "" if isinstance(database, SqliteDatabase) else database.url
        master = MasterKey.of_text(planted.master_key)
        async with await Storage.open(data, url=url, master=master) as store:
            verification = EndpointVerification(peer.url(), planted.endpoint_secret)
            await store.create_app(APP, now=1, secret=planted.hmac_key, public_keys=(ec_keys("secp256k1")[1],))
            await store.create_app(JUDGED, now=1, verification=verification)
        variables = environment(
            planted, database, LOCKOUT__FAILURES="0", LOCKOUT__SOURCE_FAILURES="0", ADMIN__USERSIG_ENDPOINT="true",
            PLUGINS__VERIFIERS="verifier_of_a_test:verifier", VERIFICATION__ALLOW_PRIVATE="true",
            VERIFICATION__CA_FILE=str(authority.file),
        ) | {"PYTHONPATH": str(tmp_path)}  # fmt: skip
        command = arguments(data, *(["--log-json"] if form == "json" else []))
        async with (
            serving(command, variables, said) as server,
            httpx.AsyncClient(base_url=server.url, timeout=30, verify=False) as http,
        ):
            visitor = Visitor(server, planted, said, http)
            await use_it(visitor, sigs)
            await break_it(visitor, database, sigs)
        stranger = variables | {"PARLOUR_MASTER_KEY": secrets.token_hex(32)}
        async with (
            serving(command, stranger, said) as server,
            httpx.AsyncClient(base_url=server.url, timeout=30, verify=False) as http,
        ):
            assert await Visitor(server, planted, said, http).login("ann", sigs["ann"]) == {}
    text = said.text()
    assert len(said.answers) > 40
    for expected in ("account service failed", "account store failed", "70009", "70212", "70308", "incident"):
        assert expected in text, "the test drives less than it says"
    assert planted.found_in(text) == []


async def test_no_secret_comes_out_of_a_server_that_cannot_start(tmp_path: Path) -> None:
    planted = Planted()
    address = f"parlour:{planted.password}@127.0.0.1"
    file = tmp_path / "settings.toml"
    file.write_text(f'database = "postgresql://{address}:1/x"\nmaster_key = "{planted.master_key}"\n[limits]\nx = 1\n')
    for variables, more in (
        ({"MASTER_KEY": planted.master_key[:-2]}, ()),
        ({"MASTER_KEY": f"{planted.master_key};{planted.hmac_key}"}, ()),
        ({"MASTER_KEY": planted.master_key, "MASTER_KEY_FILE": "/nowhere"}, ()),
        ({"DATABASE": f"mysql://{address}/x"}, ()),
        ({"DATABASE": f"postgresql://{address}:1/x"}, ()),
        ({"DATABASE": f"postgresql://{address}:port/x"}, ()),
        ({"LOGIN_STATE": f"postgresql://{address}:1/x"}, ()),
        ({"COUNTERS": f"postgresql+{address}:1/x"}, ()),
        ({}, ("--config", str(file))),
    ):
        settings = {f"PARLOUR_{name}": value for name, value in variables.items()}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *arguments(tmp_path / "data", *more), env=os.environ | settings, stdout=pipe, stderr=pipe
        )
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
        said = (out + errors).decode()
        assert process.returncode == 1, said
        assert said.strip()
        assert "Traceback" not in said
        assert planted.found_in(said) == [], variables


def test_what_holds_a_secret_does_not_show_it_when_it_is_printed() -> None:
    planted = Planted()
    user_sig = plant(planted)["ann"]
    keys = AppKeys((planted.hmac_key,))
    app = App(APP, "", "active", 0, keys, verification=EndpointVerification("https://x", planted.endpoint_secret))
    login = AcceptedLogin(Identity(APP, "ann"), "1", 0, None, "")
    printed = repr(
        (
            app,
            keys,
            StoredKey(1, "secret", planted.hmac_key, 0),
            MasterKey.of_text(planted.master_key),
            LoginRequest(APP, "ann", user_sig),
            Granted(login, planted.credential, 0),
            Applicant(APP, "ann", planted.credential, "::1"),
            LoginContext(app, None, None, Restrictions(), frozenset(), planted.password.encode()),
            open_envelope(user_sig),
        )
    )
    assert "EndpointVerification" in printed
    assert planted.found_in(printed) == []
