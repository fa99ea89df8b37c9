"""A real PostgreSQL for tests: Debian's programs, a folder of its own, gone when the test run is gone.

The fixtures that hand one out, ``postgres_cluster`` and ``own_postgres``, stand in ``tests/conftest.py``.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

SUPERUSER = "postgres"
OWNER = "parlour"  # owns the databases and logs in to them, as an operator would set it up: no superuser
DEADLINE = 30  # seconds for a start, a stop or a statement: a loaded machine makes them slow, but never that slow
OLDEST = 15
SETTINGS = {
    # What the tests kill is a process, never the machine. But synchronous_commit stays on: without it a killed server
    # forgets what it had acknowledged, and next to fsync=off it costs nothing.
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "200",
    "max_wal_size": "64MB",
    "autovacuum": "off",
    "timezone": "UTC",
    "listen_addresses": "127.0.0.1",
}
# Waits until the test run ends its input, be it by closing or by dying in whatever way, and then takes everything
# away. A finalizer of ours would not run after a SIGKILL.
JANITOR = 'read -r _; "$1" --pgdata "$2/data" --mode immediate --silent stop 2>/dev/null; cd /; rm -rf "$2"'


@dataclass(frozen=True)
class Database:
    """One database of a cluster. A server keeps its data in it when it is given the ``url``."""

    cluster: Cluster
    name: str

    @property
    def url(self) -> str:
        """Its address in the settings' form, for the user who owns it."""
        return f"postgresql://{OWNER}@127.0.0.1:{self.cluster.port}/{self.name}"

    def sql(self, statements: str) -> list[tuple[str | None, ...]]:
        """Run statements as superuser, in one transaction; the rows of the last that has any, as text."""
        return self.cluster.sql(statements, database=self.name)

    def tables(self) -> tuple[str, ...]:
        """The names of its tables, sorted."""
        return tuple(str(name) for (name,) in self.sql("SELECT relname FROM pg_stat_user_tables ORDER BY 1"))

    def disconnect(self) -> None:
        """Cut every connection to it."""
        self.cluster.sql(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{self.name}'")

    def drop(self) -> None:
        """Remove it, whoever is connected."""
        self.cluster.sql(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')


class Cluster:
    """A PostgreSQL server on a free port of the loopback interface and on a socket in its folder.

    ``settings`` take the place of the tests' own.
    """

    def __init__(self, **settings: str) -> None:
        self._settings = SETTINGS | settings
        self._programs = _programs()
        self._become = _unprivileged()
        self.folder = _folder(self._become)
        self._names = (f"parlour_{number}" for number in itertools.count(1))
        self.port = 0
        self._janitor = subprocess.Popen(
            ["sh", "-c", JANITOR, "janitor", self._programs / "pg_ctl", self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # the Ctrl-C that ends the test run is not for the janitor
            **self._as_its_user(),
        )
        try:
            self._run("initdb", "--pgdata=data", "--no-sync", "--auth=trust", f"--username={SUPERUSER}",
                      "--encoding=UTF8", "--locale=C", "--no-instructions")  # fmt: skip
            self._start_on_a_free_port()
            self.sql(f"CREATE ROLE {OWNER} LOGIN")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def log(self) -> str:
        """What the server has written to its log so far."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        """The process all others of the server descend from. The server has to be running."""
        return int((self.folder / "data" / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])

    def new_database(self) -> Database:
        """An empty database under a name of its own."""
        database = Database(self, next(self._names))
        self.sql(f'CREATE DATABASE "{database.name}" OWNER {OWNER} TEMPLATE template0')
        return database

    def sql(self, statements: str, *, database: str = "postgres") -> list[tuple[str | None, ...]]:
        """Run statements as superuser, in one transaction; the rows of the last that has any, as text.

        Blocks. Raises AssertionError with PostgreSQL's own message.
        """
        told = self._run(*self._psql(database), f"--command={statements}")
        return [tuple(None if value == "\\N" else value for value in row) for row in csv.reader(io.StringIO(told))]

    @contextlib.contextmanager
    def session(self, database: str, statements: str) -> Iterator[None]:
        """A session of its own that has run the statements, and stays as it is until the block ends."""
        with subprocess.Popen(
            [self._programs / "psql", *self._psql(database)[1:], "--file=-"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, **self._as_its_user(),
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(f"{statements};\n\\echo done\n")
                process.stdin.flush()
                assert process.stdout.readline() == "done\n", f"psql did not get through: {statements}"
                yield
            finally:
                process.communicate(timeout=DEADLINE)

    def start(self) -> None:
        """Start it again, on the same port, and wait until it answers."""
        flags = " ".join(f"-c {name}={value}" for name, value in self._settings.items())
        self._run(
            "pg_ctl", "--pgdata=data", "--log=log", "--silent", "--wait", f"--timeout={DEADLINE}",
            "--options", f"{flags} -c port={self.port} -c unix_socket_directories={self.folder}", "start",
        )  # fmt: skip

    def stop(self) -> None:
        """End it at once, as a crash would: connections break, and what was committed is there after ``start``."""
        self._run("pg_ctl", "--pgdata=data", "--mode=immediate", "--silent", "--wait", f"--timeout={DEADLINE}", "stop")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let no process of the server run: it takes connections and queries, and answers nothing."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        held = [self.pid]
        os.kill(self.pid, signal.SIGSTOP)  # first, so that it makes no more children
        try:
            for child in map(int, children.read_text(encoding="ascii").split()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGSTOP)
                    held.append(child)
            yield
        finally:
            for process in reversed(held):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove its folder."""
        self._janitor.communicate(timeout=DEADLINE)

    def _start_on_a_free_port(self) -> None:
        for attempt in range(5):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            try:
                return self.start()
            except AssertionError:  # somebody else may have taken the port in between
                if attempt == 4 or "Address already in use" not in self.log:
                    raise
        return None

    def _psql(self, database: str) -> list[str]:
        return [
            "psql", "--no-psqlrc", "--quiet", "--csv", "--tuples-only", "--pset=null=\\N", "--set=ON_ERROR_STOP=1",
            f"--host={self.folder}", f"--port={self.port}", f"--username={SUPERUSER}", f"--dbname={database}",
        ]  # fmt: skip

    def _run(self, program: str, *arguments: str) -> str:
        # Into a file and not a pipe: the server that pg_ctl leaves running would keep a pipe open.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output, tempfile.TemporaryFile("w+") as errors:
            done = subprocess.run(
                [self._programs / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                timeout=DEADLINE + 10,
                check=False,
                **self._as_its_user(),
            )
            output.seek(0)
            errors.seek(0)
            assert done.returncode == 0, f"{program}: {errors.read().strip()}{self._end_of_log(program)}"
            return output.read()

    def _end_of_log(self, program: str) -> str:
        has_one = program == "pg_ctl" and (self.folder / "log").exists()
        return f"\nThe end of its log:\n{self.log[-2000:]}" if has_one else ""

    def _as_its_user(self) -> dict[str, Any]:
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PGOPTIONS": f"-c statement_timeout={DEADLINE}s"}
        user = {"user": self._become.pw_uid, "group": self._become.pw_gid, "extra_groups": []} if self._become else {}
        return {"cwd": self.folder, "env": environment, **user}


@cache
def _programs() -> Path:
    """The folder of the newest PostgreSQL; Debian does not put ``initdb`` on the PATH."""
    debian = (path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdecimal())
    for folder in sorted(debian, key=lambda path: int(path.parent.name), reverse=True):
        if int(folder.parent.name) >= OLDEST and (folder / "initdb").exists():
            return folder
    found = shutil.which("initdb")
    assert found, f"The tests need PostgreSQL {OLDEST} or newer: apt-get install postgresql (scripts/debian-packages)."
    return Path(found).resolve().parent


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to become, since PostgreSQL refuses to run as root; None to stay who we are."""
    return pwd.getpwnam(SUPERUSER) if os.geteuid() == 0 else None


def _folder(owner: pwd.struct_passwd | None) -> Path:
    """A new folder that the owner can reach, as pytest's are not. Short, since the path of a socket has a limit."""
    for parent in dict.fromkeys((Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp"))):
        if owner is None or all(path.stat().st_mode & 0o001 for path in (parent, *parent.parents)):
            folder = Path(tempfile.mkdtemp(prefix="parlour-pg-", dir=parent))
            if owner is not None:
                os.chown(folder, owner.pw_uid, owner.pw_gid)
            return folder
    raise AssertionError("There is no temporary folder that the user postgres can reach; set TMPDIR to one.")
