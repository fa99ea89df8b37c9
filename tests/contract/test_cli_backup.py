"""``parlour backup``: a copy that is whole, while the server writes, and that a server starts from."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import resource
import shutil
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from parlour.settings import load_settings
from parlour.storage.backup import back_up
from parlour.storage.errors import UnwritableError
from parlour.storage.folder_lock import sole_server
from parlour.storage.rotation import locked

from tests.cli import DEADLINE, Beside, Here, environment
from tests.conftest import RunningServer, StartServer
from tests.databases import AnyDatabase, SqliteDatabase
from tests.forks import run_now
from tests.postgres import Cluster
from tests.wire import Wire


@pytest.fixture
def database(tmp_path: Path) -> AnyDatabase:
    return SqliteDatabase(tmp_path / "data" / "parlour.db")


@pytest.fixture
def settings(database: AnyDatabase, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, tmp_path / "data", database)


@pytest.fixture
def parlour(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    here = Here(monkeypatch, capsys, settings)
    assert here("app", "create", 5).status == 0
    return here


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "backup"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def users(file: Path) -> set[str]:
    return {str(user) for (user,) in SqliteDatabase(file).sql("SELECT user_id FROM accounts")}


DIED = 9


def die_at(step: int, names: tuple[str, ...]) -> None:
    """Let this process be gone at its ``step``-th call of these functions of ``os``."""
    calls = itertools.count(1)

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(calls) == step:
                os._exit(DIED)
            return real(*arguments, **options)

        return call

    for name in names:
        setattr(os, name, dying(getattr(os, name)))


def dying_at_replace(
    step: int, settings: dict[str, str], *arguments: object, names: tuple[str, ...] = ("replace",)
) -> int:
    """Run ``parlour`` in a process that is gone at its ``step``-th call by which a file takes its name."""
    return run_now(*arguments, env=settings, seconds=DEADLINE, before=partial(die_at, step, names)).status


def test_a_backup_never_replaces_the_database_of_a_running_server(parlour: Here, to: Path) -> None:
    assert parlour("backup", to).status == 0
    before = (to / "parlour.db").stat().st_ino
    with sole_server(to):  # as a server has it that was started from this backup
        refused = parlour("backup", to, "--force")
    assert refused.status == 1
    assert "the data folder of a server that runs" in refused.err
    assert (to / "parlour.db").stat().st_ino == before
    assert parlour("backup", to, "--force").status == 0


def test_a_backup_is_one_checked_file_for_its_owner_alone(parlour: Here, to: Path) -> None:
    parlour("account", "import", 5, "-", stdin="ann\nbob\n")
    done = parlour.good("backup", to)
    assert done == {"files": [str(to / "parlour.db")], "bytes": (to / "parlour.db").stat().st_size}
    assert os.listdir(to) == ["parlour.db"]
    assert (mode(to), mode(to / "parlour.db")) == (0o700, 0o600)
    assert users(to / "parlour.db") == {"ann", "bob"}


def test_a_restored_backup_is_the_server_of_then(parlour: Here, to: Path, tmp_path: Path) -> None:
    before = parlour.good("app", "list", "--keys")
    done = parlour("backup", to)
    assert "The master key is not in it" in done.err
    parlour("app", "create", 6)
    restored = tmp_path / "restored"
    restored.mkdir(mode=0o700)
    shutil.copy2(to / "parlour.db", restored)
    assert "was sealed with master key" in parlour("app", "list", "--data", restored).err
    shutil.copy2(tmp_path / "data" / "master.key", restored)
    assert parlour.good("app", "list", "--keys", "--data", restored) == before


def test_a_backup_with_its_key_is_a_data_folder(parlour: Here, to: Path) -> None:
    done = parlour("backup", to, "--with-key")
    assert "whoever reads it can sign for every app" in done.err
    assert sorted(os.listdir(to)) == ["master.key", "parlour.db"]
    assert mode(to / "master.key") == 0o600
    assert parlour.good("app", "list", "--keys", "--data", to) == parlour.good("app", "list", "--keys")


def test_a_backup_is_replaced_only_by_force(parlour: Here, to: Path) -> None:
    parlour("backup", to, "--with-key")
    parlour("account", "import", 5, "-", stdin="ann\n")
    for arguments in ((), ("--with-key",)):
        done = parlour("backup", to, *arguments)
        assert (done.status, "say --force" in done.err) == (1, True)
    assert users(to / "parlour.db") == set()
    parlour("master-key", "rotate")
    assert "may not open this one" in parlour("backup", to, "--force").err
    assert parlour("backup", to, "--force", "--with-key").status == 0
    assert parlour.good("account", "list", 5, "--data", to)["accounts"][0]["userId"] == "ann"


def test_a_backup_that_dies_at_any_step_leaves_a_database_with_its_key(
    parlour: Here, settings: dict[str, str], to: Path
) -> None:
    assert parlour("backup", to, "--with-key").status == 0
    pairs = [parlour.good("app", "list", "--keys")]
    for step in itertools.count(1):
        parlour("app", "create", 10 + step)
        parlour("master-key", "rotate")
        pairs.append(parlour.good("app", "list", "--keys"))
        status = dying_at_replace(step, settings, "backup", to, "--with-key", "--force")
        assert parlour.good("app", "list", "--keys", "--data", to) in pairs
        if status == 0:
            break
        assert status == DIED
    assert step > 3  # the key, the database, the key again
    assert parlour.good("app", "list", "--keys", "--data", to) == pairs[-1]
    assert (to / "master.key").read_text().count("\n") == 1


def test_a_first_backup_that_dies_at_any_step_leaves_no_database_without_its_key(
    parlour: Here, settings: dict[str, str], tmp_path: Path
) -> None:
    for step in itertools.count(1):
        to = tmp_path / f"backup{step}"
        status = dying_at_replace(step, settings, "backup", to, "--with-key", names=("link", "replace"))
        if (to / "parlour.db").exists():
            assert parlour.good("app", "list", "--keys", "--data", to) == parlour.good("app", "list", "--keys")
        if status == 0:
            break
        assert status == DIED
    assert step > 2


def test_a_key_that_cannot_be_replaced_leaves_the_older_pair(parlour: Here, to: Path) -> None:
    assert parlour("backup", to, "--with-key").status == 0
    before = parlour.good("app", "list", "--keys")
    parlour("master-key", "rotate")
    key = (to / "master.key").read_bytes()
    (to / "master.key").chmod(0o644)  # not the key of an owner alone, so it is not taken over
    done = parlour("backup", to, "--with-key", "--force")
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert "older backup" in done.err
    assert (to / "master.key").read_bytes() == key
    (to / "master.key").chmod(0o600)
    assert parlour.good("app", "list", "--keys", "--data", to) == before
    assert sorted(os.listdir(to)) == ["master.key", "parlour.db"]


def test_a_database_that_cannot_be_replaced_keeps_a_key_that_opens_it(parlour: Here, to: Path, tmp_path: Path) -> None:
    assert parlour("backup", to, "--with-key").status == 0
    before = parlour.good("app", "list", "--keys")
    parlour("master-key", "rotate")
    (to / "parlour.db").rename(tmp_path / "older.db")
    (to / "parlour.db").mkdir()
    done = parlour("backup", to, "--with-key", "--force")
    assert (done.status, "cannot be written: Is a directory" in done.err) == (1, True)
    assert sorted(os.listdir(to)) == ["master.key", "parlour.db"]
    (to / "parlour.db").rmdir()
    (tmp_path / "older.db").rename(to / "parlour.db")
    assert parlour.good("app", "list", "--keys", "--data", to) == before
    fresh = tmp_path / "fresh"
    (fresh / "parlour.db").mkdir(parents=True)
    assert parlour("backup", fresh, "--with-key", "--force").status == 1
    assert os.listdir(fresh) == ["parlour.db"]  # no key where nothing is that it opens


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_hard_links_takes_a_backup_and_loses_none(
    parlour: Here, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", link)
    assert parlour("backup", to).status == 0
    assert (os.listdir(to), mode(to / "parlour.db")) == (["parlour.db"], 0o600)
    source, target = tmp_path / "data" / "parlour.db", to / "parlour.db"
    older = target.stat().st_ino
    # Made while the copy is under way, where no look beforehand can see it.
    target.rename(tmp_path / "faster.db")
    with pytest.raises(UnwritableError, match="cannot be written: File exists"):
        asyncio.run(back_up(source, target, progress=lambda *_: os.symlink(tmp_path / "faster.db", target)))
    assert target.stat().st_ino == older
    assert os.listdir(to) == ["parlour.db"]


def test_without_hard_links_a_backup_that_cannot_take_its_name_leaves_nothing(
    parlour: Here, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(os, "replace", refused)
    done = parlour("backup", to)
    assert (done.status, "cannot be written" in done.err) == (1, True)
    assert os.listdir(to) == []


def test_places_where_a_backup_cannot_be(parlour: Here, to: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    to.mkdir()
    (to / "parlour.db-wal").touch()
    for place, reason in (
        (tmp_path / "data", "is the folder of the database itself"),
        (tmp_path / "link", "is the folder of the database itself"),
        (tmp_path / "file", "cannot be made: File exists"),
        (tmp_path / "file" / "x", "cannot be made: Not a directory"),
        (to, "Beside"),
    ):
        done = parlour("backup", place, "--json")
        assert (done.status, reason in done.json["error"]) == (1, True), done.err
    assert os.listdir(to) == ["parlour.db-wal"]
    assert "There is no database" in parlour("backup", to, "--data", tmp_path / "none").err


def test_a_key_that_is_no_file_or_is_being_rotated_is_not_copied(
    parlour: Here, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(tmp_path / "data" / "master.key"):
        assert "in use by another rotation" in parlour("backup", to, "--with-key").err
        assert parlour("backup", to).status == 0
    elsewhere = tmp_path / "elsewhere.db"
    shutil.copy2(to / "parlour.db", elsewhere)
    monkeypatch.setenv("PARLOUR_DATABASE", f"sqlite:///{elsewhere}")
    done = parlour("backup", tmp_path / "data", "--with-key", "--force")
    assert (done.status, "is the folder of the master key itself" in done.err) == (1, True)
    monkeypatch.delenv("PARLOUR_DATABASE")
    monkeypatch.setenv("PARLOUR_MASTER_KEY", "ab" * 32)
    assert "leave --with-key out" in parlour("backup", to, "--with-key", "--force").err


def test_a_damaged_database_makes_no_backup(parlour: Here, to: Path, tmp_path: Path) -> None:
    parlour("account", "import", 5, "-", stdin="".join(f"user{number}\n" for number in range(2000)))
    file = tmp_path / "data" / "parlour.db"
    with sqlite3.connect(file) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'accounts'").fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with file.open("r+b") as raw:
        raw.seek((page - 1) * 4096)
        raw.write(b"\xff" * 4096)
    done = parlour("backup", to)
    assert (done.status, done.out) == (1, "")
    assert "damaged" in done.err
    assert os.listdir(to) == []


def test_accounts_in_postgresql_are_for_pg_dump(
    parlour: Here, to: Path, postgres_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLOUR_DATABASE", f"postgresql://parlour@127.0.0.1:{postgres_cluster.port}/any")
    done = parlour("backup", to)
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert "pg_dump" in done.err
    assert not to.exists()


async def test_a_full_disk_leaves_no_half_backup(settings: dict[str, str], to: Path) -> None:
    beside = Beside(settings)
    await beside.good("app", "create", 5)

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, 16_384))

    process = await beside.start("backup", to, preexec_fn=small_files)
    out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert (process.returncode, out) == (1, b"")
    assert b"cannot be written" in err
    assert os.listdir(to) == []


async def test_a_backup_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "large.db"
    with sqlite3.connect(source) as connection:
        connection.execute("CREATE TABLE t AS SELECT randomblob(50000000) AS x")
    connection.close()
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    told: list[tuple[int, int]] = []

    def progress(copied: int, size: int) -> None:
        told.append((copied, size))
        loop.call_soon_threadsafe(begun.set)

    assert await back_up(source, tmp_path / "whole.db", progress=progress) == told[-1][0] == told[-1][1]
    assert len(told) > 5
    begun.clear()
    copying = asyncio.create_task(back_up(source, tmp_path / "half.db", progress=progress))
    await asyncio.wait_for(begun.wait(), DEADLINE)
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    deadline = time.monotonic() + DEADLINE
    while any(name.startswith("half.db") for name in os.listdir(tmp_path)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


# --- beside a running server ------------------------------------------------------------------------------------------


class Importer:
    """Imports accounts over the account REST, one after the other, and remembers which were acknowledged."""

    def __init__(self, server: RunningServer, name: str) -> None:
        self.acknowledged: list[str] = []
        self._server, self._name = server, name
        self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        query: dict[str, Any] = {"sdkappid": self._server.app, "identifier": "administrator", "contenttype": "json"}
        query |= {"usersig": self._server.user_sig("administrator"), "random": 1}
        async with httpx.AsyncClient(base_url=self._server.url, trust_env=False, timeout=DEADLINE) as client:
            while True:
                user = f"{self._name}{len(self.acknowledged)}"
                answer = await client.post("/v4/im_open_login_svc/account_import", params=query, json={"UserID": user})
                assert answer.json()["ErrorCode"] == 0, answer.text
                self.acknowledged.append(user)

    async def reach(self, count: int) -> None:
        """Wait until so many are acknowledged."""
        deadline = time.monotonic() + DEADLINE
        while len(self.acknowledged) < count:
            assert not self._task.done(), self._task.exception()
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """End it."""
        self._task.cancel()
        await asyncio.wait({self._task})


async def test_a_backup_under_import_load_has_every_account_that_was_acknowledged_before(
    start_server: StartServer, settings: dict[str, str], tmp_path: Path
) -> None:
    server = await start_server(rates__account_import=0, admin__requests_per_second=0)
    beside = Beside(settings)
    (tmp_path / "many.txt").write_text("".join(f"file{number}\n" for number in range(50_000)))
    importers = [Importer(server, name) for name in ("a", "b", "c")]
    load = asyncio.create_task(beside("account", "import", server.app, tmp_path / "many.txt"))
    try:
        for round_number in range(3):
            for importer in importers:
                await importer.reach(len(importer.acknowledged) + 20)
            before = {user for importer in importers for user in importer.acknowledged}
            to = tmp_path / f"backup{round_number}"
            await beside.good("backup", to, "--with-key")
            after = {user for importer in importers for user in importer.acknowledged}
            assert len(after) > len(before)  # the server went on meanwhile
            assert before <= users(to / "parlour.db")
    finally:
        for importer in importers:
            await importer.stop()
        await load
    restored = RunningServer(load_settings(None, {"data": to, "port": 0, "media_port": 0}))
    restored.key = server.key
    await restored.start()
    try:
        wire = await Wire.open(restored)
        await wire.login(restored, importers[0].acknowledged[0])
        await wire.close()
    finally:
        await restored.stop()
