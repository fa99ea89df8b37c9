"""Two servers never share a data folder: the second one refuses to start, and the first one's sessions live on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from parlour.server import StartError

from tests.cli import Beside, environment
from tests.conftest import RunningServer, StartServer
from tests.contract.test_serve import Command, free_ports, refused
from tests.databases import AnyDatabase
from tests.wire import join


async def test_a_second_server_on_a_data_folder_is_refused_and_the_sessions_of_the_first_stay(
    start_server: StartServer,
) -> None:
    first = await start_server()
    ann, entered = await join(first, "ann")
    with pytest.raises(StartError, match=rf"in use by a server that runs already \(process {os.getpid()}\)"):
        await start_server()
    ann.drop()
    back, _ = await join(first, "bob", "elsewhere")
    await back.close()
    again = await type(back).open(first)
    await again.ask("resume", resumeToken=entered["resumeToken"])
    await again.close()


async def test_a_second_process_on_a_data_folder_says_in_one_sentence_which_process_has_it(tmp_path: Path) -> None:
    first = await Command.start(*free_ports(tmp_path))
    assert await first.line()
    said = await refused(*free_ports(tmp_path))
    assert f"process {first.process.pid}" in said
    assert str(tmp_path) in said
    assert "--data" in said
    first.process.send_signal(signal.SIGTERM)
    assert (await first.end())[0] == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_server_that_was_killed_leaves_its_data_folder_to_the_next(tmp_path: Path, how: signal.Signals) -> None:
    for _ in range(2):
        command = await Command.start(*free_ports(tmp_path))
        assert (await command.line()).startswith("Parlour listens on")
        command.process.send_signal(how)
        await command.end()


async def test_the_commands_work_beside_a_running_server(
    server: RunningServer, tmp_path: Path, database: AnyDatabase
) -> None:
    beside = Beside(environment(tmp_path, server.settings.data, database))
    assert [app["sdkAppId"] for app in await beside.good("app", "list")] == [server.app]
    await beside.good("app", "create", "5")
    await beside.good("account", "list", server.app)
