"""Commands and the stores: open those that the server would use, say in one sentence why they cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from parlour.cli.output import fail, message

if TYPE_CHECKING:
    from parlour.settings import Settings
    from parlour.storage import App, MasterKey, Storage

Result = TypeVar("Result")
DATABASE = "parlour.db"

PATIENCE = 600.0
"""Seconds that the store has for work on many rows, where nobody waits as a client does at a login."""


def server_settings(data: str | None, config: Path | None = None) -> Settings:
    """The settings that a server started with the same ``--data``, ``--config`` and environment would have."""
    if data is not None and not data:
        raise typer.BadParameter("the name of the folder is empty", param_hint="--data")
    return loaded_settings(config, {"data": data})


def loaded_settings(config: Path | None, overrides: Mapping[str, object]) -> Settings:
    """The settings with what the command line gives; what cannot be used ends the command with its sentence."""
    from parlour.settings import SettingsError, load_settings

    try:
        return load_settings(config, overrides, warn=message)
    except SettingsError as error:
        fail(str(error))


def has_database() -> bool:
    """Whether there is an account store where the environment says. One in PostgreSQL counts as being there."""
    file = account_file(server_settings(None))
    return file is None or file.exists()


def account_file(settings: Settings) -> Path | None:
    """The SQLite file of the account store; None if it is in PostgreSQL."""
    if not settings.database:
        return settings.data / DATABASE
    if settings.database.startswith("postgres"):
        return None
    from parlour.storage.database import dialect_of
    from parlour.storage.sqlite import Sqlite

    dialect = dialect_of(settings.database, settings.data / DATABASE, timeout=settings.limits.store_timeout)
    return dialect.file if isinstance(dialect, Sqlite) else None


def on_storage(
    settings: Settings,
    work: Callable[[Storage], Awaitable[Result]],
    *,
    create: bool = False,
    patient: bool = False,
    master: MasterKey | None = None,
) -> Result:
    """Run ``work`` on the account store. Without ``create`` a folder that has none is a failure and stays as it is.

    ``patient``: each step may take ``PATIENCE`` seconds.
    """
    place = account_file(settings)
    if settings.data.exists() and not settings.data.is_dir():
        fail(f"The data folder {settings.data} cannot be used: it is a file. Choose another with --data.")
    if not create and place is not None and not place.exists():
        fail(
            f"There are no apps in {place.parent} yet: make one with `parlour app create ID`, or choose a folder with "
            "--data."
        )
    from parlour.account_system import master_key
    from parlour.storage import Storage

    timeout = PATIENCE if patient else settings.limits.store_timeout

    async def run() -> Result:
        key = master or master_key(settings)
        async with await Storage.open(settings.data, url=settings.database, master=key, timeout=timeout) as storage:
            return await work(storage)

    return run_on_stores(run())


def run_on_stores(work: Coroutine[Any, Any, Result]) -> Result:
    """Run it to its end; a store that cannot be used ends the command with its sentence."""
    from parlour.logs import configure_logs
    from parlour.storage import StorageError

    # Else warnings would go to stdout, in between the result. What fails is told as a sentence, not as a log.
    configure_logs("error", as_json=False, lasting=False)
    try:
        return asyncio.run(work)
    except StorageError as error:
        fail(str(error))


async def known_app(storage: Storage, sdk_app_id: int) -> App:
    """The app of that number; a command that names another ends here."""
    app = await storage.get_app(sdk_app_id)
    if app is None:
        fail(f"There is no app {sdk_app_id} in {storage.database.dialect.where}: see `parlour app list`.")
    return app
