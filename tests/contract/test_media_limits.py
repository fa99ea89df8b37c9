"""Bounds on what clients may ask of the media core, as a client and an operator meet them."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import pytest
from parlour.client import RtcError, reconciler
from parlour.client.events import Failed
from parlour.errors import ErrorCode
from parlour.settings import SettingsError, load_settings

from tests.contract.test_client_reconnect import client, until
from tests.contract.test_serve import Command, free_ports
from tests.peers.aiortc_peer import AiortcPeer
from tests.peers.tracks import NoiseTrack
from tests.wire import Wire, join, offer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RunningServer, StartServer

ENTER_REFUSED, SERVER_TIMEOUT = 0x4004, 0x4041


async def test_who_enters_a_server_whose_media_port_is_full_is_refused_with_10015(start_server: StartServer) -> None:
    server = await start_server(media__max_transports=2, media__shards=1)
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


async def test_a_subscriber_for_whom_a_full_media_port_has_no_downlink_gets_0x4008_and_later_a_place(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "MEDIA_RESTARTS", 1)
    server = await start_server(media__max_transports=3, media__shards=1)
    publishers = [(await join(server, user, 1))[0] for user in ("ann", "cid", "dan")]
    ben = client(server, "ben")
    await ben.join(1)
    for publisher in publishers:
        await publisher.ask("publish", sdp=offer(), audioMid="0", videoMid="1")
    subscribing = asyncio.create_task(ben.subscribe("ann"))
    failed = (await until(ben, lambda event: isinstance(event, Failed)))[-1]
    assert isinstance(failed, Failed)
    assert failed.error.code == ErrorCode.DOWNLINK_RECONNECTION_FAILED
    assert "media-full" in failed.error.message
    with pytest.raises(RtcError):
        await subscribing
    await publishers[1].ask("unpublish")
    await ben.subscribe("ann")
    await ben.leave()


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


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("169.254.7.7", "169.254.7.7"),
        ("eth0", "eth0"),
        ("enp3s0f1.100", "enp3s0f1.100"),
        ("wg-home_2", "wg-home_2"),
    ],
)
def test_an_address_is_announced_in_one_spelling_and_an_interface_by_its_name(given: str, told: str) -> None:
    assert load_settings(None, {"media.announce": [given]}).media.announce == (told,)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("fe80::1%eth0", "has a zone"),
        ("2001:db8::7%1", "has a zone"),
        ("fe80::1", "is link-local"),
        ("203.0.113", "is no IP address and no name of an interface"),
        ("203.0.113.256", "is no IP address and no name of an interface"),
        ("2001:db8::g", "is no IP address and no name of an interface"),
        ("203.0.113.7:8081", "is no IP address and no name of an interface"),
        ("a/b", "is no IP address and no name of an interface"),
        ("a name", "is no IP address and no name of an interface"),
        ("an-interface-of-17", "is no IP address and no name of an interface"),
        ("..", "is no IP address and no name of an interface"),
        ("", "is no IP address and no name of an interface"),
    ],
)
def test_what_is_neither_address_nor_interface_is_refused_by_its_key(given: str, said: str) -> None:
    with pytest.raises(SettingsError, match=r"media\.announce ") as refused:
        load_settings(None, {"media.announce": [given]})
    assert said in str(refused.value)


async def policed(server: RunningServer) -> int:
    """Packets of video and sound that the bound took, of the one who sent the most."""
    transports = (await server.media.snapshot())["shards"][0]["router"]["transports"]
    return max(transport["policed"] for transport in transports)


async def test_a_publisher_that_knows_no_transport_wide_feedback_follows_the_bound_it_is_told(
    start_server: StartServer,
) -> None:
    bound = 600_000
    server = await start_server(media__ingress_bitrate=bound)
    ann, bob = AiortcPeer(server.url), AiortcPeer(server.url)
    try:
        for user, made in (("ann", ann), ("bob", bob)):
            await made.join(server.app, user, server.user_sig(user), 1)
        # An encoder for H264 begins with 1 Mbit/s, and what is shown here takes as much as it is given.
        await ann.publish(NoiseTrack(), codec="H264")
        assert ann.uplink is not None
        assert "goog-remb" in ann.uplink.remoteDescription.sdp
        await bob.subscribe("ann", audio=False)
        video = await bob.track("ann", "video")
        async with asyncio.timeout(120):
            while not await policed(server):
                await video.recv()
            while (ann.target_bitrate() or bound + 1) > bound:
                await video.recv()
            # Nothing is dropped while a hundred pictures arrive, which more than the bound would not allow.
            dropped, shown = await policed(server), 0
            while shown < 100:
                await video.recv()
                shown += 1
                if await policed(server) != dropped:
                    dropped, shown = await policed(server), 0
        assert ann.target_bitrate() == pytest.approx(bound * 15 / 16, rel=0.02)
    finally:
        await ann.close()
        await bob.close()
