"""``parlour app``: make and list apps."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parlour.cli.output import DataOption, JsonOption, console, fail, message, print_json, print_pairs, visible, when
from parlour.cli.store import data_folder, with_storage

if TYPE_CHECKING:
    from parlour.storage import App, Storage

command = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Make and list apps, and see their keys."
)

MAX_ID = 2**32 - 1


@command.command("create")
def create(
    app_id: Annotated[str, typer.Argument(metavar="ID", help="The sdkAppId: a number from 1 to 4294967295.")],
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    key: Annotated[
        str | None, typer.Option(help="The secret key; for moving an app here with its key. Default: a fresh one.")
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="PEM file of an EC public key, for UserSigs of version 1."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an app and print its sdkAppId and key. A running server knows it at once."""
    sdk_app_id = parse_app_id(app_id)
    if key is not None and not re.fullmatch(r"[!-~]{16,256}", key):
        raise typer.BadParameter("a key has 16 to 256 visible ASCII characters", param_hint="--key")
    public_keys = () if public_key is None else (_read_public_key(public_key),)

    from parlour.storage import AppExistsError

    async def work(storage: Storage) -> App | None:
        try:
            return await storage.create_app(
                sdk_app_id, now=int(time.time()), name=name, secret=key, public_keys=public_keys
            )
        except AppExistsError:
            return None

    made = with_storage(data, work, create=True)
    if made is None:
        fail(f"There is an app {sdk_app_id} already in {data_folder(data)}. Its key: `parlour app list --keys`.")
    secret = made.keys.secrets[0]
    if as_json:
        print_json({"sdkAppId": sdk_app_id, "key": secret, "name": name})
        return
    print_pairs([("sdkAppId", sdk_app_id), ("key", secret)])
    message("\nThe key signs UserSigs: it belongs on your back end, never into a page.")
    message(f"Try it: parlour usersig sign --app {sdk_app_id} --user ann" + (f" --data {data}" if data else ""))


@command.command("list")
def list_apps(
    keys: Annotated[bool, typer.Option("--keys", help="Show the secret keys too.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the apps of this server."""

    async def work(storage: Storage) -> tuple[App, ...]:
        return await storage.list_apps()

    found = with_storage(data, work)
    if as_json:
        print_json([_as_json(app, keys) for app in found])
        return
    if not found:
        message("There are no apps yet: make one with `parlour app create ID`.")
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("sdkAppId", no_wrap=True)
    table.add_column("name", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("made", no_wrap=True)
    table.add_column("key" if keys else "keys", overflow="fold")
    for app in found:
        shown = "\n".join(app.keys.secrets) if keys else _counted(app)
        table.add_row(str(app.sdk_app_id), visible(app.name), app.state, when(app.created_at), shown)
    console().print(table)


def parse_app_id(text: str) -> int:
    """An sdkAppId from the command line; a wrong one is wrong usage."""
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= MAX_ID:
        raise typer.BadParameter(f"{text!r} is no sdkAppId: it is a number from 1 to {MAX_ID}")
    return int(text)


def _counted(app: App) -> str:
    public = len(app.keys.public_keys)
    return f"{len(app.keys.secrets)} secret" + (f", {public} public" if public else "")


def _as_json(app: App, keys: bool) -> dict[str, object]:
    shown: dict[str, object] = {
        "sdkAppId": app.sdk_app_id,
        "name": app.name,
        "state": app.state,
        "createdAt": app.created_at,
    }
    if keys:
        shown |= {"keys": list(app.keys.secrets), "publicKeys": list(app.keys.public_keys)}
    return shown


def _read_public_key(path: Path) -> str:
    from parlour.usersig import KeyRefusedError, load_public_key

    try:
        pem = path.read_text(encoding="ascii")
        load_public_key(pem)
    except OSError as error:
        fail(f"The key file {path} cannot be read: {error.strerror}.")
    except UnicodeDecodeError:
        fail(f"The key file {path} is no PEM text.")
    except KeyRefusedError as error:
        fail(f"The key in {path} is refused. {error}")
    return pem
