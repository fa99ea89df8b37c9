"""``parlour app``: make apps, look at them and change them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parlour.cli import app_admins, app_keys, app_types, app_verification
from parlour.cli.app_view import STATES, app_as_json, app_pairs, counted_keys
from parlour.cli.arguments import (
    AppArgument,
    parse_app_id,
    parse_name,
    parse_number_or,
    parse_one_of,
    parse_secret,
    parse_some_of,
    read_public_key,
)
from parlour.cli.options import StoreOptions, command_group, on_stores
from parlour.cli.output import fail, message, print_json, print_pairs, when
from parlour.cli.store import known_app
from parlour.cli.tables import counted, print_table
from parlour.protocol.words import MAX_SDK_APP_ID

if TYPE_CHECKING:
    from parlour.storage import App, Storage

command = command_group("Make, show and change apps and their keys. A running server sees every change at once.")
command.add_typer(app_keys.command, name="key")
command.add_typer(app_admins.command, name="admin")
command.add_typer(app_types.command, name="types")

TypeOption = Annotated[
    str | None,
    typer.Option("--account-type", metavar="N|none", help="The account type it is under. New apps: 0."),
]
OwnerOption = Annotated[
    str | None,
    typer.Option("--owner", metavar="UIN|none", help="Number of the operator it belongs to. New apps: none."),
]
RegistrationOption = Annotated[
    str | None,
    typer.Option(
        "--registration",
        metavar="automatic|imported",
        help="Whether a first login makes the account, or only imported ones log in. New apps: automatic.",
    ),
]
KindsOption = Annotated[
    str | None,
    typer.Option("--kinds", metavar="LIST", help="Kinds of account it takes. New apps: plain,phone,email,tls."),
]
PermissionOption = Annotated[
    bool | None,
    typer.Option(
        "--advanced-permission/--no-advanced-permission",
        help="Whether entering a room needs a privateMapKey. New apps: no.",
        show_default=False,
    ),
]
BOUND_HELP = "{}; 0 for no bound, `default` for the server's setting."


@command.command("create")
@on_stores
def create(
    options: StoreOptions,
    sdk_app_id: Annotated[
        int,
        typer.Argument(metavar="ID", parser=parse_app_id, help=f"The sdkAppId: a number from 1 to {MAX_SDK_APP_ID}."),
    ],
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    key: Annotated[
        str | None,
        typer.Option(
            help="The secret key, for moving an app here; - reads it from standard input. Default: a fresh one."
        ),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="PEM file of an EC public key, for UserSigs of version 1."),
    ] = None,
    account_type: TypeOption = None,
    owner: OwnerOption = None,
    registration: RegistrationOption = None,
    kinds: KindsOption = None,
    advanced_permission: PermissionOption = None,
) -> None:
    """Make an app and print its sdkAppId and key. A running server knows it at once."""
    name = parse_name(name)
    secret = None if key is None else parse_secret(key, "--key")
    chosen = _chosen(account_type, owner, registration, kinds, advanced_permission)
    public_keys = () if public_key is None else (read_public_key(public_key),)

    from parlour.storage import AppExistsError

    async def work(storage: Storage) -> App:
        await _check_type(storage, chosen)
        try:
            return await storage.create_app(
                sdk_app_id, now=int(time.time()), name=name, secret=secret, public_keys=public_keys, **chosen
            )
        except AppExistsError:
            where = storage.database.dialect.where
            fail(f"There is an app {sdk_app_id} already in {where}. Its key: `parlour app show {sdk_app_id} --keys`.")

    made = options.run(work, create=True)
    if options.as_json:
        print_json({"sdkAppId": sdk_app_id, "key": made.keys.secrets[0], "name": name})
        return
    print_pairs([("sdkAppId", sdk_app_id), ("key", made.keys.secrets[0])])
    message("\nThe key signs UserSigs: it belongs on your back end, never into a page.")
    message(
        f"Try it: parlour usersig sign --app {sdk_app_id} --user ann"
        + (f" --data {options.data}" if options.data else "")
    )


@command.command("list")
@on_stores
def list_apps(
    options: StoreOptions, keys: Annotated[bool, typer.Option("--keys", help="Show the secret keys too.")] = False
) -> None:
    """List the apps of this server."""

    async def work(storage: Storage) -> tuple[App, ...]:
        return await storage.list_apps()

    found = options.run(work)
    if options.as_json:
        print_json([app_as_json(app, keys=keys) for app in found])
        return
    if not found:
        message("There are no apps yet: make one with `parlour app create ID`.")
        return
    last = "key" if keys else "keys"
    rows = [
        (
            app.sdk_app_id,
            app.name,
            app.state,
            when(app.created_at),
            "\n".join(app.keys.secrets) if keys else counted_keys(app),
        )
        for app in found
    ]
    print_table(("sdkAppId", "name", "state", "made", last), rows, fold=("name", last))


@command.command("show")
@on_stores
def show(
    options: StoreOptions,
    sdk_app_id: AppArgument,
    keys: Annotated[bool, typer.Option("--keys", help="Show the secret keys too.")] = False,
) -> None:
    """Show everything about an app."""

    async def work(storage: Storage) -> tuple[App, int]:
        return await known_app(storage, sdk_app_id), await storage.accounts.count(sdk_app_id)

    app, accounts = options.run(work)
    if options.as_json:
        print_json(app_as_json(app, keys=keys) | {"accounts": accounts})
        return
    print_pairs(app_pairs(app, accounts, keys=keys))


@command.command("set")
@on_stores
def set_app(
    options: StoreOptions,
    sdk_app_id: AppArgument,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    account_type: TypeOption = None,
    owner: OwnerOption = None,
    registration: RegistrationOption = None,
    kinds: KindsOption = None,
    advanced_permission: PermissionOption = None,
    max_accounts: Annotated[
        str | None, typer.Option(metavar="N|default", help=BOUND_HELP.format("Accounts it may have"))
    ] = None,
    logins_per_second: Annotated[
        str | None, typer.Option(metavar="N|default", help=BOUND_HELP.format("Logins in a second"))
    ] = None,
    requests_per_second: Annotated[
        str | None, typer.Option(metavar="N|default", help=BOUND_HELP.format("Calls of the account REST in a second"))
    ] = None,
) -> None:
    """Change what is given of an app; the rest stays."""
    changes = _chosen(account_type, owner, registration, kinds, advanced_permission)
    if name is not None:
        changes["name"] = parse_name(name)
    bounds = {
        member: parse_number_or("default", text, f"--{member.replace('_', '-')}")
        for member, text in (
            ("max_accounts", max_accounts),
            ("logins_per_second", logins_per_second),
            ("requests_per_second", requests_per_second),
        )
        if text is not None
    }
    if not changes and not bounds:
        raise typer.BadParameter("say what to change, for example --name; see --help", param_hint="options")

    async def work(storage: Storage) -> tuple[App, int]:
        await known_app(storage, sdk_app_id)
        await _check_type(storage, changes)
        changed = await storage.change_app(sdk_app_id, limits=bounds, **changes)
        return changed, await storage.accounts.count(sdk_app_id)

    changed, accounts = options.run(work)
    if options.as_json:
        print_json(app_as_json(changed, keys=False) | {"accounts": accounts})
        return
    print_pairs(app_pairs(changed, accounts, keys=False))


@command.command("suspend")
@on_stores
def suspend(options: StoreOptions, sdk_app_id: AppArgument) -> None:
    """Let nobody enter an app's rooms (10006) for now. Who is inside stays."""
    _set_state(options, sdk_app_id, "suspended")


@command.command("activate")
@on_stores
def activate(options: StoreOptions, sdk_app_id: AppArgument) -> None:
    """Activate an app that was suspended or disabled."""
    _set_state(options, sdk_app_id, "active")


@command.command("disable")
@on_stores
def disable(options: StoreOptions, sdk_app_id: AppArgument) -> None:
    """Make an app as if it was never enabled. No room is entered (-100027), no account REST answers (60016)."""
    _set_state(options, sdk_app_id, "disabled")


@command.command("delete")
@on_stores
def delete(
    options: StoreOptions,
    sdk_app_id: AppArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this nothing is deleted.")] = False,
) -> None:
    """Delete an app with its keys, accounts and blacklist. There is no way back but a backup."""

    async def work(storage: Storage) -> int:
        app = await known_app(storage, sdk_app_id)
        accounts = await storage.accounts.count(sdk_app_id)
        if not yes:
            named = f' "{app.name}"' if app.name else ""
            has = counted(len(app.keys.secrets) + len(app.keys.public_keys), "key")
            fail(
                f"App {sdk_app_id}{named} has {has} and {counted(accounts, 'account')}, which go with it: say so with "
                "--yes."
            )
        await storage.delete_app(sdk_app_id)
        return accounts

    accounts = options.run(work, patient=True)
    options.say(
        {"sdkAppId": sdk_app_id, "deleted": True, "accounts": accounts},
        f"App {sdk_app_id} is deleted, and its {counted(accounts, 'account')}.",
    )


command.command("verify-with")(app_verification.verify_with)


def _set_state(options: StoreOptions, sdk_app_id: int, state: str) -> None:
    async def work(storage: Storage) -> App:
        await known_app(storage, sdk_app_id)
        return await storage.change_app(sdk_app_id, state=state)

    changed = options.run(work)
    options.say({"sdkAppId": sdk_app_id, "state": changed.state}, f"App {sdk_app_id} is {STATES[changed.state]}.")


def _chosen(
    account_type: str | None,
    owner: str | None,
    registration: str | None,
    kinds: str | None,
    advanced_permission: bool | None,
) -> dict[str, Any]:
    """The members of an app that options give it."""
    from parlour.accounts.manager import MAX_UIN
    from parlour.storage.model import KINDS, REGISTRATIONS

    chosen: dict[str, Any] = {}
    if account_type is not None:
        chosen["account_type"] = parse_number_or("none", account_type, "--account-type")
    if owner is not None:
        chosen["owner"] = parse_number_or("none", owner, "--owner", least=1, most=MAX_UIN)
    if registration is not None:
        chosen["registration"] = parse_one_of(registration, "--registration", REGISTRATIONS)
    if kinds is not None:
        chosen["kinds"] = parse_some_of(kinds, "--kinds", KINDS)
    if advanced_permission is not None:
        chosen["advanced_permission"] = advanced_permission
    return chosen


async def _check_type(storage: Storage, chosen: dict[str, Any]) -> None:
    """An app under a type that does not exist would let nobody in (70205)."""
    number = chosen.get("account_type")
    if number is not None and number not in {known.number for known in await storage.list_account_types()}:
        fail(f"There is no account type {number}: see `parlour app types list`, make one with `parlour app types set`.")
