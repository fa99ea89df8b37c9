"""The envelope of a UserSig: base64 in an alphabet of its own, around zlib, around JSON.

The alphabet is standard base64 with ``*`` for ``+``, ``-`` for ``/`` and ``_`` for the padding ``=``. It is not the
url-safe alphabet of RFC 4648 §5, in which ``-`` and ``_`` mean other things.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib

import msgspec

from parlour import strict_json
from parlour.usersig.messages import shown

MAX_JSON_BYTES = 64 * 1024
"""A UserSig that unpacks to more is a bomb (limit: ours)."""

# What is special in standard base64 is not part of this alphabet: made undecodable.
_TO_STANDARD = bytes.maketrans(b"*-_+/=", b"+/=!!!")
_FROM_STANDARD = bytes.maketrans(b"+/=", b"*-_")
_WHITE_SPACE = b" \t\r\n"


class EncodingError(ValueError):
    """One layer of the envelope cannot be opened; the text says how it is broken."""


class DuplicateMemberError(EncodingError):
    """A JSON object names a member twice."""


def encode_base64(data: bytes) -> str:
    """Bytes in the UserSig alphabet, padded."""
    return base64.b64encode(data).translate(_FROM_STANDARD).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Bytes of a text in the UserSig alphabet. White space is skipped, as deployed decoders do; all else is strict."""
    try:
        raw = text.encode("ascii").translate(_TO_STANDARD, _WHITE_SPACE)
    except UnicodeEncodeError:
        raise EncodingError("it holds a character that is not ASCII") from None
    if not raw:
        raise EncodingError("it holds nothing but white space")
    try:
        data = binascii.a2b_base64(raw, strict_mode=True)
    except binascii.Error:
        foreign = next((chr(byte) for byte in text.encode("ascii") if _is_foreign(byte)), None)
        if foreign is not None:
            raise EncodingError(f"it holds the character {foreign!r}") from None
        if len(raw) % 4:
            raise EncodingError(f"its length, {len(raw)}, is not a multiple of 4") from None
        raise EncodingError("its padding is wrong") from None
    if raw.endswith(b"=") and base64.b64encode(data) != raw:
        # RFC 4648 §3.5: before padding, bits that carry nothing are zero. No encoder sets them: a letter was changed.
        raise EncodingError("its last letter was changed")
    return data


def decode_standard_base64(text: str) -> bytes:
    """Bytes of a text in standard base64 (RFC 4648 §4), strict."""
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        raise EncodingError("it is not standard base64") from None


def deflate(data: bytes, level: int) -> bytes:
    """A zlib stream (RFC 1950) at a level from 0 to 9, or -1 for zlib's default."""
    return zlib.compress(data, level)


def inflate(data: bytes) -> bytes:
    """The content of one complete zlib stream of at most ``MAX_JSON_BYTES``."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, MAX_JSON_BYTES + 1)
    except zlib.error as error:
        raise EncodingError(_zlib_reason(error)) from None
    if len(content) > MAX_JSON_BYTES:
        raise EncodingError(f"it unpacks to more than {MAX_JSON_BYTES} bytes")
    if not stream.eof:
        raise EncodingError("the zlib stream ends too early")
    if stream.unused_data:
        raise EncodingError(f"{len(stream.unused_data)} bytes follow the zlib stream")
    return content


def parse_json(content: bytes | str) -> object:
    """The JSON value (RFC 8259); a member named twice, at any depth, is an error, and so are NaN and Infinity."""
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    flat = _parse_flat_object(raw)
    if flat is not None:
        return flat
    try:
        return strict_json.decode(content if isinstance(content, str) else content.decode("utf-8"))
    except UnicodeDecodeError:
        raise EncodingError("it is not UTF-8") from None
    except strict_json.RepeatedMemberError as error:
        raise DuplicateMemberError(f"the member {shown(error.name)} appears twice") from None
    except strict_json.ConstantError as error:
        raise EncodingError(f"{error.word} is not JSON") from None
    except strict_json.DeepNestingError:
        raise EncodingError("it is nested too deeply") from None
    except strict_json.LongNumberError:
        raise EncodingError("it holds a number of thousands of digits") from None
    except json.JSONDecodeError as error:
        raise EncodingError(str(error)) from None


def _parse_flat_object(raw: bytes) -> dict[str, object] | None:
    """An object of texts and whole numbers, without escapes, that names no member twice. None: look closer.

    Practically every UserSig is one, and the decoder that is fast does not see repeated members. They show in the
    quotation marks: there are two for each name and each text, and any more must belong to what was dropped.
    """
    if b"\\" in raw:
        return None
    try:
        members = _FAST.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if type(members) is not dict:
        return None
    texts = len(members)
    for value in members.values():
        if type(value) is str:
            texts += 1
        elif type(value) is not int:
            return None
    return members if raw.count(b'"') == 2 * texts else None


def _is_foreign(byte: int) -> bool:
    return not (chr(byte).isalnum() or byte in b"*-_ \t\r\n")


def _zlib_reason(error: zlib.error) -> str:
    text = str(error)
    if "incorrect header check" in text:
        return "it does not begin like a zlib stream"
    if "incorrect data check" in text:
        return "the check sum at its end does not match"
    return "the zlib stream is damaged"


_FAST = msgspec.json.Decoder()
