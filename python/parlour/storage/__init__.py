"""The account store."""

from parlour.storage.errors import (
    AppExistsError,
    NewerDatabaseError,
    StorageError,
    StoreTimeoutError,
    StoreUnreachableError,
    UnreadableDatabaseError,
    UnreadableRowError,
    UnwritableError,
)
from parlour.storage.store import App, AppState, Storage

__all__ = [
    "App",
    "AppExistsError",
    "AppState",
    "NewerDatabaseError",
    "Storage",
    "StorageError",
    "StoreTimeoutError",
    "StoreUnreachableError",
    "UnreadableDatabaseError",
    "UnreadableRowError",
    "UnwritableError",
]
