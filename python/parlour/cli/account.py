"""``parlour account``: the accounts of an app, and what is held against a userId."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from parlour.cli import account_import
from parlour.cli.arguments import (
    AppOfAccountArgument,
    UserArgument,
    UsersArgument,
)
from parlour.cli.options import StoreOptions, command_group, on_stores
from parlour.cli.output import (
    fail,
    message,
    print_json,
    print_line,
    print_pairs,
    visible,
    when,
)
from parlour.cli.store import PATIENCE, known_app, on_storage
from parlour.cli.tables import counted, print_table

if TYPE_CHECKING:
    from parlour.accounts import AccountManager
    from parlour.settings import Settings
    from parlour.storage import Account, App, Restrictions, Storage

Result = TypeVar("Result")
Lock = tuple[str, str, float]
"""A lock that holds: the source, the userId (empty: everybody from there), until when."""

MAX_PAGE = 100_000
MAX_REASON_BYTES = 500
SESSIONS = (
    "A session on a running server ends when it next has to prove itself: at its next room or reconnection. "
    "The account REST's `kick` ends it at once."
)

command = command_group("List, import, block, kick and unlock users of an app.")
command.command("import")(account_import.import_accounts)


@command.command("list")
@on_stores
def list_accounts(
    options: StoreOptions,
    sdk_app_id: AppOfAccountArgument,
    after: Annotated[str, typer.Option(metavar="USER", help="Begin behind this userId. Default: at the first.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="How many at most. Default: 100.")] = 100,
    blocked: Annotated[bool, typer.Option("--blocked", help="List the blacklist instead.")] = False,
) -> None:
    """List the accounts of an app by userId, a page at a time."""

    # One more than the page tells whether another follows.
    async def accounts(storage: Storage) -> list[dict[str, Any]]:
        await known_app(storage, sdk_app_id)
        if blocked:
            found = await storage.accounts.blocked(sdk_app_id, after=after, limit=limit + 1)
            return [{"userId": user, "reason": reason, "blockedAt": since} for user, reason, since in found]
        page = await storage.accounts.page(sdk_app_id, after=after, limit=limit + 1)
        return [_account_as_json(account) for account in page]

    found = options.run(accounts)
    page, follows = found[:limit], len(found) > limit
    if options.as_json:
        print_json({"blacklist" if blocked else "accounts": page, "next": page[-1]["userId"] if follows else None})
        return
    if not page:
        kind = "no userId on the blacklist" if blocked else "no account"
        message(f"App {sdk_app_id} has {kind}" + (f" behind {visible(after)}." if after else "."))
        return
    if blocked:
        print_table(
            ("userId", "reason", "since"),
            [(one["userId"], one["reason"], when(one["blockedAt"])) for one in page],
            fold=("userId", "reason"),
        )
    else:
        rows = [(one["userId"], one["kind"], one["nick"], when(one["createdAt"])) for one in page]
        print_table(("userId", "kind", "nick", "made"), rows, fold=("userId", "nick"))
    if follows:
        message(f"There are more: --after {visible(page[-1]['userId'])}")


@command.command("show")
@on_stores
def show(options: StoreOptions, sdk_app_id: AppOfAccountArgument, user_id: UserArgument) -> None:
    """Show an account and what is held against it. That is the blacklist, a kick, and locks after failed logins."""
    settings = options.settings()
    from parlour.account_system import open_counters, open_login_states

    async def work(storage: Storage) -> tuple[Account | None, Restrictions, list[str], list[Lock]]:
        await known_app(storage, sdk_app_id)
        context = await storage.accounts.login_context(sdk_app_id, user_id)
        for part in (context.account, context.restrictions):
            if isinstance(part, Exception):
                raise part
        now = time.time()
        async with await open_login_states(settings) as logins:
            platforms = (await logins.online(sdk_app_id, [user_id], now=int(now))).get(user_id, [])
        async with await open_counters(settings) as counted:
            locks = [lock for lock in await counted.locked(sdk_app_id, now=now) if lock[1] in ("", user_id)]
        return context.account, context.restrictions, platforms, locks  # type: ignore[return-value]

    account, restrictions, platforms, locks = on_storage(settings, work)
    of_user = [lock for lock in locks if lock[1]]
    if account is None and restrictions.blocked_at is None and restrictions.invalidated_at is None and not of_user:
        fail(f"App {sdk_app_id} has no account {visible(user_id)}, and nothing is held against that userId.")
    if options.as_json:
        print_json(
            {
                "userId": user_id,
                "account": None if account is None else _account_as_json(account),
                "online": platforms,
                "blockedAt": restrictions.blocked_at,
                "reason": restrictions.reason,
                "userSigsVoidUpTo": restrictions.invalidated_at,
                "locks": [
                    {"source": source, "everybody": not who, "until": round(until, 3)} for source, who, until in locks
                ],
            }
        )
        return
    print_pairs(_pairs(user_id, account, restrictions, platforms, locks))


@command.command("block")
@on_stores
def block(
    options: StoreOptions,
    sdk_app_id: AppOfAccountArgument,
    user_id: UserArgument,
    reason: Annotated[str, typer.Option(help="Why, for your own memory.")] = "",
) -> None:
    """Put a userId on the blacklist. Its logins are refused, whether there is an account of it or not."""
    if len(reason.encode("utf-8", "replace")) > MAX_REASON_BYTES or not reason.isprintable():
        raise typer.BadParameter(
            f"a reason has at most {MAX_REASON_BYTES} bytes and no control characters", param_hint="--reason"
        )

    async def work(manager: AccountManager, app: App) -> None:
        await manager.block(app, user_id, reason)

    _with_manager(options.settings(), sdk_app_id, work)
    options.say(
        {"sdkAppId": sdk_app_id, "userId": user_id, "blocked": True},
        f"{visible(user_id)} is on the blacklist of app {sdk_app_id}.",
    )
    message(SESSIONS)


@command.command("unblock")
@on_stores
def unblock(options: StoreOptions, sdk_app_id: AppOfAccountArgument, user_id: UserArgument) -> None:
    """Take a userId off the blacklist."""

    async def work(storage: Storage) -> None:
        await known_app(storage, sdk_app_id)
        if not await storage.accounts.unblock(sdk_app_id, user_id):
            fail(f"{visible(user_id)} is not on the blacklist of app {sdk_app_id}.")

    options.run(work)
    options.say(
        {"sdkAppId": sdk_app_id, "userId": user_id, "unblocked": True},
        f"{visible(user_id)} may log in to app {sdk_app_id} again.",
    )


@command.command("kick")
@on_stores
def kick(options: StoreOptions, sdk_app_id: AppOfAccountArgument, user_id: UserArgument) -> None:
    """Void the UserSigs that a user has now. What resumes the user's sessions is void too."""

    async def work(manager: AccountManager, app: App) -> None:
        await manager.kick(app, user_id)

    _with_manager(options.settings(), sdk_app_id, work)
    options.say(
        {"sdkAppId": sdk_app_id, "userId": user_id, "kicked": True},
        f"Every UserSig of {visible(user_id)} issued until now is void.",
    )
    message(SESSIONS)


@command.command("delete")
@on_stores
def delete(
    options: StoreOptions,
    sdk_app_id: AppOfAccountArgument,
    users: UsersArgument,
) -> None:
    """Delete accounts. What is held against their userIds stays. The exit status is 1 if one was not there."""
    user_ids = list(dict.fromkeys(users))

    async def work(manager: AccountManager, app: App) -> list[tuple[str, bool]]:
        result = await manager.delete_many(app, user_ids)
        if result.code is not None:
            fail(f"{len(result.items)} of {len(user_ids)} were deleted, then: {result.detail} ({int(result.code)}).")
        return [(item.user_id, item.code is None) for item in result.items]

    results = _with_manager(options.settings(), sdk_app_id, work)
    gone = [user_id for user_id, was_there in results if was_there]
    missing = [user_id for user_id, was_there in results if not was_there]
    if options.as_json:
        print_json({"sdkAppId": sdk_app_id, "deleted": gone, "missing": missing})
    else:
        for user_id in gone:
            print_line(f"deleted  {visible(user_id)}")
    for user_id in missing:
        message(f"App {sdk_app_id} has no account {visible(user_id)} (70107).")
    if gone:
        message(SESSIONS)
    if missing:
        raise typer.Exit(1)


@command.command("unlock")
@on_stores
def unlock(
    options: StoreOptions,
    sdk_app_id: AppOfAccountArgument,
    user_id: UserArgument,
    sources: Annotated[
        bool, typer.Option("--sources", help="Also lift the locks of addresses that hold for every user.")
    ] = False,
) -> None:
    """Lift the locks (70050) that failed logins put on a user."""
    settings = options.settings()
    from parlour.account_system import open_counters

    async def work(storage: Storage) -> tuple[int, list[str]]:
        await known_app(storage, sdk_app_id)
        async with await open_counters(settings) as counted:
            lifted = await counted.unlock(sdk_app_id, user_id)
            if sources:
                lifted += await counted.unlock(sdk_app_id, "")
            left = [source for source, who, _ in await counted.locked(sdk_app_id, now=time.time()) if not who]
            return lifted, left

    lifted, left = on_storage(settings, work)
    if options.as_json:
        print_json({"sdkAppId": sdk_app_id, "userId": user_id, "lifted": lifted, "lockedSources": left})
    elif lifted:
        print_line(f"{counted(lifted, 'lock')} of {visible(user_id)} lifted.")
    else:
        print_line(f"Nothing had locked {visible(user_id)} in app {sdk_app_id}.")
    if left:
        shown = ", ".join(left[:3]) + (" and others" if len(left) > 3 else "")
        message(f"Locked for every user: {shown}. --sources lifts those too.")


def _with_manager(
    settings: Settings, sdk_app_id: int, work: Callable[[AccountManager, App], Awaitable[Result]]
) -> Result:
    """Run a command of the account REST on the stores, as a server would, but for the sessions that only it has."""

    async def run(storage: Storage) -> Result:
        from parlour.account_system import open_login_states
        from parlour.accounts import AccountManager, AccountRefusedError

        app = await known_app(storage, sdk_app_id)
        async with await open_login_states(settings) as logins:
            manager = AccountManager(storage, logins, time.time, force_off=lambda *_: None, batch_timeout=PATIENCE)
            try:
                return await work(manager, app)
            except AccountRefusedError as refused:
                detail = refused.detail.rstrip(".")
                fail(f"{visible(detail[:1].upper() + detail[1:])} ({int(refused.code)}).")

    return on_storage(settings, run)


def _account_as_json(account: Account) -> dict[str, Any]:
    return {
        "userId": account.user_id,
        "kind": account.kind,
        "nick": account.nick,
        "faceUrl": account.face_url,
        "createdAt": account.created_at,
    }


def _pairs(
    user_id: str, account: Account | None, restrictions: Restrictions, platforms: list[str], locks: list[Lock]
) -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = [("userId", user_id)]
    if account is None:
        pairs.append(("account", "none"))
    else:
        pairs += [
            ("kind", account.kind),
            ("nick", account.nick or "-"),
            ("faceUrl", account.face_url or "-"),
            ("made", when(account.created_at)),
        ]
    pairs.append(("online", ", ".join(platforms) or "no"))
    blocked = "no"
    if restrictions.blocked_at is not None:
        blocked = f"since {when(restrictions.blocked_at)}" + (f": {restrictions.reason}" if restrictions.reason else "")
    pairs.append(("blacklist", blocked))
    if restrictions.invalidated_at is not None:
        pairs.append(("UserSigs void", f"those issued up to {when(restrictions.invalidated_at)}"))
    for source, who, until in locks:
        pairs.append(("locked", f"from {source} until {when(until)}" + ("" if who else ", like every user from there")))
    if not locks:
        pairs.append(("locked", "no"))
    return pairs
