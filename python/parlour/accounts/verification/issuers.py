"""The issuers' keys: found by OpenID Connect Discovery, fetched once for all who wait, kept for a while.

Whoever sends tokens decides which key they name. So a name that is not known makes the server ask the issuer again, for
keys are rotated, but never more often than ``ASK_AGAIN_SECONDS``, whatever is sent.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from parlour.accounts.verification.client import HttpsClient
from parlour.accounts.verification.configuration import checked_endpoint_url
from parlour.accounts.verification.documents import DocumentError, parse_object
from parlour.accounts.verification.failure import CallFailedError, NotVerifiedError
from parlour.accounts.verification.keys import KeySet, PublicKey, unknown_key

KEEP_SECONDS = 600.0
"""How long keys are used before they are fetched again: a key that an issuer withdrew is refused after that."""

ASK_AGAIN_SECONDS = 10.0
"""The least time between two fetches that tokens with unknown keys cause."""

PAUSE_SECONDS = 1.0
"""How long an issuer that failed is left alone. Until then logins get the same failure at once."""

MAX_ISSUERS = 256
"""Issuers whose keys are kept; the one that was not used for longest goes first."""

_WELL_KNOWN = "/.well-known/openid-configuration"


@dataclass(slots=True)
class _Known:
    """What is known of one issuer. Times on the monotonic clock."""

    asked_at: float = float("-inf")
    fetched_at: float = float("-inf")
    keys: KeySet | None = None
    failure: CallFailedError | TimeoutError | None = None
    flight: asyncio.Task[None] | None = None


class Issuers:
    """Finds the key of a token. ``monotonic`` gives seconds that never jump."""

    def __init__(self, client: HttpsClient, *, timeout: float, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._timeout = timeout
        self._monotonic = monotonic
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._flights: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop fetching."""
        for flight in self._flights:
            flight.cancel()
        if self._flights:
            await asyncio.wait(self._flights)

    async def key(self, issuer: str, algorithm: str, kid: str | None) -> PublicKey:
        """The key that a token names. Raises NotVerifiedError, or TimeoutError when the issuer is too slow."""
        known, came = self._of(issuer), self._monotonic()
        if known.keys is None or self._monotonic() - known.fetched_at >= KEEP_SECONDS:
            keys = await self._fetched(issuer, known)
        else:
            keys = known.keys
        key = keys.find(algorithm, kid)
        asked = known.fetched_at >= came
        if key is None and not asked and self._since_asked(known) >= ASK_AGAIN_SECONDS:
            key = (await self._fetched(issuer, known)).find(algorithm, kid)
            asked = True
        if key is None:
            # When the issuer was not asked just now, it may be a new key of which nothing is known yet.
            raise unknown_key(algorithm, kid, judged=asked)
        return key

    def _of(self, issuer: str) -> _Known:
        known = self._known.setdefault(issuer, _Known())
        self._known.move_to_end(issuer)
        if len(self._known) > MAX_ISSUERS:
            self._known.popitem(last=False)
        return known

    def _since_asked(self, known: _Known) -> float:
        return self._monotonic() - known.asked_at

    async def _fetched(self, issuer: str, known: _Known) -> KeySet:
        """New keys, from the fetch that is under way or from one that is started now."""
        if known.flight is None and (known.failure is None or self._since_asked(known) >= PAUSE_SECONDS):
            known.asked_at = self._monotonic()
            known.flight = asyncio.create_task(self._fetch(issuer, known))
            self._flights.add(known.flight)
            known.flight.add_done_callback(self._flights.discard)
        if known.flight is not None:
            # Shielded: who gives up waiting does not take the fetch away from the others.
            await asyncio.shield(known.flight)
        if isinstance(known.failure, TimeoutError):
            raise TimeoutError(str(known.failure))
        if known.failure is not None or known.keys is None:
            problem = known.failure or CallFailedError("gave no keys")
            raise NotVerifiedError(f"the issuer {problem.problem}", problem.cause, judged=False)
        return known.keys

    async def _fetch(self, issuer: str, known: _Known) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                known.keys = await self._ask(issuer)
            known.fetched_at = known.asked_at
            known.failure = None
        except (CallFailedError, TimeoutError) as failure:
            # Only the news of it is kept, without the frames that it came through.
            known.failure = failure.with_traceback(None)
        finally:
            known.flight = None

    async def _ask(self, issuer: str) -> KeySet:
        # Discovery §4.1: a slash at the end of the issuer is removed first.
        body = await self._client.fetch("GET", issuer.removesuffix("/") + _WELL_KNOWN)
        return KeySet.parse(await self._client.fetch("GET", keys_url(body, issuer)))


def keys_url(body: bytes, issuer: str) -> str:
    """The ``jwks_uri`` of a discovery document. Raises CallFailedError when it is not that of this very issuer.

    Source: OpenID Connect Discovery 1.0 §3 and §4.3.
    """
    try:
        members = parse_object(body)
    except DocumentError as error:
        raise CallFailedError(f"published a configuration that {error}") from None
    if members.get("issuer") != issuer:
        raise CallFailedError("published a configuration that names another issuer than the one that is set")
    url = members.get("jwks_uri")
    if not isinstance(url, str):
        raise CallFailedError("published a configuration without 'jwks_uri'")
    try:
        return checked_endpoint_url(url)
    except ValueError as error:
        raise CallFailedError("published a configuration whose 'jwks_uri' is not used", str(error)) from None
