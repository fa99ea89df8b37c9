"""A copy of an SQLite store while a server writes to it, and of the keys that open it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from parlour.storage.errors import (
    MasterKeyError,
    StorageError,
    StoreTimeoutError,
    StoreUnreachableError,
    UnreadableDatabaseError,
    UnwritableError,
)
from parlour.storage.files import name_anew, sync_folder
from parlour.storage.secrets import KEY_FILE, MasterKey, write_key_file

STEP_BYTES = 4 * 1024 * 1024
"""Bytes that are copied between two looks at whether to go on."""

LOCK_TIMEOUT = 10.0
"""Seconds to wait for a lock of the store; a server holds one for milliseconds at a time."""

_LEFTOVERS = ("-wal", "-shm", "-journal")

Progress = Callable[[int, int], None]
"""Told the bytes that are copied and the size of it all."""


class _Abandoned(Exception):
    """Nobody waits for the copy any more."""


async def back_up(
    source: Path,
    target: Path,
    *,
    keys: Sequence[bytes] = (),
    replace: bool = False,
    progress: Progress | None = None,
) -> int:
    """Copy the SQLite database ``source`` as it is at this moment into the file ``target``. Returns its size in bytes.

    Everything that was committed before is in it, and of what is written meanwhile nothing. The copy is checked
    (``PRAGMA integrity_check``) before it takes its name, and only its owner may read it. ``keys``, the one that seals
    first, go into the ``master.key`` beside it, which opens the database there at every moment.

    Raises a ``StorageError``. An older ``target`` stays as it is then, unless all that failed was what comes after its
    replacement: having it on the disk, and taking the older keys out. Without ``replace`` an older file always stays.
    """
    abandoned = threading.Event()

    def report(copied: int, size: int) -> None:
        if abandoned.is_set():
            raise _Abandoned
        if progress is not None:
            progress(copied, size)

    try:
        return await asyncio.to_thread(_back_up, source, target, list(keys), replace, report)
    except asyncio.CancelledError:
        abandoned.set()
        raise


def _back_up(source: Path, target: Path, keys: list[bytes], replace: bool, report: Progress) -> int:
    for file in (target, *([target.with_name(KEY_FILE)] if keys else [])):
        if file.exists() and not replace:
            raise UnwritableError(f"There is a file {file} already.")
    for leftover in (target.with_name(target.name + ending) for ending in _LEFTOVERS):
        # SQLite would take it for changes to the new file, and damage it with them.
        if leftover.exists():
            raise UnwritableError(
                f"Beside {target} there is {leftover.name}: a database that is in use, or was when its server died. "
                "Choose another folder."
            )
    draft = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        _copy(source, draft, report)
        size = draft.stat().st_size
        with _keys_beside(target, keys, replace) if keys else contextlib.nullcontext():
            _publish(draft, target, replace)
        return size
    except OSError as error:
        raise UnwritableError(f"The backup {target} cannot be written: {error.strerror}.") from None
    finally:
        for file in (draft, *(draft.with_name(draft.name + ending) for ending in _LEFTOVERS)):
            with contextlib.suppress(OSError):
                file.unlink()


def _copy(source: Path, draft: Path, report: Progress) -> None:
    with _failures(source, draft), _opened(source) as reading, _opened(draft) as writing:
        # One snapshot for the whole copy: without it SQLite begins anew whenever the server writes in between.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        page_size = int(reading.execute("PRAGMA page_size").fetchone()[0])

        def told(_: int, left: int, pages: int) -> None:
            report((pages - left) * page_size, pages * page_size)

        reading.backup(writing, pages=max(1, STEP_BYTES // page_size), progress=told)
        reading.execute("ROLLBACK")
        # A copy is one file: without this its first reader would leave two more beside it.
        writing.execute("PRAGMA journal_mode=DELETE")
        found = [row[0] for row in writing.execute("PRAGMA integrity_check(1)")]
        if found != ["ok"]:
            raise UnreadableDatabaseError(f"{source} is damaged, and so is every copy of it: {found[0]}.")


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    address = f"{file.resolve().as_uri()}?mode=rw"  # never made: a store that is not there is told
    with contextlib.closing(
        sqlite3.connect(address, uri=True, timeout=LOCK_TIMEOUT, isolation_level=None)
    ) as connection:
        yield connection


@contextlib.contextmanager
def _failures(source: Path, draft: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _failure(error, source, draft) from error


def _failure(error: sqlite3.Error, source: Path, draft: Path) -> StorageError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreTimeoutError(f"The database {source} is locked by another process.")
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return UnreadableDatabaseError(f"{source} is damaged or no database: {error}.")
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR | sqlite3.SQLITE_READONLY:
            return UnwritableError(f"The backup in {draft.parent} cannot be written: {error}.")
    return StoreUnreachableError(f"The database {source} cannot be copied: {error}.")


@contextlib.contextmanager
def _keys_beside(target: Path, keys: list[bytes], replace: bool) -> Iterator[None]:
    """Let the key file open the database that is there and the one that replaces it meanwhile, and this one alone then.

    Whenever the process dies in between, the database opens with the file beside it.
    """
    file = target.with_name(KEY_FILE)
    published, missing = _inode(target), not file.exists()
    older = [key for key in _older_keys(file) if key not in keys]
    write_key_file(file, [*keys, *older], keep=not replace)
    if not replace and MasterKey.of_file(file).keys != keys:
        raise UnwritableError(f"There is a file {file} already.")  # another backup was faster
    try:
        sync_folder(file.parent)  # the key is on the disk before the database that nothing else opens
        yield
    except BaseException:
        if missing and _inode(target) == published:
            with contextlib.suppress(OSError):
                file.unlink()  # it opens nothing that is here
        raise
    if older:
        write_key_file(file, keys)
        sync_folder(file.parent)


def _older_keys(file: Path) -> list[bytes]:
    if not file.exists():
        return []
    try:
        return MasterKey.of_file(file).keys
    except MasterKeyError as error:
        raise MasterKeyError(
            f"The key of the older backup cannot be kept until that is replaced: choose another folder, or move {file} "
            f"away. {error}"
        ) from None


def _inode(file: Path) -> int | None:
    try:
        return file.stat().st_ino
    except OSError:
        return None


def _publish(draft: Path, target: Path, replace: bool) -> None:
    """Give the checked copy its name, durably."""
    descriptor = os.open(draft, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if replace:
        os.replace(draft, target)
    else:
        name_anew(draft, target)
    sync_folder(target.parent)
