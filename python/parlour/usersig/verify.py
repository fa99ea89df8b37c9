"""Verification: the checks in order, the first failure wins."""

from __future__ import annotations

from collections.abc import Collection

from parlour.errors import ErrorCode
from parlour.usersig import version1, version2
from parlour.usersig.checks import Check, Subject
from parlour.usersig.envelope import Envelope, open_envelope
from parlour.usersig.model import ALL_METHODS, AppKeys, UserSigError, Verified, Version, fingerprint


def verify(
    user_sig: str | Envelope,
    *,
    sdk_app_id: int,
    user_id: str,
    keys: AppKeys,
    now: int,
    methods: Collection[str] = ALL_METHODS,
    with_userbuf: bool = False,
) -> Verified:
    """What the UserSig proves, or ``UserSigError`` with the code of the first check that failed.

    ``now`` in unix seconds. ``methods`` are those that the account type takes: ``hmac`` (version 2), ``ecdsa``
    (version 1). ``with_userbuf`` takes a ticket for a room and not a UserSig; a login never sets it.
    """
    envelope = open_envelope(user_sig) if isinstance(user_sig, str) else user_sig
    version = envelope.opened()
    subject = Subject(envelope, sdk_app_id, user_id, keys, now, methods, with_userbuf)
    checks: tuple[Check, ...] = version2.LOGIN
    if with_userbuf:
        checks = version2.WITH_USERBUF
        if version is Version.V1:
            raise UserSigError(
                ErrorCode.USERSIG_TIME_OR_VERSION_INVALID, "it is of version 1; tickets are of version 2"
            )
    elif version is Version.V1:
        checks = version1.LOGIN
    for check in checks:
        check.run(subject)
    return Verified(
        version=version,
        sdk_app_id=sdk_app_id,
        user_id=user_id,
        issued_at=subject.time,
        expires_at=subject.time + subject.lifetime,
        key=fingerprint(subject.key or ""),
        userbuf=subject.userbuf_bytes,
    )
