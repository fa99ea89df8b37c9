"""Real sockets over the path: exact counts, every kind of trouble, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.network import Conditions, Link, Namespace, Path

SERVER = "10.203.0.1"
DEADLINE = 20.0


@pytest.fixture
def server() -> Iterator[Namespace]:
    with Namespace(SERVER) as namespace:
        yield namespace


def ends(path: Path) -> tuple[socket.socket, socket.socket]:
    """A UDP socket at the client's end and one at the server's."""
    here, there = path.client.socket(), path.server.socket(address=SERVER)
    for one in (here, there):
        one.settimeout(DEADLINE)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    here.connect(there.getsockname())
    return here, there


def until(condition: str, holds: object) -> None:
    """Wait for something the carrying thread does."""
    assert callable(holds)
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end, condition
        select.select([], [], [], 0.005)


def received(there: socket.socket, count: int) -> list[int]:
    return [int.from_bytes(there.recv(2000)[:4]) for _ in range(count)]


def quiet(one: socket.socket) -> bool:
    return not select.select([one], [], [], 0)[0]


def test_a_thousand_datagrams_cross_in_order_and_are_counted(server: Namespace) -> None:
    with Path(server) as path:
        here, there = ends(path)
        with here, there:
            for number in range(1000):
                here.send(number.to_bytes(4) + bytes(996))
                if number % 50 == 49:
                    assert received(there, 50) == list(range(number - 49, number + 1))
            address = there.getsockname()
        assert address[0] == SERVER
        counts = path.up.counts["udp"]
        assert (counts.offered, counts.delivered, counts.bytes) == (1000, 1000, 1000 * 1028)
        assert path.refused == 0


def test_exactly_those_datagrams_are_lost_that_the_seed_says(server: Namespace) -> None:
    model = Link(Conditions(loss=0.1), seed=2 * 7)
    udp = bytes((0x45, 0, 0, 28)) + bytes(5) + bytes((17,)) + bytes(18)
    expected = []
    for number in range(500):
        model.offer(udp, 0.0)
        expected += [number for _ in model.due(0.0)]
    with Path(server, loss=0.1, seed=7) as path:
        here, there = ends(path)
        with here, there:
            for number in range(500):
                here.send(number.to_bytes(4))
                until("it was offered", lambda sent=number + 1: path.up.counts["udp"].offered == sent)
            assert received(there, len(expected)) == expected
            assert quiet(there)
        assert path.up.counts["udp"].lost == 500 - len(expected) > 0


def test_a_round_trip_takes_both_delays(server: Namespace) -> None:
    with Path(server, delay=0.1) as path:
        here, there = ends(path)
        with here, there:
            began = time.monotonic()
            here.send(b"there")
            there.sendto(b"and back", there.recvfrom(100)[1])
            assert here.recv(100) == b"and back"
            assert time.monotonic() - began >= 0.2


def test_a_tcp_connection_survives_loss_reordering_and_a_cut(server: Namespace) -> None:
    sent = os.urandom(120_000)
    with Path(server, loss=0.02, reorder=0.02, delay=0.002, seed=3) as path:
        with (
            path.server.socket(socket.SOCK_STREAM, SERVER) as listening,
            path.client.socket(socket.SOCK_STREAM) as here,
        ):
            listening.listen()
            listening.settimeout(DEADLINE)
            here.settimeout(DEADLINE)
            here.connect(listening.getsockname())
            there, _ = listening.accept()
            with there:
                there.settimeout(DEADLINE)
                arrived = b""
                here.sendall(sent[:100_000])
                while len(arrived) < 100_000:
                    arrived += there.recv(65536)
                path.cut("tcp")
                here.sendall(sent[100_000:])  # into the kernel's buffer
                until("something was cut", lambda: path.up.counts["tcp"].cut > 0)
                path.restore("tcp")
                while len(arrived) < len(sent):
                    arrived += there.recv(65536)
        assert arrived == sent
        assert path.up.counts["tcp"].lost > 0


@pytest.mark.parametrize("rebound", [False, True])
def test_a_reset_ends_a_connection_for_both_ends_also_while_all_is_cut(server: Namespace, rebound: bool) -> None:
    with Path(server) as path:
        if rebound:
            path.rebind()
        with (
            path.server.socket(socket.SOCK_STREAM, SERVER) as listening,
            path.client.socket(socket.SOCK_STREAM) as here,
        ):
            listening.listen()
            here.settimeout(DEADLINE)
            here.connect(listening.getsockname())
            there, _ = listening.accept()
            with there:
                there.settimeout(DEADLINE)
                here.sendall(b"hello")
                assert there.recv(100) == b"hello"
                there.sendall(b"and back")
                assert here.recv(100) == b"and back"
                acknowledged = path.up.counts["tcp"]
                until("the last word is acknowledged", lambda: acknowledged.delivered >= 4)
                path.cut()
                path.reset()
                for one in (here, there):
                    with pytest.raises(ConnectionResetError):
                        one.recv(100)


def test_cutting_udp_spares_tcp(server: Namespace) -> None:
    with Path(server) as path, path.server.socket(socket.SOCK_STREAM, SERVER) as listening:
        here, there = ends(path)
        with here, there:
            path.cut("udp")
            for _ in range(5):
                here.send(b"lost")
            until("all five were cut", lambda: path.up.counts["udp"].cut == 5)
            listening.listen()
            with path.client.socket(socket.SOCK_STREAM) as caller:
                caller.settimeout(DEADLINE)
                caller.connect(listening.getsockname())
            path.restore("udp")
            here.send((6).to_bytes(4))
            assert received(there, 1) == [6]
            assert quiet(there)


def test_a_limited_path_has_a_bounded_queue(server: Namespace) -> None:
    with Path(server) as path:
        path.up.change(rate=100_000, queue=5)  # 500 bytes: 40 ms each
        here, there = ends(path)
        with here, there:
            for number in range(50):
                here.send(number.to_bytes(4) + bytes(468))
            until("all were offered", lambda: path.up.counts["udp"].offered == 50)
            counts = path.up.counts["udp"]
            until("the queue is empty", lambda: counts.delivered + counts.overflowed == 50)
            assert received(there, 5) == [0, 1, 2, 3, 4]
            assert counts.overflowed > 30


def test_a_nat_that_forgets_gives_another_address_and_loses_what_comes_to_the_old_one(server: Namespace) -> None:
    with Path(server) as path:
        here, there = ends(path)
        with here, there:
            here.send(b"one")
            first = there.recvfrom(100)[1]
            path.rebind()
            here.send(b"two")
            second = there.recvfrom(100)[1]
            assert first[0] == path.address
            assert second == (path.seen_as, first[1])
            assert first[0] != second[0]
            there.sendto(b"to the old one", first)
            until("it was thrown away", lambda: path.forgotten == 1)
            there.sendto(b"to the new one", second)
            assert here.recv(100) == b"to the new one"
            assert here.getsockname()[0] == first[0]  # the client knows of nothing


def test_a_client_that_moves_has_a_new_address_and_lost_the_old(server: Namespace) -> None:
    with Path(server) as path:
        before = path.address
        path.move()
        here, there = ends(path)
        with here, there:
            here.send(b"hello")
            there.sendto(b"and back", there.recvfrom(100)[1])
            assert here.recv(100) == b"and back"
            assert here.getsockname()[0] == path.address != before
        with pytest.raises(OSError, match="Cannot assign"):
            path.client.socket(address=before)


def test_two_paths_to_one_server_are_apart(server: Namespace) -> None:
    with Path(server) as one, Path(server) as other:
        assert one.address != other.address
        one.cut()
        here, there = ends(other)
        with here, there:
            here.send((1).to_bytes(4))
            assert received(there, 1) == [1]


def test_a_program_within_sees_that_network_alone(server: Namespace) -> None:
    with Path(server) as path:
        told = path.client.ip("-brief", "-4", "address")
        assert [line.split()[0] for line in told.splitlines()] == ["lo", "path"]
        assert path.address in told


def test_when_the_test_run_is_killed_its_networks_and_what_runs_in_them_go_too() -> None:
    program = (
        "import subprocess, sys\n"
        "from tests.network import Namespace, Path\n"
        "with Namespace('10.203.0.1') as server, Path(server) as path:\n"
        "    child = subprocess.Popen(path.client.command('sleep', '1000'), start_new_session=True)\n"
        "    print(server._keeper.pid, path.client._keeper.pid, child.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        processes = [int(word) for word in run.stdout.readline().split()]
        assert len(processes) == 3
        run.send_signal(signal.SIGKILL)
    for process in processes:
        until(f"process {process} is gone", lambda process=process: not alive(process))


def alive(process: int) -> bool:
    """Whether it runs; nobody here reaps orphans, so one that is dead may still have a number."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{process}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
    return False


def test_without_root_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(AssertionError, match=r"A path of our own needs root, .* this is not root"), Namespace():
        pass
