"""What administrators do with accounts and with their app: the commands behind the account REST."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from parlour.accounts.faults import account_store, account_store_refusal, guarded, login_state_store, unexpected
from parlour.accounts.refusal import AccountRefusedError
from parlour.accounts.user_ids import checked_format, checked_kind
from parlour.errors import ErrorCode
from parlour.storage import (
    AccountLimitError,
    App,
    AppLimits,
    LoginStates,
    NewAccount,
    Storage,
    StorageError,
    StoreTimeoutError,
)
from parlour.storage.model import Kind, bound
from parlour.usersig import sign_v2

Item = TypeVar("Item")

CHUNK = 20
"""Items of a batch that are one transaction: what was done when the deadline passes is done whole."""

BATCH_TIMEOUT = 3.0
"""Seconds that a batch has by default; callers of the public API give up after that."""

MAX_UIN = 2**53 - 1


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one item of a batch: the code that it failed with, and whether the account is (or was) there."""

    user_id: str
    code: ErrorCode | None = None
    registered: bool = False


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch. With a ``code`` it was not finished: ``items`` are those that were done."""

    items: list[ItemResult]
    code: ErrorCode | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a user is online, and by which platforms; ``known`` false: there is no such account."""

    user_id: str
    known: bool
    state: Literal["Online", "Offline"] = "Offline"
    platforms: tuple[str, ...] = ()


ForceOff = Callable[[int, Sequence[str], str], None]
"""Puts users of an app off this server at once, with the sentence that they are told."""


class AccountManager:
    """The commands. UserIds are texts of 1 to 32 bytes, and no batch names one twice.

    ``force_off`` is called for users whose sessions have to end now.
    """

    def __init__(
        self,
        storage: Storage,
        login_states: LoginStates,
        clock: Callable[[], float],
        *,
        force_off: ForceOff,
        max_accounts: int = 0,
        batch_timeout: float = BATCH_TIMEOUT,
    ) -> None:
        self._storage = storage
        self._accounts = storage.accounts
        self._login_states = login_states
        self._clock = clock
        self._force_off = force_off
        self._max_accounts = max_accounts
        self._batch_timeout = batch_timeout

    # --- accounts ---

    @guarded
    async def import_account(self, app: App, user_id: str, *, nick: str | None, face_url: str | None) -> None:
        """Make an account or change its profile; what is None stays."""
        with account_store():
            await self._accounts.put(self._new(app, user_id, nick=nick, face_url=face_url))

    async def import_many(self, app: App, user_ids: Sequence[str]) -> BatchResult:
        """Make accounts of those that are not there."""
        return await self._put_many(app, [self._new(app, user_id) for user_id in user_ids])

    @guarded
    async def register(self, app: App, user_id: str, kind: str) -> None:
        """Make an account of a kind; its format is checked (70102 to 70106)."""
        checked = checked_kind(app, kind)
        new = self._new(app, checked_format(checked, user_id), checked)
        with account_store():
            await self._accounts.put(new)

    async def register_many(self, app: App, accounts: Sequence[tuple[str, str]]) -> BatchResult:
        """The same for several; each has its own code."""
        new: list[NewAccount] = []
        refused: list[ItemResult] = []
        for user_id, kind in accounts:
            try:
                checked = checked_kind(app, kind)
                new.append(self._new(app, checked_format(checked, user_id), checked))
            except AccountRefusedError as refusal:
                refused.append(ItemResult(user_id, refusal.code))
        made = await self._put_many(app, new)
        by_user = {item.user_id: item for item in (*made.items, *refused)}
        items = [by_user[user_id] for user_id, _ in accounts if user_id in by_user]
        return replace(made, items=items)

    async def delete_many(self, app: App, user_ids: Sequence[str]) -> BatchResult:
        """Delete accounts, void their UserSigs and put their users off. 70107 for one that is not there.

        As after ``kick``, what is signed after the answer is good.
        """
        voided: list[int] = []

        async def work(chunk: Sequence[str], within: float) -> list[ItemResult]:
            await self._revoke(app, chunk, within=within)
            now = int(self._clock())
            there = await self._accounts.delete_many(app.sdk_app_id, chunk, now=now, within=within)
            if there:
                voided.append(now)
                await self._put_off(app, sorted(there), "the account was deleted")
            return [
                ItemResult(user_id, None if user_id in there else ErrorCode.USERID_NOT_REGISTERED, user_id in there)
                for user_id in chunk
            ]

        result = await self._in_chunks(user_ids, work)
        if voided:
            await self._second_over(voided[-1])
        return result

    async def check_many(self, app: App, user_ids: Sequence[str]) -> BatchResult:
        """Which of them are registered."""
        if len(user_ids) == 1:  # what busy back ends ask, gathered with what others ask
            with unexpected(), account_store():
                there = await self._accounts.registered(app.sdk_app_id, user_ids[0])
            return BatchResult([ItemResult(user_ids[0], registered=there)])

        async def work(chunk: Sequence[str], within: float) -> list[ItemResult]:
            there = await self._accounts.registered_many(app.sdk_app_id, chunk, within=within)
            return [ItemResult(user_id, registered=user_id in there) for user_id in chunk]

        return await self._in_chunks(user_ids, work)

    @guarded
    async def kick(self, app: App, user_id: str) -> None:
        """Void the UserSigs that the user has, and put the user off.

        A UserSig tells its time in whole seconds, so this returns when the second is over: what is signed after the
        answer is good.
        """
        await self._revoke(app, [user_id])
        now = self._clock()
        with account_store():
            if not await self._accounts.invalidate(app.sdk_app_id, user_id, now=int(now)):
                raise AccountRefusedError(
                    ErrorCode.USERID_NOT_REGISTERED, f"app {app.sdk_app_id} has no account {user_id}"
                )
        await self._put_off(app, [user_id], "the user was kicked by an administrator")
        await self._second_over(int(now))

    @guarded
    async def online(self, app: App, user_ids: Sequence[str]) -> list[Presence]:
        """Who of them is online."""
        with account_store():
            there = await self._accounts.registered_many(app.sdk_app_id, user_ids, within=self._batch_timeout)
        with login_state_store():
            platforms = await self._login_states.online(app.sdk_app_id, sorted(there), now=int(self._clock()))
        return [
            Presence(
                user_id,
                user_id in there,
                "Online" if user_id in platforms else "Offline",
                tuple(platforms.get(user_id, ())),
            )
            for user_id in user_ids
        ]

    # --- the blacklist ---

    @guarded
    async def block(self, app: App, user_id: str, reason: str) -> None:
        """Put a userId on the blacklist, registered or not, and the user off."""
        await self._revoke(app, [user_id])
        with account_store():
            await self._accounts.block(app.sdk_app_id, user_id, reason, now=int(self._clock()))
        await self._put_off(app, [user_id], "the user is on the blacklist")

    @guarded
    async def unblock(self, app: App, user_id: str) -> None:
        """Take a userId off the blacklist; one that is not on it stays so."""
        with account_store():
            await self._accounts.unblock(app.sdk_app_id, user_id)

    @guarded
    async def blocked(self, app: App, *, after: str, limit: int) -> list[tuple[str, str, int]]:
        """The blacklist by userId, from behind ``after``: userId, reason, since when (unix seconds)."""
        with account_store():
            return await self._accounts.blocked(app.sdk_app_id, after=after, limit=limit)

    # --- the app ---

    async def app_of_owner(self, app: App, uin: object, *, write: bool) -> None:
        """That the app belongs to the operator of that number: 70211, 70209, else 70115, or 70210 for a change."""
        number = uin if isinstance(uin, int) and not isinstance(uin, bool) else None
        if isinstance(uin, str) and uin.isascii() and uin.isdigit() and len(uin) <= 16:
            number = int(uin)
        if number is None or not 0 < number <= MAX_UIN:
            said = "Uin is missing" if uin is None else f"Uin {str(uin)[:20]!r} is no such number"
            raise AccountRefusedError(
                ErrorCode.UIN_INVALID, f"{said}; it is the owner of the app, a number from 1 to {MAX_UIN}"
            )
        if app.owner is None:
            raise AccountRefusedError(ErrorCode.APP_HAS_NO_OWNER, f"app {app.sdk_app_id} has no owner")
        if app.owner != number:
            code = ErrorCode.UIN_MISMATCH if write else ErrorCode.UIN_NOT_DEVELOPER
            raise AccountRefusedError(code, f"app {app.sdk_app_id} does not belong to {number}")

    @guarded
    async def change_app(self, app: App, **changes: Any) -> App:
        """Change members of the app; those of its limits by their own names."""
        limits = {name: changes.pop(name) for name in AppLimits.__slots__ if name in changes}
        with account_store():
            return await self._storage.change_app(app.sdk_app_id, limits=limits, **changes)

    async def issue_user_sig(self, app: App, user_id: str, expire: int) -> tuple[str, int, int]:
        """A UserSig for a user, when it was issued and when it expires; 70015 for an app without a secret key."""
        if not app.keys.secrets:
            raise AccountRefusedError(
                ErrorCode.VERIFICATION_METHOD_MISSING, f"app {app.sdk_app_id} has no secret key to sign with"
            )
        now = int(self._clock())
        # The newest key: in a rotation the older ones are on their way out.
        return sign_v2(app.sdk_app_id, user_id, app.keys.secrets[-1], now=now, expire=expire), now, now + expire

    # --- steps ---

    def _new(
        self, app: App, user_id: str, kind: Kind = "plain", *, nick: str | None = None, face_url: str | None = None
    ) -> NewAccount:
        most = bound(app.limits.max_accounts, self._max_accounts)
        return NewAccount(app.sdk_app_id, user_id, kind, int(self._clock()), nick, face_url, most)

    async def _put_many(self, app: App, new: Sequence[NewAccount]) -> BatchResult:
        async def work(chunk: Sequence[NewAccount], within: float) -> list[ItemResult]:
            failed = await self._accounts.put_many(chunk, within=within)
            return [
                ItemResult(account.user_id, None if error is None else _item_code(error), error is None)
                for account, error in zip(chunk, failed, strict=True)
            ]

        return await self._in_chunks(new, work)

    async def _in_chunks(
        self, items: Sequence[Item], work: Callable[[Sequence[Item], float], Awaitable[list[ItemResult]]]
    ) -> BatchResult:
        """Do a batch in transactions of some items each, until the deadline: 70202 then, with what was done."""
        done: list[ItemResult] = []
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._batch_timeout
        for at in range(0, len(items), CHUNK):
            left = deadline - loop.time()
            try:
                if left <= 0:
                    raise StoreTimeoutError("the deadline of the batch passed")
                done += await work(items[at : at + CHUNK], left)
            except AccountRefusedError as refusal:
                return BatchResult(done, refusal.code, refusal.detail)
            except StorageError as error:
                ended = self._batch_refusal(error, len(done), len(items))
                return BatchResult(done, ended.code, ended.detail)
        return BatchResult(done)

    def _batch_refusal(self, error: StorageError, done: int, of: int) -> AccountRefusedError:
        if isinstance(error, StoreTimeoutError):
            return AccountRefusedError(
                ErrorCode.BATCH_TIMEOUT,
                f"{done} of {of} were done when the {self._batch_timeout:g} s of a batch were over",
            )
        return account_store_refusal(error)

    async def _put_off(self, app: App, user_ids: Sequence[str], why: str) -> None:
        """End the users' sessions here, and the logins of who came in between."""
        self._force_off(app.sdk_app_id, user_ids, why)
        with contextlib.suppress(AccountRefusedError):  # the change is made; what comes back is judged by it
            await self._revoke(app, user_ids)

    async def _second_over(self, second: int) -> None:
        """Wait until what is signed now tells a later time than what was voided in that second."""
        left = second + 1 - self._clock()
        if 0 < left <= 1:
            await asyncio.sleep(left)

    async def _revoke(self, app: App, user_ids: Sequence[str], *, within: float | None = None) -> None:
        """Void the logins of users, before their accounts are changed: nothing is, if this cannot be written."""
        with login_state_store():
            await self._login_states.revoke(app.sdk_app_id, user_ids, within=within)


def _item_code(error: StorageError) -> ErrorCode:
    return ErrorCode.ACCOUNT_COUNT_LIMIT if isinstance(error, AccountLimitError) else account_store_refusal(error).code
