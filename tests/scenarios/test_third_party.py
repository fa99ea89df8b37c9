"""Codes of third-party verification: a real HTTPS endpoint on loopback judges credentials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from parlour.storage.model import EndpointVerification, OidcVerification

from tests.conftest import RunningServer, StartServer
from tests.peers.https_peer import Authority, HttpsPeer, Issuer, Request, reply
from tests.scenarios.calls import refused_login
from tests.scenarios.conftest import Unchanged
from tests.scenarios.registry import scenario
from tests.scenarios.test_usersig import now
from tests.wire import Json, Wire

PART = "third-party verification"
CREDENTIAL = "session-of-ann"
YES, NO = reply({"ok": True}), reply({"ok": False, "reason": "this session has ended"})


@dataclass
class Judged:
    """An app whose credentials a third party judges."""

    server: RunningServer
    peer: HttpsPeer
    wire: Wire

    async def refused(self, code: int, credential: str = CREDENTIAL) -> str:
        return await refused_login(self.wire, self.server, code, userSig=credential)

    async def logs_in(self, credential: str = CREDENTIAL) -> Json:
        return await self.wire.ask("login", sdkAppId=self.server.app, userId="ann", userSig=credential)


@pytest.fixture
async def judged(start_server: StartServer, tmp_path: Path) -> AsyncIterator[Judged]:
    """By an endpoint that has two seconds to say yes."""
    authority = Authority(tmp_path)
    server = await start_server(
        verification__timeout=2, verification__allow_private=True, verification__ca_file=authority.file
    )
    async with HttpsPeer(authority.context("localhost"), YES) as peer:
        await server.storage.change_app(server.app, verification=EndpointVerification(peer.url(), "planted-secret"))
        wire = await Wire.open(server)
        yield Judged(server, peer, wire)
        await wire.close()


@scenario(
    70017,
    cause="The third party that judges credentials did not answer in time.",
    how="Logs in with a credential that an HTTPS endpoint thinks about for longer than its deadline.",
    part=PART,
)
async def test_a_third_party_that_is_slow(judged: Judged, unchanged: Unchanged) -> None:
    async def never(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    judged.peer.answer = never
    async with unchanged():
        assert "within 2 s" in await judged.refused(70017)
    judged.peer.answer = YES
    await judged.logs_in()


@scenario(
    70018,
    cause="The third party that judges credentials refused this one, or its answer cannot be understood.",
    how="Logs in with credentials to which an HTTPS endpoint says no, or answers with an error page, and with ID tokens"
    " of an OIDC issuer that are for somebody else, or too old.",
    part=PART,
)
async def test_a_third_party_that_says_no(judged: Judged, unchanged: Unchanged) -> None:
    async with unchanged():
        judged.peer.answer = NO
        assert "refused the credential: this session has ended" in await judged.refused(70018)
        judged.peer.answer = reply(b"<h1>Oops</h1>", 500)
        assert "status 500" in await judged.refused(70018)
    judged.peer.answer = YES
    await judged.logs_in()
    assert judged.peer.requests[-1].members["userId"] == "ann"

    issuer = Issuer(judged.peer)
    issuer.add_key("first")
    how = OidcVerification(issuer.url, "my-web-app")
    await judged.server.storage.change_app(judged.server.app, verification=how)
    claims = {"iss": issuer.url, "aud": "my-web-app", "sub": "ann", "exp": now() + 60}
    async with unchanged():
        assert "for the user 'bob', not for 'ann'" in await judged.refused(70018, issuer.token(claims | {"sub": "bob"}))
        assert "expired" in await judged.refused(70018, issuer.token(claims | {"exp": now() - 60}))
    await judged.logs_in(issuer.token(claims))


@scenario(
    70019,
    cause="The credential is empty that a third party is to judge.",
    how="Logs in with an empty credential at an app that names such a third party, which is not asked.",
    part=PART,
)
async def test_an_empty_credential_for_a_third_party(judged: Judged, unchanged: Unchanged) -> None:
    async with unchanged():
        assert "judged by a third party" in await judged.refused(70019, "")
    assert not judged.peer.requests
    await judged.logs_in()
