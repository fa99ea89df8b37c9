"""The keys that an OpenID Connect issuer publishes (JSON Web Key Set, RFC 7517), and which of them a token may use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeGuard

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWTError
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from parlour.accounts.verification.documents import DocumentError, parse_object
from parlour.accounts.verification.failure import CallFailedError, NotVerifiedError, visible

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

MAX_KEYS = 64
"""Keys of one issuer that are kept; real ones publish two to ten."""

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
"""RFC 7518 §3.3 asks for 2048 or more; above the other bound a single check costs too much."""


class _Use(NamedTuple):
    key_type: str
    curves: tuple[str, ...] = ()


_RSA = _Use("RSA")
ALGORITHMS: dict[str, _Use] = {
    "RS256": _RSA,
    "RS384": _RSA,
    "RS512": _RSA,
    "PS256": _RSA,
    "PS384": _RSA,
    "PS512": _RSA,
    "ES256": _Use("EC", ("P-256",)),
    "ES384": _Use("EC", ("P-384",)),
    "ES512": _Use("EC", ("P-521",)),
    "EdDSA": _Use("OKP", ("Ed25519", "Ed448")),
}
"""What a token may be signed with, and the key that takes (RFC 7518 §3.1, RFC 8037 §3.1).

Asymmetric ones only: under HS256 a published key would be the secret, and ``none`` is no signature.
"""

_PUBLIC_MEMBERS = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}
_READERS: dict[str, Callable[[dict[str, str]], object]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}


@dataclass(frozen=True, slots=True)
class _PublishedKey:
    kid: str | None
    use: _Use
    algorithm: str | None
    key: PublicKey

    def fits(self, algorithm: str) -> bool:
        wanted = ALGORITHMS[algorithm]
        if self.algorithm not in (None, algorithm) or self.use.key_type != wanted.key_type:
            return False
        return not wanted.curves or self.use.curves[0] in wanted.curves


class KeySet:
    """An issuer's keys for signatures. Keys that are of no use here are left out."""

    def __init__(self, keys: Sequence[_PublishedKey]) -> None:
        self._keys = keys

    @classmethod
    def parse(cls, body: bytes) -> KeySet:
        """The keys of a JSON Web Key Set. Raises CallFailedError when it is none, or when no key can be used."""
        try:
            members = parse_object(body)
        except DocumentError as error:
            raise CallFailedError(f"published a key set that {error}") from None
        listed = members.get("keys")
        if not isinstance(listed, list):
            raise CallFailedError("published a key set without a list 'keys'")
        keys = [key for key in map(_usable, listed[:MAX_KEYS]) if key is not None]
        if not keys:
            raise CallFailedError("published a key set without a public key that can be used")
        return cls(keys)

    def find(self, algorithm: str, kid: str | None) -> PublicKey | None:
        """The key for a token that names ``kid`` and is signed with one of ``ALGORITHMS``; None if there is none.

        A token that names no key is taken when just one key fits (OpenID Connect Core 1.0 §10.1); several raise
        NotVerifiedError.
        """
        fitting = [key.key for key in self._keys if key.fits(algorithm) and (kid is None or key.kid == kid)]
        if kid is None and len(fitting) > 1:
            raise NotVerifiedError("the ID token does not name its key ('kid'), and its issuer publishes several")
        return fitting[0] if fitting else None


def _usable(entry: object) -> _PublishedKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    key_type, algorithm, kid = entry.get("kty"), entry.get("alg"), entry.get("kid")
    names = _PUBLIC_MEMBERS.get(key_type) if isinstance(key_type, str) else None
    if names is None or not _text_or_none(algorithm) or not _text_or_none(kid):
        return None
    # Nothing but the public members: an issuer that publishes its private key by mistake still has a public one.
    members = {name: entry[name] for name in names if isinstance(entry.get(name), str)}
    if len(members) != len(names):
        return None
    key = _public_key(members)
    if key is None:
        return None
    return _PublishedKey(kid, _Use(members["kty"], (members.get("crv", ""),)), algorithm, key)


def _text_or_none(value: object) -> TypeGuard[str | None]:
    return value is None or isinstance(value, str)


def _public_key(members: dict[str, str]) -> PublicKey | None:
    try:
        key = _READERS[members["kty"]](members)
    except (PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(key, RSAPublicKey):
        return key if MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS else None
    return key if isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey) else None


def unknown_key(algorithm: str, kid: str | None, *, judged: bool) -> NotVerifiedError:
    """The refusal of a token whose key its issuer does not publish; ``judged`` when the issuer was asked just now."""
    named = "a key" if kid is None else f"the key '{visible(kid, 64)}'"
    return NotVerifiedError(
        f"the ID token is signed with {named} for {algorithm}, which its issuer does not publish", judged=judged
    )
