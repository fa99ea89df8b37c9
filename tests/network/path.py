"""A path between a client's network and a server's: two TUN devices and the thread that carries their packets."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from typing import Self

from tests.network.flows import Flows
from tests.network.link import Conditions, Link
from tests.network.namespace import MTU, Namespace
from tests.network.packets import Kind, destination_of, from_address, source_of, to_address

BATCH = 64  # packets of one direction before the other has its turn
NET = "10.203"


class Path:
    """The only way from ``client``, a namespace of its own, to the server's.

    Conditions are those of ``Conditions`` and hold in both directions; ``up`` and ``down`` may be changed apart.
    The client's address is ``address``; what the server sees is ``seen_as``, which is another one after ``rebind``.
    """

    def __init__(self, server: Namespace, *, seed: int = 0, **conditions: object) -> None:
        self.server = server
        self.client = Namespace()
        self.up = Link(Conditions(**conditions), seed=2 * seed)  # type: ignore[arg-type]
        self.down = Link(Conditions(**conditions), seed=2 * seed + 1)  # type: ignore[arg-type]
        self.refused = 0  # packets that a device did not take
        self.forgotten = 0  # packets to an address the client had before ``rebind``
        self._number = server.next_path()
        self.address = self.seen_as = self._host(2)
        self._last_host = 2
        self._flows = Flows()  # with the client's own address, translated or not
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.client)
            device = f"path{self._number}"
            self._server_end = self.server.tun(device)
            stack.callback(os.close, self._server_end)
            self._client_end = self.client.tun("path")
            stack.callback(os.close, self._client_end)
            self.server.ip("address", "add", f"{self._host(1)}/24", "dev", device)
            self.server.ip("link", "set", device, "mtu", str(MTU), "up")
            self.client.ip("address", "add", f"{self.address}/32", "dev", "path")
            self.client.ip("link", "set", "path", "mtu", str(MTU), "up")
            self.client.ip("route", "add", "default", "dev", "path")
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            stack.callback(os.close, self._wake)
            self._closing = False
            thread = threading.Thread(target=self._carry, name=device, daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def cut(self, *kinds: Kind) -> None:
        """Let nothing of these kinds through in either direction: ``"udp"`` is media, ``"tcp"`` signaling, none all."""
        with self._lock:
            self.up.cut(*kinds)
            self.down.cut(*kinds)

    def restore(self, *kinds: Kind) -> None:
        """Let these kinds through again; of none named, all."""
        with self._lock:
            self.up.restore(*kinds)
            self.down.restore(*kinds)

    def change(self, **conditions: object) -> None:
        """Other conditions in both directions from now on."""
        with self._lock:
            self.up.change(**conditions)
            self.down.change(**conditions)

    def reset(self) -> None:
        """End every TCP connection for both its ends at once, as a middle box does, also while TCP is cut."""
        with self._lock:
            for packet in self._flows.resets():
                if source_of(packet) == self.address:
                    self._write(self._server_end, self._translated(packet, self.up))
                else:
                    self._write(self._client_end, packet)

    def rebind(self) -> None:
        """Give the client another address as the server sees it, as a NAT does that forgot: the client is not told.

        Its TCP connections are unknown under that address, and the server resets them; that is how it looks outside.
        """
        with self._lock:
            self.seen_as = self._next_host()

    def move(self) -> None:
        """Give the client another address that it knows of, as a phone that changes networks: the old one is gone."""
        with self._lock:
            old, self.address = self.address, self._next_host()
            self.seen_as = self.address
        self.client.ip("address", "add", f"{self.address}/32", "dev", "path")
        self.client.ip("address", "del", f"{old}/32", "dev", "path")

    def _next_host(self) -> str:
        self._last_host += 1
        return self._host(self._last_host)

    def _host(self, last: int) -> str:
        return f"{NET}.{self._number}.{last}"

    def _end(self) -> None:
        self._closing = True
        os.eventfd_write(self._wake, 1)

    def _carry(self) -> None:
        poller = select.epoll()
        for descriptor in (self._wake, self._client_end, self._server_end):
            poller.register(descriptor, select.EPOLLIN)
        with contextlib.closing(poller):
            while not self._closing:
                with self._lock:
                    times = [link.next_due for link in (self.up, self.down)]
                waits = [max(0.0, due - time.monotonic()) for due in times if due is not None]
                poller.poll(min(waits, default=-1))
                self._take(self._client_end, self.up)
                self._take(self._server_end, self.down)
                self._give(self.up, self._server_end)
                self._give(self.down, self._client_end)

    def _take(self, descriptor: int, link: Link) -> None:
        for _ in range(BATCH):
            try:
                packet = os.read(descriptor, 65535)
            except BlockingIOError:
                return
            with self._lock:
                link.offer(packet, time.monotonic())

    def _give(self, link: Link, descriptor: int) -> None:
        with self._lock:
            for packet in link.due(time.monotonic()):
                translated = self._translated(packet, link)
                if translated is not None:
                    self._flows.deliver(packet if link is self.up else translated)
                    self._write(descriptor, translated)

    def _write(self, descriptor: int, packet: bytes | None) -> None:
        if packet is None:
            return
        try:
            os.write(descriptor, packet)
        except OSError:  # a packet that the kernel finds wrong is the sender's matter; it is counted
            self.refused += 1

    def _translated(self, packet: bytes, link: Link) -> bytes | None:
        """The packet as a NAT between the two passes it on; ``None`` for one to an address the NAT has forgotten."""
        if self.seen_as == self.address or packet[0] >> 4 != 4:
            return packet
        if link is self.up:
            return from_address(packet, self.seen_as) if source_of(packet) == self.address else packet
        if destination_of(packet) == self.seen_as:
            return to_address(packet, self.address)
        self.forgotten += 1
        return None
