"""What a verification needs and what it answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum

from parlour.errors import ErrorCode

CLOCK_TOLERANCE = 5 * 60
"""Seconds by which a UserSig's time may be ahead of us."""

HMAC = "hmac"
ECDSA = "ecdsa"

ALL_METHODS = frozenset({HMAC, ECDSA})
"""The methods of an account type that takes both generations: ``hmac`` is version 2, ``ecdsa`` version 1."""


class Version(IntEnum):
    """The two generations of UserSig."""

    V1 = 1
    V2 = 2


@dataclass(frozen=True, slots=True)
class AppKeys:
    """The keys of one app: any one that verifies is enough.

    ``secrets`` are HMAC keys (version 2), used as the text they are shown as, never hex-decoded. ``public_keys`` are
    PEM texts of EC keys (version 1).
    """

    secrets: tuple[str, ...] = field(default=(), repr=False)
    public_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verified:
    """A UserSig that passed. Times in unix seconds.

    ``key`` is the ``fingerprint`` of the key that it was verified with; ``userbuf`` are the bytes that a ticket for a
    room carries, None for what logs in.
    """

    version: Version
    sdk_app_id: int
    user_id: str
    issued_at: int
    expires_at: int
    key: str
    userbuf: bytes | None = None


class UserSigError(Exception):
    """The first check that failed: its account code and one sentence with the values in question."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class PrivateMapKeyError(UserSigError):
    """A ticket for a room that does not admit: -10018 if there is none, -10019 for all else, told in the sentence."""


class KeyRefusedError(ValueError):
    """A key that cannot be used for UserSigs; the text says why."""


def fingerprint(key: str) -> str:
    """Which key this is, in 16 hex digits that may be shown and logged: the start of SHA-256 over its text."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
