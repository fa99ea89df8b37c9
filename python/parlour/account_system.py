"""The account system put together from the settings: three stores, the checks, and the account REST on top."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import structlog
from starlette.routing import BaseRoute

from parlour.accounts import AccountManager, AccountRules, Accounts
from parlour.accounts.plugins import load
from parlour.accounts.presence import PresenceTracker
from parlour.accounts.verification import CredentialJudge, VerificationSettings
from parlour.admin import AdminSettings, create_admin_routes
from parlour.settings import Settings
from parlour.storage import Counters, LockRules, LoginStates, MasterKey, Storage, StorageError
from parlour.storage.secrets import KEY_FILE
from parlour.storage.sqlite import make_folder

log = structlog.get_logger(__name__)

NODE_FILE = "node"
"""In the data folder: the server's name in the login states."""


class Stores:
    """The three stores of a server, each at its own place and with its own failures."""

    def __init__(self, accounts: Storage, login_states: LoginStates, counters: Counters, node: str) -> None:
        self.node = node
        self.accounts = accounts
        self.login_states = login_states
        self.counters = counters

    @classmethod
    async def open(cls, settings: Settings) -> Self:
        """Open all of them. Raises a ``StorageError`` in one sentence, and leaves none open then."""
        timeout = settings.limits.store_timeout
        make_folder(settings.data)
        async with contextlib.AsyncExitStack() as stack:
            accounts = await stack.enter_async_context(
                await Storage.open(settings.data, url=settings.database, master=master_key(settings), timeout=timeout)
            )
            login_states = await stack.enter_async_context(await open_login_states(settings))
            counters = await stack.enter_async_context(await open_counters(settings))
            node = node_name(settings.data)
            await login_states.forget_node(node)
            stack.pop_all()
        try:
            await accounts.token_secret()
        except StorageError as error:
            # Logins are refused with 70348 until it is there again; everything else works.
            log.error("the key that signs tickets is not available", reason=str(error))
        return cls(accounts, login_states, counters, node)

    async def close(self) -> None:
        """Close all of them."""
        for store in (self.accounts, self.login_states, self.counters):
            await store.close()


class AccountSystem:
    """The parts between the stores and the protocols. Raises ``ValueError`` or ``PluginError`` for wrong settings.

    ``force_off`` is set by who holds the sockets.
    """

    def __init__(self, settings: Settings, stores: Stores, *, clock: Callable[[], float] = time.time) -> None:
        self.force_off: Callable[[int, Sequence[str], str], None] = lambda *_: None
        self._settings = settings
        verification = settings.verification
        self._judge = CredentialJudge(
            VerificationSettings(verification.timeout, verification.allow_private, verification.ca_file), clock
        )
        self.presence = PresenceTracker(stores.login_states, clock, offline_after=settings.accounts.offline_after)
        self.accounts = Accounts(
            stores.accounts,
            stores.login_states,
            stores.counters,
            clock,
            rules=_rules(settings),
            judge=self._judge,
            presence=self.presence,
            verifiers=tuple(load(name) for name in settings.plugins.verifiers),
            node=stores.node,
        )
        self.manager = AccountManager(
            stores.accounts,
            stores.login_states,
            clock,
            force_off=self._put_off,
            max_accounts=settings.accounts.max_accounts,
            batch_timeout=settings.accounts.batch_timeout,
        )

    def _put_off(self, sdk_app_id: int, user_ids: Sequence[str], why: str) -> None:
        self.force_off(sdk_app_id, user_ids, why)

    def routes(self) -> list[BaseRoute]:
        """The account REST, unless the settings switch it off."""
        admin = self._settings.admin
        if not admin.rest:
            return []
        settings = AdminSettings(
            body_bytes=admin.body_bytes,
            body_timeout=admin.body_timeout,
            usersig_endpoint=admin.usersig_endpoint,
            rest_middleware=self._settings.plugins.rest_middleware,
        )
        return create_admin_routes(self.accounts, self.manager, settings)

    async def close(self) -> None:
        """End what is under way."""
        await self.presence.close()
        await self._judge.close()


def master_key(settings: Settings) -> MasterKey:
    """The master key that the settings name, by default the file in the data folder. Raises ``MasterKeyError``.

    A file that is missing is made when the store is opened, unless the store holds what another key sealed.
    """
    if settings.master_key:
        return MasterKey.of_text(settings.master_key)
    return MasterKey.there(settings.master_key_file or settings.data / KEY_FILE)


async def open_login_states(settings: Settings) -> LoginStates:
    """The login-state store. Raises a ``StorageError`` in one sentence."""
    url = beside(settings.login_state, settings.database)
    return await LoginStates.open(settings.data, url=url, timeout=settings.limits.store_timeout)


async def open_counters(settings: Settings) -> Counters:
    """The store of counters and locks. Raises a ``StorageError`` in one sentence."""
    rules = settings.lockout
    return await Counters.open(
        settings.data,
        url=beside(settings.counters, settings.database),
        timeout=settings.limits.store_timeout,
        rules=LockRules(rules.failures, rules.source_failures, rules.window, rules.duration),
    )


def beside(url: str, accounts_url: str) -> str:
    """Where a store is that has no URL of its own: in the PostgreSQL of the accounts, if they are in one."""
    return url or (accounts_url if accounts_url.startswith("postgres") else "")


def node_name(data: Path) -> str:
    """A name for this server among those that share a login-state store: made once, kept in the data folder.

    Not made of the host's name, which is another at each start of a container.
    """
    file = data / NODE_FILE
    with contextlib.suppress(FileExistsError), file.open("x", encoding="ascii") as made:
        made.write(secrets.token_hex(8))
    return file.read_text(encoding="ascii")[:64]


def _rules(settings: Settings) -> AccountRules:
    return AccountRules(
        logins_per_second=settings.accounts.logins_per_second,
        max_accounts=settings.accounts.max_accounts,
        requests_per_second=settings.admin.requests_per_second,
        command_rates=tuple(settings.rates.model_dump().items()),
        ticket_lifetime=settings.limits.ticket_lifetime,
    )
