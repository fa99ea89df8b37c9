"""Replacing the master key in its file, in steps after each of which every stored secret still opens.

A fresh key goes in front of the file, every secret is sealed with it in one transaction, and only then the older keys
go. Killed in between, the file holds both; the next rotation begins anew from there. A running server goes on: it looks
at the file again when it meets a key that it does not know.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from parlour.storage.errors import MasterKeyError, SealedError
from parlour.storage.files import sync_folder
from parlour.storage.sealing import sealed_with
from parlour.storage.secrets import MasterKey, fresh_key, write_key_file
from parlour.storage.store import Storage

_ROUNDS = 3


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep other rotations, and backups that take the key along, from the key file meanwhile.

    Raises ``MasterKeyError`` if one is under way. The lock is on the folder, so nothing is left behind.
    """
    try:
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise MasterKeyError(f"The folder {file.parent} of the master key cannot be read: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise MasterKeyError(f"The master key file {file} is in use by another rotation or backup.") from None
        yield
    finally:
        os.close(folder)


def add_key(file: Path) -> MasterKey:
    """Put a fresh key in front of the file, on the disk when this returns. From here on it seals."""
    there = MasterKey.there(file)
    write_key_file(file, [fresh_key(), *there.keys])
    # What is sealed with the new key is on the disk at once; the key must not be later.
    sync_folder(file.parent)
    return MasterKey.of_file(file)


async def reseal_all(storage: Storage) -> int:
    """Seal every secret with the key in front, in one transaction. Returns how many there are; ``SealedError``.

    A command that had sealed its secret just before the key was added may write it just after: so it is looked again.
    """
    for _ in range(_ROUNDS):
        count = await storage.reseal()
        if set(await storage.database.read(sealed_with)) <= {storage.master.id}:
            return count
    raise SealedError("Secrets were written with an older master key meanwhile: run the rotation again.")


def drop_older_keys(file: Path) -> None:
    """Leave the key in front alone in the file. What it did not seal cannot be opened any more."""
    there = MasterKey.of_file(file)
    write_key_file(file, there.keys[:1])
    sync_folder(file.parent)
