"""``parlour backup``: a copy of the account store while the server runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parlour.cli.options import StoreOptions, on_stores
from parlour.cli.output import fail, message, print_json, print_pairs
from parlour.cli.progress import Advance, progress
from parlour.cli.store import DATABASE, account_file, run_on_stores

if TYPE_CHECKING:
    from parlour.settings import Settings

KEY_FILE = "master.key"
"""As ``parlour.storage.secrets`` has it, which takes too long to import for ``--help``."""


@on_stores
def command(
    options: StoreOptions,
    to: Annotated[Path, typer.Argument(metavar="TO", help="The folder for the backup; it is made if it is missing.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an older backup in that folder.")] = False,
    with_key: Annotated[
        bool, typer.Option("--with-key", help="Copy the master key too: whoever has both can read every app's key.")
    ] = False,
) -> None:
    """Copy the account store while the server runs.

    The copy has apps, keys, accounts and blacklists as they are when it begins. It is checked, and readable for its
    owner alone. To restore it, put its files into an empty folder and start the server with that. Login states and
    counters are of the moment and not in it.
    """
    settings = options.settings()
    source = account_file(settings)
    if source is None:
        fail("The accounts are in PostgreSQL: back them up with its own tool, pg_dump, and keep the master key apart.")
    if not source.exists():
        fail(f"There is no database {source}: choose another folder with --data.")
    to = to.expanduser()
    if to.resolve() == source.parent.resolve():
        fail(f"{to} is the folder of the database itself: choose another.")
    key = _key_to_copy(settings) if with_key else None
    if key is not None and to.resolve() == key.parent.resolve():
        fail(f"{to} is the folder of the master key itself: choose another.")
    # Under these names the folder is a data folder that a server starts with.
    files = [to / name for name in (DATABASE, *([] if key is None else [KEY_FILE]))]
    _prepare(to, files, force)
    with _no_server_in(to), progress("copying", source.stat().st_size) as advance:
        size = run_on_stores(_back_up(source, files, key, force, advance))
    if options.as_json:
        print_json({"files": [str(file) for file in files], "bytes": size})
        return
    print_pairs([("backup", files[0]), ("size", f"{size} bytes"), ("checked", "ok")])
    if key is not None:
        print_pairs([("key", files[1])])
        message("\nKey and database are in one folder now: whoever reads it can sign for every app.")
    else:
        message("\nThe master key is not in it, and nothing opens without: keep a copy of it apart (--with-key).")


async def _back_up(source: Path, files: list[Path], key: Path | None, force: bool, advance: Advance) -> int:
    from parlour.storage import MasterKey
    from parlour.storage.backup import back_up
    from parlour.storage.rotation import locked

    copied = 0

    def told(done: int, _: int) -> None:
        nonlocal copied
        advance(done - copied)
        copied = done

    # The key that is copied has to be the one of the copy: no rotation in between.
    with contextlib.nullcontext() if key is None else locked(key):
        keys = [] if key is None else MasterKey.of_file(key).keys
        return await back_up(source, files[0], keys=keys, replace=force, progress=told)


def _prepare(to: Path, files: list[Path], force: bool) -> None:
    try:
        to.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        fail(f"The folder {to} cannot be made: {error.strerror}.")
    for file in files:
        if file.exists() and not force:
            fail(f"There is a backup already, {file}: choose another folder, or say --force to replace it.")
    older = to / KEY_FILE
    if older not in files and older.exists():
        fail(f"The key of an older backup, {older}, may not open this one: move it away, or say --with-key.")


@contextlib.contextmanager
def _no_server_in(to: Path) -> Iterator[None]:
    """A server that started from an older backup would go on in a file without a name, and lose all it writes."""
    from parlour.storage import StorageError
    from parlour.storage.folder_lock import LOCK_FILE, sole_server

    with contextlib.ExitStack() as stack:
        if (to / LOCK_FILE).exists():
            try:
                stack.enter_context(sole_server(to))
            except StorageError:
                fail(f"{to} is the data folder of a server that runs: choose another.")
        yield


def _key_to_copy(settings: Settings) -> Path:
    from parlour.cli.master_key import key_file

    file = key_file(settings)
    if file is None:
        fail("The master key is in PARLOUR_MASTER_KEY or the settings, not in a file: leave --with-key out.")
    if not file.exists():
        fail(f"There is no master key {file} to copy: leave --with-key out.")
    return file
