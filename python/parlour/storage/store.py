"""The account store: apps, their keys, account types, and the server's own secret."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parlour.storage import migrate
from parlour.storage.accounts import AccountStore
from parlour.storage.database import Closable, Database, dialect_of
from parlour.storage.errors import (
    AppExistsError,
    KeyExistsError,
    LastKeyError,
    NoSuchAccountTypeError,
    NoSuchAppError,
)
from parlour.storage.model import DEFAULT_ACCOUNT_TYPE, AccountType, App, AppLimits, StoredKey
from parlour.storage.rows import (
    TOKEN_SECRET,
    TOKEN_SECRET_BYTES,
    app_values,
    key_place,
    read_account_type,
    read_app,
    read_key,
    read_token_secret,
)
from parlour.storage.schema import account_types, app_keys, apps, meta
from parlour.storage.sealing import PLAIN, reseal, seal_what_is_plain, sealed_with
from parlour.storage.secrets import KEY_FILE, MasterKey
from parlour.usersig import AppKeys

DATABASE = "parlour.db"
TIMEOUT = 5.0
"""Seconds that the store has to answer by default."""


class Storage(Closable):
    """The account store. Nothing is cached: what another process writes is seen at the next call."""

    def __init__(self, database: Database, master: MasterKey) -> None:
        self.database = database
        self.master = master
        self.accounts = AccountStore(database, master)

    @classmethod
    async def open(
        cls, data: str | Path, *, url: str = "", master: MasterKey | None = None, timeout: float = TIMEOUT
    ) -> Self:
        """Open the store at ``url``, or the SQLite file in the data folder, made if it is missing.

        The schema is brought up to date and secrets from before they were sealed are sealed. ``master`` is by default
        the key in the data folder, made if it is missing. Raises a ``StorageError`` in one sentence.
        """
        folder = Path(data)
        dialect = dialect_of(url, folder / DATABASE, timeout=timeout)
        dialect.prepare()  # before the key, so that a folder that cannot be made is told as one
        master = master or MasterKey.there(folder / KEY_FILE)  # before the schema: without it nothing is touched
        database = await Database.open(dialect, migrate.ACCOUNTS, timeout=timeout)
        try:
            store = cls(database, master)
            stored = await database.read(sealed_with)
            if stored.keys() <= {PLAIN}:
                store.master.make()  # else a fresh one would open nothing, and seal beside what it does not open
            if PLAIN in stored:
                await store.database.write(lambda connection: seal_what_is_plain(connection, store.master))
        except BaseException:
            await database.close()
            raise
        return store

    async def close(self) -> None:
        """Wait for what is under way and close every connection."""
        await self.accounts.close()
        await self.database.close()

    # --- apps ---

    async def create_app(
        self,
        sdk_app_id: int,
        *,
        now: int,
        name: str = "",
        secret: str | None = None,
        public_keys: tuple[str, ...] = (),
        **settings: Any,
    ) -> App:
        """Make an app with one secret key, a fresh one of 64 hex digits if none is given; ``AppExistsError``.

        ``settings`` are further members of ``App``.
        """
        keys = AppKeys((secret or secrets.token_hex(32),), public_keys)
        app = App(sdk_app_id, name, "active", now, keys, **settings)

        async def work(connection: AsyncConnection) -> None:
            if await _exists(connection, sdk_app_id):
                raise AppExistsError(f"There is an app {sdk_app_id} already.")
            if app.account_type not in (None, DEFAULT_ACCOUNT_TYPE):
                await _hold_account_type(connection, app.account_type)
            rows = [
                *(("secret", self.master.seal(key, key_place(sdk_app_id))) for key in keys.secrets),
                *(("public", pem) for pem in keys.public_keys),
            ]
            await connection.execute(insert(apps).values(app_values(app, self.master)))
            await connection.execute(
                insert(app_keys),
                [{"sdk_app_id": sdk_app_id, "kind": kind, "value": value, "created_at": now} for kind, value in rows],
            )

        await self.database.write(work)
        return app

    async def get_app(self, sdk_app_id: int) -> App | None:
        """The app with its keys, or None."""
        found = await self._apps(sdk_app_id)
        return found[0] if found else None

    async def list_apps(self) -> tuple[App, ...]:
        """Every app with its keys, by sdkAppId."""
        return tuple(await self._apps(None))

    async def change_app(
        self, sdk_app_id: int, *, limits: Mapping[str, int | None] | AppLimits | None = None, **changes: Any
    ) -> App:
        """Change members of an app, but not its keys. Returns it as it is then; ``NoSuchAppError``.

        ``limits`` may hold just those that change. A value that depends on what is there is for ``edit_app``.
        """

        def edit(app: App) -> App:
            changed = replace(app, **changes)
            if limits is None:
                return changed
            merged = limits if isinstance(limits, AppLimits) else replace(changed.limits, **limits)
            return replace(changed, limits=merged)

        return await self.edit_app(sdk_app_id, edit)

    async def edit_app(self, sdk_app_id: int, edit: Callable[[App], App]) -> App:
        """Change an app, but not its keys, to what ``edit`` makes of it: nobody else changes it in between.

        ``edit`` may be called several times; what it raises leaves the app as it was. ``NoSuchAppError``;
        ``NoSuchAccountTypeError`` when it is to be under an account type that is not there (any more).
        """

        async def work(connection: AsyncConnection) -> App:
            await _hold_app(connection, sdk_app_id)
            (app,) = await _apps(connection, sdk_app_id, self.master)
            changed = edit(app)
            if changed.account_type not in (None, app.account_type):
                await _hold_account_type(connection, changed.account_type)
            await connection.execute(
                update(apps).where(apps.c.sdk_app_id == sdk_app_id).values(app_values(changed, self.master))
            )
            return changed

        return await self.database.write(work)

    async def delete_app(self, sdk_app_id: int) -> bool:
        """Delete an app with its keys and accounts. False when there is none."""

        async def work(connection: AsyncConnection) -> bool:
            return (await connection.execute(delete(apps).where(apps.c.sdk_app_id == sdk_app_id))).rowcount > 0

        return await self.database.write(work)

    # --- keys ---

    async def keys(self, sdk_app_id: int) -> tuple[StoredKey, ...]:
        """The keys of an app, the oldest first."""

        async def work(connection: AsyncConnection) -> tuple[StoredKey, ...]:
            query = select(app_keys).where(app_keys.c.sdk_app_id == sdk_app_id).order_by(app_keys.c.id)
            return tuple(read_key(row, self.master) for row in await connection.execute(query))

        return await self.database.read(work)

    async def add_secret(self, sdk_app_id: int, *, now: int, secret: str | None = None) -> StoredKey:
        """Give an app one more secret key, a fresh one if none is given; those it has go on to verify."""
        key = secret or secrets.token_hex(32)
        return StoredKey(await self._add_key(sdk_app_id, "secret", key, now), "secret", key, now)

    async def add_public_key(self, sdk_app_id: int, pem: str, *, now: int) -> StoredKey:
        """Give an app one more public key (PEM)."""
        return StoredKey(await self._add_key(sdk_app_id, "public", pem, now), "public", pem, now)

    async def remove_key(self, sdk_app_id: int, key_id: int, *, last: bool = True) -> bool:
        """Take a key away. False when the app has no key of that number.

        With ``last`` false the last key of its kind stays: ``LastKeyError``.
        """

        async def work(connection: AsyncConnection) -> bool:
            try:
                await _hold_app(connection, sdk_app_id)
            except NoSuchAppError:
                return False
            query = select(app_keys.c.id, app_keys.c.kind).where(app_keys.c.sdk_app_id == sdk_app_id)
            kinds = {row.id: row.kind for row in await connection.execute(query)}
            kind = kinds.get(key_id)
            if kind is not None and not last and list(kinds.values()).count(kind) == 1:
                raise LastKeyError(f"Key {key_id} is the last {kind} key of app {sdk_app_id}.")
            await connection.execute(
                delete(app_keys).where(app_keys.c.id == key_id, app_keys.c.sdk_app_id == sdk_app_id)
            )
            return kind is not None

        return await self.database.write(work)

    async def _add_key(self, sdk_app_id: int, kind: str, value: str, now: int) -> int:
        async def work(connection: AsyncConnection) -> int:
            await _hold_app(connection, sdk_app_id)
            there = select(app_keys).where(app_keys.c.sdk_app_id == sdk_app_id, app_keys.c.kind == kind)
            for row in await connection.execute(there):
                if read_key(row, self.master).value == value:
                    raise KeyExistsError(f"App {sdk_app_id} has this key already: it is number {row.id}.")
            stored = self.master.seal(value, key_place(sdk_app_id)) if kind == "secret" else value
            query = insert(app_keys).values(sdk_app_id=sdk_app_id, kind=kind, value=stored, created_at=now)
            made = (await connection.execute(query.returning(app_keys.c.id))).scalar_one()
            return int(made)

        return await self.database.write(work)

    # --- account types ---

    async def list_account_types(self) -> tuple[AccountType, ...]:
        """Every account type, by number."""

        async def work(connection: AsyncConnection) -> tuple[AccountType, ...]:
            query = select(account_types).order_by(account_types.c.number)
            return tuple(read_account_type(row) for row in await connection.execute(query))

        return await self.database.read(work)

    async def put_account_type(self, account_type: AccountType) -> None:
        """Make an account type, or replace the one of that number, whatever it holds."""
        await self._write_account_type(account_type.number, lambda _: account_type)

    async def edit_account_type(self, number: int, edit: Callable[[AccountType | None], AccountType]) -> AccountType:
        """Make what ``edit`` says of an account type, or of none: nobody else changes it in between."""
        return await self._write_account_type(number, lambda row: edit(None if row is None else read_account_type(row)))

    async def _write_account_type(self, number: int, make: Callable[[Row[Any] | None], AccountType]) -> AccountType:
        async def work(connection: AsyncConnection) -> AccountType:
            same = account_types.c.number == number
            row = (await connection.execute(select(account_types).where(same).with_for_update())).one_or_none()
            made = make(row)
            values = {"name": made.name, "methods": json.dumps(made.methods)}
            if row is None:
                await connection.execute(insert(account_types).values(number=number, **values))
            else:
                await connection.execute(update(account_types).where(same).values(values))
            return made

        return await self.database.write(work)

    async def remove_account_type(self, number: int) -> bool:
        """Take an account type away. False when there is none, or when an app is set up under it."""
        if number == DEFAULT_ACCOUNT_TYPE:
            return False

        async def work(connection: AsyncConnection) -> bool:
            # First its row, so that an app that is just put under it is waited for, and seen.
            gone = await connection.execute(delete(account_types).where(account_types.c.number == number))
            used = await connection.scalar(select(apps.c.sdk_app_id).where(apps.c.account_type == number).limit(1))
            if used is not None:
                raise _InUseError
            return gone.rowcount > 0

        try:
            return await self.database.write(work)
        except _InUseError:
            return False

    # --- the server's own secret ---

    async def token_secret(self) -> bytes:
        """The 32 bytes that sign tickets and resume tokens: made once, kept for the life of the database."""

        async def read(connection: AsyncConnection) -> str | None:
            stored: str | None = await connection.scalar(select(meta.c.value).where(meta.c.name == TOKEN_SECRET))
            return stored

        async def write(connection: AsyncConnection) -> str:
            stored = await read(connection)
            if stored is None:
                stored = self.master.seal(secrets.token_hex(TOKEN_SECRET_BYTES), TOKEN_SECRET)
                await connection.execute(insert(meta).values(name=TOKEN_SECRET, value=stored))
            return stored

        stored = await self.database.read(read)
        if stored is None:
            stored = await self.database.write(write)
        return read_token_secret(stored, self.master)

    async def reseal(self) -> int:
        """Seal every stored secret anew with the master key that seals now. Returns how many there are."""
        return await self.database.write(lambda connection: reseal(connection, self.master))

    async def _apps(self, sdk_app_id: int | None) -> list[App]:
        return await self.database.read(lambda connection: _apps(connection, sdk_app_id, self.master))


class _InUseError(Exception):
    """Undoes the transaction that would have removed what is used."""


async def _hold_app(connection: AsyncConnection, sdk_app_id: int) -> None:
    """Keep others from changing an app and its keys until the transaction ends; ``NoSuchAppError``.

    Else two that change different things of it at a time would undo each other's.
    """
    query = select(apps.c.sdk_app_id).where(apps.c.sdk_app_id == sdk_app_id).with_for_update()
    if await connection.scalar(query) is None:
        raise NoSuchAppError(f"There is no app {sdk_app_id}.")


async def _hold_account_type(connection: AsyncConnection, number: int) -> None:
    """Keep others from removing an account type until the transaction ends; ``NoSuchAccountTypeError``."""
    query = select(account_types.c.number).where(account_types.c.number == number).with_for_update(read=True)
    if await connection.scalar(query) is None:
        raise NoSuchAccountTypeError(f"There is no account type {number}.")


async def _exists(connection: AsyncConnection, sdk_app_id: int) -> bool:
    return await connection.scalar(select(apps.c.sdk_app_id).where(apps.c.sdk_app_id == sdk_app_id)) is not None


async def _apps(connection: AsyncConnection, sdk_app_id: int | None, master: MasterKey) -> list[App]:
    wanted, keys = select(apps).order_by(apps.c.sdk_app_id), select(app_keys).order_by(app_keys.c.id)
    if sdk_app_id is not None:
        wanted = wanted.where(apps.c.sdk_app_id == sdk_app_id)
        keys = keys.where(app_keys.c.sdk_app_id == sdk_app_id)
    rows = (await connection.execute(wanted)).all()
    of_app: dict[int, list[Row[Any]]] = {}
    for key in (await connection.execute(keys)).all():
        of_app.setdefault(key.sdk_app_id, []).append(key)
    return [read_app(row, of_app.get(row.sdk_app_id, []), master) for row in rows]
