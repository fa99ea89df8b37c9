"""The load generator against real servers: what it counts is what was sent, and a refusal is told with its code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from parlour._media import NullReflector
from parlour.load import description, patterns
from parlour.load.errors import LoadError
from parlour.load.peers import Peers
from parlour.load.rooms import ParlourRooms
from parlour.load.stage import Layout, Stage

from tests.conftest import RunningServer, StartServer


@pytest.fixture
def peers() -> Iterator[Peers]:
    made = Peers()
    yield made
    made.close()


def rooms_of(server: RunningServer, peers: Peers, **options: int) -> ParlourRooms:
    async def user_sig(user: str) -> str:
        return server.user_sig(user, **options)

    return ParlourRooms(peers, server.url, server.app, user_sig)


@pytest.mark.parametrize(
    "layout",
    [
        Layout(1, 3, patterns=(patterns.BURSTS,)),
        Layout(2, 3, patterns=(patterns.SPEECH, patterns.SPREAD)),
        Layout(2, rooms=2, patterns=(patterns.SPEECH, patterns.BURSTS), mutual=True),
    ],
    ids=["video to three", "two publishers of both to three", "two rooms of two"],
)
async def test_every_subscriber_gets_every_packet_and_none_twice(
    start_server: StartServer, peers: Peers, layout: Layout
) -> None:
    stage = Stage(peers, rooms_of(await start_server(), peers), layout, "load")
    await stage.fill()
    stage.start()
    window = await stage.window(1.0)
    stage.stop()
    delivery = await stage.delivery()
    assert delivery.exact, delivery
    assert delivery.expected == peers.generator.totals()["sent"] * layout.copies > 0
    assert window.travel["count"] > 0
    totals = peers.generator.totals()
    assert totals["undecryptable"] == totals["missing"] == totals["strangers"] == 0
    assert totals["feedback"] > 0
    await stage.leave()


@pytest.mark.parametrize("segmentation", [True, False])
async def test_pictures_arrive_whole_whether_the_kernel_cuts_runs_or_not(
    start_server: StartServer, peers: Peers, segmentation: bool
) -> None:
    server = await start_server(media__segmentation=segmentation)
    stage = Stage(peers, rooms_of(server, peers), Layout(1, 3, patterns=(patterns.BURSTS,)), "load")
    await stage.fill()
    stage.start()
    await stage.window(0.5)
    stage.stop()
    delivery = await stage.delivery()
    assert delivery.exact, delivery
    socket = (await server.media.snapshot())["shards"][0]["socket"]
    assert socket["gso"] is segmentation
    assert (socket["messages_out"] == socket["datagrams_out"]) is not segmentation
    await stage.leave()


async def test_a_packet_that_never_comes_makes_the_delivery_incomplete(start_server: StartServer, peers: Peers) -> None:
    """With a bound on the publisher's bit rate the server leaves packets out, and that is seen."""
    server = await start_server(media__ingress_bitrate=500_000)
    stage = Stage(peers, rooms_of(server, peers), Layout(1, 2, patterns=(patterns.BURSTS,)), "load")
    await stage.fill()
    stage.start()
    await stage.window(1.5)
    stage.stop()
    delivery = await stage.delivery()
    assert not delivery.exact
    assert delivery.incomplete == 2
    assert 0 < delivery.received < delivery.expected


async def test_a_refusal_is_told_with_its_code(start_server: StartServer, peers: Peers) -> None:
    server = await start_server()
    rooms = rooms_of(server, peers, expire=1, age=60)
    with pytest.raises(LoadError, match=r"load-p0-0 was not let in: .*70001"):
        await Stage(peers, rooms, Layout(), "load").fill()


async def test_a_server_without_media_is_told_with_its_address() -> None:
    peers = Peers(patience=1.0)
    remote = description.Remote(("127.0.0.1", 9), "ufrag", "password" * 3, peers.generator.fingerprint, None, ())
    with pytest.raises(LoadError, match=r"127\.0\.0\.1:9 answered no ICE check in 1 s: is UDP to it open\?"):
        await peers.connect(peers.local(), remote)
    peers.close()


async def test_a_null_reflector_passes_everything_on(peers: Peers) -> None:
    reflector = NullReflector("127.0.0.1")
    address = ("127.0.0.1", reflector.port)
    down = [await peers.connect_to_reflector(address, 7) for _ in range(3)]
    stranger = await peers.connect_to_reflector(address, 8)
    up = await peers.connect_to_reflector(address, 7, peers.sending([patterns.Track(patterns.BURSTS)]))
    stage = Stage(peers, None, Layout(), "load")  # type: ignore[arg-type]
    peers.generator.start([up])
    await stage.window(0.5)
    peers.generator.stop([up])
    await stage.delivery()
    reports = peers.reports()
    sent = reports[up]["sent"]
    assert sent > 0
    assert [stream["received"] for peer in down for stream in reports[peer]["streams"]] == [sent] * 3
    assert reports[stranger]["streams"] == []
    assert reflector.stats() == {"received": sent, "forwarded": 3 * sent}


@pytest.mark.parametrize("host", ["::1", "::"])
async def test_every_packet_arrives_over_ipv6_and_over_a_socket_of_both_families(
    start_server: StartServer, peers: Peers, host: str
) -> None:
    server = await start_server(host=host, media__announce=["::1"])
    stage = Stage(peers, rooms_of(server, peers), Layout(1, 2, patterns=(patterns.BURSTS,)), "load")
    await stage.fill()
    stage.start()
    await stage.window(0.5)
    stage.stop()
    delivery = await stage.delivery()
    assert delivery.exact, delivery
    shards = (await server.media.snapshot())["shards"]
    paths = [transport["path"] for shard in shards for transport in shard["router"]["transports"]]
    assert len(paths) == 3
    assert all(path is not None and path.startswith("[::1]:") for path in paths), paths
    await stage.leave()
