"""The judge: asks the third party of an app whether a credential is this user's."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog

from parlour.accounts.fair_semaphore import FairSemaphores, TooManyWaitError
from parlour.accounts.refusal import AccountRefusedError
from parlour.accounts.verification import endpoint, idtoken
from parlour.accounts.verification.client import HttpsClient, Resolve
from parlour.accounts.verification.configuration import VerificationSettings
from parlour.accounts.verification.failure import CallFailedError, NotVerifiedError, visible
from parlour.accounts.verification.issuers import Issuers
from parlour.errors import ErrorCode
from parlour.storage.model import EndpointVerification, OidcVerification, Verification

MAX_CREDENTIAL_LENGTH = 16384
"""Characters; an ID token with many claims has some thousands."""

MAX_CALLS_PER_APP = 64
"""Verifications of one app under way at a time; who comes later waits for a turn."""

MAX_CALLS_PER_SOURCE = 16
"""Of these for one address, so that credentials over which a third party broods use up nobody else's turns."""

log = structlog.get_logger(__name__)


class CredentialJudge:
    """Judges the credentials of every app. ``clock`` gives unix seconds, ``monotonic`` seconds that never jump.

    Raises ValueError if the settings' CA file cannot be used.
    """

    def __init__(
        self,
        settings: VerificationSettings,
        clock: Callable[[], float],
        *,
        resolve: Resolve | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = settings.timeout
        self._clock = clock
        self._client = HttpsClient(settings, resolve)
        self._issuers = Issuers(self._client, timeout=settings.timeout, monotonic=monotonic)
        self._semaphores = FairSemaphores(MAX_CALLS_PER_APP, MAX_CALLS_PER_SOURCE)

    async def close(self) -> None:
        """Close every connection. Verifications that are still under way fail."""
        await self._issuers.close()
        await self._client.close()

    async def judge(
        self, app_id: int, user_id: str, credential: str, how: Verification, *, source: str = "unknown"
    ) -> None:
        """Return if the credential is this user's. ``source`` is where it came from. Raises AccountRefusedError:

        70019 it is empty; 70017 the third party did not answer in time, or has too many questions open; 70018 it said
        no, or did not give an answer that can be relied on.
        """
        if not credential:
            raise AccountRefusedError(
                ErrorCode.CREDENTIAL_EMPTY, "the credential is empty: send what this app's third party gave the user"
            )
        late = ErrorCode.THIRD_PARTY_VERIFICATION_TIMEOUT
        asked = False
        try:
            if len(credential) > MAX_CREDENTIAL_LENGTH:
                raise NotVerifiedError(
                    f"the credential has {len(credential)} characters; {MAX_CREDENTIAL_LENGTH} are allowed"
                )
            with self._semaphores.of(app_id) as semaphore:
                async with asyncio.timeout(self._timeout):
                    await semaphore.acquire(source)
                    asked = True
                    try:
                        await self._ask(app_id, user_id, credential, how)
                    finally:
                        semaphore.release(source)
        except (TimeoutError, TooManyWaitError) as error:
            if asked:
                detail = f"the {_party(how)} did not answer within {self._timeout:g} s: try again"
            else:
                detail = f"as many verifications as may be under way wait for the {_party(how)} already: try again"
            raise _refused(late, detail, app_id, how, str(error)) from None
        except NotVerifiedError as error:
            code = ErrorCode.THIRD_PARTY_VERIFICATION_FAILED
            raise _refused(code, error.detail, app_id, how, error.cause, wrong=error.judged) from None

    async def _ask(self, app_id: int, user_id: str, credential: str, how: Verification) -> None:
        match how:
            case EndpointVerification():
                await self._ask_endpoint(app_id, user_id, credential, how)
            case OidcVerification():
                await self._check_token(user_id, credential, how)

    async def _ask_endpoint(self, app_id: int, user_id: str, credential: str, how: EndpointVerification) -> None:
        body, headers = endpoint.question(
            how.secret,
            app_id=app_id,
            user_id=user_id,
            credential=credential,
            now=int(self._clock()),
            nonce=secrets.token_hex(16),
        )
        try:
            verdict = endpoint.parse_answer(await self._client.fetch("POST", how.url, headers, body))
        except CallFailedError as error:
            raise NotVerifiedError(f"the verification endpoint {error.problem}", error.cause, judged=False) from None
        if not verdict.ok:
            # An endpoint that quotes what it was shown does not bring it into a log.
            reason = visible(verdict.reason.replace(credential, "[credential]"))
            raise NotVerifiedError("the verification endpoint refused the credential" + (reason and f": {reason}"))

    async def _check_token(self, user_id: str, token: str, how: OidcVerification) -> None:
        header = idtoken.read_header(token)
        key = await self._issuers.key(how.issuer, header.algorithm, header.kid)
        claims = idtoken.verified_claims(token, header, key)
        idtoken.check_claims(
            claims, issuer=how.issuer, audience=how.audience, claim=how.claim, user_id=user_id, now=self._clock()
        )


def _party(how: Verification) -> str:
    return "verification endpoint" if isinstance(how, EndpointVerification) else "issuer"


def _refused(
    code: ErrorCode, detail: str, app_id: int, how: Verification, cause: str = "", *, wrong: bool = False
) -> AccountRefusedError:
    url = how.url if isinstance(how, EndpointVerification) else how.issuer
    reason = f"{detail} ({visible(cause)})" if cause else detail
    log.warning("third-party verification failed", sdk_app_id=app_id, host=_host(url), code=int(code), reason=reason)
    return AccountRefusedError(code, detail, wrong_credential=wrong)


def _host(url: str) -> str:
    try:
        return visible(urlsplit(url).hostname or "", 253)
    except ValueError:
        return ""
