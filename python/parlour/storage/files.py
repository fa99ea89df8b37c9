"""Putting files in place so that a crash, or somebody faster, never leaves half of one or takes one away."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


def name_anew(draft: Path, target: Path) -> None:
    """Give a whole file a name that nobody has; ``FileExistsError`` where another was faster. The draft may stay."""
    try:
        os.link(draft, target)
        return
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
    # Whoever makes the empty file has the name, and replaces nothing but that.
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        os.replace(draft, target)
    except BaseException:
        with contextlib.suppress(OSError):
            target.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk: a new name is else not there after a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
