"""A TCP download beside a call: what another program on the same machine takes of its path."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from tests.network import Namespace

PIECE = bytes(64 * 1024)
PATIENCE = 10.0
"""Seconds that either end waits for the other."""


class Download:
    """From a server's network into a guest's, as fast as TCP gets it there, while the ``with`` block lasts."""

    def __init__(self, server: Namespace, address: str, guest: Namespace) -> None:
        self._listening = server.socket(socket.SOCK_STREAM, address)
        self._reading = guest.socket(socket.SOCK_STREAM)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._serve, self._read)]

    def __enter__(self) -> Self:
        self._listening.listen(1)
        for end in (self._listening, self._reading):
            end.settimeout(PATIENCE)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._reading.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._reading.close()
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listening.accept()
            connection.settimeout(PATIENCE)
            with connection:
                while not self._over.is_set():
                    connection.sendall(PIECE)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            self._reading.connect(self._listening.getsockname())
            while self._reading.recv(len(PIECE)) and not self._over.is_set():
                pass
