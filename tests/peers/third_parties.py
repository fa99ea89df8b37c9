"""The third parties of a test: it makes judges and whom they ask, and closes them all; and what a refusal is."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from parlour.accounts.refusal import AccountRefusedError
from parlour.accounts.verification import CredentialJudge, VerificationSettings
from parlour.errors import ErrorCode
from parlour.storage.model import EndpointVerification, Verification
from structlog.testing import capture_logs

from tests.peers.https_peer import Answer, Authority, HttpsPeer, Issuer, reply

APP = 1400000001
SECRET = "planted-secret-5bd2850fff3ecb11d7c8"
CREDENTIAL = "planted-credential-0123456789"
NOW = 1_700_000_000
LATE = ErrorCode.THIRD_PARTY_VERIFICATION_TIMEOUT
FAILED = ErrorCode.THIRD_PARTY_VERIFICATION_FAILED


class Parties:
    """Makes judges and the third parties that they ask, and closes them all."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack = stack
        self.authority = Authority(folder)
        self.now = float(NOW)
        self.uptime = 1000.0

    def judge(
        self,
        *,
        allow_private: bool = True,
        timeout: float = 5.0,
        trusted: bool = True,
        resolve: Callable[[str, int], Any] | None = None,
    ) -> CredentialJudge:
        settings = VerificationSettings(
            timeout=timeout, allow_private=allow_private, ca_file=self.authority.file if trusted else None
        )
        judge = CredentialJudge(settings, lambda: self.now, resolve=resolve, monotonic=lambda: self.uptime)
        self._stack.push_async_callback(judge.close)
        return judge

    async def peer(
        self, answer: Answer, context: ssl.SSLContext | None = None, address: str = "127.0.0.1"
    ) -> HttpsPeer:
        context = context or self.authority.context("localhost", "127.0.0.1", "::1")
        return await self._stack.enter_async_context(HttpsPeer(context, answer, address))

    async def plain_peer(self, answer: Answer) -> HttpsPeer:
        return await self._stack.enter_async_context(HttpsPeer(None, answer))

    async def issuer(self, *algorithms: str) -> Issuer:
        issuer = Issuer(await self.peer(reply({})))
        issuer.add_key("first", *algorithms)
        return issuer


def at(url: str) -> EndpointVerification:
    return EndpointVerification(url, SECRET)


async def refusal(
    judge: CredentialJudge, how: Verification, credential: str = CREDENTIAL, user: str = "ann", app: int = APP
) -> AccountRefusedError:
    """The refusal of a credential, which has to come with one line in the log and without any secret."""
    with capture_logs() as lines, pytest.raises(AccountRefusedError) as caught:
        await judge.judge(app, user, credential, how)
    said = f"{caught.value!r} {caught.value.detail} {lines}"
    for planted in (SECRET, CREDENTIAL):
        assert planted not in said
    if caught.value.code != ErrorCode.CREDENTIAL_EMPTY:
        (line,) = lines
        assert line["log_level"] == "warning"
        assert (line["sdk_app_id"], line["code"]) == (app, caught.value.code)
        assert line["host"]
        assert caught.value.detail in line["reason"]
        assert len(line["reason"]) < 700
    return caught.value


async def until(condition: Callable[[], bool], deadline: float = 10.0) -> None:
    async with asyncio.timeout(deadline):
        while not condition():  # noqa: ASYNC110 - what is waited for is often outside this process
            await asyncio.sleep(0.01)
