"""A store that is really broken, as the code that a login gets; each heals, and nobody is half-registered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from parlour.accounts import AccountRefusedError
from parlour.storage import MasterKey
from parlour.storage.secrets import write_key_file

from tests import broken
from tests.broken import SmallDisk
from tests.contract.stores import APP, Opener, Service, beside, on, opener, patiently, refusal
from tests.databases import AnyDatabase, SqliteDatabase


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk.at(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
async def opened(database: AnyDatabase, disk: SmallDisk, tmp_path: Path) -> AsyncIterator[Opener]:
    if isinstance(database, SqliteDatabase):
        database = SqliteDatabase(disk.folder / "data" / "parlour.db")
    async with opener(database, tmp_path) as stores:
        yield stores


Break = Callable[[AnyDatabase, SmallDisk], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Case:
    code: int
    sentence: str
    broken: Break


def in_store(file: str, break_it: Callable[..., AbstractAsyncContextManager[None]], *tables: str) -> Break:
    return lambda database, _: break_it(beside(database, file), *tables)


def damaged(statement: str, repaired: str) -> Break:
    @asynccontextmanager
    async def break_it(database: AnyDatabase, _: SmallDisk) -> AsyncIterator[None]:
        await on(database, statement)
        yield
        await on(database, repaired)

    return break_it


def locked_for_everyone(database: AnyDatabase, _: SmallDisk) -> AbstractAsyncContextManager[None]:
    return broken.locked(database, "apps", against="everyone")


LOGIN = {
    "locked": Case(70169, "the account store did not answer in time", locked_for_everyone),
    "gone": Case(70201, "the account store cannot be reached", in_store("parlour.db", broken.unreachable)),
    "a damaged app": Case(
        70203,
        "what is stored cannot be read",
        damaged("UPDATE apps SET state = 'banana'", "UPDATE apps SET state = 'active'"),
    ),
    "a damaged account": Case(
        70203,
        "what is stored cannot be read",
        damaged("UPDATE accounts SET kind = 'banana'", "UPDATE accounts SET kind = 'plain'"),
    ),
    "a table away": Case(
        70203,
        "the account store is damaged or of another version",
        in_store("parlour.db", broken.missing, "standings"),
    ),
    "no account types": Case(
        70205,
        "the app's account type could not be looked up",
        in_store("parlour.db", broken.missing, "account_types"),
    ),
    "a conflict": Case(
        70207,
        "the write met others and was given up after some retries",
        in_store("parlour.db", broken.conflicting, "accounts"),
    ),
    "not writable": Case(70208, "the account store is read-only or its disk is full", broken.unwritable),
    "no logins": Case(
        70222,
        "the login-state store is not available",
        in_store("login-state.db", broken.missing, "logins"),
    ),
    "a conflict of logins": Case(
        70225,
        "the login state could not be written: other writes were in the way",
        in_store("login-state.db", broken.conflicting, "logins"),
    ),
    "no locks": Case(
        70231,
        "the counters behind lock-out and rate limits are not available",
        in_store("counters.db", broken.missing, "locks"),
    ),
}


async def logs_in(service: Service, user_id: str) -> None:
    """That a login succeeds, if need be at a later attempt: some stores here have little time to answer."""
    for attempts_left in reversed(range(20)):
        try:
            await service.login(user_id)
            return
        except AccountRefusedError as refused:
            if not attempts_left or refused.code != 70169:
                raise


async def standing_service(opened: Opener, *, timeout: float = 20) -> Service:
    """With a user who has logged in before.

    No login rate: on a full disk that all stores share, the counters would fail first (70231).
    """
    service = await opened.service(limits__store_timeout=timeout, accounts__logins_per_second=0)
    await logs_in(service, "old")
    return service


@pytest.mark.parametrize("case", LOGIN.values(), ids=LOGIN)
async def test_a_login_is_told_which_part_failed_and_works_again_when_it_is_mended(
    opened: Opener, disk: SmallDisk, case: Case
) -> None:
    service = await standing_service(opened, timeout=1 if case is LOGIN["locked"] else 20)
    who = "old" if case is LOGIN["a damaged account"] else "new"
    async with case.broken(opened.database, disk):
        told = await service.refusal(who)
    assert told == (case.code, case.sentence)
    accounts = service.stores.accounts.accounts
    if case.code not in (70222, 70225):  # the account is made before the login is written down
        assert not await patiently(lambda: accounts.registered(APP, "new"))
    await logs_in(service, who)
    assert await patiently(lambda: accounts.registered(APP, who))


async def test_a_login_with_another_master_key_is_70212(opened: Opener) -> None:
    service = await standing_service(opened)
    sig = service.sig("old")
    stranger = await opened.service(master_key="bb" * 32)
    # Its own start has told that the key for tickets is not available.
    assert await stranger.refusal("old", sig) == (
        70212,
        "a stored secret does not open with this server's master key",
    )
    await service.login("old", sig)


async def test_a_rotated_master_key_is_found_by_a_running_server(opened: Opener) -> None:
    service = await standing_service(opened)
    file = opened.data / "master.key"
    (old,) = MasterKey.of_file(file).keys
    new = b"\xbb" * 32
    write_key_file(file, [new, old])
    rotation = await opened.accounts(master=MasterKey.of_file(file))
    assert await rotation.reseal() == 2
    await service.login("old")
    write_key_file(file, [new])
    await service.login("old")
    await service.login("new")


async def test_entering_and_coming_back_are_told_which_part_failed_too(opened: Opener, disk: SmallDisk) -> None:
    service = await standing_service(opened)
    granted = await service.login("old")
    entrant = await service.accounts.enter(granted.login, granted.ticket)
    token = entrant.signer.issue_resume("session-1", granted.login, expires_at=service.clock.now + 90)
    async with LOGIN["no logins"].broken(opened.database, disk):
        assert (await refusal(service.accounts.resume(token)))[0] == 70222
        await service.accounts.enter(granted.login, granted.ticket)
    async with LOGIN["a conflict of logins"].broken(opened.database, disk):
        assert (await refusal(service.accounts.resume(token)))[0] == 70225
    assert (await service.accounts.resume(token)).session_id == "session-1"
    for name in ("a table away", "gone"):
        async with LOGIN[name].broken(opened.database, disk):
            for asked in (service.accounts.enter(granted.login, granted.ticket), service.accounts.resume(token)):
                assert await refusal(asked) == (LOGIN[name].code, LOGIN[name].sentence)


async def test_a_broken_store_never_counts_towards_the_lock_out(opened: Opener, disk: SmallDisk) -> None:
    service = await opened.service(limits__store_timeout=20, lockout__failures=1)
    await service.login("old")
    for name in ("a damaged app", "no account types", "no logins", "a conflict of logins"):
        async with LOGIN[name].broken(opened.database, disk):
            assert (await service.refusal("old"))[0] == LOGIN[name].code
    await service.login("old")
