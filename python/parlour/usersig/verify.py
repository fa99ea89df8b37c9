"""Verification: the checks in order, the first failure wins."""

from __future__ import annotations

from parlour.usersig.checks import Subject, checks_of, opened, v1_times
from parlour.usersig.model import AppKeys, Verified, Version


def verify(
    user_sig: str, *, sdk_app_id: int, user_id: str, keys: AppKeys, now: int, with_userbuf: bool = False
) -> Verified:
    """What the UserSig proves, or ``UserSigError`` with the code of the first check that failed.

    ``now`` in unix seconds. ``with_userbuf`` is for room tickets (privateMapKey); a login never sets it.
    """
    subject = Subject(user_sig, sdk_app_id, user_id, keys, now, with_userbuf)
    version = opened(subject)
    for check in checks_of(version):
        check.run(subject)
    if version is Version.V1:
        time, expire = v1_times(subject)
    else:
        time, expire = subject.members["TLS.time"], subject.members["TLS.expire"]  # type: ignore[assignment]
    return Verified(version, sdk_app_id, user_id, time, time + expire)
