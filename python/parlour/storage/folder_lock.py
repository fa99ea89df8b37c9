"""One server a data folder: a second would take the first one's logins for those of a crash, and void them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from parlour.storage.errors import StorageError, UnwritableError

LOCK_FILE = "server.lock"
"""In the data folder. It stays there: what counts is who has it locked, and a crash gives the lock back."""

_LONGEST_PID = 20


@contextlib.contextmanager
def sole_server(data: Path) -> Iterator[None]:
    """Be the one server of a data folder that exists. Raises ``StorageError`` with the holder's process id.

    The lock (flock(2)) belongs to the open file, so that it ends with the process, however that ends.
    """
    file = data / LOCK_FILE
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UnwritableError(
            f"The data folder {data} cannot be written: {error.strerror}. Choose another with --data."
        ) from None
    try:
        _lock(descriptor, data)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, data: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, _LONGEST_PID, 0).decode("ascii", "replace").strip()
        who = f"process {holder}" if holder.isdecimal() else "another process"
        raise StorageError(
            f"The data folder {data} is in use by a server that runs already ({who}): stop that one, or give this one "
            "a folder of its own with --data."
        ) from None
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.EINVAL}:
            raise
        raise StorageError(
            f"The data folder {data} cannot be locked: its file system has no locks ({error.strerror}). Choose a "
            "folder on another one with --data."
        ) from None
