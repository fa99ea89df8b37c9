"""``parlour serve`` as an operator meets it: where it listens, why it does not start, how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import re
import signal
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
import websockets
from parlour.server import processors
from parlour.tls import self_signed


class Command:
    """One run of the command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, *arguments: object, **environment: str) -> Command:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "parlour", "serve", *map(str, arguments),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | environment,
        )  # fmt: skip
        return cls(process)

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 30)).decode()

    async def end(self) -> tuple[int, str, str]:
        out, err = await asyncio.wait_for(self.process.communicate(), 30)
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), err.decode()


async def refused(*arguments: object, **environment: str) -> str:
    """Run it and expect one sentence on stderr and exit status 1."""
    status, out, err = await (await Command.start(*arguments, **environment)).end()
    assert (status, out) == (1, ""), err
    said = [line for line in err.splitlines() if line.startswith("parlour: ")]
    assert len(said) == 1, err
    assert "Traceback" not in err
    return said[0].removeprefix("parlour: ")


def free_ports(data: Path) -> list[object]:
    return ["--data", data, "--port", 0, "--media-port", 0]


async def test_port_0_picks_one_and_says_which_and_sigterm_stops_in_good_order(tmp_path: Path) -> None:
    command = await Command.start(*free_ports(tmp_path / "made"))
    line = await command.line()
    found = re.fullmatch(
        r"Parlour listens on (http://127\.0\.0\.1:(\d+)) \(media on UDP and TCP (\d[-0-9]*)(: \d+ shards)?\)\n", line
    )
    assert found, line
    client = await websockets.connect(f"ws://127.0.0.1:{found[2]}/v1/ws?v=1")
    command.process.send_signal(signal.SIGTERM)
    assert json.loads(await client.recv())["type"] == "server-stopping"
    with pytest.raises(websockets.ConnectionClosed):
        await client.recv()
    assert client.close_code == 1012
    status, out, err = await command.end()
    assert (status, out) == (0, ""), err
    assert "Traceback" not in err
    with closing(socket.socket()) as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", int(found[2])))


async def test_json_says_where_it_listens_and_logs_are_json_lines(tmp_path: Path) -> None:
    command = await Command.start(*free_ports(tmp_path), "--json", "--log-json")
    said = json.loads(await command.line())
    assert said["url"].startswith("http://127.0.0.1:")
    assert said["signaling"] == said["url"].replace("http", "ws") + "/v1/ws?v=1"
    first, many = said["mediaPorts"][0], processors()
    assert said["mediaPorts"] == list(range(first, first + many))
    assert said["mediaProtocols"] == ["udp", "tcp"]
    command.process.send_signal(signal.SIGINT)
    status, _, err = await command.end()
    assert status == 0
    records = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert records[0]["event"] == "started"


async def test_a_client_that_does_not_close_does_not_hold_the_stop_up(tmp_path: Path) -> None:
    command = await Command.start(*free_ports(tmp_path))
    port = int(re.findall(r":(\d+) ", await command.line())[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /v1/ws?v=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    command.process.send_signal(signal.SIGTERM)
    status, _, err = await asyncio.wait_for(command.end(), 12)
    assert status == 0, err
    writer.close()


async def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        said = await refused("--data", tmp_path, "--port", port, "--media-port", 0)
    assert said == f"The TCP port {port} of 127.0.0.1 is taken by another process; choose another with --port."


@pytest.mark.parametrize("host", ["fe80::1", "fe80::1%lo", "[fe80::1]"])
async def test_a_link_local_host_is_refused_in_one_sentence(tmp_path: Path, host: str) -> None:
    said = await refused(*free_ports(tmp_path), "--host", host)
    assert said == f"The host {host} is link-local, where clients find nobody without a zone; set another --host."


@pytest.mark.parametrize(
    ("host", "address", "announced"),
    [("::1", "[::1]", "::1"), ("[::1]", "[::1]", "::1"), ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.1")],
)
async def test_a_host_of_ipv6_is_one_in_every_spelling(tmp_path: Path, host: str, address: str, announced: str) -> None:
    command = await Command.start(*free_ports(tmp_path), "--host", host, "--json")
    said = json.loads(await command.line())
    assert said["url"].startswith(f"http://{address}:")
    assert said["announced"] == [announced]
    client = await websockets.connect(said["signaling"])
    await client.close()
    command.process.send_signal(signal.SIGINT)
    status, _, err = await command.end()
    assert status == 0, err


def second_of_two_free_ports() -> int:
    while True:
        with contextlib.ExitStack() as stack:
            first, second = (stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2))
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1] + 1
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port))
                return port


async def test_shards_beyond_the_last_port_are_one_sentence(tmp_path: Path) -> None:
    said = await refused("--data", tmp_path, "--port", 0, "--media-port", 65534, "--shards", 4)
    assert "would end at 65537" in said
    assert said.endswith("change media_port or media.shards.")


async def test_an_interface_to_announce_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    said = await refused(*free_ports(tmp_path), "--announce", "eth77")
    assert said.startswith("announce names eth77, which is no IP address, and no interface of this machine")


async def test_a_taken_media_port_is_one_sentence(tmp_path: Path) -> None:
    # Another server has the second port of a block whose first one is free.
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken:
        port = second_of_two_free_ports()
        taken.bind(("127.0.0.1", port))
        said = await refused("--data", tmp_path, "--port", 0, "--media-port", port, "--shards", 1)
        of_three = await refused("--data", tmp_path, "--port", 0, "--media-port", port - 1, "--shards", 3)
    taken = f"The UDP port {port} of 127.0.0.1 is taken by another process; choose another with --media-port."
    assert said == taken
    assert of_three == f"{taken} Media has a port for each of its 3 shards, {port - 1} to {port + 1}."


async def test_a_media_port_that_is_taken_for_tcp_is_one_sentence_and_serves_without_tcp(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        said = await refused("--data", tmp_path, "--port", 0, "--media-port", port, "--shards", 1)
        assert said == (
            f"The TCP port {port} of 127.0.0.1 is taken by another process; "
            "choose another with --media-port, or set media.tcp = false."
        )
        (config := tmp_path / "parlour.toml").write_text("[media]\ntcp = false\nshards = 1\n")
        command = await Command.start("--data", tmp_path, "--config", config, "--port", 0, "--media-port", port)
        assert f"(media on UDP {port})" in await command.line()
        command.process.terminate()
        await command.end()


async def test_an_address_that_is_not_ours_and_a_name_that_is_none(tmp_path: Path) -> None:
    assert "has no address 192.0.2.1" in await refused(*free_ports(tmp_path), "--host", "192.0.2.1")
    assert "no name" in await refused(*free_ports(tmp_path), "--host", "no-such-host.invalid")


async def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = await refused(*free_ports(tmp_path / "file"))
    assert "cannot be written" in said
    assert "--data" in said


async def test_a_database_of_a_newer_version_is_one_sentence(tmp_path: Path) -> None:
    command = await Command.start(*free_ports(tmp_path))
    await command.line()
    command.process.terminate()
    await command.end()
    with closing(sqlite3.connect(tmp_path / "parlour.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999_from_the_future'")
        database.commit()
    assert "newer" in await refused(*free_ports(tmp_path))


async def test_certificates_that_cannot_be_used_are_one_sentence(tmp_path: Path) -> None:
    missing = await refused(*free_ports(tmp_path), "--tls-cert", tmp_path / "c.pem", "--tls-key", tmp_path / "k.pem")
    assert missing == f"The TLS certificate {tmp_path / 'c.pem'} cannot be read: No such file or directory."
    now = datetime.datetime.now(datetime.UTC)
    (tmp_path / "c.pem").write_bytes(self_signed(["localhost"], now)[0])
    (tmp_path / "k.pem").write_bytes(self_signed(["localhost"], now)[1])
    said = await refused(*free_ports(tmp_path), "--tls-cert", tmp_path / "c.pem", "--tls-key", tmp_path / "k.pem")
    assert "do not work together" in said
    assert "belong together" in await refused(*free_ports(tmp_path), "--tls-cert", tmp_path / "c.pem")


async def test_a_wrong_setting_is_one_sentence_wherever_it_stands(tmp_path: Path) -> None:
    config = tmp_path / "parlour.toml"
    config.write_text("[limits]\nmessage_bites = 1\n")
    assert "message_bites" in await refused(*free_ports(tmp_path), "--config", config)
    assert "PARLOUR_MEDIA_PORT" in await refused("--data", tmp_path, "--port", 0, PARLOUR_MEDIA_PORT="many")
    assert "log_level" in await refused(*free_ports(tmp_path), "--log-level", "loud")


@pytest.mark.parametrize("unbuffered", ["", "1"])
async def test_it_stops_also_when_nobody_reads_what_it_says_any_more(tmp_path: Path, unbuffered: str) -> None:
    command = await Command.start(*free_ports(tmp_path), "--json", PYTHONUNBUFFERED=unbuffered)
    json.loads(await command.line())
    # The reader is gone: what is written now is a broken pipe.
    for number in (1, 2):
        command.process._transport.get_pipe_transport(number).close()  # type: ignore[attr-defined]
    command.process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(command.process.wait(), 30) == 0
