"""Inspection: everything one can tell about a UserSig, for the person who has to find out why it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from parlour.errors import ErrorCode, entry_of
from parlour.usersig.checks import ENVELOPE, Check, NotCheckedError, Subject, checks_of, v1_times
from parlour.usersig.mistakes import likely_mistake
from parlour.usersig.model import AppKeys, UserSigError, Version

Outcome = Literal["passed", "failed", "not checked"]


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

    ``code`` is the code a login would be refused with, None if no check failed; ``complete`` tells whether every
    check could be made. ``fields`` are the members as decoded, in their order. Times in unix seconds.
    """

    version: Version | None
    fields: tuple[tuple[str, object], ...]
    issued_at: int | None
    expires_at: int | None
    checks: tuple[CheckResult, ...]
    complete: bool
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
    with_userbuf: bool = False,
    other_apps: Mapping[int, AppKeys] | None = None,
) -> Inspection:
    """Run every check that can be run and say what the first failure most likely means.

    What is not given is not compared. ``other_apps`` are keys to try when the app's own do not match, so that the
    answer can name the app whose key it was.
    """
    subject = Subject(user_sig, sdk_app_id, user_id, keys, now, with_userbuf)
    results: list[CheckResult] = []
    passed: set[str] = set()
    _run(ENVELOPE, subject, results, passed)
    if subject.version is not None:
        _run(checks_of(subject.version), subject, results, passed)
    first = next((result for result in results if result.outcome == "failed"), None)
    code = None if first is None else first.code
    entry = None if code is None else entry_of(int(code))
    issued_at, expires_at = _times(subject)
    return Inspection(
        version=subject.version,
        fields=tuple(subject.members.items()),
        issued_at=issued_at,
        expires_at=expires_at,
        checks=tuple(results),
        complete=all(result.outcome != "not checked" for result in results),
        code=code,
        detail="" if first is None else first.detail,
        mistake="" if code is None else likely_mistake(code, subject, other_apps or {}),
        remedy="" if entry is None else entry.remedy,
    )


def _run(checks: tuple[Check, ...], subject: Subject, results: list[CheckResult], passed: set[str]) -> None:
    passed_here = passed if checks is ENVELOPE else set()  # version 1 and 2 number their steps alike
    for check in checks:
        step = check.step.rstrip("'")
        if any(needed not in passed_here for needed in check.needs):
            results.append(CheckResult(step, check.title, "not checked", "an earlier check failed or was not made"))
            continue
        try:
            check.run(subject)
        except UserSigError as error:
            results.append(CheckResult(step, check.title, "failed", error.detail, error.code))
        except NotCheckedError as reason:
            results.append(CheckResult(step, check.title, "not checked", str(reason)))
        else:
            passed_here.add(check.step)
            results.append(CheckResult(step, check.title, "passed"))


def _times(subject: Subject) -> tuple[int | None, int | None]:
    if subject.version is Version.V1:
        try:
            time, expire = v1_times(subject)
        except UserSigError:
            return None, None
        return time, time + expire
    issued, lifetime = subject.members.get("TLS.time"), subject.members.get("TLS.expire")
    issued_at = issued if isinstance(issued, int) and not isinstance(issued, bool) else None
    if issued_at is None or not isinstance(lifetime, int) or isinstance(lifetime, bool):
        return issued_at, None
    return issued_at, issued_at + lifetime
