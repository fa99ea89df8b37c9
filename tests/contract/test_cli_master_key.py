"""``parlour master-key``: what is stored opens before, during and after a rotation, whoever runs beside it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from parlour.storage import MasterKey, Storage
from parlour.storage.rotation import add_key, drop_older_keys, locked, reseal_all
from parlour.storage.secrets import fresh_key, write_key_file

from tests.cli import DEADLINE, Beside, Here, environment
from tests.conftest import RunningServer, StartServer
from tests.databases import AnyDatabase, SqliteDatabase
from tests.wire import Wire

APP_KEY, ENDPOINT_SECRET = "app!" * 16, "endpoint" * 8


@pytest.fixture
def settings(database: AnyDatabase, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, tmp_path / "data", database)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "master.key"


@pytest.fixture
def parlour(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(monkeypatch, capsys, settings)


@pytest.fixture
def beside(settings: dict[str, str]) -> Beside:
    return Beside(settings)


def fill(parlour: Here) -> None:
    """Secrets in every place where there are some; ``rotate`` itself makes the one that signs tickets."""
    parlour("app", "create", 5, "--key", APP_KEY)
    parlour("app", "verify-with", 5, "endpoint", "https://auth.example.com", "--secret", ENDPOINT_SECRET)


def everything_opens(parlour: Here) -> bool:
    shown = parlour.good("app", "show", 5, "--keys")
    return bool(shown["keys"] == [APP_KEY] and shown["verification"]["secret"] == ENDPOINT_SECRET)


def keys(file: Path) -> list[str]:
    return file.read_text().split()


async def login(server: RunningServer) -> None:
    wire = await Wire.open(server)
    await wire.login(server, "ann")
    await wire.close()


def test_the_key_is_told_by_its_id_and_never_shown(parlour: Here, key_file: Path) -> None:
    fill(parlour)
    key = key_file.read_text().strip()
    shown = parlour.good("master-key", "show")
    assert shown == {
        "keyId": MasterKey.of_file(key_file).id,
        "file": str(key_file),
        "secrets": 2,
        "olderKeyIds": [],
        "sealedWithOthers": {},
    }
    for command in ("show", "rotate", "show"):
        said = parlour("master-key", command)
        assert (said.status, key in said.out + said.err) == (0, False)
        assert key_file.read_text().strip() not in said.out + said.err


def test_looking_makes_no_key(parlour: Here, key_file: Path) -> None:
    done = parlour("master-key", "show")
    assert (done.status, done.out) == (1, "")
    assert f"There is no master key {key_file} yet" in done.err
    assert not key_file.exists()


def test_a_rotation_leaves_one_fresh_key_that_opens_everything(parlour: Here, key_file: Path) -> None:
    fill(parlour)
    before = key_file.read_text()
    rotated = parlour.good("master-key", "rotate")
    assert rotated["secrets"] == 3
    assert key_file.read_text().count("\n") == 1
    assert key_file.read_text() != before
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert everything_opens(parlour)
    assert parlour.good("master-key", "show")["keyId"] == rotated["keyId"]
    key_file.write_text(before)
    assert "was sealed with master key" in parlour("app", "list").err


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_rotation_that_ends_after_any_step_has_lost_nothing_and_can_be_begun_anew(
    parlour: Here, key_file: Path, settings: dict[str, str], steps: int
) -> None:
    fill(parlour)
    add_key(key_file)
    if steps > 1:

        async def reseal() -> None:
            url = settings.get("PARLOUR_DATABASE", "")
            async with await Storage.open(key_file.parent, url=url, master=MasterKey.of_file(key_file)) as storage:
                assert await reseal_all(storage) == 2

        asyncio.run(reseal())
    if steps > 2:
        drop_older_keys(key_file)
    assert everything_opens(parlour)
    assert len(parlour.good("master-key", "show")["olderKeyIds"]) == (1 if steps < 3 else 0)
    assert everything_opens(parlour)
    assert parlour("master-key", "rotate").status == 0
    assert everything_opens(parlour)
    assert parlour.good("master-key", "show")["olderKeyIds"] == []


async def test_a_rotation_that_is_killed_at_any_moment_has_lost_nothing(beside: Beside, key_file: Path) -> None:
    await beside.good("app", "create", 5, "--key", APP_KEY)
    began = time.monotonic()
    await beside.good("master-key", "rotate")
    whole = time.monotonic() - began
    for part in (0.6, 0.7, 0.8, 0.9):  # what comes before is Python's own start
        process = await beside.start("master-key", "rotate")
        try:
            await asyncio.wait_for(process.wait(), whole * part)
        except TimeoutError:
            process.kill()
            await process.wait()
        assert (await beside.good("app", "show", 5, "--keys"))["keys"] == [APP_KEY]
    await beside.good("master-key", "rotate")
    assert len(keys(key_file)) == 1


async def test_logins_go_on_while_the_key_is_rotated_and_after(start_server: StartServer, beside: Beside) -> None:
    server = await start_server()
    await login(server)
    for _ in range(2):
        rotation = asyncio.create_task(beside.good("master-key", "rotate"))
        while not rotation.done():
            await login(server)
        await rotation
        await login(server)
        await server.storage.add_secret(server.app, now=int(time.time()))  # what it seals now, others open
        assert server.key in (await beside.good("app", "show", server.app, "--keys"))["keys"]


def test_with_keys_from_the_environment_everything_is_sealed_with_the_first(
    parlour: Here, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = fresh_key().hex(), fresh_key().hex()
    monkeypatch.setenv("PARLOUR_MASTER_KEY", old)
    fill(parlour)
    assert not key_file.exists()
    done = parlour("master-key", "rotate")
    assert (done.status, done.out) == (1, "")
    assert "holds one key" in done.err
    monkeypatch.setenv("PARLOUR_MASTER_KEY", f"{new},{old}")
    assert parlour.good("master-key", "show")["secrets"] == 0
    rotated = parlour("master-key", "rotate")
    assert (rotated.status, old in rotated.out + rotated.err, new in rotated.out + rotated.err) == (0, False, False)
    assert "drop it" in rotated.err
    monkeypatch.setenv("PARLOUR_MASTER_KEY", new)
    assert everything_opens(parlour)
    assert parlour.good("master-key", "show")["sealedWithOthers"] == {}
    monkeypatch.setenv("PARLOUR_MASTER_KEY", old)
    assert parlour("app", "list").status == 1
    lost = parlour("master-key", "show")
    assert lost.status == 0
    assert "does not open (70212)" in lost.err


def test_what_does_not_open_stops_the_rotation_before_it_begins(parlour: Here, key_file: Path) -> None:
    fill(parlour)
    right = key_file.read_text()
    write_key_file(key_file, [fresh_key()])
    wrong = key_file.read_text()
    done = parlour("master-key", "rotate")
    assert (done.status, done.out) == (1, "")
    assert "was sealed with master key" in done.err
    assert key_file.read_text() == wrong
    key_file.write_text(right)
    assert everything_opens(parlour)


def test_two_rotations_do_not_meet(parlour: Here, key_file: Path) -> None:
    fill(parlour)
    before = key_file.read_text()
    with locked(key_file):
        assert "in use by another rotation" in parlour("master-key", "rotate").err
    assert key_file.read_text() == before
    assert parlour("master-key", "rotate").status == 0


def test_a_key_file_of_another_user_is_left_alone(
    parlour: Here, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(parlour)
    before = key_file.read_text()
    somebody_else = os.geteuid() + 1
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: somebody_else)
        done = parlour("master-key", "rotate")
    assert (done.status, "belongs to another user" in done.err) == (1, True)
    assert key_file.read_text() == before


def test_a_link_to_the_key_stays_a_link(parlour: Here, key_file: Path, tmp_path: Path) -> None:
    fill(parlour)
    (tmp_path / "vault").mkdir()
    key_file.rename(tmp_path / "vault" / "key")
    key_file.symlink_to(tmp_path / "vault" / "key")
    assert parlour("master-key", "rotate").status == 0
    assert key_file.is_symlink()
    assert everything_opens(parlour)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # a lock that readers do not notice is its alone
async def test_a_rotation_that_is_killed_between_its_first_steps_has_lost_nothing(
    database: AnyDatabase, beside: Beside, key_file: Path
) -> None:
    assert isinstance(database, SqliteDatabase)
    await beside.good("app", "create", 5, "--key", APP_KEY)
    await beside.good("master-key", "rotate")  # makes the secret of tickets, so that the next one only has to reseal
    before = keys(key_file)
    with database.connect() as connection:
        connection.execute("BEGIN IMMEDIATE")
        process = await beside.start("master-key", "rotate")
        deadline = time.monotonic() + DEADLINE
        while len(keys(key_file)) == 1:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        process.kill()
        await process.wait()
        connection.execute("ROLLBACK")
    assert keys(key_file)[1:] == before
    assert (await beside.good("app", "show", 5, "--keys"))["keys"] == [APP_KEY]
    await beside.good("master-key", "rotate")
    assert len(keys(key_file)) == 1
