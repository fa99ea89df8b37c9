"""The media core on an event loop: ports, transports, answers, and what a wrong call says."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import socket
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_asyncio
from parlour.media import MediaCore
from parlour.media.addresses import announced
from parlour.sdp.model import RemoteTransport, TrackSpec

from tests.peers.stun_peer import StunPeer, binding_request

VIDEO = TrackSpec(mid="1", kind="video", codec="vp8", payload_type=96, rtx_payload_type=97, nack=True, pli=True)
STRANGER = RemoteTransport(ufrag="peer", pwd="secret" * 4, fingerprint=":".join(["AB"] * 32))


@pytest_asyncio.fixture
async def media() -> AsyncIterator[MediaCore]:
    core = MediaCore(bind="127.0.0.1", port=0)
    await core.start()
    yield core
    await core.close()


@pytest_asyncio.fixture
async def two_shards() -> AsyncIterator[MediaCore]:
    core = MediaCore(bind="127.0.0.1", port=0, shards=2)
    await core.start()
    yield core
    await core.close()


async def test_a_check_with_the_right_password_is_answered_and_told_its_address(media: MediaCore) -> None:
    local = media.create_transport(0).local
    assert [(candidate.ip, candidate.port) for candidate in local.candidates] == [("127.0.0.1", media.ports[0])]
    with StunPeer(("127.0.0.1", media.ports[0])) as peer:
        assert peer.check(local, nominate=True) < 1


async def test_wrong_password_unknown_user_and_garbage_get_silence(media: MediaCore) -> None:
    local = media.create_transport(0).local
    with StunPeer(("127.0.0.1", media.ports[0])) as peer:
        peer.send(binding_request(local, pwd="x" * 24))
        peer.send(b"")
        peer.send(b"hello")
        peer.send(os.urandom(1400))
        peer.send(bytes(binding_request(local))[:-3])
        peer.check(local)
    drops = (await media.snapshot())["shards"][0]["router"]["drops"]
    assert drops["stun-bad-integrity"] == 1, drops


async def test_a_removed_transport_answers_no_more(media: MediaCore) -> None:
    gone, there = media.create_transport(0), media.create_transport(0)
    with StunPeer(("127.0.0.1", media.ports[0])) as peer:
        peer.check(gone.local)
        media.remove_transport(gone.id)
        media.remove_transport(gone.id)
        await media.snapshot()  # Commands are taken in order: it is gone once this is answered.
        peer.send(binding_request(gone.local))
        peer.check(there.local)


async def test_a_taken_port_is_an_os_error_that_names_the_address(media: MediaCore) -> None:
    port = media.ports[0]
    with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port}.*another process has it") as raised:
        await MediaCore(bind="127.0.0.1", port=port).start()
    assert raised.value.errno == errno.EADDRINUSE


async def test_a_foreign_address_is_an_os_error_and_a_name_is_refused() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.77") as raised:
        await MediaCore(bind="192.0.2.77", port=0).start()
    assert raised.value.errno == errno.EADDRNOTAVAIL
    with pytest.raises(ValueError, match="IP address"):
        await MediaCore(bind="localhost", port=0).start()
    with pytest.raises(ValueError, match="65535"):
        await MediaCore(bind="127.0.0.1", port=65535, shards=2).start()


async def test_a_second_port_that_is_taken_leaves_the_first_one_free(two_shards: MediaCore) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
            second.bind(("127.0.0.1", port + 1))
            first.close()
            with pytest.raises(OSError, match=str(port + 1)):
                await MediaCore(bind="127.0.0.1", port=port, shards=2).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port))


def media_threads() -> int:
    """How many of this process's threads are shards. A thread names itself when it first runs."""
    count = 0
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # It ended meanwhile.
            count += task.joinpath("comm").read_text().startswith("parlour-shard")
    return count


async def test_close_frees_ports_threads_and_descriptors_and_may_be_repeated() -> None:
    first = MediaCore(bind="127.0.0.1", port=0)
    await first.start()
    await first.close()  # Whatever is made once in a process is made now.
    descriptors = len(os.listdir("/proc/self/fd"))
    core = MediaCore(bind="127.0.0.1", port=0, shards=3)
    await core.start()
    ports = core.ports
    core.create_transport(0)
    await core.snapshot()  # Every thread runs once this is answered.
    assert media_threads() == 3
    await core.close()
    await core.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    deadline = time.monotonic() + 5
    while media_threads():  # A joined thread may be listed until the kernel has put it away.
        assert time.monotonic() < deadline
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", port))
    with pytest.raises(RuntimeError, match="not running"):
        core.create_transport(0)


async def test_rooms_spread_over_shards_and_a_transport_answers_on_its_own_port_only(two_shards: MediaCore) -> None:
    assert two_shards.pick_shard() == 0
    first = two_shards.create_transport(0)
    assert two_shards.pick_shard() == 1
    second = two_shards.create_transport(1)
    ports = two_shards.ports
    with StunPeer(("127.0.0.1", ports[0])) as peer:
        peer.send(binding_request(second.local))
        peer.check(first.local)
    with StunPeer(("127.0.0.1", ports[1])) as peer:
        peer.send(binding_request(first.local))
        peer.check(second.local)
    with pytest.raises(ValueError, match="no shard 2"):
        two_shards.create_transport(2)


async def test_a_track_cannot_cross_shards_and_the_error_says_so(two_shards: MediaCore) -> None:
    source, target = two_shards.create_transport(0), two_shards.create_transport(1)
    producer = two_shards.add_producer(source.id, VIDEO)
    track = TrackSpec(mid="0", kind="video", codec="vp8", payload_type=96, ssrc=two_shards.allocate_ssrc(target.id))
    with pytest.raises(ValueError, match="different shards"):
        two_shards.add_consumer(target.id, [producer], track, cname="c")


async def test_ids_that_are_gone_are_told_and_removing_them_is_no_error(media: MediaCore) -> None:
    publisher, subscriber = media.create_transport(0), media.create_transport(0)
    media.set_remote(publisher.id, STRANGER)
    producer = media.add_producer(publisher.id, VIDEO)
    ssrc = media.allocate_ssrc(subscriber.id)
    track = TrackSpec(mid="0", kind="video", codec="vp8", payload_type=96, ssrc=ssrc, twcc_extension=2)
    consumer = media.add_consumer(subscriber.id, [producer], track, cname="c")
    media.set_consumer_paused(consumer, True)
    assert media.allocate_ssrc(subscriber.id) != ssrc
    counters = (await media.snapshot())["shards"][0]["router"]
    assert [entry["id"] for entry in counters["producers"]] == [producer]
    assert [(entry["producer"], entry["paused"]) for entry in counters["consumers"]] == [(producer, True)]
    bandwidth = {entry["id"]: entry["bandwidth"] for entry in counters["transports"]}
    untried = {"estimate": 600_000, "acknowledged": None, "rtt_ms": None, "loss": 0.0, "queue_ms": 0.0}
    assert bandwidth == {publisher.id: None, subscriber.id: untried}

    media.remove_transport(publisher.id)
    with pytest.raises(LookupError, match=f"no consumer {consumer}"):
        media.set_consumer_paused(consumer, False)
    with pytest.raises(LookupError, match=f"no producer {producer}"):
        media.add_consumer(subscriber.id, [producer], track, cname="c")
    with pytest.raises(LookupError, match=f"no transport {publisher.id}"):
        media.set_remote(publisher.id, STRANGER)
    with pytest.raises(LookupError, match=f"no transport {publisher.id}"):
        media.allocate_ssrc(publisher.id)
    media.remove_consumer(consumer)
    media.remove_producer(producer)
    media.remove_transport(publisher.id)
    with pytest.raises(ValueError, match="needs one of ours"):
        media.add_consumer(subscriber.id, [producer], VIDEO, cname="c")
    counters = (await media.snapshot())["shards"][0]["router"]
    assert (counters["producers"], counters["consumers"]) == ([], [])


async def test_a_consumer_has_encodings_of_one_picture_and_ends_with_the_last(media: MediaCore) -> None:
    publisher, subscriber = media.create_transport(0), media.create_transport(0)
    big, small = (
        media.add_producer(publisher.id, replace(VIDEO, rid_extension=10, repaired_rid_extension=11), rid=rid)
        for rid in ("h", "l")
    )
    ssrc = media.allocate_ssrc(subscriber.id)
    track = TrackSpec(mid="0", kind="video", codec="vp8", payload_type=96, ssrc=ssrc)
    consumer = media.add_consumer(subscriber.id, [big, small], track, cname="c", source=1, temporal=0)

    async def received() -> list[tuple[int, int, int, str | None]]:
        router = (await media.snapshot())["shards"][0]["router"]
        assert [entry["rid"] for entry in router["producers"]] in (["h", "l"], ["h"], [])
        return [(it["producer"], it["source"], it["wanted_source"], it["why"]) for it in router["consumers"]]

    assert await received() == [(small, 1, 1, None)]
    media.set_consumer_source(consumer, 0)
    assert await received() == [(big, 0, 0, None)]
    media.set_consumer_source(consumer, 1, 0)
    media.remove_producer(small)
    assert await received() == [(big, 0, 1, "missing")]
    media.remove_producer(big)
    assert await received() == []
    with pytest.raises(LookupError, match=f"no consumer {consumer}"):
        media.set_consumer_source(consumer, 0)


async def subscribe_in_turn(media: MediaCore, transport: int, ssrcs: Iterable[int]) -> None:
    """One subscription after the other, each ended before the next."""
    producer = media.add_producer(media.create_transport(0).id, VIDEO)
    for ssrc in ssrcs:
        track = TrackSpec(mid="0", kind="video", codec="vp8", payload_type=96, ssrc=ssrc)
        with contextlib.suppress(LookupError):  # closed meanwhile
            media.remove_consumer(media.add_consumer(transport, [producer], track, cname="c"))
        await asyncio.sleep(0)
    await media.snapshot(timeout=10)


async def test_thousands_of_subscriptions_in_turn_are_within_what_a_transport_remembers(media: MediaCore) -> None:
    closed: list[str] = []
    transport = media.create_transport(0, on_closed=closed.append).id
    ssrcs = [media.allocate_ssrc(transport) for _ in range(9000)]
    assert len(set(ssrcs)) == 9000
    await subscribe_in_turn(media, transport, ssrcs)
    assert closed == []


async def test_a_transport_that_has_used_up_its_ssrcs_is_given_up_and_its_owner_told(media: MediaCore) -> None:
    closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    transport = media.create_transport(0, on_closed=closed.set_result).id
    await subscribe_in_turn(media, transport, range(1, 9000, 2))
    assert await asyncio.wait_for(closed, 10) == "too-many-ssrcs"
    with pytest.raises(LookupError, match="there is no transport"):
        media.allocate_ssrc(transport)


async def test_a_malformed_fingerprint_is_refused_at_the_call(media: MediaCore) -> None:
    transport = media.create_transport(0)
    for wrong in ("", "AB:CD", ":".join(["AB"] * 33), ":".join(["+1"] * 32), "é" * 95):
        with pytest.raises(ValueError, match="fingerprint"):
            media.set_remote(transport.id, RemoteTransport(ufrag="u", pwd="p", fingerprint=wrong))


async def test_commands_that_found_a_full_ring_are_passed_on_later_and_in_order(media: MediaCore) -> None:
    refusals, passed = 3, asyncio.Event()
    order: list[int] = []

    def command(number: int) -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise BlockingIOError
        order.append(number)
        if number == 2:
            passed.set()
        if number == 1:
            raise LookupError("closed meanwhile")

    for number in range(3):
        media._submit(lambda number=number: command(number))  # type: ignore[misc]
    assert order == []
    await asyncio.wait_for(passed.wait(), 5)
    assert order == [0, 1, 2]


async def test_what_a_peer_closed_while_a_command_was_under_way_is_no_error(
    media: MediaCore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(reason: str) -> dict[str, object]:
        return {"type": "command-refused", "transport": 1, "object": 2, "reason": reason}

    reasons = ["unknown-transport", "unknown-producer", "unknown-consumer", "duplicate-ssrc"]
    engine = SimpleNamespace(drain_events=lambda: [refused(reason) for reason in reasons], drain_deaths=list)
    with monkeypatch.context() as patch:
        patch.setattr(media, "_engine", engine)
        media._drain_events()
    errors = [line for line in capsys.readouterr().out.splitlines() if "[error" in line]
    assert len(errors) == 1
    assert "duplicate-ssrc" in errors[0]


async def test_an_ipv6_port_answers_ipv6_and_a_wildcard_answers_both() -> None:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    core = MediaCore(bind="::", port=0, announce=("::1", "127.0.0.1"))
    await core.start()
    try:
        local = core.create_transport(0).local
        assert [candidate.ip for candidate in local.candidates] == ["::1", "127.0.0.1"]
        for host in ("::1", "127.0.0.1"):
            with StunPeer((host, core.ports[0])) as peer:
                peer.check(local)
    finally:
        await core.close()


def test_a_wildcard_announces_what_others_can_reach() -> None:
    for wildcard in ("0.0.0.0", "::"):
        addresses = announced(wildcard).addresses
        assert addresses
        assert not {"0.0.0.0", "::"} & set(addresses)
        assert len({address.startswith("127.") or address == "::1" for address in addresses}) == 1
    assert not any(":" in address for address in announced("0.0.0.0").addresses)


PINGER = """
    import sys
    from parlour.sdp.model import LocalTransport
    from tests.peers.stun_peer import StunPeer
    ufrag, pwd, port, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    import time
    with StunPeer(("127.0.0.1", port)) as peer:
        local = LocalTransport(ufrag=ufrag, pwd=pwd, fingerprint="")
        peer.check(local)
        print("ready", flush=True)
        sys.stdin.readline()
        took, started = [], time.monotonic()
        while time.monotonic() - started < seconds:
            took.append(peer.check(local))
            time.sleep(0.004)  # no faster than checks of a new address are answered for long
        print(len(took), max(took), flush=True)
"""


async def test_a_blocked_event_loop_and_a_held_gil_do_not_delay_an_answer(media: MediaCore) -> None:
    local = media.create_transport(0).local
    arguments = (local.ufrag, local.pwd, str(media.ports[0]), "0.8")
    pinger = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(PINGER), *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert pinger.stdout is not None and pinger.stdin is not None
    assert await pinger.stdout.readline() == b"ready\n"
    pinger.stdin.write(b"go\n")
    await pinger.stdin.drain()
    # A foreign call that keeps the GIL: neither the loop nor any other Python thread runs for a second.
    ctypes.PyDLL(None).usleep(1_000_000)
    output, _ = await pinger.communicate()
    count, longest = output.split()
    assert pinger.returncode == 0
    assert int(count) > 50
    assert float(longest) < 0.3


async def run_python(script: str) -> None:
    """Run a script in a Python of its own; it has to end by itself, soon and with 0."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script)
    )
    try:
        assert await asyncio.wait_for(child.wait(), 20) == 0
    finally:
        if child.returncode is None:
            child.kill()


async def test_an_engine_that_nobody_closed_does_not_keep_the_process() -> None:
    await run_python("""
        import sys
        from parlour._media import MediaEngine
        sys.modules["kept"] = MediaEngine(bind="127.0.0.1", port=0, shards=2)
        MediaEngine(bind="127.0.0.1", port=0)
    """)


async def test_a_fork_cannot_use_the_engine_and_does_not_disturb_it() -> None:
    await run_python("""
        import os
        from parlour._media import MediaEngine
        from parlour.sdp.model import LocalTransport
        from tests.peers.stun_peer import StunPeer
        engine = MediaEngine(bind="127.0.0.1", port=0)
        engine.add_transport(shard=0, transport=1, local_ufrag="ufrag123", local_pwd="p" * 24)
        child = os.fork()
        if child == 0:
            try:
                engine.remove_transport(1)
            except RuntimeError as error:
                assert "belongs to the process" in str(error), error
                engine.close()
                del engine
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        with StunPeer(("127.0.0.1", engine.ports[0])) as peer:
            peer.check(LocalTransport(ufrag="ufrag123", pwd="p" * 24, fingerprint=""))
        engine.close()
    """)


async def test_the_engine_itself_refuses_an_id_in_use_and_a_wrong_kind_or_codec(media: MediaCore) -> None:
    from parlour._media import MediaEngine

    engine = MediaEngine(bind="127.0.0.1", port=0)
    try:
        engine.add_transport(shard=0, transport=7, local_ufrag="a" * 8, local_pwd="b" * 24)
        with pytest.raises(ValueError, match="the id 7 is in use"):
            engine.add_transport(shard=0, transport=7, local_ufrag="c" * 8, local_pwd="d" * 24)
        for wrong in ({"kind": "text"}, {"codec": "h265"}):
            arguments = {"kind": "video", "codec": "vp8"} | wrong
            with pytest.raises(ValueError, match=next(iter(wrong.values()))):
                engine.add_producer(
                    producer=8, transport=7, mid="0", rid="", payload_type=96, red_payload_type=None,
                    rtx_payload_type=None, ssrc=None,
                    rtx_ssrc=None, mid_extension=None, rid_extension=None, repaired_rid_extension=None,
                    twcc_extension=None, dependency_descriptor_extension=None, level_extension=None, nack=False,
                    pli=False, remb=False, **arguments,  # type: ignore[arg-type]
                )  # fmt: skip
        with pytest.raises(ValueError, match="seconds"):
            engine.snapshot(-1)
    finally:
        engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.snapshot()
