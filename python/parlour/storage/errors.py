"""What can go wrong with a store, each with one sentence for the operator."""

from __future__ import annotations


class StorageError(Exception):
    """The store cannot be used; the text is one sentence for the operator."""


class UnwritableError(StorageError):
    """The store is read-only or its disk is full."""


class NewerDatabaseError(StorageError):
    """The database was written by a newer Parlour."""


class UnreadableDatabaseError(StorageError):
    """What is there is no database of Parlour, is damaged, or has not the tables of this version."""


class UnreadableRowError(StorageError):
    """A stored row holds a value that this version cannot read."""


class StoreUnreachableError(StorageError):
    """The database cannot be reached: it is gone or refuses connections."""


class StoreTimeoutError(StorageError):
    """The database did not answer within the deadline, for example because another process holds its lock."""


class LockedError(StoreTimeoutError):
    """Another process holds the database's lock, and nothing was written meanwhile: all that helps is to wait."""


class ConflictError(StorageError):
    """A write met another one and was returned; it is tried again a few times before this comes out."""


class ContendedError(ConflictError):
    """Others wrote while a write waited for its turn. It says nothing about what was to be written."""


class SealedError(StorageError):
    """A stored secret cannot be opened: it was sealed with a master key that this server does not have."""


class MasterKeyError(StorageError):
    """The master key is missing, malformed, or readable for others."""


class AccountTypeUnreadableError(StorageError):
    """The look-up of an account type failed, while the rest of the store answers."""


class AppExistsError(StorageError):
    """There is an app with this sdkAppId already."""


class NoSuchAppError(StorageError):
    """There is no app with this sdkAppId."""


class NoSuchAccountTypeError(StorageError):
    """There is no account type of this number."""


class KeyExistsError(StorageError):
    """The app has this key already."""


class LastKeyError(StorageError):
    """The key is the last one of its kind, and was to stay then."""


class AccountLimitError(StorageError):
    """The app has as many accounts as it may have."""
