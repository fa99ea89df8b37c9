"""``parlour app types``: account types, and the ways of logging in that each allows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parlour.cli.arguments import parse_name, parse_number, parse_some_of
from parlour.cli.options import StoreOptions, command_group, on_stores
from parlour.cli.output import fail, print_json
from parlour.cli.tables import print_table

if TYPE_CHECKING:
    from parlour.storage import AccountType, Storage

NumberArgument = Annotated[str, typer.Argument(metavar="NUMBER", help="The number of the account type.")]

command = command_group("List, set and remove account types. One says how users of the apps under it may log in.")


@command.command("list")
@on_stores
def list_types(options: StoreOptions) -> None:
    """List the account types and how many apps are under each."""

    async def work(storage: Storage) -> tuple[tuple[AccountType, ...], Counter[int | None]]:
        return await storage.list_account_types(), Counter(app.account_type for app in await storage.list_apps())

    types, apps = options.run(work)
    if options.as_json:
        print_json([_as_json(found) | {"apps": apps[found.number]} for found in types])
        return
    rows = [(found.number, found.name, ", ".join(found.methods), apps[found.number]) for found in types]
    print_table(("number", "name", "methods", "apps"), rows, fold=("name",))


@command.command("set")
@on_stores
def set_type(
    options: StoreOptions,
    number: NumberArgument,
    name: Annotated[str | None, typer.Option(help="A name for people. Default: as it is, for a new one empty.")] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="hmac (UserSig 2), ecdsa (UserSig 1), third-party; by commas. Default: as it is, for a new one all.",
        ),
    ] = None,
) -> None:
    """Make an account type, or change what is given of one."""
    from parlour.storage.model import METHODS

    chosen = parse_number(number, "NUMBER")
    given: dict[str, Any] = {} if name is None else {"name": parse_name(name)}
    if methods is not None:
        given["methods"] = parse_some_of(methods, "--methods", METHODS)

    from dataclasses import replace

    from parlour.storage import AccountType

    async def work(storage: Storage) -> AccountType:
        return await storage.edit_account_type(
            chosen, lambda there: replace(AccountType(chosen, "") if there is None else there, **given)
        )

    made = options.run(work, create=True)
    options.say(_as_json(made), f"Apps of account type {made.number} log in with {', '.join(made.methods)}.")


@command.command("remove")
@on_stores
def remove(options: StoreOptions, number: NumberArgument) -> None:
    """Remove an account type that no app is under."""
    chosen = parse_number(number, "NUMBER")

    from parlour.storage.model import DEFAULT_ACCOUNT_TYPE

    async def work(storage: Storage) -> None:
        if chosen == DEFAULT_ACCOUNT_TYPE:
            fail(f"The account type {chosen} is the one of new apps and stays.")
        if await storage.remove_account_type(chosen):
            return
        under = [str(app.sdk_app_id) for app in await storage.list_apps() if app.account_type == chosen]
        if under:
            more = " and others" if len(under) > 3 else ""
            fail(f"The account type {chosen} is the one of app {', '.join(under[:3])}{more}: give them another first.")
        fail(f"There is no account type {chosen}: see `parlour app types list`.")

    options.run(work)
    options.say({"number": chosen, "removed": True}, f"The account type {chosen} is removed.")


def _as_json(found: AccountType) -> dict[str, Any]:
    return {"number": found.number, "name": found.name, "methods": list(found.methods)}
