"""What can go wrong with the store, each with one sentence for the operator."""

from __future__ import annotations


class StorageError(Exception):
    """The store cannot be used; the text is one sentence for the operator."""


class UnwritableError(StorageError):
    """The data folder or the database in it cannot be written."""


class NewerDatabaseError(StorageError):
    """The database was written by a newer Parlour."""


class UnreadableDatabaseError(StorageError):
    """The file is there but is no database, or is damaged."""


class UnreadableRowError(StorageError):
    """A stored row holds a value that this version cannot read."""


class StoreUnreachableError(StorageError):
    """The database cannot be reached: it is gone or refuses connections."""


class StoreTimeoutError(StorageError):
    """The database did not answer in time, for example because another process holds its lock."""


class AppExistsError(StorageError):
    """There is an app with this sdkAppId already."""
