"""Opening a UserSig: base64, zlib and JSON, or the bare JSON of the oldest form. Nothing is judged here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from parlour.errors import ErrorCode
from parlour.usersig import encoding
from parlour.usersig.encoding import DuplicateMemberError, EncodingError
from parlour.usersig.messages import shown
from parlour.usersig.model import UserSigError, Version

_VERSIONS = {"1.0": Version.V1, "2.0": Version.V2}
_NO_MEMBERS: Mapping[str, object] = MappingProxyType({})  # nobody can add to what all share


class EnvelopeStep(NamedTuple):
    """One step of opening: its number in docs/usersig.md, what holds after it, and the code if it fails."""

    step: str
    title: str
    code: ErrorCode


STEPS = (
    EnvelopeStep("3", "the UserSig is not empty", ErrorCode.USERSIG_EMPTY),
    EnvelopeStep("5", "its outer base64 can be decoded", ErrorCode.USERSIG_NOT_BASE64),
    EnvelopeStep("6", "its zlib stream can be unpacked", ErrorCode.USERSIG_NOT_ZLIB),
    EnvelopeStep("7", "it holds JSON, each member once", ErrorCode.USERSIG_NOT_JSON),
    EnvelopeStep("7", "the JSON is an object", ErrorCode.USERSIG_NOT_OBJECT),
    EnvelopeStep("8", "its version is known", ErrorCode.USERSIG_TIME_OR_VERSION_INVALID),
)
"""The steps in their order. Each has a code of its own, so that the code tells how far the opening came."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A UserSig as far as it could be opened. Nothing in it is proven yet.

    ``members`` are those of its JSON object; ``plain`` marks the oldest form, which is bare JSON. When opening failed,
    ``version`` is None and ``error`` is what ``verify`` raises when it comes to it.
    """

    user_sig: str = field(repr=False)
    version: Version | None = None
    members: Mapping[str, object] = field(default_factory=lambda: _NO_MEMBERS, repr=False)
    plain: bool = False
    packed: bytes = field(default=b"", repr=False)
    error: UserSigError | None = None

    def opened(self) -> Version:
        """The version, or the ``UserSigError`` that opening ended with."""
        if self.version is None:
            failed = self.error or UserSigError(ErrorCode.USERSIG_EMPTY, "there is none: nothing was opened")
            # A new one, for an exception that was raised keeps hold of all that stood around it, this envelope too.
            raise UserSigError(failed.code, failed.detail)
        return self.version

    @property
    def account_type(self) -> str | int | None:
        """``TLS.account_type`` of version 1 as it stands, unverified; None if there is none that can be read."""
        said = self.members.get("TLS.account_type") if self.version is Version.V1 else None
        return said if isinstance(said, (str, int)) and not isinstance(said, bool) else None


def open_envelope(user_sig: str) -> Envelope:
    """Open a UserSig as far as it goes. Never raises: what failed is in ``error`` of the answer."""
    if not user_sig:
        return _failed(user_sig, ErrorCode.USERSIG_EMPTY, "there is none: the text is empty")
    if "{" in user_sig:  # no letter of the base64 alphabet: only the oldest form has it
        bare = _open_bare(user_sig)
        if bare is not None:
            return bare
    try:
        packed = encoding.decode_base64(user_sig)
    except EncodingError as error:
        return _failed(user_sig, ErrorCode.USERSIG_NOT_BASE64, f"its base64 cannot be decoded: {error}")
    try:
        content = encoding.inflate(packed)
    except EncodingError as error:
        return _failed(user_sig, ErrorCode.USERSIG_NOT_ZLIB, f"it cannot be unpacked: {error}", packed)
    try:
        value = encoding.parse_json(content)
    except EncodingError as error:
        return _failed(user_sig, ErrorCode.USERSIG_NOT_JSON, f"it holds no usable JSON: {error}", packed)
    if not isinstance(value, dict):
        detail = f"its JSON is {shown(value)}, not an object"
        return _failed(user_sig, ErrorCode.USERSIG_NOT_OBJECT, detail, packed)
    said = value.get("TLS.ver", "1.0")
    version = _VERSIONS.get(said) if isinstance(said, str) else None
    if version is None:
        detail = f"TLS.ver is {shown(said)}, not '1.0' or '2.0'"
        return _failed(user_sig, ErrorCode.USERSIG_TIME_OR_VERSION_INVALID, detail, packed, value)
    return Envelope(user_sig, version, value, False, packed)


def _open_bare(user_sig: str) -> Envelope | None:
    """The oldest form, which is version 1; None if the text is no JSON object."""
    if not user_sig.lstrip(" \t\r\n").startswith("{"):
        return None
    try:
        value = encoding.parse_json(user_sig[: encoding.MAX_JSON_BYTES + 1])
    except DuplicateMemberError as error:
        return _failed(user_sig, ErrorCode.USERSIG_NOT_JSON, f"it is bare JSON, and {error}")
    except EncodingError:
        return None
    return Envelope(user_sig, Version.V1, value, plain=True) if isinstance(value, dict) else None


def _failed(
    user_sig: str, code: ErrorCode, detail: str, packed: bytes = b"", members: Mapping[str, object] = _NO_MEMBERS
) -> Envelope:
    return Envelope(user_sig, None, members, False, packed, UserSigError(code, detail))
