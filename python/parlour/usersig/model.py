"""What a verification needs and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from parlour.errors import ErrorCode

CLOCK_TOLERANCE = 5 * 60
"""Seconds by which a UserSig's time may be ahead of us."""


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
    """A UserSig that passed. Times in unix seconds."""

    version: Version
    sdk_app_id: int
    user_id: str
    issued_at: int
    expires_at: int


class UserSigError(Exception):
    """The first check that failed: its account code and one sentence with the values in question."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class KeyRefusedError(ValueError):
    """A key that cannot be used for UserSigs; the text says why."""
