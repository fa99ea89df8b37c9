"""UserSigs for tests: the published sample key, and builders of broken ones."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from parlour.usersig import AppKeys
from parlour.usersig.sign import content_v1, content_v2, hmac_sha256

APP = 1400000000
USER = "xiaojun"
KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
TIME = 1_700_000_000
KEYS = AppKeys((KEY,))


def pack(content: object, *, level: int = -1) -> str:
    """JSON, zlib, base64 in the UserSig alphabet; bytes are taken as they are."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return alphabet(zlib.compress(raw, level))


def alphabet(raw: bytes) -> str:
    """Base64 in the UserSig alphabet."""
    return base64.b64encode(raw).translate(bytes.maketrans(b"+/=", b"*-_")).decode()


def gzipped(content: object) -> str:
    """A self-made signer's slip: gzip for zlib."""
    return alphabet(gzip.compress(json.dumps(content).encode(), mtime=0))


def members_v2(*, key: str = KEY, drop: tuple[str, ...] = (), **changes: object) -> dict[str, object]:
    """The members of a good version 2 UserSig; changes to its values are made before it is signed."""
    values: dict[str, object] = {"identifier": USER, "sdkappid": APP, "expire": 86400, "time": TIME} | changes
    content = content_v2(*(values[name] for name in ("identifier", "sdkappid", "time", "expire")))  # type: ignore[arg-type]
    sig = base64.b64encode(hmac_sha256(key, content)).decode()
    found = {"TLS.ver": "2.0", **{f"TLS.{name}": value for name, value in values.items()}, "TLS.sig": sig}
    return {name: value for name, value in found.items() if name not in drop}


@cache
def ec_keys(curve: str = "secp256r1") -> tuple[str, str]:
    """A private and a public key as PEM."""
    curves: dict[str, ec.EllipticCurve] = {
        "secp256r1": ec.SECP256R1(),
        "secp256k1": ec.SECP256K1(),
        "secp384r1": ec.SECP384R1(),
    }
    private = ec.generate_private_key(curves[curve])
    return (
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    )


def members_v1(*, drop: tuple[str, ...] = (), **changes: str) -> dict[str, object]:
    """The members of a good version 1 UserSig; changes to its values are made before it is signed."""
    from parlour.usersig.keys import sign_ecdsa

    values = {
        "account_type": "0",
        "identifier": USER,
        "appid_at_3rd": "0",
        "sdk_appid": str(APP),
        "expire_after": "86400",
        "version": "201803230000",
        "time": str(TIME),
    } | changes
    content = content_v1(
        values["identifier"],
        values["sdk_appid"],
        values["time"],
        values["expire_after"],
        values["account_type"],
        None if "TLS.appid_at_3rd" in drop else values["appid_at_3rd"],
    )
    sig = base64.b64encode(sign_ecdsa(ec_keys()[0], content)).decode()
    found: dict[str, object] = {**{f"TLS.{name}": value for name, value in values.items()}, "TLS.sig": sig}
    return {name: value for name, value in found.items() if name not in drop}
