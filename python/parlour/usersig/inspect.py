"""Inspection: everything one can tell about a UserSig, for the person who has to find out why it is refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from parlour.errors import ErrorCode, entry_of
from parlour.usersig import encoding, version1, version2
from parlour.usersig.checks import Check, NotCheckedError, Subject, is_unsigned
from parlour.usersig.envelope import STEPS, Envelope, open_envelope
from parlour.usersig.mistakes import likely_mistake
from parlour.usersig.model import ALL_METHODS, AppKeys, UserSigError, Version, fingerprint
from parlour.usersig.private_map_key import TICKET
from parlour.usersig.userbuf import Userbuf, UserbufError, parse_userbuf

Outcome = Literal["passed", "failed", "not checked"]

FOLLOWS = "it builds on an earlier one"
"""Why a check is not made that builds upon another."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check as it went. ``detail`` says why it failed or was not made; ``code`` is there when it failed."""

    step: str
    title: str
    outcome: Outcome
    detail: str = ""
    code: ErrorCode | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found.

    ``code`` is the code a login (for a ticket: a join) would be refused with, None if no check failed; ``complete``
    tells whether every check could be made. ``fields`` are the members as decoded, in their order; ``userbuf`` is
    ``TLS.userbuf`` taken apart, if it can be. ``key`` is the fingerprint of the key that the signature matches, or "".
    Times in unix seconds.
    """

    version: Version | None
    ticket: bool
    fields: tuple[tuple[str, object], ...]
    userbuf: Userbuf | None
    issued_at: int | None
    expires_at: int | None
    checks: tuple[CheckResult, ...]
    complete: bool
    key: str
    code: ErrorCode | None
    detail: str
    mistake: str
    remedy: str


def inspect(
    user_sig: str,
    *,
    sdk_app_id: int | None = None,
    user_id: str | None = None,
    keys: AppKeys | None = None,
    now: int | None = None,
    methods: Collection[str] = ALL_METHODS,
    ticket: bool = False,
    room: int | str | None = None,
    room_exists: bool | None = None,
    other_apps: Mapping[int, AppKeys] | None = None,
    former_keys: AppKeys | None = None,
) -> Inspection:
    """Run every check that can be run and say what the first failure most likely means.

    What is not given is not compared. ``ticket`` judges it as a privateMapKey, by the checks of a join. ``other_apps``
    and ``former_keys``, which the app had once, are tried when the app's own keys do not match, so that the answer can
    name the key that it was.
    """
    envelope = open_envelope(user_sig)
    subject = Subject(envelope, sdk_app_id, user_id, keys, now, methods, ticket, room, room_exists)
    results = _opening(envelope)
    if envelope.version is Version.V2:
        results += _run((*version2.WITH_USERBUF, *TICKET) if ticket else version2.LOGIN, subject)
    elif envelope.version is Version.V1:
        results += [_NO_TICKET] if ticket else []
        results += _run(version1.LOGIN, subject)
    first = next((result for result in results if result.outcome == "failed"), None)
    cause = None if first is None else first.code
    code = _as_ticket(cause) if ticket else cause
    entry = None if code is None else entry_of(int(code))
    issued_at, expires_at = _times(subject)
    return Inspection(
        version=envelope.version,
        ticket=ticket,
        fields=tuple(subject.members.items()),
        userbuf=_userbuf(subject),
        issued_at=issued_at,
        expires_at=expires_at,
        checks=tuple(results),
        complete=all(result.outcome != "not checked" for result in results),
        key="" if subject.key is None else fingerprint(subject.key),
        code=code,
        detail="" if first is None else first.detail,
        mistake="" if cause is None else likely_mistake(cause, subject, other_apps or {}, former_keys or AppKeys()),
        remedy="" if entry is None else entry.remedy,
    )


_NO_TICKET = CheckResult(
    "8",
    "it is of version 2, as a ticket has to be",
    "failed",
    "it is of version 1 (ECDSA)",
    ErrorCode.USERSIG_TIME_OR_VERSION_INVALID,
)


def _as_ticket(cause: ErrorCode | None) -> ErrorCode | None:
    """What a join answers to this failure of a ticket."""
    if cause is None:
        return None
    empty = cause is ErrorCode.USERSIG_EMPTY
    return ErrorCode.PRIVATE_MAP_KEY_MISSING if empty else ErrorCode.PRIVATE_MAP_KEY_INVALID


def _opening(envelope: Envelope) -> list[CheckResult]:
    results: list[CheckResult] = []
    for step, title, code in STEPS:
        if results and results[-1].outcome != "passed":
            results.append(CheckResult(step, title, "not checked", FOLLOWS))
        elif envelope.error is not None and envelope.error.code is code:
            results.append(CheckResult(step, title, "failed", envelope.error.detail, code))
        else:
            results.append(CheckResult(step, title, "passed"))
    return results


def _run(checks: tuple[Check, ...], subject: Subject) -> list[CheckResult]:
    results: list[CheckResult] = []
    passed: set[str] = set()
    for check in checks:
        step = check.step.rstrip("'")
        if any(needed not in passed for needed in check.needs):
            results.append(CheckResult(step, check.title, "not checked", FOLLOWS))
            continue
        try:
            check.run(subject)
        except UserSigError as error:
            results.append(CheckResult(step, check.title, "failed", error.detail, error.code))
        except NotCheckedError as reason:
            results.append(CheckResult(step, check.title, "not checked", str(reason)))
        else:
            passed.add(check.step)
            results.append(CheckResult(step, check.title, "passed"))
    return results


def _userbuf(subject: Subject) -> Userbuf | None:
    packed = subject.members.get("TLS.userbuf")
    try:
        return parse_userbuf(encoding.decode_standard_base64(packed)) if isinstance(packed, str) else None
    except (encoding.EncodingError, UserbufError):
        return None


def _times(subject: Subject) -> tuple[int | None, int | None]:
    """When it was made and when it ends, as far as it says so soundly."""
    if subject.envelope.version is Version.V1:
        return (subject.time, subject.time + subject.lifetime) if subject.time else (None, None)
    issued, lifetime = subject.members.get("TLS.time"), subject.members.get("TLS.expire")
    issued_at = issued if is_unsigned(issued) else None
    return issued_at, issued_at + lifetime if issued_at is not None and is_unsigned(lifetime) else None
