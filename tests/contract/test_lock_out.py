"""What is held against a user and an address: wrong credentials, and never a failure of ours or of a third party."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from parlour.accounts import AccountRefusedError
from parlour.storage import AccountType
from parlour.storage.model import EndpointVerification, OidcVerification
from parlour.usersig import sign_v1

from tests.contract.stores import APP, NOW, Opener, Service
from tests.peers.https_peer import Answer, Authority, HttpsPeer, Issuer, Request, reply
from tests.unit.usersigs import ec_keys

FAILURES = 3
WRONG_KEY = "?" * 64


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def peer(authority: Authority) -> AsyncIterator[HttpsPeer]:
    async with HttpsPeer(authority.context("localhost"), reply({"ok": True})) as peer:
        yield peer


@pytest.fixture
async def service(opened: Opener, authority: Authority) -> Service:
    """Three failures of a user lock, and six of an address."""
    return await opened.service(
        lockout__failures=FAILURES, lockout__source_failures=2 * FAILURES, verification__timeout=3,
        verification__allow_private=True, verification__ca_file=authority.file,
    )  # fmt: skip


async def _never(request: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _closes(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.close()


BROKEN: dict[str, tuple[Answer, int]] = {
    "an error page": (reply(b"<h1>Oops</h1>", 500), 70018),
    "unavailable": (reply({"ok": True}, 503), 70018),
    "a redirect": (reply({}, 302, Location="/"), 70018),
    "no JSON": (reply(b"oops"), 70018),
    "no verdict": (reply({"yes": 1}), 70018),
    "no answer": (_closes, 70018),
    "no answer in time": (_never, 70017),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_an_endpoint_that_is_broken_locks_nobody(service: Service, peer: HttpsPeer, case: str) -> None:
    await service.change(verification=EndpointVerification(peer.url(), "secret"))
    answer, code = BROKEN[case]
    peer.answer = answer
    refused = await asyncio.gather(*(service.refusal("ann", "good") for _ in range(3 * FAILURES)))
    assert {told[0] for told in refused} == {code}
    peer.answer = reply({"ok": True})
    await service.login("ann", "good")


async def test_an_endpoint_that_is_down_or_has_a_bad_certificate_locks_nobody(
    service: Service, peer: HttpsPeer, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other")
    async with AsyncExitStack() as stack:
        untrusted = await stack.enter_async_context(HttpsPeer(stranger.context("localhost"), reply({"ok": True})))
        named: ssl.SSLContext = stranger.context("elsewhere.example")
        misnamed = await stack.enter_async_context(HttpsPeer(named, reply({"ok": True})))
        async with HttpsPeer(None, reply({"ok": True})) as gone:
            nobody = gone.url().replace("http://", "https://")
        for url in (untrusted.url(), misnamed.url(), nobody):
            await service.change(verification=EndpointVerification(url, "secret"))
            for _ in range(3 * FAILURES):
                assert (await service.refusal("ann", "good"))[0] == 70018
    await service.change(verification=EndpointVerification(peer.url(), "secret"))
    await service.login("ann", "good")


async def test_an_issuer_that_is_broken_locks_nobody_and_a_wrong_token_does(service: Service, peer: HttpsPeer) -> None:
    issuer = Issuer(peer)
    issuer.add_key("first")
    claims = {"iss": issuer.url, "aud": "app", "sub": "ann", "exp": NOW + 600}
    good = issuer.token(claims)
    await service.change(verification=OidcVerification(issuer.url, "app"))
    working = peer.answer
    peer.answer = reply(b"", 500)
    for _ in range(3 * FAILURES):
        assert (await service.refusal("ann", good))[0] == 70018
    peer.answer = working
    await until_it_logs_in(service, good)
    for _ in range(FAILURES):
        assert (await service.refusal("ann", issuer.token(claims | {"sub": "bob"})))[0] == 70018
    assert (await service.refusal("ann", good))[0] == 70050


async def until_it_logs_in(service: Service, token: str) -> None:
    """An issuer that failed is left alone for a second, in which logins are told the failure of before."""
    async with asyncio.timeout(20):
        while True:
            try:
                await service.login("ann", token)
                return
            except AccountRefusedError as refused:
                assert refused.code == 70018
                await asyncio.sleep(0.1)


async def test_a_no_of_an_endpoint_locks_the_user_and_then_the_address(service: Service, peer: HttpsPeer) -> None:
    await service.change(verification=EndpointVerification(peer.url(), "secret"))
    peer.answer = reply({"ok": False})
    for user in ("ann", "bob"):
        for _ in range(FAILURES):
            assert (await service.refusal(user, "guess"))[0] == 70018
    peer.answer = reply({"ok": True})
    for user in ("ann", "carol"):
        assert (await service.refusal(user, "good"))[0] == 70050


async def _no_method(service: Service) -> None:
    await service.stores.accounts.put_account_type(AccountType(7, "", ("third-party",)))
    await service.change(account_type=7)


async def _no_public_key(service: Service) -> None:
    pass


SET_UP: dict[str, tuple[Callable[[Service], object], int]] = {
    "an account type that takes no UserSig": (_no_method, 70015),
    "no public key": (_no_public_key, 70016),
}


@pytest.mark.parametrize("case", SET_UP)
async def test_an_app_that_is_set_up_wrongly_locks_nobody(service: Service, case: str) -> None:
    prepare, code = SET_UP[case]
    good = service.sig("ann")
    private, _ = ec_keys("secp256k1")
    presented = sign_v1(APP, "ann", private, now=NOW) if code == 70016 else good
    await prepare(service)  # type: ignore[misc]
    for _ in range(3 * FAILURES):
        assert (await service.refusal("ann", presented))[0] == code
    await service.change(account_type=0)
    await service.login("ann", good)


async def test_a_usersig_that_is_wrong_locks_in_every_way(service: Service) -> None:
    wrong = {
        "another key": service.sig("u0", key=WRONG_KEY),
        "expired": service.sig("u1", age=7200),
        "no base64": "%%%",
        "empty": "",
        "another user": service.sig("somebody"),
    }
    for number, (what, user_sig) in enumerate(wrong.items()):
        source = f"192.0.2.{number}"
        for _ in range(FAILURES):
            code, _ = await service.refusal(f"u{number}", user_sig, source=source)
            assert code != 70050, what
        assert (await service.refusal(f"u{number}", source=source))[0] == 70050, what
