"""Running ``parlour``: in the test's own process where nothing else runs, as a process of its own beside a server."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from parlour.cli import main

from tests.databases import AnyDatabase, SqliteDatabase
from tests.forks import run

DEADLINE = 60.0


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its result, said with --json."""
        return json.loads(self.out)

    @property
    def pairs(self) -> dict[str, str]:
        """Its result as names and values, two spaces or more between them."""
        return dict(line.split("  ", 1) for line in self.out.splitlines())


def elsewhere(home: Path) -> dict[str, str]:
    """An environment without any settings, in a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PARLOUR_")}
    return kept | {"HOME": str(home)}


def environment(home: Path, data: Path, database: AnyDatabase) -> dict[str, str]:
    """Settings by which a command uses the stores that ``start_server`` has in ``data``."""
    of_database = {} if isinstance(database, SqliteDatabase) else {"PARLOUR_DATABASE": database.url}
    return elsewhere(home) | {"PARLOUR_DATA": str(data)} | of_database


class Here:
    """``parlour`` in this process."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: dict[str, str]
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        for name in set(os.environ) - set(settings):
            monkeypatch.delenv(name)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

    def __call__(self, *arguments: object, stdin: str | bytes = "") -> Done:
        """Run it to its end."""
        given = stdin if isinstance(stdin, bytes) else stdin.encode()
        self._monkeypatch.setattr(sys, "argv", ["parlour", *map(str, arguments)])
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
        self._capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            structlog.reset_defaults()  # a command sets up logs for its process, which is the tests' own here
        said = self._capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Done(status, said.out, said.err)

    def good(self, *arguments: object, stdin: str | bytes = "") -> Any:
        """Run it with --json; its result."""
        done = self(*arguments, "--json", stdin=stdin)
        assert done.status == 0, done.err
        return done.json


class Beside:
    """``parlour`` as a process of its own, while this one goes on."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.settings = settings

    async def start(self, *arguments: object, **options: Any) -> asyncio.subprocess.Process:
        """Start it."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "parlour", *map(str, arguments)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.settings,
            **options,
        )

    async def __call__(self, *arguments: object) -> Done:
        """Run it to its end."""
        done = await run(*arguments, env=self.settings, seconds=DEADLINE)
        assert b"Traceback" not in done.out + done.err
        return Done(done.status, done.out.decode(), done.err.decode())

    async def good(self, *arguments: object) -> Any:
        """Run it with --json; its result."""
        done = await self(*arguments, "--json")
        assert done.status == 0, done.err
        return done.json
