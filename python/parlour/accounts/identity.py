"""Who a client is, once proven."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """A user of an app."""

    sdk_app_id: int
    user_id: str


@dataclass(frozen=True, slots=True)
class AcceptedLogin:
    """One login that succeeded, and what it rests on. Times in unix seconds.

    ``issued_at`` and ``expires_at`` are those of the UserSig, ``key`` the fingerprint of the app's key that verified
    it. A login by third-party verification rests on no key and does not expire.
    """

    identity: Identity
    login_id: str
    issued_at: int
    expires_at: int | None
    key: str
