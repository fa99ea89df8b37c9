"""The stores and the account service as a server has them, asked without a network; and their databases by name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from parlour.account_system import AccountSystem, Stores
from parlour.accounts import AccountManager, AccountRefusedError, Accounts, Granted, LoginRequest
from parlour.settings import Settings, load_settings
from parlour.storage import (
    App,
    AppExistsError,
    Counters,
    LockRules,
    LoginStates,
    MasterKey,
    SealedError,
    Storage,
    StoreTimeoutError,
)
from parlour.storage.store import TIMEOUT
from parlour.usersig import sign_v2

from tests.databases import AnyDatabase, SqliteDatabase

Result = TypeVar("Result")

APP = 1400000001
NOW = 1_700_000_000
GOOD = object()
"""Instead of a UserSig: one that is right."""


def url_of(database: AnyDatabase) -> str:
    """What the settings say about it: nothing, where the file of the data folder is meant."""
    return "" if isinstance(database, SqliteDatabase) else database.url


def data_of(database: AnyDatabase, tmp_path: Path) -> Path:
    return database.path.parent if isinstance(database, SqliteDatabase) else tmp_path / "data"


def beside(database: AnyDatabase, name: str) -> AnyDatabase:
    """Where the store of that file name is: a SQLite file of its own, or the same PostgreSQL database."""
    return SqliteDatabase(database.path.with_name(name)) if isinstance(database, SqliteDatabase) else database


async def patiently(ask: Callable[[], Awaitable[Result]]) -> Result:
    """What a store answers, if need be at a later attempt: some here have little time, and a busy machine takes it."""
    for _ in range(20):
        with contextlib.suppress(StoreTimeoutError):
            return await ask()
    return await ask()


@dataclass
class Opener:
    """Opens the stores that a server with this data folder and database would open."""

    database: AnyDatabase
    data: Path
    stack: AsyncExitStack

    async def accounts(self, *, timeout: float = TIMEOUT, master: MasterKey | None = None) -> Storage:
        url = url_of(self.database)
        store = await patiently(lambda: Storage.open(self.data, url=url, master=master, timeout=timeout))
        self.stack.push_async_callback(store.close)
        return store

    async def login_states(self, *, timeout: float = TIMEOUT) -> LoginStates:
        self.data.mkdir(exist_ok=True)
        url = url_of(self.database)
        store = await patiently(lambda: LoginStates.open(self.data, url=url, timeout=timeout))
        self.stack.push_async_callback(store.close)
        return store

    async def counters(self, rules: LockRules = LockRules(), *, timeout: float = TIMEOUT) -> Counters:  # noqa: B008
        self.data.mkdir(exist_ok=True)
        url = url_of(self.database)
        store = await patiently(lambda: Counters.open(self.data, url=url, timeout=timeout, rules=rules))
        self.stack.push_async_callback(store.close)
        return store

    async def service(self, **settings: object) -> Service:
        """The whole account system, with settings as dotted keys that have ``__`` for the dot."""
        overrides: dict[str, object] = {"data": self.data, "database": url_of(self.database)}
        overrides |= {name.replace("__", "."): value for name, value in settings.items()}
        return await Service.start(self, load_settings(None, overrides))


@asynccontextmanager
async def opener(database: AnyDatabase, tmp_path: Path) -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:
        yield Opener(database, data_of(database, tmp_path), stack)


@dataclass
class Clock:
    """A clock that stands until somebody sets it. Unix seconds."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Service:
    """The account system over real stores, with one app."""

    database: AnyDatabase
    stores: Stores
    system: AccountSystem
    clock: Clock
    key: str = ""
    put_off: list[tuple[str, ...]] = field(default_factory=list)

    @classmethod
    async def start(cls, opener: Opener, settings: Settings) -> Service:
        stores = await patiently(lambda: Stores.open(settings))
        opener.stack.push_async_callback(stores.close)
        clock = Clock()
        system = AccountSystem(settings, stores, clock=clock)
        opener.stack.push_async_callback(system.close)
        with contextlib.suppress(AppExistsError):
            await patiently(lambda: stores.accounts.create_app(APP, now=NOW))
        service = cls(opener.database, stores, system, clock)
        with contextlib.suppress(SealedError):  # with another master key there is none
            service.key = (await patiently(service.app)).keys.secrets[0]
        system.force_off = lambda _, users, __: service.put_off.append(tuple(users))
        return service

    @property
    def accounts(self) -> Accounts:
        return self.system.accounts

    @property
    def manager(self) -> AccountManager:
        return self.system.manager

    async def app(self) -> App:
        app = await self.stores.accounts.get_app(APP)
        assert app is not None
        return app

    async def change(self, **changes: Any) -> App:
        return await self.stores.accounts.change_app(APP, **changes)

    def sig(self, user_id: str = "ann", *, app: int = APP, key: str = "", age: int = 0, expire: int = 3600) -> str:
        """A UserSig, ``age`` seconds old; a good one if nothing else is said."""
        return sign_v2(app, user_id, key or self.key, now=int(self.clock.now) - age, expire=expire)

    async def login(self, user_id: object = "ann", user_sig: object = GOOD, **members: object) -> Granted:
        """Log in, with a good UserSig if no other is given."""
        given = self.sig(str(user_id)) if user_sig is GOOD else user_sig
        members = {"sdk_app_id": APP, "user_id": user_id, "user_sig": given} | members
        return await self.accounts.login(LoginRequest(**members))  # type: ignore[arg-type]

    async def refusal(self, *arguments: Any, **members: object) -> tuple[int, str]:
        """Code and sentence with which such a login is refused."""
        return await refusal(self.login(*arguments, **members))


async def refusal(asked: Awaitable[object]) -> tuple[int, str]:
    """Code and sentence with which the account service refuses."""
    with pytest.raises(AccountRefusedError) as refused:
        await asked
    return int(refused.value.code), refused.value.detail


async def on(database: AnyDatabase, statements: str) -> list[tuple[object, ...]]:
    """Run SQL past the server, in a thread, so that a transaction of this loop can end meanwhile."""
    return [tuple(row) for row in await asyncio.to_thread(database.sql, statements)]
