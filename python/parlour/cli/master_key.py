"""``parlour master-key``: the key that seals the stored secrets."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from parlour.cli.options import StoreOptions, command_group, on_stores
from parlour.cli.output import Refused, fail, message, print_json, print_line, print_pairs
from parlour.cli.store import on_storage
from parlour.cli.tables import counted

if TYPE_CHECKING:
    from parlour.settings import Settings
    from parlour.storage import MasterKey, Storage

command = command_group("Show and replace the key that seals stored secrets.")


@command.command("show")
@on_stores
def show(options: StoreOptions) -> None:
    """Show which master key seals, and where it is kept. It has an id for that; the key itself is never shown."""
    settings = options.settings()
    file = key_file(settings)
    if file is not None and not file.exists():
        fail(
            f"There is no master key {file} yet: `parlour serve` or `parlour app create` makes one for a new "
            "data folder."
        )
    master, sealed = on_storage(settings, _look)
    others = {key_id: count for key_id, count in sorted(sealed.items()) if key_id != master.id}
    known = [other.id for other in _others(master)]
    place = "the setting master_key or PARLOUR_MASTER_KEY" if file is None else str(file)
    if options.as_json:
        print_json(
            {
                "keyId": master.id,
                "file": None if file is None else str(file),
                "secrets": sealed[master.id],
                "olderKeyIds": known,
                "sealedWithOthers": others,
            }
        )
        return
    pairs: list[tuple[str, object]] = [
        ("key id", master.id),
        ("kept in", place),
        ("secrets sealed with it", sealed[master.id]),
    ]
    if known:
        pairs.append(("older keys there", ", ".join(known)))
    pairs += [(f"sealed with {key_id}", count) for key_id, count in others.items()]
    print_pairs(pairs)
    missing = [key_id for key_id in others if key_id not in known]
    if missing:
        message(f"\nWhat is sealed with {', '.join(missing)} does not open (70212): that key is not here.")
    elif others or known:
        message("\n`parlour master-key rotate` seals everything with one fresh key.")


@command.command("rotate")
@on_stores
def rotate(options: StoreOptions) -> None:
    """Seal every stored secret anew, with a fresh master key. A running server goes on with it.

    With a key file the fresh key is made and the old one removed. With PARLOUR_MASTER_KEY="new,old" every secret is
    sealed with the first one.
    """
    settings = options.settings()
    file = key_file(settings)
    if file is None:
        _rotate_setting(settings, options.as_json)
    else:
        _rotate_file(settings, file, options.as_json)


def key_file(settings: Settings) -> Path | None:
    """The file of the master key, links followed; None if the key is a setting."""
    from parlour.storage.secrets import KEY_FILE

    if settings.master_key:
        return None
    return (settings.master_key_file or settings.data / KEY_FILE).resolve()


def _rotate_file(settings: Settings, file: Path, as_json: bool) -> None:
    from parlour.storage import StorageError
    from parlour.storage.rotation import add_key, drop_older_keys, locked, reseal_all

    if file.exists() and file.stat().st_uid != os.geteuid():
        # A file of ours in its place could not be read by the server, which runs as somebody else.
        fail(f"The master key file {file} belongs to another user: run this as the user that the server runs as.")
    # What does not open now would be lost together with the old key; nothing is changed yet.
    on_storage(settings, _check)
    try:
        with locked(file):
            master = add_key(file)
            try:
                count = on_storage(settings, reseal_all, patient=True, master=master)
            except Refused as refusal:
                fail(f"{refusal} The older key is still in {file}, so everything opens as before: run it again.")
            drop_older_keys(file)
    except StorageError as error:
        fail(str(error))
    if as_json:
        print_json({"keyId": master.id, "file": str(file), "secrets": count})
        return
    print_line(f"{counted(count, 'secret')} sealed anew. The master key is now {master.id}, in {file}.")
    message("Backups made until now need the key of then: keep your copy of it as long as you keep them.")


def _rotate_setting(settings: Settings, as_json: bool) -> None:
    from parlour.account_system import master_key
    from parlour.storage import StorageError
    from parlour.storage.rotation import reseal_all

    try:
        master = master_key(settings)
    except StorageError as error:
        fail(str(error))
    if len(master.keys) < 2:
        fail(
            "PARLOUR_MASTER_KEY holds one key. Put a fresh one (`openssl rand -hex 32`) and a comma before it, restart "
            "the server with that, then run this again with the same."
        )
    count = on_storage(settings, reseal_all, patient=True, master=master)
    if as_json:
        print_json({"keyId": master.id, "file": None, "secrets": count})
        return
    print_line(f"{counted(count, 'secret')} sealed anew with master key {master.id}, the first in PARLOUR_MASTER_KEY.")
    message("The other key is not needed any more, but by backups made until now: drop it, and restart the server.")


async def _look(storage: Storage) -> tuple[MasterKey, Counter[str]]:
    from parlour.storage.sealing import sealed_with

    return storage.master, await storage.database.read(sealed_with)


async def _check(storage: Storage) -> None:
    await storage.list_apps()
    await storage.token_secret()


def _others(master: MasterKey) -> list[MasterKey]:
    from parlour.storage import MasterKey

    return [MasterKey([key]) for key in master.keys[1:]]
