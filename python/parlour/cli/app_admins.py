"""``parlour app admin``: who may call the account REST of an app."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from parlour.cli.arguments import AppArgument, UserArgument
from parlour.cli.options import StoreOptions, command_group, on_stores
from parlour.cli.output import fail, message, print_json, print_line, visible
from parlour.cli.store import known_app

if TYPE_CHECKING:
    from parlour.storage import Storage

MAX_ADMINS = 10
"""Admins of one app, as many as the public account service allows."""

command = command_group("List, add and remove who may call the account REST.")


@command.command("list")
@on_stores
def list_admins(options: StoreOptions, sdk_app_id: AppArgument) -> None:
    """List the admins of an app, one a line."""

    async def work(storage: Storage) -> tuple[str, ...]:
        return (await known_app(storage, sdk_app_id)).admins

    admins = options.run(work)
    if options.as_json:
        print_json(list(admins))
        return
    for admin in admins:
        print_line(visible(admin))
    if not admins:
        message(f"App {sdk_app_id} has no admin: nobody may call its account REST.")


@command.command("add")
@on_stores
def add(options: StoreOptions, sdk_app_id: AppArgument, user_id: UserArgument) -> None:
    """Let a userId call the account REST, with a UserSig of its own."""

    def added(admins: tuple[str, ...]) -> tuple[str, ...]:
        if user_id in admins:
            fail(f"{visible(user_id)} is an admin of app {sdk_app_id} already.")
        if len(admins) >= MAX_ADMINS:
            fail(f"App {sdk_app_id} has {len(admins)} admins, and {MAX_ADMINS} are allowed: remove one first.")
        return (*admins, user_id)

    _edit(options, sdk_app_id, added, f"{visible(user_id)} is an admin of app {sdk_app_id}.")


@command.command("remove")
@on_stores
def remove(options: StoreOptions, sdk_app_id: AppArgument, user_id: UserArgument) -> None:
    """Take the right away again: further calls are refused at once (70403)."""

    def removed(admins: tuple[str, ...]) -> tuple[str, ...]:
        if user_id not in admins:
            fail(f"{visible(user_id)} is no admin of app {sdk_app_id}: see `parlour app admin list {sdk_app_id}`.")
        return tuple(admin for admin in admins if admin != user_id)

    _edit(options, sdk_app_id, removed, f"{visible(user_id)} is no admin of app {sdk_app_id} any more.")


def _edit(
    options: StoreOptions, sdk_app_id: int, change: Callable[[tuple[str, ...]], tuple[str, ...]], done: str
) -> None:
    async def work(storage: Storage) -> tuple[str, ...]:
        await known_app(storage, sdk_app_id)
        return (await storage.edit_app(sdk_app_id, lambda app: replace(app, admins=change(app.admins)))).admins

    admins = options.run(work)
    if options.as_json:
        print_json(list(admins))
        return
    print_line(done)
    if not admins:
        message("That was the last one: nobody may call its account REST now.")
