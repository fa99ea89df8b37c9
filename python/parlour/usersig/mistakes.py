"""What somebody most likely did wrong when a check fails, found by trying the usual slips."""

from __future__ import annotations

import json
import unicodedata
import urllib.parse
import zlib
from collections.abc import Callable, Mapping

from parlour.errors import ErrorCode
from parlour.usersig import encoding, version1
from parlour.usersig.checks import Subject, is_unsigned
from parlour.usersig.dates import parse_old_date
from parlour.usersig.envelope import open_envelope
from parlour.usersig.messages import duration, name_shown, shown
from parlour.usersig.model import HMAC, AppKeys, Version
from parlour.usersig.userbuf import Privilege
from parlour.usersig.wrong_key import wrong_key

_CUT = "Its end is missing: it was cut off on its way, by a buffer, a database column or a copy."
_TWICE = "It was encoded twice: what comes out of its base64 is a UserSig. Pass that on."
_URL_SAFE = (
    "It is in the url-safe base64 of RFC 4648, which is another alphabet:"
    " here + is written *, / is written -, and the padding = is written _."
)
_FIRST_USERSIG = 1_420_070_400  # 2015 began: the format is of that year, an earlier time is no time of signing
_YEARS = 10 * 365 * 86_400


def likely_mistake(cause: ErrorCode, subject: Subject, other_apps: Mapping[int, AppKeys], former_keys: AppKeys) -> str:
    """A sentence about the likely cause of the first failure, or "" if the failure's own text says all there is."""
    if cause is ErrorCode.USERSIG_KEY_MISMATCH:
        return wrong_key(subject, other_apps, former_keys)
    tell = _TELLERS.get(cause)
    return "" if tell is None else tell(subject)


# --- the envelope ---------------------------------------------------------------------------------------------------


def _empty(subject: Subject) -> str:
    if subject.with_userbuf:
        return "The page gave join() no privateMapKey, or the back end answered with an empty one."
    return "The page asked for no UserSig, or the back end answered with an empty one."


def _outer(subject: Subject) -> str:
    text = subject.envelope.user_sig.strip()
    if not text:
        return "It is nothing but white space."
    if "%" in text:
        twice = "%" in urllib.parse.unquote(text)
        return f"It is percent-encoded{' twice' * twice}: take it out of the URL with a URL decoder first."
    if text[0] in "\"'" or text[-1] in "\"'":
        return "There are quotation marks around it: pass the text on without them."
    if "…" in text or "..." in text:
        return "It was shortened for display: take the whole text."
    if text.startswith("{"):
        return "It begins like JSON, but is none that can be read."
    return _other_secret(text) or _other_alphabet(text)


def _other_secret(text: str) -> str:
    """What else lies around where UserSigs are made."""
    if text.startswith("-----BEGIN"):
        return "This is a PEM key, not a UserSig. A private key stays on the back end."
    if text.count(".") == 2 and text.startswith("ey"):
        return "This looks like a JSON Web Token, not like a UserSig."
    if len(text) == 64 and set(text) <= set("0123456789abcdefABCDEF"):
        return "This looks like a secret key, not like a UserSig. It stays on the back end, which signs with it."
    return ""


def _other_alphabet(text: str) -> str:
    stars = "*".join(text.split())
    if stars != text and _opens(stars):
        return "White space stands where it had a *: it went through a coder or a form that does not keep the *."
    if _opens(text + "_" * (-len(text) % 4)):
        return "The padding at its end is gone: keep every _ that the signer wrote."
    standard = _decoded(text.translate(str.maketrans("-_", "+/")).rstrip("="))
    if standard is not None:
        if _opens(standard.decode("utf-8", "replace")):
            return _TWICE
        if {"-", "_"} & set(text.rstrip("_")) and standard.startswith(b"\x78"):
            return _URL_SAFE
    if any(character in text for character in "+/="):
        return "It is in standard base64: + has to be written *, / has to be written -, and = has to be written _."
    return _CUT if len("".join(text.split())) % 4 else ""


def _unpack(subject: Subject) -> str:
    packed, text = subject.envelope.packed, subject.envelope.user_sig.strip()
    other = _other_secret(text)
    if other:
        return other
    if packed.startswith(b"\x1f\x8b"):
        return "It was packed with gzip; a UserSig is packed with zlib (header 78)."
    if packed.lstrip()[:1] == b"{":
        return "Its JSON was not packed at all: it has to go through zlib before base64."
    if _opens(packed.decode("utf-8", "replace")):
        return _TWICE
    if _inflates(packed, raw=True):
        return "It was packed as raw deflate; a UserSig needs the zlib header and check sum."
    standard = _decoded(text.translate(str.maketrans("-_", "+/")))
    if standard is not None and standard != packed and _inflates(standard):
        return _URL_SAFE
    if packed[:1] == b"\x78":
        reason = "" if subject.envelope.error is None else subject.envelope.error.detail
        if "too early" in reason:
            return _CUT
        if "more than" in reason:
            return "No signer makes this: it was built to fill the verifier's memory."
        return "Some characters in it were changed on the way."
    return "This is no UserSig: it may be another kind of token."


def _opens(text: str) -> bool:
    return open_envelope(text).version is not None


def _decoded(text: str) -> bytes | None:
    try:
        return encoding.decode_standard_base64(text + "=" * (-len(text) % 4)) if text else None
    except encoding.EncodingError:
        return None


def _inflates(packed: bytes, *, raw: bool = False) -> bool:
    try:
        content = zlib.decompressobj(-15 if raw else 15).decompress(packed, encoding.MAX_JSON_BYTES)
    except zlib.error:
        return False
    return content.lstrip().startswith(b"{")


def _content(subject: Subject) -> bytes:
    try:
        return encoding.inflate(subject.envelope.packed)
    except encoding.EncodingError:
        return b""


def _not_json(subject: Subject) -> str:
    if "TLS.sdkappid" in subject.members:
        return "It has members of version 2 but no TLS.ver; write TLS.ver as the text 2.0."
    if subject.members:
        return _unsigned_member(subject)
    content = _content(subject)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or content[1:2] == b"\x00":
        return "Its JSON is UTF-16; it has to be UTF-8."
    if content.startswith(b"\xef\xbb\xbf"):
        return "Its JSON begins with a byte order mark; write it without one."
    if content.startswith(b"{'"):
        return "Its JSON has apostrophes: it was printed by a language, not written by a JSON encoder."
    if content.endswith(b"\x00"):
        return "Its JSON ends in a zero byte: the end mark of a string was packed along."
    return ""


def _unsigned_member(subject: Subject) -> str:
    """Which member that version 1 signs is not there, or is nothing that can be signed."""
    for name in version1.CONTENT:
        if name not in subject.members:
            return f"The signer leaves out a member that version 1 signs, {name}; compare it with a published library."
        if not isinstance(subject.members[name], str) and not is_unsigned(subject.members[name]):
            return f"{name} has to be a text, as all values of version 1 are."
    return "TLS.appid_at_3rd has to be a text, as all values of version 1 are."


def _not_object(subject: Subject) -> str:
    try:
        value = json.loads(_content(subject))
        twice = isinstance(value, str) and isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        twice = False
    return "Its JSON was encoded twice: it is a text that holds the object." if twice else ""


# --- the members ----------------------------------------------------------------------------------------------------


def _fields(subject: Subject) -> str:
    members = subject.members
    name = _culprit(subject)
    if name in members:
        return _wrong_value(name, members[name])
    if name == "TLS.userbuf":
        return "This is a UserSig, which logs in; a ticket for a room is made with the signer's genPrivateMapKey."
    v1_names = {"TLS.sdk_appid", "TLS.expire_after"} & members.keys()
    if subject.envelope.version is Version.V2 and v1_names:
        return f"It says version 2.0 but has members of version 1 ({', '.join(sorted(v1_names))})."
    spelled = next((other for other in members if other.lower() == name.lower()), None)
    if spelled is not None:
        return f"{name} is spelled {name_shown(spelled)}."
    return f"The signer leaves {name} out; compare it with a published library."


def _culprit(subject: Subject) -> str:
    """The first member, in the order of the checks, that is not there or not what it has to be."""
    members = subject.members
    if subject.envelope.version is Version.V2:
        if not isinstance(members.get("TLS.identifier"), str):
            return "TLS.identifier"
        for name in ("TLS.sdkappid", "TLS.expire"):
            if not is_unsigned(members.get(name)):
                return name
        if "TLS.time" not in members:  # what it has to be is asked later, and has a code of its own
            return "TLS.time"
    return "TLS.userbuf" if isinstance(members.get("TLS.sig"), str) else "TLS.sig"


def _wrong_value(name: str, value: object) -> str:
    if name == "TLS.userbuf":
        return "TLS.userbuf has to be standard base64, not in the alphabet of the UserSig itself."
    if name == "TLS.sig":
        return "TLS.sig has to be a text: the standard base64 of the signature."
    if name == "TLS.identifier":
        if is_unsigned(value):
            return "TLS.identifier is a number; a userId is always a text, also when it has digits only."
        return "TLS.identifier has to be a text: the userId."
    what = "the number of the app" if name == "TLS.sdkappid" else "a whole number of seconds"
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return f"{name} is a text; version 2 writes it as a number, without quotation marks."
    if isinstance(value, float):
        return f"{name} has a fraction; it is {what}."
    return f"{name} has to be {what}, from 0 on."


def _inner(subject: Subject) -> str:
    said = str(subject.members.get("TLS.sig"))
    if set(said) & set("*-_"):
        return "TLS.sig is in another base64 alphabet; inside it is the standard one, with +, / and =."
    if "".join(said.split()) != said:
        return "TLS.sig has white space in it: its encoder breaks lines, which has to be switched off."
    if _decoded(said) is not None:
        return "The padding at the end of TLS.sig is gone: inside it is standard base64, with =."
    return ""


def _moment(subject: Subject) -> str:
    said, time = subject.members.get("TLS.ver"), subject.members.get("TLS.time")
    version = subject.envelope.version
    if version is None:
        return _version(said)
    if version is Version.V1 and subject.with_userbuf:
        return "Tickets are of version 2: sign it with the app's secret key and the signer's genPrivateMapKey."
    if version is Version.V1 and subject.envelope.plain and not _sound_date(time):
        return (
            "The date of bare JSON has the form 2015-04-13T11:43:04-08:00, with this offset and no other;"
            " a text of digits, the unix time, will do too."
        )
    if version is Version.V1:
        return "Version 1 writes its times as texts of digits; the old date form is for bare JSON alone."
    if isinstance(time, float):
        return "TLS.time has a fraction; round it down to whole seconds."
    if isinstance(time, str):
        return "TLS.time is a text; version 2 writes it as a number, without quotation marks."
    if is_unsigned(time) and subject.now is not None and time > subject.now:
        if time > 100 * subject.now:
            return "TLS.time is in milliseconds; it has to be in seconds."
        ahead = time - subject.now
        text = f"The clock of the signing machine is {duration(ahead)} ahead of ours"
        if ahead <= 14 * 3600 and (ahead + 60) % 1800 <= 120:
            return f"{text}: its local time may have been taken for unix time, which is UTC."
        return f"{text}, or it dates its signatures ahead."
    return ""


def _version(said: object) -> str:
    if isinstance(said, (int, float)) and said in (1.0, 2.0) and said is not True:
        return f'TLS.ver is a number; it has to be the text "{int(said)}.0".'
    number = said.strip().lstrip("vV").removesuffix(".0") if isinstance(said, str) else ""
    return f'TLS.ver is the text {shown(said)}; it has to be the text "{number}.0".' if number in ("1", "2") else ""


def _sound_date(time: object) -> bool:
    """Whether bare JSON may have this as its time: the date of the oldest form, or a text of digits."""
    return isinstance(time, str) and ((time.isascii() and time.isdigit()) or parse_old_date(time) is not None)


def _expired(subject: Subject) -> str:
    time, lifetime = subject.time, subject.lifetime
    if lifetime == 0:
        return "It was signed with a lifetime of 0."
    ago = duration((subject.now or 0) - time - lifetime)
    text = f"It expired {ago} ago, {duration(lifetime)} after it was signed."
    if time < _FIRST_USERSIG:
        return f"{text} TLS.time is of before 2015: the clock of the signing machine is not set."
    if lifetime < 60:
        return f"{text} Its lifetime is only {lifetime} s: lifetimes are in seconds, not in hours or days."
    return text


def _user(subject: Subject) -> str:
    made_for, asked = str(subject.members.get("TLS.identifier")), subject.user_id or ""
    text = f"It was made for user {name_shown(made_for)}, not {name_shown(asked)}"
    if made_for.strip() == asked.strip():
        return f"{text}: the two differ by white space at an end."
    if made_for.casefold() == asked.casefold():
        return f"{text}: upper and lower case differ."
    if unicodedata.normalize("NFKC", made_for) == unicodedata.normalize("NFKC", asked):
        return f"{text}: they look alike, but are written with other characters ({made_for!a}, {asked!a})."
    return f"{text}."


def _app(subject: Subject) -> str:
    made_for = subject.members.get("TLS.sdkappid", subject.members.get("TLS.sdk_appid"))
    return f"It was made for app {name_shown(str(made_for))}; the page or the server uses {subject.sdk_app_id}."


def _no_method(subject: Subject) -> str:
    if subject.keys is not None and subject.keys.secrets and HMAC not in subject.methods:
        return "It is of version 2 (HMAC), which the account type does not take: sign with version 1 and a private key."
    if subject.keys is not None and subject.keys.public_keys and not subject.keys.secrets:
        return "It is of version 2 (HMAC), and the app has public keys only: those verify version 1 (ECDSA)."
    return ""


def _no_public_key(subject: Subject) -> str:
    if subject.keys is not None and subject.keys.secrets:
        return "It is of version 1 (ECDSA), and the app has secret keys only: those verify version 2 (HMAC)."
    return ""


# --- the ticket -----------------------------------------------------------------------------------------------------


def _ticket(subject: Subject) -> str:
    userbuf = subject.userbuf
    if userbuf is None:
        return "The signer builds the userbuf in another form; compare it with a published library."
    if subject.user_id is not None and not userbuf.is_for(subject.user_id):
        return "The userbuf names another user than the ticket around it: the signer mixes two users up."
    if subject.room is not None and str(userbuf.room) == str(subject.room) and userbuf.room != subject.room:
        return "A room with a number and a room named by the same digits are two rooms, with a signer call for each."
    if subject.room is not None and userbuf.room != subject.room:
        return f"The page asked for a ticket to {shown(userbuf.room)} and enters {shown(subject.room)}."
    if subject.now is not None and userbuf.expires_at < subject.now:
        if userbuf.expires_at < _YEARS:
            return (
                f"Its expiry is {userbuf.expires_at}, a lifetime and not a moment:"
                " this signer wants the unix time at which the ticket ends."
            )
        return "Tickets are short-lived: ask the back end for a new one before each join and before each switchRole."
    if Privilege.ENTER not in userbuf.privileges:
        return "Its privileges do not include 2, to enter; 255 is everything, 42 is to enter, hear and see."
    return "Its privileges do not include 1, to create the room; whoever comes first needs it."


_TELLERS: dict[ErrorCode, Callable[[Subject], str]] = {
    ErrorCode.USERSIG_EMPTY: _empty,
    ErrorCode.USERSIG_NOT_BASE64: _outer,
    ErrorCode.USERSIG_NOT_ZLIB: _unpack,
    ErrorCode.USERSIG_NOT_JSON: _not_json,
    ErrorCode.USERSIG_NOT_OBJECT: _not_object,
    ErrorCode.USERSIG_INNER_SIG_NOT_BASE64: _inner,
    ErrorCode.USERSIG_FIELD_MISSING: _fields,
    ErrorCode.USERSIG_TIME_OR_VERSION_INVALID: _moment,
    ErrorCode.USERSIG_EXPIRED: _expired,
    ErrorCode.USERSIG_USERID_MISMATCH: _user,
    ErrorCode.USERSIG_SDKAPPID_MISMATCH: _app,
    ErrorCode.VERIFICATION_METHOD_MISSING: _no_method,
    ErrorCode.PUBLIC_KEY_MISSING: _no_public_key,
    ErrorCode.PRIVATE_MAP_KEY_INVALID: _ticket,
}
