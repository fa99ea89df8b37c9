"""EC keys of version 1: reading, checking, signing, verifying."""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from parlour.usersig.model import KeyRefusedError

_CURVES = (ec.SECP256R1, ec.SECP256K1)


@lru_cache(maxsize=1024)
def load_public_key(pem: str) -> ec.EllipticCurvePublicKey:
    """A public key from its PEM text; only EC keys on P-256 or secp256k1 are taken."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyRefusedError("This is not a public key in PEM form (-----BEGIN PUBLIC KEY-----).") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise KeyRefusedError("UserSigs of version 1 are signed with ECDSA: this is no EC key, so it can verify none.")
    _check_curve(key.curve)
    return key


def load_private_key(pem: str) -> ec.EllipticCurvePrivateKey:
    """A private key from its PEM text without password; only EC keys on P-256 or secp256k1 are taken."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyRefusedError("This is not a private key in PEM form without password.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyRefusedError("UserSigs of version 1 are signed with ECDSA: this is no EC key.")
    _check_curve(key.curve)
    return key


def sign_ecdsa(private_key_pem: str, content: bytes) -> bytes:
    """The DER signature over SHA-256 of the content. Deterministic (RFC 6979), so that signing needs no randomness."""
    key = load_private_key(private_key_pem)
    return key.sign(content, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def verify_ecdsa(public_key_pem: str, content: bytes, signature: bytes) -> bool:
    """Whether the DER signature over SHA-256 of the content is by this key."""
    try:
        load_public_key(public_key_pem).verify(signature, content, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, KeyRefusedError):
        return False
    return True


def _check_curve(curve: ec.EllipticCurve) -> None:
    if not isinstance(curve, _CURVES):
        raise KeyRefusedError(f"The curve {curve.name} is not taken: use P-256 (prime256v1) or secp256k1.")
