"""The listening socket: accepts what the doorkeeper admits, and outlives that there are no descriptors left.

The event loop could accept too, but neither counts nor says when it cannot.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache

from parlour.accounts.sources import counted_source
from parlour.doorkeeper import Doorkeeper, Slot

ACCEPTS_A_TURN = 16
"""Connections taken in one turn of the loop, so that a flood of them does not hold up those that are there."""

EXHAUSTED_PAUSE = 0.2
"""Seconds without accepting after there was not even the descriptor to refuse with."""

RESERVED_DESCRIPTORS = 48
"""Descriptors that connections leave to databases, media and look-ups."""

LEAST_CONNECTIONS = 16

_OUT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

Protocols = Callable[[Slot], asyncio.Protocol]


class Listener:
    """Accepts on a socket that listens, from ``start`` to ``stop``.

    ``protocols`` makes the protocol of a connection; ``tell`` gets a line of the log and its fields.
    """

    def __init__(
        self,
        listening: socket.socket,
        door: Doorkeeper,
        protocols: Protocols,
        tell: Callable[..., None],
        *,
        context: ssl.SSLContext | None = None,
        handshake_timeout: float = 10.0,
        uncounted: Sequence[str] = (),
    ) -> None:
        self._socket = listening
        self._door = door
        self._protocols = protocols
        self._tell = tell
        self._tls = {} if context is None else {"ssl": context, "ssl_handshake_timeout": handshake_timeout}
        self._uncounted = tuple(ipaddress.ip_network(network, strict=False) for network in uncounted)
        self._is_uncounted = lru_cache(maxsize=1024)(self._look_up)
        self._opening: set[asyncio.Task[None]] = set()
        self._reserve: int | None = None
        self._running = False

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._door)

    def start(self) -> None:
        """Accept from now on, in the running loop."""
        self._socket.setblocking(False)
        self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._running = True
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def stop(self) -> None:
        """Accept no more; what is half open is dropped. Idempotent."""
        if not self._running:
            return
        self._running = False
        asyncio.get_running_loop().remove_reader(self._socket)
        self._give_reserve_up()
        for task in self._opening:
            task.cancel()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            if not self._running:
                return
            try:
                connection, address = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _OUT or not self._refuse_one(error):
                    self._pause(error)
                    return
                continue
            self._admit(connection, str(address[0]))

    def _admit(self, connection: socket.socket, host: str) -> None:
        task: asyncio.Task[None] | None = None

        def drop() -> None:
            if task is not None:
                task.cancel()

        source = None if self._is_uncounted(host) else counted_source(host)
        before = len(self._door)
        slot = self._door.admit(source, drop)
        if slot is None or len(self._door) <= before:
            limits = self._door.limits
            self._tell(
                "connections refused" if slot is None else "connections closed to make room for others",
                source=source or host,
                connections=len(self._door),
                most=limits.connections,
                most_of_a_source=limits.per_source,
                most_without_a_login=limits.strangers_per_source,
            )
        if slot is None:
            with contextlib.suppress(OSError):
                if not self._tls:
                    connection.send(_BUSY)
            connection.close()
            return
        task = asyncio.get_running_loop().create_task(self._open(connection, slot))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket, slot: Slot) -> None:
        protocol = self._protocols(slot)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, connection, **self._tls)  # type: ignore[arg-type]
        except asyncio.CancelledError:
            slot.release()
            connection.close()
            raise
        except OSError:  # TLS that is none, or too late; a peer that is gone. It has learnt all there is to say.
            slot.release()
            connection.close()
        except BaseException:
            slot.release()
            connection.close()
            raise

    def _refuse_one(self, error: OSError) -> bool:
        """With the descriptor in reserve take one connection and close it: else it waits, and the loop spins."""
        if self._reserve is None:
            return False
        self._give_reserve_up()
        with contextlib.suppress(OSError):
            self._socket.accept()[0].close()
        with contextlib.suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._tell("connections refused: no descriptors left", reason=error.strerror, connections=len(self._door))
        return self._reserve is not None

    def _pause(self, error: OSError) -> None:
        self._tell("not accepting for a moment", reason=error.strerror, connections=len(self._door))
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.call_later(EXHAUSTED_PAUSE, self._go_on)

    def _go_on(self) -> None:
        if not self._running:
            return
        if self._reserve is None:
            with contextlib.suppress(OSError):
                self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _give_reserve_up(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _look_up(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self._uncounted)


def descriptors_for_connections() -> int:
    """How many connections this process may hold: the limit of descriptors, raised as far as it may be, less ours."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft == resource.RLIM_INFINITY:
        return 2**31
    return max(LEAST_CONNECTIONS, soft - len(os.listdir("/proc/self/fd")) - RESERVED_DESCRIPTORS)
