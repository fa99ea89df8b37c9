"""Whose key it was, or how the right one was used wrongly, when a signature does not match."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from itertools import permutations

from parlour.usersig import version1, version2
from parlour.usersig.checks import Subject
from parlour.usersig.keys import verify_ecdsa
from parlour.usersig.model import AppKeys, UserSigError, Version
from parlour.usersig.sign import hmac_sha256

_HMAC_BYTES = 32
_OTHER_HASHES = ("md5", "sha1", "sha224", "sha384", "sha512")
_UNKNOWN = (
    "It was signed with a key that this server does not know"
    " - another app's, or one that was removed - or a member was changed after signing."
)


def wrong_key(subject: Subject, other_apps: Mapping[int, AppKeys], former_keys: AppKeys) -> str:
    """A sentence about why no key of the app matches."""
    if subject.envelope.version is Version.V1:
        return _wrong_private_key(subject, other_apps, former_keys)
    content = version2.signed_content(subject, with_userbuf=subject.with_userbuf)
    keys = subject.keys or AppKeys()
    for app, other in other_apps.items():
        if any(_signed(subject, key, content) for key in other.secrets):
            return f"It was signed with another app's key: this key belongs to app {app}."
    if any(_signed(subject, key, content) for key in former_keys.secrets):
        return "It was signed with an older key of the app, which has been removed since."
    slips = (slip for key in keys.secrets for slip in (*_slips_with_key(subject, key, content), *_slips(subject, key)))
    return next(slips, "") or _kinds_mixed_up(subject, keys, content) or _UNKNOWN


def _slips_with_key(subject: Subject, key: str, content: bytes) -> Iterator[str]:
    """The app's key, but not as it is shown."""
    around = (key + "\n", key + "\r\n", key + " ", " " + key, f'"{key}"', f"'{key}'", key.strip(), key.strip("\"'"))
    if any(_signed(subject, variant, content) for variant in (key.upper(), key.lower(), *around)):
        yield "The key was used with another case, a space, a line end or quotation marks around it."
    try:
        raw = bytes.fromhex(key)
    except ValueError:
        return
    if hmac.compare_digest(hmac.digest(raw, content, "sha256"), subject.signature):
        yield "The key was hex-decoded before it was used; it has to be used as the text it is shown as."


def _slips(subject: Subject, key: str) -> Iterator[str]:
    """The app's key as it is shown, over something else, or another function than HMAC-SHA256."""
    plain = version2.signed_content(subject, with_userbuf=False)
    try:
        whole = version2.signed_content(subject, with_userbuf=True)
    except UserSigError:
        whole = plain
    if subject.with_userbuf and _signed(subject, key, plain):
        yield "TLS.userbuf was left out of what was signed, or was added afterwards."
    if not subject.with_userbuf and whole != plain and _signed(subject, key, whole):
        yield "This is a privateMapKey, a ticket for rooms: it belongs into join(), not into userSig."
    content = whole if subject.with_userbuf else plain
    if _signed(subject, key, content.rstrip(b"\n")):
        yield "The signed text lacks the line feed at its end."
    if _signed(subject, key, content.replace(b"\n", b"\r\n")):
        yield "The signed text has CR LF as its line ends; it has to be LF alone."
    lines = content.splitlines(keepends=True)
    # An identifier with line feeds makes more lines than the format has; their orders are not tried.
    if len(lines) <= 5 and any(_signed(subject, key, b"".join(order)) for order in permutations(lines)):
        yield "The signed lines are in another order: identifier, sdkappid, time, expire, then userbuf if there is one."
    for name in _OTHER_HASHES:
        if hmac.compare_digest(hmac.digest(key.encode("utf-8", "surrogatepass"), content, name), subject.signature):
            yield f"It was signed with HMAC-{name.upper()}; it has to be HMAC-SHA256."
    if subject.members.get("TLS.sig") == hmac_sha256(key, content).hex():
        yield "TLS.sig is the signature in hex digits; it has to be the base64 of its 32 bytes."


def _kinds_mixed_up(subject: Subject, keys: AppKeys, content: bytes) -> str:
    """Keys and signatures of one version used with the other."""
    texts = (variant for pem in keys.public_keys for variant in (pem, pem.strip()))
    if any(_signed(subject, text, content) for text in texts):
        return "It was signed with the text of the public key; version 2 is signed with the app's secret key."
    if any(key.lstrip().startswith("-----BEGIN") for key in keys.secrets):
        return "A PEM key was given to verify with; version 2 (HMAC) is verified with the app's secret key."
    if _is_ecdsa(subject.signature):
        return "TLS.sig is an ECDSA signature, as version 1 has it, but TLS.ver says version 2 (HMAC)."
    if len(subject.signature) != _HMAC_BYTES:
        return f"TLS.sig has {len(subject.signature)} bytes; an HMAC-SHA256 has {_HMAC_BYTES}."
    return ""


def _wrong_private_key(subject: Subject, other_apps: Mapping[int, AppKeys], former_keys: AppKeys) -> str:
    content = version1.signed_content(subject, version1.third_party(subject))
    for app, other in other_apps.items():
        if _verified(subject, other, content):
            return f"It was signed with the private key of another app: this key belongs to app {app}."
    if _verified(subject, former_keys, content):
        return "It was signed with the private half of an older key of the app, which has been removed since."
    keys = subject.keys or AppKeys()
    for third_party in (None, "", "0"):
        if _verified(subject, keys, version1.signed_content(subject, third_party)):
            return "TLS.appid_at_3rd is not what was signed: the signer writes another value, or no such line."
    if len(subject.signature) == _HMAC_BYTES:
        return "TLS.sig is an HMAC, as version 2 has it, but its members are those of version 1 (ECDSA)."
    if not _is_ecdsa(subject.signature):
        return "TLS.sig is no ECDSA signature in DER form (it would begin with 30 in hex)."
    return (
        "It was signed with a private key whose public half this app does not have,"
        " or a member was changed after signing."
    )


def _signed(subject: Subject, key: str, content: bytes) -> bool:
    return hmac.compare_digest(hmac_sha256(key, content), subject.signature)


def _verified(subject: Subject, keys: AppKeys, content: bytes) -> bool:
    return any(verify_ecdsa(pem, content, subject.signature) for pem in keys.public_keys)


def _is_ecdsa(signature: bytes) -> bool:
    """Whether it has the outer form of a DER signature: a sequence as long as what follows."""
    return len(signature) > 8 and signature[0] == 0x30 and signature[1] == len(signature) - 2
