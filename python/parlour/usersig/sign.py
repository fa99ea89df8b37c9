"""Signing: what is signed, byte for byte, and the JSON that carries it."""

from __future__ import annotations

import base64
import hmac
import json

from parlour.usersig.encoding import deflate, encode_base64
from parlour.usersig.keys import sign_ecdsa

DEFAULT_EXPIRE = 604_800
"""Seven days, in seconds."""

V1_FORMAT_DATE = "201803230000"
"""What version 1 carries in ``TLS.version``; verifiers ignore it."""


def content_v2(identifier: str, sdk_app_id: int, time: int, expire: int, userbuf: str | None = None) -> bytes:
    """The text whose HMAC-SHA256 is TLS.sig; ``userbuf`` is the base64 text that the JSON carries."""
    text = f"TLS.identifier:{identifier}\nTLS.sdkappid:{sdk_app_id}\nTLS.time:{time}\nTLS.expire:{expire}\n"
    if userbuf is not None:
        text += f"TLS.userbuf:{userbuf}\n"
    # surrogatepass: JSON can name half a surrogate pair; it must become a wrong signature, not an exception.
    return text.encode("utf-8", "surrogatepass")


def content_v1(
    identifier: str, sdk_app_id: str, time: str, expire_after: str, account_type: str, appid_at_3rd: str | None
) -> bytes:
    """The text whose ECDSA-SHA256 signature is TLS.sig; an absent ``appid_at_3rd`` has no line."""
    first = "" if appid_at_3rd is None else f"TLS.appid_at_3rd:{appid_at_3rd}\n"
    text = (
        f"{first}TLS.account_type:{account_type}\nTLS.identifier:{identifier}\nTLS.sdk_appid:{sdk_app_id}\n"
        f"TLS.time:{time}\nTLS.expire_after:{expire_after}\n"
    )
    return text.encode("utf-8", "surrogatepass")


def hmac_sha256(key: str, content: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104) under the key's text as it is shown, not its hex value."""
    return hmac.digest(key.encode("utf-8", "surrogatepass"), content, "sha256")


def sign_v2(
    sdk_app_id: int,
    user_id: str,
    key: str,
    *,
    now: int,
    expire: int = DEFAULT_EXPIRE,
    userbuf: bytes | None = None,
    level: int = -1,
) -> str:
    """A UserSig of version 2. ``now`` in unix seconds, ``expire`` in seconds, ``level`` is zlib's.

    With ``userbuf`` it is a room ticket (privateMapKey), which does not log anybody in.
    """
    packed = None if userbuf is None else base64.b64encode(userbuf).decode("ascii")
    members: dict[str, object] = {
        "TLS.ver": "2.0",
        "TLS.identifier": user_id,
        "TLS.sdkappid": sdk_app_id,
        "TLS.expire": expire,
        "TLS.time": now,
    }
    if packed is not None:
        members["TLS.userbuf"] = packed
    signature = hmac_sha256(key, content_v2(user_id, sdk_app_id, now, expire, packed))
    members["TLS.sig"] = base64.b64encode(signature).decode("ascii")
    return _pack(members, level)


def sign_v1(
    sdk_app_id: int,
    user_id: str,
    private_key_pem: str,
    *,
    now: int,
    expire: int = DEFAULT_EXPIRE,
    account_type: int = 0,
    appid_at_3rd: str | None = "",
    level: int = -1,
) -> str:
    """A UserSig of version 1 (ECDSA, keys on P-256 or secp256k1). ``now`` in unix seconds, ``expire`` in seconds."""
    members: dict[str, object] = {"TLS.account_type": str(account_type), "TLS.identifier": user_id}
    if appid_at_3rd is not None:
        members["TLS.appid_at_3rd"] = appid_at_3rd
    members |= {
        "TLS.sdk_appid": str(sdk_app_id),
        "TLS.expire_after": str(expire),
        "TLS.version": V1_FORMAT_DATE,
        "TLS.time": str(now),
    }
    content = content_v1(user_id, str(sdk_app_id), str(now), str(expire), str(account_type), appid_at_3rd)
    members["TLS.sig"] = base64.b64encode(sign_ecdsa(private_key_pem, content)).decode("ascii")
    return _pack(members, level)


def _pack(members: dict[str, object], level: int) -> str:
    return encode_base64(deflate(json.dumps(members).encode("utf-8"), level))
