"""ID tokens (OpenID Connect Core 1.0 §2 and §3.1.3.7): whose they are, and whether they hold at a given time.

The signature is PyJWT's to check. The claims are checked here, against a time that is passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jwt

from parlour.accounts.verification.documents import DocumentError, parse_object
from parlour.accounts.verification.failure import NotVerifiedError, visible
from parlour.accounts.verification.keys import ALGORITHMS, PublicKey

LEEWAY = 60.0
"""Seconds that an issuer's clock may be ahead of ours. The expiry gets none."""

_jws = jwt.PyJWS(algorithms=list(ALGORITHMS))


@dataclass(frozen=True, slots=True)
class TokenHeader:
    """What a token says about its signature: one of ``ALGORITHMS``, and the name of the key if it has one."""

    algorithm: str
    kid: str | None


def read_header(token: str) -> TokenHeader:
    """The header, before anything is verified. Raises NotVerifiedError."""
    if not token.isascii():
        raise NotVerifiedError("the credential is not an ID token: it holds letters that none has")
    try:
        header = _jws.get_unverified_header(token)
    except jwt.PyJWTError:
        raise NotVerifiedError("the credential is not an ID token: it is not a signed JWT") from None
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        said = f"'{visible(algorithm, 40)}'" if isinstance(algorithm, str) else "nothing"
        raise NotVerifiedError(f"the ID token's 'alg' says {said}; taken are {', '.join(ALGORITHMS)}")
    return TokenHeader(algorithm, kid if isinstance(kid, str) else None)


def verified_claims(token: str, header: TokenHeader, key: PublicKey) -> dict[str, object]:
    """The claims of a token that this key signed. Raises NotVerifiedError."""
    try:
        payload = _jws.decode(token, key, algorithms=[header.algorithm])
    except jwt.InvalidSignatureError:
        raise NotVerifiedError("the ID token's signature does not match its issuer's key") from None
    except jwt.PyJWTError:
        raise NotVerifiedError("the ID token's signature cannot be checked") from None
    try:
        return parse_object(payload)
    except DocumentError as error:
        raise NotVerifiedError(f"the ID token's content {error}") from None


def check_claims(
    claims: dict[str, object], *, issuer: str, audience: str, claim: str, user_id: str, now: float
) -> None:
    """Return if these claims log in ``user_id`` at ``now`` (unix seconds). Raises NotVerifiedError with what is wrong.

    ``iss``, ``aud`` and ``exp`` have to be there; ``nbf`` and ``iat`` count if they are. An address in ``email`` counts
    only if the issuer verified it: elsewhere anybody may claim any.
    """
    if claims.get("iss") != issuer:
        raise NotVerifiedError(f"the ID token was issued by {_shown(claims, 'iss')}, not by the issuer of this app")
    audiences = claims.get("aud")
    if audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise NotVerifiedError(f"the ID token is for the audience {_shown(claims, 'aud')}, not for this app's")
    expires_at = _time(claims, "exp")
    if expires_at is None:
        raise NotVerifiedError("the ID token does not say when it expires ('exp')")
    if now >= expires_at:
        raise NotVerifiedError(f"the ID token expired {now - expires_at:.0f} s ago: get a new one")
    for name, what in (("nbf", "is not valid before"), ("iat", "was issued")):
        since = _time(claims, name)
        if since is not None and since > now + LEEWAY:
            raise NotVerifiedError(f"the ID token {what} a time {since - now:.0f} s ahead of this server's clock")
    if claim == "email" and claims.get("email_verified") is not True:
        raise NotVerifiedError("the ID token does not say that its issuer verified the address ('email_verified')")
    if claim not in claims:
        raise NotVerifiedError(f"the ID token has no claim '{visible(claim, 64)}', which names the user")
    if claims[claim] != user_id:
        raise NotVerifiedError(f"the ID token is for the user {_shown(claims, claim)}, not for '{visible(user_id)}'")


def _time(claims: dict[str, object], name: str) -> float | None:
    """A NumericDate (RFC 7519 §2), or None if the claim is not there."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            seconds = math.inf
        if math.isfinite(seconds):
            return seconds
    raise NotVerifiedError(f"the ID token's '{name}' is not a time in seconds")


def _shown(claims: dict[str, object], name: str) -> str:
    if name not in claims:
        return "nobody"
    value = claims[name]
    if isinstance(value, list):
        return ", ".join(f"'{visible(entry, 64)}'" for entry in value[:4] if isinstance(entry, str)) or "nobody"
    return f"'{visible(value, 100)}'" if isinstance(value, str) else "something that is not a text"
