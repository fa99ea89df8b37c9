"""``parlour app key``: the keys of an app. Any of them verifies, so a new one goes in before an old one goes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parlour.cli.arguments import AppArgument, parse_number, parse_secret, read_public_key
from parlour.cli.options import StoreOptions, command_group, on_stores
from parlour.cli.output import fail, message, print_json, print_pairs, when
from parlour.cli.store import known_app
from parlour.cli.tables import print_table

if TYPE_CHECKING:
    from parlour.storage import Storage, StoredKey

command = command_group("List, add and remove the keys of an app. With several keys, any of them verifies.")


@command.command("list")
@on_stores
def list_keys(
    options: StoreOptions,
    sdk_app_id: AppArgument,
    keys: Annotated[bool, typer.Option("--keys", help="Show the keys themselves too.")] = False,
) -> None:
    """List the keys of an app, the oldest first."""

    async def work(storage: Storage) -> tuple[StoredKey, ...]:
        await known_app(storage, sdk_app_id)
        return await storage.keys(sdk_app_id)

    found = options.run(work)
    if options.as_json:
        print_json([_as_json(key, shown=keys) for key in found])
        return
    if not found:
        message(f"App {sdk_app_id} has no keys: add one with `parlour app key add {sdk_app_id}`.")
        return
    from parlour.usersig import fingerprint

    columns = ("number", "kind", "fingerprint", "made", *(("key",) if keys else ()))
    rows = [
        (key.id, key.kind, fingerprint(key.value), when(key.created_at), *((_shown(key),) if keys else ()))
        for key in found
    ]
    print_table(columns, rows, fold=("key",))


@command.command("add")
@on_stores
def add(
    options: StoreOptions,
    sdk_app_id: AppArgument,
    key: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The secret key; - reads it from standard input. Default: a fresh one."),
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of an EC public key (P-256 or secp256k1).")
    ] = None,
) -> None:
    """Give an app one more key and print it. The keys it has go on to verify until they are removed."""
    if key is not None and public_key is not None:
        raise typer.BadParameter("give a secret key or a public one, not both", param_hint="--public-key")
    pem = None if public_key is None else read_public_key(public_key)
    secret = None if key is None else parse_secret(key, "--key")

    async def work(storage: Storage) -> StoredKey:
        await known_app(storage, sdk_app_id)
        now = int(time.time())
        if pem is not None:
            return await storage.add_public_key(sdk_app_id, pem, now=now)
        return await storage.add_secret(sdk_app_id, now=now, secret=secret)

    made = options.run(work)
    if options.as_json:
        print_json(_as_json(made, shown=True))
        return
    print_pairs([("number", made.id), ("kind", made.kind), ("key", _shown(made))])
    message("\nThe older keys verify too. When nothing signs with one any more:")
    message(f"parlour app key remove {sdk_app_id} NUMBER (the numbers: parlour app key list {sdk_app_id})")


@command.command("remove")
@on_stores
def remove(
    options: StoreOptions,
    sdk_app_id: AppArgument,
    number: Annotated[str, typer.Argument(metavar="KEYNUMBER", help="As `parlour app key list` shows it.")],
    force: Annotated[bool, typer.Option("--force", help="Even if it is the last key of its kind.")] = False,
) -> None:
    """Take a key away. What is signed with it is refused at once (70009)."""
    key_id = parse_number(number, "KEYNUMBER", least=1)

    async def work(storage: Storage) -> None:
        await known_app(storage, sdk_app_id)
        from parlour.storage import LastKeyError

        try:
            if not await storage.remove_key(sdk_app_id, key_id, last=force):
                fail(f"App {sdk_app_id} has no key {key_id}: see `parlour app key list {sdk_app_id}`.")
        except LastKeyError as error:
            fail(
                f"{str(error).rstrip('.')}: without it nothing verifies that is signed its way. Add another first, or "
                "say --force."
            )

    options.run(work)
    options.say(
        {"sdkAppId": sdk_app_id, "number": key_id, "removed": True},
        f"Key {key_id} of app {sdk_app_id} is removed: what is signed with it is refused with 70009.",
    )


def _as_json(key: StoredKey, *, shown: bool) -> dict[str, Any]:
    from parlour.usersig import fingerprint

    told = {"number": key.id, "kind": key.kind, "fingerprint": fingerprint(key.value), "createdAt": key.created_at}
    return told | ({"key": key.value} if shown else {})


def _shown(key: StoredKey) -> str:
    """A secret as it is, of a public key the text between the lines of its PEM form."""
    return key.value if key.kind == "secret" else "".join(key.value.strip().splitlines()[1:-1])
