"""Accounts and what is held against userIds, for many callers at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Row, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from parlour.storage import statements
from parlour.storage.batcher import Batcher, Budget
from parlour.storage.database import Database
from parlour.storage.errors import AccountLimitError, AccountTypeUnreadableError, StorageError
from parlour.storage.model import Account, AccountType, App, Kind, Restrictions
from parlour.storage.rows import (
    TOKEN_SECRET,
    read_account,
    read_account_type,
    read_app,
    read_restrictions,
    read_token_secret,
)
from parlour.storage.schema import accounts, restrictions
from parlour.storage.secrets import MasterKey
from parlour.storage.statements import User

Stored = TypeVar("Stored")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class LoginContext:
    """What the store knows about one user of one app, read together.

    A part that cannot be read is the error that says why, so that who asks raises it in the order of the checks.
    """

    app: App | StorageError | None
    account_type: AccountType | StorageError | None
    account: Account | StorageError | None
    restrictions: Restrictions | StorageError
    known_types: frozenset[int]
    ticket_key: bytes | StorageError = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to be made or kept; ``nick`` and ``face_url`` None leave what is there. ``most``: 70398's bound."""

    sdk_app_id: int
    user_id: str
    kind: Kind
    now: int
    nick: str | None = None
    face_url: str | None = None
    most: int = 0


class AccountStore:
    """The accounts of all apps."""

    def __init__(self, database: Database, master: MasterKey) -> None:
        self._database = database
        self._master = master
        self._contexts: Batcher[User, LoginContext] = Batcher(self._read_contexts, timeout=database.timeout)
        self._imports: Batcher[NewAccount, None] = Batcher(self._write_accounts, timeout=database.timeout)
        self._checks: Batcher[User, bool] = Batcher(self._read_registered, timeout=database.timeout)

    async def close(self) -> None:
        """Wait for what was asked."""
        for batcher in (self._contexts, self._imports, self._checks):
            await batcher.close()

    async def login_context(self, sdk_app_id: int, user_id: str) -> LoginContext:
        """All that a login needs to know, in one answer."""
        return await self._contexts.ask((sdk_app_id, user_id))

    async def put(self, account: NewAccount) -> None:
        """Make an account, or change what is given of one; it is committed when this returns.

        Raises ``AccountLimitError`` when the app has as many as it may.
        """
        await self._imports.ask(account)

    async def registered(self, sdk_app_id: int, user_id: str) -> bool:
        """Whether there is an account of that userId."""
        return await self._checks.ask((sdk_app_id, user_id))

    # --- batches: one transaction each, so that what is not answered is not done ---

    async def put_many(self, new: Sequence[NewAccount], *, within: float) -> list[StorageError | None]:
        """Make or keep several; for each what kept it from being made. ``within`` seconds, else a StoreTimeoutError."""
        return await self._database.write(lambda connection: self._put(connection, new), within=within)

    async def delete_many(self, sdk_app_id: int, user_ids: Sequence[str], *, now: int, within: float) -> set[str]:
        """Delete accounts and void the UserSigs issued up to ``now``. Returns those that were there."""

        async def work(connection: AsyncConnection) -> set[str]:
            registered = await _registered(connection, ((sdk_app_id, user_id) for user_id in user_ids))
            there = sorted(user_id for _, user_id in registered)
            of_them = accounts.c.user_id.in_(there)
            await connection.execute(delete(accounts).where(accounts.c.sdk_app_id == sdk_app_id, of_them))
            for user_id in there:
                await self._restrict(connection, sdk_app_id, user_id, invalidated_at=now)
            return set(there)

        return await self._database.write(work, within=within)

    async def registered_many(self, sdk_app_id: int, user_ids: Sequence[str], *, within: float) -> set[str]:
        """Those of the userIds that have an account."""

        async def work(connection: AsyncConnection) -> set[str]:
            there = await _registered(connection, ((sdk_app_id, user_id) for user_id in user_ids))
            return {user_id for _, user_id in there}

        return await self._database.read(work, within=within)

    # --- one user, by an administrator ---

    async def invalidate(self, sdk_app_id: int, user_id: str, *, now: int) -> bool:
        """Void the UserSigs issued up to ``now``. False when there is no such account."""

        async def work(connection: AsyncConnection) -> bool:
            if not await _registered(connection, [(sdk_app_id, user_id)]):
                return False
            await self._restrict(connection, sdk_app_id, user_id, invalidated_at=now)
            return True

        return await self._database.write(work)

    async def block(self, sdk_app_id: int, user_id: str, reason: str, *, now: int) -> None:
        """Put a userId on the app's blacklist, whether there is an account of it or not."""
        await self._database.write(
            lambda connection: self._restrict(connection, sdk_app_id, user_id, blocked_at=now, reason=reason)
        )

    async def unblock(self, sdk_app_id: int, user_id: str) -> bool:
        """Take it off again. False when it was not on it."""

        async def work(connection: AsyncConnection) -> bool:
            query = (
                restrictions.update()
                .where(restrictions.c.sdk_app_id == sdk_app_id, restrictions.c.user_id == user_id)
                .where(restrictions.c.blocked_at.is_not(None))
                .values(blocked_at=None, reason="")
            )
            return (await connection.execute(query)).rowcount > 0

        return await self._database.write(work)

    async def blocked(self, sdk_app_id: int, *, after: str = "", limit: int = 100) -> list[tuple[str, str, int]]:
        """The blacklist by userId, from behind ``after``: userId, reason, since when."""

        async def work(connection: AsyncConnection) -> list[tuple[str, str, int]]:
            query = (
                select(restrictions.c.user_id, restrictions.c.reason, restrictions.c.blocked_at)
                .where(restrictions.c.sdk_app_id == sdk_app_id, restrictions.c.user_id > after)
                .where(restrictions.c.blocked_at.is_not(None))
                .order_by(restrictions.c.user_id)
                .limit(limit)
            )
            return [(row.user_id, row.reason, row.blocked_at) for row in await connection.execute(query)]

        return await self._database.read(work)

    async def page(self, sdk_app_id: int, *, after: str = "", limit: int = 100) -> list[Account]:
        """Accounts of an app by userId, from behind ``after``."""

        async def work(connection: AsyncConnection) -> list[Account]:
            query = (
                select(accounts)
                .where(accounts.c.sdk_app_id == sdk_app_id, accounts.c.user_id > after)
                .order_by(accounts.c.user_id)
                .limit(limit)
            )
            return [read_account(row) for row in await connection.execute(query)]

        return await self._database.read(work)

    async def count(self, sdk_app_id: int) -> int:
        """How many accounts an app has."""

        async def work(connection: AsyncConnection) -> int:
            query = select(func.count()).select_from(accounts).where(accounts.c.sdk_app_id == sdk_app_id)
            return int((await connection.execute(query)).scalar_one())

        return await self._database.read(work)

    async def _restrict(self, connection: AsyncConnection, sdk_app_id: int, user_id: str, **values: Any) -> None:
        insert = statements.insert_into(self._database.dialect.name, restrictions)
        statement = insert.values(sdk_app_id=sdk_app_id, user_id=user_id, **({"reason": ""} | values))
        await connection.execute(statement.on_conflict_do_update(index_elements=["sdk_app_id", "user_id"], set_=values))

    # --- gathered ---

    async def _read_contexts(self, users: list[User], budget: Budget) -> list[LoginContext | StorageError]:
        app_ids, wanted = sorted({user[0] for user in users}), set(users)

        async def work(connection: AsyncConnection) -> list[LoginContext | StorageError]:
            rows = (await statements.apps_among(connection, app_ids)).all()
            keys: dict[int, list[Row[Any]]] = {}
            for key in await statements.keys_among(connection, app_ids):
                keys.setdefault(key.sdk_app_id, []).append(key)
            found = {
                row.sdk_app_id: _attempt(lambda row: read_app(row, keys.get(row.sdk_app_id, []), self._master), row)
                for row in rows
            }
            of_user = {
                (row.sdk_app_id, row.user_id): _attempt(read_account, row)
                for row in await statements.ACCOUNTS.rows(connection, wanted)
            }
            against = {
                (row.sdk_app_id, row.user_id): _attempt(read_restrictions, row)
                for row in await statements.RESTRICTIONS.rows(connection, wanted)
            }
            stored = await connection.scalar(statements.TICKET_KEY, {"name": TOKEN_SECRET})
            ticket_key = _attempt(lambda value: read_token_secret(value, self._master), stored)
            types = await _types(connection)
            known = frozenset() if isinstance(types, StorageError) else frozenset(types)
            return [
                LoginContext(
                    app := found.get(user[0]),
                    _type_of(app, types),
                    of_user.get(user),
                    against.get(user, Restrictions()),
                    known,
                    ticket_key,
                )
                for user in users
            ]

        return await self._database.read(work, within=budget.within)

    async def _write_accounts(self, new: list[NewAccount], budget: Budget) -> Sequence[StorageError | None]:
        async def work(connection: AsyncConnection) -> list[StorageError | None]:
            return await self._put(connection, new)

        return await self._database.write(work, within=budget.within, retries=budget.retries)

    async def _put(self, connection: AsyncConnection, new: Sequence[NewAccount]) -> list[StorageError | None]:
        refused = await self._over_limit(connection, new)
        rows = [
            {
                "sdk_app_id": account.sdk_app_id,
                "user_id": account.user_id,
                "kind": account.kind,
                "nick": account.nick or "",
                "face_url": account.face_url or "",
                "created_at": account.now,
            }
            for account in new
        ]
        # Sorted, so that two writers take the rows in one order; by what is given, so that each group is one statement.
        order = sorted(range(len(new)), key=lambda at: (new[at].sdk_app_id, new[at].user_id))
        groups: dict[tuple[bool, bool], list[dict[str, Any]]] = {}
        for at in order:
            if refused[at] is None:
                groups.setdefault((new[at].nick is not None, new[at].face_url is not None), []).append(rows[at])
        for (nick, face_url), group in groups.items():
            statement = statements.put_account(self._database.dialect.name, nick=nick, face_url=face_url)
            await connection.execute(statement, group)
        return refused

    async def _over_limit(self, connection: AsyncConnection, new: Sequence[NewAccount]) -> list[StorageError | None]:
        """Which of them would be one account too many. Costs nothing for apps without a bound."""
        refused: list[StorageError | None] = [None] * len(new)
        bounded = [at for at, account in enumerate(new) if account.most > 0]
        if not bounded:
            return refused
        for app in sorted({new[at].sdk_app_id for at in bounded}):
            # Two that write at the same time would each count without the other's.
            await self._database.dialect.take_turns(connection, f"accounts of {app}")
        there = await _registered(connection, ((new[at].sdk_app_id, new[at].user_id) for at in bounded))
        left: dict[int, int] = {}
        for at in bounded:
            app, most = new[at].sdk_app_id, new[at].most
            user = (app, new[at].user_id)
            if user in there:
                continue
            if app not in left:
                few = select(accounts.c.user_id).where(accounts.c.sdk_app_id == app).limit(most).subquery()
                left[app] = most - int((await connection.execute(select(func.count()).select_from(few))).scalar_one())
            if left[app] <= 0:
                refused[at] = AccountLimitError(f"App {app} has its {most} accounts already.")
            else:
                left[app] -= 1
                there.add(user)
        return refused

    async def _read_registered(self, users: list[User], budget: Budget) -> list[bool | StorageError]:
        async def work(connection: AsyncConnection) -> set[User]:
            return await _registered(connection, users)

        there = await self._database.read(work, within=budget.within)
        return [user in there for user in users]


async def _registered(connection: AsyncConnection, users: Iterable[User]) -> set[User]:
    wanted = set(users)
    if not wanted:
        return set()
    return {(row.sdk_app_id, row.user_id) for row in await statements.REGISTERED.rows(connection, wanted)}


async def _types(connection: AsyncConnection) -> dict[int, AccountType | StorageError] | AccountTypeUnreadableError:
    """Every account type. Asked last: in PostgreSQL nothing more can be asked after a failure."""
    try:
        rows = (await connection.execute(statements.ACCOUNT_TYPES)).all()
    except Exception as error:  # whatever it is, the rest of the store has answered just now
        return AccountTypeUnreadableError(f"The look-up of account types failed: {error.__class__.__name__}.")
    return {row.number: _attempt(read_account_type, row) for row in rows}


def _type_of(
    app: App | StorageError | None, types: dict[int, AccountType | StorageError] | AccountTypeUnreadableError
) -> AccountType | StorageError | None:
    if not isinstance(app, App) or app.account_type is None:
        return None
    if isinstance(types, AccountTypeUnreadableError):
        return types
    found = types.get(app.account_type)
    if isinstance(found, AccountType):
        return found
    why = "there is no such account type" if found is None else str(found)
    return AccountTypeUnreadableError(f"The account type {app.account_type} of app {app.sdk_app_id}: {why}.")


def _attempt(read: Callable[[Stored], Value], row: Stored) -> Value | StorageError:
    try:
        return read(row)
    except StorageError as error:
        return error
