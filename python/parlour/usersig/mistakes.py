"""What somebody most likely did wrong when a check fails, found by trying the usual slips."""

from __future__ import annotations

import hmac
import zlib
from collections.abc import Callable, Mapping

from parlour.errors import ErrorCode
from parlour.usersig import encoding
from parlour.usersig.checks import Subject, signed_content_v1, signed_content_v2, v1_times
from parlour.usersig.keys import verify_ecdsa
from parlour.usersig.model import AppKeys, UserSigError, Version
from parlour.usersig.sign import hmac_sha256

_GZIP = b"\x1f\x8b"


def duration(seconds: int) -> str:
    """A span of time in its two largest units: ``3 h 12 min``."""
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for index, (name, size) in enumerate(units):
        if seconds >= size:
            text = f"{seconds // size} {name}"
            rest = seconds % size
            if rest and index + 1 < len(units):
                smaller, smaller_size = units[index + 1]
                if rest >= smaller_size:
                    text += f" {rest // smaller_size} {smaller}"
            return text
    return "0 s"


def likely_mistake(code: ErrorCode, subject: Subject, other_apps: Mapping[int, AppKeys]) -> str:
    """One sentence about the likely cause of the first failure, or "" if the code's own text says all there is."""
    if code is ErrorCode.USERSIG_KEY_MISMATCH:
        return _wrong_key(subject, other_apps)
    tell = _TELLERS.get(code)
    return "" if tell is None else tell(subject)


def _empty(_: Subject) -> str:
    return "The page asked for no UserSig, or the back end answered with an empty one."


def _outer(subject: Subject) -> str:
    text = subject.user_sig.strip()
    if not text:
        return "It is nothing but white space."
    if "%" in text:
        return "It is percent-encoded: take it out of the URL with a URL decoder first."
    if text[0] in "\"'" or text[-1] in "\"'":
        return "There are quotation marks around it: pass the text on without them."
    if text.count(".") == 2:
        return "This looks like a JSON Web Token, not like a UserSig."
    if any(character in text for character in "+/="):
        return "It is in standard base64: + has to be written *, / has to be written -, and = has to be written _."
    if text.startswith("{"):
        return "It begins like JSON, but is none that can be read."
    if "…" in text or "..." in text:
        return "It was shortened for display: take the whole text."
    if len("".join(text.split())) % 4:
        return "Its end is missing: it was cut off on its way, by a buffer, a database column or a copy."
    return ""


def _unpack(subject: Subject) -> str:
    packed = subject.packed
    if packed.startswith(_GZIP):
        return "It was packed with gzip; a UserSig is packed with zlib (header 78)."
    if packed.lstrip()[:1] == b"{":
        return "Its JSON was not packed at all: it has to go through zlib before base64."
    try:
        unpacked = zlib.decompressobj(-15).decompress(packed, encoding.MAX_JSON_BYTES)
    except zlib.error:
        unpacked = b""
    if unpacked.lstrip().startswith(b"{"):
        return "It was packed as raw deflate; a UserSig needs the zlib header and check sum."
    if packed[:1] == b"\x78":
        try:
            encoding.inflate(packed)
        except encoding.EncodingError as error:
            if "too early" in str(error):
                return "Its end is missing: it was cut off on its way, by a buffer, a database column or a copy."
            if "more than" in str(error):
                return "No signer makes this: it was built to fill the verifier's memory."
        return "Some characters in it were changed on the way."
    return "This is no UserSig: it may be another kind of token."


def _fields(subject: Subject) -> str:
    v1_names = {"TLS.sdk_appid", "TLS.expire_after"} & subject.members.keys()
    if subject.version is Version.V2 and v1_names:
        return f"It says version 2.0 but has members of version 1 ({', '.join(sorted(v1_names))})."
    for name in ("TLS.sdkappid", "TLS.expire", "TLS.time"):
        value = subject.members.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            return f"{name} is a text; version 2 writes it as a number, without quotation marks."
        if isinstance(value, float):
            return f"{name} has a fraction; it is a whole number of seconds."
    lower = {name.lower(): name for name in subject.members}
    for name in ("TLS.identifier", "TLS.sdkappid", "TLS.expire", "TLS.time", "TLS.sig"):
        if name not in subject.members and name.lower() in lower:
            return f"{name} is spelled {lower[name.lower()]}."
    return "The signer leaves a member out; compare it with a published library."


def _not_json(subject: Subject) -> str:
    if subject.members and "TLS.sdkappid" in subject.members:
        return "It has members of version 2 but no TLS.ver; write TLS.ver as the text 2.0."
    return ""


def _moment(subject: Subject) -> str:
    said, time = subject.members.get("TLS.ver"), subject.members.get("TLS.time")
    if said == 2 or said == 1:
        return 'TLS.ver is a number; it has to be the text "2.0".'
    if subject.version is None:
        return ""
    if isinstance(time, float):
        return "TLS.time has a fraction; round it down to whole seconds."
    if isinstance(time, str) and subject.version is Version.V2:
        return "TLS.time is a text; version 2 writes it as a number, without quotation marks."
    if isinstance(time, int) and subject.now is not None and time > subject.now:
        if time > 100 * subject.now:
            return "TLS.time is in milliseconds; it has to be in seconds."
        return f"The clock of the signing machine is {duration(time - subject.now)} ahead of ours."
    return ""


def _expired(subject: Subject) -> str:
    if subject.version is Version.V1:
        try:
            time, expire = v1_times(subject)
        except UserSigError:
            return ""
    else:
        time, expire = int(str(subject.members["TLS.time"])), int(str(subject.members["TLS.expire"]))
    if expire == 0:
        return "It was signed with a lifetime of 0."
    if subject.now is None:
        return ""
    text = f"It expired {duration(subject.now - time - expire)} ago."
    if expire < 60:
        text += f" Its lifetime is only {expire} s: lifetimes are in seconds, not in hours or days."
    return text


def _user(subject: Subject) -> str:
    made_for, asked = str(subject.members.get("TLS.identifier")), subject.user_id or ""
    if made_for.casefold() == asked.casefold():
        return f"It was made for user {made_for}, not {asked}: upper and lower case differ."
    if made_for.strip() == asked.strip():
        return "The two user ids differ by white space at an end."
    return f"It was made for user {made_for!r}, and {asked!r} uses it."


def _app(subject: Subject) -> str:
    made_for = subject.members.get("TLS.sdkappid", subject.members.get("TLS.sdk_appid"))
    return f"It was made for app {made_for}; the page or the server uses {subject.sdk_app_id}."


def _wrong_key(subject: Subject, other_apps: Mapping[int, AppKeys]) -> str:
    if subject.version is Version.V1:
        return _wrong_public_key(subject, other_apps)
    keys = subject.keys.secrets if subject.keys is not None else ()
    content = signed_content_v2(subject)

    def signed_by(key: str, text: bytes = content) -> bool:
        return hmac.compare_digest(hmac_sha256(key, text), subject.signature)

    for app, other in other_apps.items():
        if any(signed_by(key) for key in other.secrets):
            return f"It was signed with the key of app {app}."
    for key in keys:
        if any(signed_by(variant) for variant in (key.upper(), key + "\n", key + " ", " " + key, f'"{key}"')):
            return "The key was used with another case, a space, a line end or quotation marks around it."
        if _signed_by_hex(key, content, subject.signature):
            return "The key was hex-decoded before it was used; it has to be used as the text it is shown as."
        if signed_by(key, content.rstrip(b"\n")):
            return "The signed text lacks the line feed at its end."
        if signed_by(key, content.replace(b"\n", b"\r\n")):
            return "The signed text has CR LF as its line ends; it has to be LF alone."
    if "TLS.userbuf" in subject.members:
        try:
            with_userbuf = signed_content_v2(subject, with_userbuf=True)
        except UserSigError:
            with_userbuf = content
        if any(signed_by(key, with_userbuf) for key in keys):
            return "This is a privateMapKey, a ticket for rooms: it belongs into join(), not into userSig."
    return "It was signed with a key that this server does not know, or a field was changed after signing."


def _wrong_public_key(subject: Subject, other_apps: Mapping[int, AppKeys]) -> str:
    content = signed_content_v1(subject)
    for app, other in other_apps.items():
        if any(verify_ecdsa(pem, content, subject.signature) for pem in other.public_keys):
            return f"It was signed with the private key of app {app}."
    return "It was signed with a private key whose public half this app does not have."


def _signed_by_hex(key: str, content: bytes, signature: bytes) -> bool:
    try:
        raw = bytes.fromhex(key)
    except ValueError:
        return False
    return hmac.compare_digest(hmac.digest(raw, content, "sha256"), signature)


_TELLERS: dict[ErrorCode, Callable[[Subject], str]] = {
    ErrorCode.USERSIG_EMPTY: _empty,
    ErrorCode.USERSIG_NOT_BASE64: _outer,
    ErrorCode.USERSIG_NOT_ZLIB: _unpack,
    ErrorCode.USERSIG_NOT_JSON: _not_json,
    ErrorCode.USERSIG_FIELD_MISSING: _fields,
    ErrorCode.USERSIG_TIME_OR_VERSION_INVALID: _moment,
    ErrorCode.USERSIG_EXPIRED: _expired,
    ErrorCode.USERSIG_USERID_MISMATCH: _user,
    ErrorCode.USERSIG_SDKAPPID_MISMATCH: _app,
}
