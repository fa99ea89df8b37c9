"""Commands and the store: open the data folder that the server would use, say in one sentence why it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from parlour.cli.output import fail

if TYPE_CHECKING:
    from parlour.storage import Storage

Result = TypeVar("Result")
DATABASE = "parlour.db"


def data_folder(data: str | None) -> Path:
    """The folder of ``--data``, else of the environment, else the default."""
    if data is not None:
        if not data:
            raise typer.BadParameter("the name of the folder is empty", param_hint="--data")
        return Path(data).expanduser()
    from parlour.settings import SettingsError, load_settings

    try:
        return load_settings().data
    except SettingsError as error:
        fail(str(error))


def with_storage(data: str | None, work: Callable[[Storage], Awaitable[Result]], *, create: bool = False) -> Result:
    """Run ``work`` on the store. Without ``create`` a folder that has no database is a failure and stays as it is."""
    folder = data_folder(data)
    if folder.exists() and not folder.is_dir():
        fail(f"The data folder {folder} cannot be used: it is a file. Choose another with --data.")
    if not create and not (folder / DATABASE).exists():
        fail(
            f"There are no apps in {folder} yet: make one with `parlour app create ID`, or choose a folder with --data."
        )
    from parlour.storage import Storage, StorageError

    async def run() -> Result:
        async with await Storage.open(folder) as storage:
            return await work(storage)

    try:
        return asyncio.run(run())
    except StorageError as error:
        fail(str(error))


def has_database(data: str | None) -> bool:
    """Whether the folder has a database at all."""
    return (data_folder(data) / DATABASE).exists()
