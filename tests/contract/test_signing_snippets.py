"""docs/signing.md is true: each of its programs, commands and examples is taken from the page and run."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from parlour.settings import load_settings
from parlour.usersig import AppKeys, UserSigError, Verified, sign_v2, verify

from tests.conftest import APP, RunningServer, StartServer
from tests.databases import SqliteDatabase

ROOT = Path(__file__).resolve().parents[2]
KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
DEADLINE = 120  # seconds: the first `go run` compiles the standard library

USERS = [
    "ann",
    "用户-1",
    "a b",
    'quote"back\\slash',
    "<b>&amp;/'%\u2028",  # what some JSON writers escape without need
    "tab\tand\x01control",
    "😀",  # two UTF-16 units
    "长" * 10 + "ab",  # the 32 bytes that a userId may have
]


@dataclass(frozen=True)
class Program:
    """One program of the page: the file it is to be saved as, its text, and the command that the page runs it with."""

    file: str
    text: str
    command: str


def _fences() -> Iterator[tuple[str, str, str]]:
    """Each fenced block of the page: the line before it, its tag, its text."""
    page = (ROOT / "docs" / "signing.md").read_text(encoding="utf-8")
    for found in re.finditer(r"^(?P<before>[^\n]*)\n```(?P<tag>\w+)\n(?P<text>.*?)^```$", page, re.M | re.S):
        yield found["before"], found["tag"], found["text"]


def _programs(commands: str) -> dict[str, Program]:
    found: dict[str, Program] = {}
    for before, tag, text in _fences():
        if heading := re.fullmatch(r"### .+: `(?P<file>[\w.]+)`", before):
            command = next((line for line in commands.splitlines() if heading["file"] in line), None)
            if command is not None:
                found[tag] = Program(heading["file"], text, command)
    return found


# A block more or less on the page fails here: then it lacks its test.
SETUP, RUN_SIGNERS, JUDGE, SERVE, CURL, RUN_FETCHERS = (text for _, tag, text in _fences() if tag == "sh")
ANSWER, REFUSAL = (json.loads(text) for _, tag, text in _fences() if tag == "json")
(SETTINGS,) = (text for _, tag, text in _fences() if tag == "toml")
SIGNERS = _programs(RUN_SIGNERS)
FETCHERS = _programs(RUN_FETCHERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs, saved under the names that the page gives them."""
    folder = tmp_path_factory.mktemp("signing")
    for program in (*SIGNERS.values(), *FETCHERS.values()):
        (folder / program.file).write_text(program.text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    """What a reader's shell has: a home, UTF-8, the interpreters; and no way to the network for Go."""
    home = folder / "home"
    home.mkdir()
    # Without C and inlining its library is compiled in half the time; it is compiled anew where there is no cache yet.
    quick = {"CGO_ENABLED": "0", "GOFLAGS": "-gcflags=all=-l"}
    go = quick | {
        "GOCACHE": str(ROOT / ".cache" / "go-build"),
        "GOENV": "off",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
    }
    path = (str(Path(sys.executable).parent), os.environ["PATH"], "/usr/local/go/bin")
    return {"PATH": os.pathsep.join(path), "HOME": str(home), "LC_ALL": "C.UTF-8"} | go


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


async def shell(script: str, *arguments: str, folder: Path, environment: dict[str, str]) -> Done:
    """Run lines of the page with bash; ``arguments`` are added to the last."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script.rstrip("\n") + ' "$@"', "bash", *arguments,
        cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


Fetch = Callable[..., Awaitable[Done]]


def checked(user_sig: str, user: str, key: str = KEY) -> Verified:
    return verify(user_sig, sdk_app_id=APP, user_id=user, keys=AppKeys((key,)), now=int(time.time()))


def refusal(user_sig: str, user: str, key: str = KEY) -> int:
    with pytest.raises(UserSigError) as refused:
        checked(user_sig, user, key)
    return int(refused.value.code)


def changed(user_sig: str, **members: object) -> str:
    """The UserSig with other members and the signature it had."""
    content = json.loads(zlib.decompress(base64.b64decode(user_sig.replace("_", "="), altchars=b"*-")))
    content |= {f"TLS.{name}": value for name, value in members.items()}
    packed = zlib.compress(json.dumps(content).encode())
    return base64.b64encode(packed, altchars=b"*-").replace(b"=", b"_").decode()


def test_both_ways_are_there_in_six_languages() -> None:
    languages = {"python", "js", "go", "java", "php", "ruby"}
    assert set(SIGNERS) == set(FETCHERS) == languages
    others = [tag for _, tag, _ in _fences() if tag not in {"sh", "json", "toml"}]
    assert sorted(others) == sorted([*languages, *languages]), "each program stands under a heading with its file name"


# --- sign it yourself -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=SIGNERS)
def signed(request: pytest.FixtureRequest, folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """UserSigs of one language for all users; one process makes them, with users added to the page's command."""
    program, others = SIGNERS[request.param], USERS[1:]
    assert program.command.endswith(f" {APP} 604800 {USERS[0]}")
    done = asyncio.run(shell(program.command, *others, folder=folder, environment=environment | {"SIGNING_KEY": KEY}))
    assert (done.status, done.err) == (0, "")
    return dict(zip(USERS, done.out.splitlines(), strict=True))


def test_what_a_program_signs_is_accepted_for_every_user(signed: dict[str, str]) -> None:
    for user, user_sig in signed.items():
        verified = checked(user_sig, user)
        assert 0 <= time.time() - verified.issued_at < DEADLINE
        assert verified.expires_at - verified.issued_at == 604800


def test_what_a_program_signs_is_good_for_nothing_else(signed: dict[str, str]) -> None:
    for user, user_sig in signed.items():
        assert refusal(user_sig, user, key=KEY[::-1]) == 70009
        assert refusal(user_sig, "bob") == 70013
        assert refusal(changed(user_sig, identifier="bob"), "bob") == 70009
        assert refusal(changed(user_sig, expire=604801), user) == 70009
        assert refusal(user_sig[:-8], user) == 70004


def test_the_commands_lead_from_a_new_app_to_an_accepted_user_sig(
    folder: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    shell = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", SETUP + JUDGE], cwd=folder, env=environment | {"HOME": str(tmp_path)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with shell:
        assert shell.stdout is not None
        key = next((line.split()[1] for line in shell.stdout if line.startswith("key ")), "")
        out, err = shell.communicate(f"{key}\n", timeout=DEADLINE)  # the reader pastes it
    assert shell.returncode == 0, err
    assert out == "0\n"  # what a login would be refused with: nothing


# --- ask the server ---------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> SqliteDatabase:
    """SQLite alone: what these programs say and hear is the same on both databases."""
    return SqliteDatabase(tmp_path / "data" / "parlour.db")


@pytest.fixture
async def signing_server(start_server: StartServer) -> RunningServer:
    return await start_server(admin__usersig_endpoint=True)


@pytest.fixture(params=FETCHERS)
def fetch(request: pytest.FixtureRequest, folder: Path, environment: dict[str, str]) -> Fetch:
    """Run the program of one language as the page's command does, for more users."""
    program = FETCHERS[request.param]
    assert program.command.endswith(f" {APP} 86400 {USERS[0]}")

    async def run(server: str, admin_sig: str, *others: str) -> Done:
        variables = {"SERVER": server, "ADMIN_SIG": admin_sig}
        return await shell(program.command, *others, folder=folder, environment=environment | variables)

    return run


async def test_a_program_fetches_user_sigs_that_are_accepted(fetch: Fetch, signing_server: RunningServer) -> None:
    done = await fetch(signing_server.url, signing_server.user_sig("administrator"), *USERS[1:])
    assert (done.status, done.err) == (0, "")
    for user, user_sig in zip(USERS, done.out.splitlines(), strict=True):
        verified = checked(user_sig, user, signing_server.key)
        assert verified.expires_at - verified.issued_at == 86400


async def test_a_program_tells_why_the_server_refused(fetch: Fetch, signing_server: RunningServer) -> None:
    admin_sig = sign_v2(APP, "administrator", KEY, now=int(time.time()))  # KEY is not the key of the server's app
    done = await fetch(signing_server.url, admin_sig)
    assert (done.status != 0, done.out) == (True, "")
    assert "no UserSig: HTTP" in done.err
    assert "401" in done.err
    assert "USERSIG_KEY_MISMATCH" in done.err
    assert admin_sig not in done.err


async def test_a_program_fails_without_a_server(fetch: Fetch, unused_tcp_port: int) -> None:
    done = await fetch(f"http://127.0.0.1:{unused_tcp_port}", "any")
    assert (done.status != 0, done.out) == (True, "")


async def test_a_program_takes_the_credential_to_no_other_server(fetch: Fetch) -> None:
    received: list[bytes] = []

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async def redirecting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        target = f"http://localhost:{elsewhere.sockets[0].getsockname()[1]}/"
        head = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        writer.close()

    asked: list[bytes] = []
    async with (
        await asyncio.start_server(other, "127.0.0.1", 0) as elsewhere,
        await asyncio.start_server(redirecting, "127.0.0.1", 0) as server,
    ):
        done = await fetch(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "secret")
    assert (done.status != 0, done.out) == (True, "")
    assert b"authorization: basic " in asked[0].lower()
    assert b"authorization" not in b"".join(received).lower()


@pytest.mark.parametrize(
    ("status", "code", "given", "instead"),
    [
        (400, 70402, '"expire": 86400', '"expire": 31536001'),
        (401, 70003, "$ADMIN_SIG", "x"),
        (403, 70403, "administrator:$ADMIN_SIG", "ann:$ANN_SIG"),
        (404, 70020, str(APP), str(APP + 1)),
    ],
)
async def test_a_refusal_has_the_status_that_the_page_says(
    signing_server: RunningServer,
    folder: Path,
    environment: dict[str, str],
    status: int,
    code: int,
    given: str,
    instead: str,
) -> None:
    variables = {
        "SERVER": signing_server.url,
        "ADMIN_SIG": signing_server.user_sig("administrator"),
        "ANN_SIG": signing_server.user_sig("ann"),
    }
    curl = CURL[CURL.index("curl ") :]
    assert given in curl
    done = await shell(
        curl.replace(given, instead), "-w", r"\n%{http_code}", folder=folder, environment=environment | variables
    )
    body, answered = done.out.rsplit("\n", 1)
    assert (int(answered), json.loads(body)["error"]["code"]) == (status, code)


async def test_the_endpoint_is_off_by_default(server: RunningServer, folder: Path, environment: dict[str, str]) -> None:
    variables = {"SERVER": server.url, "ADMIN_SIG": server.user_sig("administrator")}
    done = await shell(CURL[CURL.index("curl ") :], folder=folder, environment=environment | variables)
    assert "admin.usersig_endpoint" in json.loads(done.out)["error"]["message"]


def test_the_settings_switch_the_endpoint_on(tmp_path: Path) -> None:
    file = tmp_path / "parlour.toml"
    file.write_text(SETTINGS, encoding="utf-8")
    assert load_settings(file, {}).admin.usersig_endpoint
    assert not load_settings(None, {}).admin.usersig_endpoint


async def test_the_commands_start_a_server_that_answers_curl_as_shown(
    folder: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    environment |= {"HOME": str(tmp_path), "PARLOUR_PORT": "0", "PARLOUR_MEDIA_PORT": "0"}
    made = await shell("parlour app create --json", str(APP), folder=folder, environment=environment)
    assert made.status == 0, made.err
    server = await asyncio.create_subprocess_exec(
        "bash", "-c", SERVE, cwd=folder, env=environment, start_new_session=True, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        line = (await asyncio.wait_for(server.stdout.readline(), DEADLINE)).decode()
        listens = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert listens, line
        assert "http://127.0.0.1:8080" in CURL
        curl = CURL.replace("http://127.0.0.1:8080", listens[0])  # the port alone is ours
        answered = await shell(curl, folder=folder, environment=environment)
        refused = await shell(curl.replace("$ADMIN_SIG", "x"), folder=folder, environment=environment)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        await asyncio.wait_for(server.wait(), DEADLINE)
    answer = json.loads(answered.out)
    assert answer.keys() == ANSWER.keys()
    assert (answer["sdkAppId"], answer["userId"]) == (ANSWER["sdkAppId"], ANSWER["userId"])
    assert answer["expiresAt"] - answer["issuedAt"] == ANSWER["expiresAt"] - ANSWER["issuedAt"] == 86400
    checked(answer["userSig"], "ann", json.loads(made.out)["key"])
    refusal = json.loads(refused.out)
    assert refusal.keys() == REFUSAL.keys()
    assert refusal["error"].keys() == REFUSAL["error"].keys()
