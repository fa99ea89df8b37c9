"""The keys that an OpenID Connect issuer publishes (JSON Web Key Set, RFC 7517), and which of them a token may use."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from parlour.accounts.verification.documents import DocumentError, parse_object
from parlour.accounts.verification.failure import CallFailedError, NotVerifiedError, visible

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

MAX_KEYS = 64
"""Keys of one issuer that are kept; real ones publish two to ten."""

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
"""RFC 7518 §3.3 asks for 2048 or more; above the other bound a single check costs too much."""

_SERVES: dict[tuple[str | None, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
"""What a key of a type and a curve can verify (RFC 7518 §3.1, RFC 8037 §3.1).

Asymmetric algorithms only: under HS256 a published key would be the secret, and ``none`` is no signature.
"""

ALGORITHMS = tuple(dict.fromkeys(chain.from_iterable(_SERVES.values())))
"""What a token may be signed with."""

_PUBLIC_MEMBERS = ("kty", "crv", "x", "y", "n", "e")


class _PublishedKey(NamedTuple):
    kid: str | None
    algorithms: tuple[str, ...]
    key: PublicKey


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
        fitting = [key.key for key in self._keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]
        if kid is None and len(fitting) > 1:
            raise NotVerifiedError("the ID token does not name its key ('kid'), and its issuer publishes several")
        return fitting[0] if fitting else None


def _usable(entry: object) -> _PublishedKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    algorithm, kid = entry.get("alg"), entry.get("kid")
    if not isinstance(algorithm, str | None) or not isinstance(kid, str | None):
        return None
    # Nothing but the public members: an issuer that publishes its private key by mistake still has a public one.
    members = {name: entry[name] for name in _PUBLIC_MEMBERS if isinstance(entry.get(name), str)}
    kind = members.get("kty"), None if members.get("kty") == "RSA" else members.get("crv")
    if kind not in _SERVES:
        return None
    try:
        key = PyJWK(members, _SERVES[kind][0]).key
    except (PyJWTError, UnsupportedAlgorithm):
        return None
    if isinstance(key, RSAPublicKey) and not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return None
    return _PublishedKey(kid, tuple(one for one in _SERVES[kind] if algorithm in (None, one)), key)


def unknown_key(algorithm: str, kid: str | None, *, judged: bool) -> NotVerifiedError:
    """The refusal of a token whose key its issuer does not publish; ``judged`` when the issuer was asked just now."""
    named = "a key" if kid is None else f"the key '{visible(kid, 64)}'"
    return NotVerifiedError(
        f"the ID token is signed with {named} for {algorithm}, which its issuer does not publish", judged=judged
    )
