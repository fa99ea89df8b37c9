"""Bounds on what clients may ask of the media core, as a client and an operator meet them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parlour.settings import SettingsError, load_settings

from tests.contract.test_serve import Command, free_ports
from tests.wire import Wire, join, offer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartServer

import json
import signal

import pytest

ENTER_REFUSED, SERVER_TIMEOUT = 0x4004, 0x4041


async def test_who_enters_a_server_whose_media_port_is_full_is_refused_with_10015(start_server: StartServer) -> None:
    server = await start_server(media__max_transports=2)
    ann, _ = await join(server, "ann", 1)
    bob, _ = await join(server, "bob", 1)
    await ann.ask("publish", sdp=offer(), audioMid="0", videoMid="1")
    late = await Wire.open(server)
    ticket = (await late.login(server, "eve"))["ticket"]
    refusal = await late.refused("enter", ticket=ticket, roomId=1)
    assert (refusal.code, refusal.extra) == (ENTER_REFUSED, -10015)
    # There is room again for two once the one connection is gone.
    await ann.ask("unpublish")
    await late.ask("enter", ticket=ticket, roomId=1)
    # Whoever is inside and finds no room when it publishes hears the same, and not silence.
    await ann.ask("publish", sdp=offer(), audioMid="0", videoMid="1")
    await bob.ask("publish", sdp=offer(), audioMid="0", videoMid="1")
    refusal = await late.refused("publish", sdp=offer(), audioMid="0", videoMid="1")
    assert (refusal.code, refusal.extra) == (SERVER_TIMEOUT, -10015)


async def test_every_announced_address_of_the_command_line_is_told(tmp_path: Path) -> None:
    addresses = ["--announce", "127.0.0.5", "--announce", "::1"]
    command = await Command.start(*free_ports(tmp_path), "--host", "0.0.0.0", *addresses, "--json", "--log-json")
    assert json.loads(await command.line())["announced"] == ["127.0.0.5", "::1"]
    command.process.send_signal(signal.SIGINT)
    status, _, err = await command.end()
    assert status == 0, err


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1"])
def test_an_address_that_nobody_can_send_to_is_not_announced(address: str) -> None:
    with pytest.raises(SettingsError, match=r"media\.announce .*no address that a client can send to"):
        load_settings(None, {"media.announce": [address]})
