"""An inspection of a UserSig or of a privateMapKey, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from parlour.accounts.refusal import AccountRefusedError
from parlour.cli.output import console, print_line, visible, when
from parlour.errors import entry_of
from parlour.usersig import FOLLOWS, CheckResult, Inspection, Userbuf, Version, duration

_MARKS = {"passed": ("ok", "green"), "failed": ("FAILED", "bold red"), "not checked": ("-", "dim")}
_VERSIONS = {Version.V1: "version 1 (ECDSA)", Version.V2: "version 2 (HMAC-SHA256)"}


def show(found: Inspection, now: int, around: Sequence[AccountRefusedError] = ()) -> None:
    """Print the fields, the checks and, last because that is where one looks, the verdict.

    ``around``: why a login is refused beside what is in the UserSig.
    """
    what = _what(found)
    if found.version is not None:
        title = f"{what} of {_VERSIONS[found.version]}"
        _print(Text(f"{title}, signed with key {found.key}" if found.key else title, style="bold"))
    if found.fields:
        print_line("")
        _print(_fields(found, now))
    print_line("")
    _print(_checks(found))
    print_line("")
    _verdict(found)
    for refusal in around:
        code = f"{int(refusal.code)} {refusal.code.name}"
        line = Text(f"A login is refused with {code}", style="bold red")
        _print(line.append(f": {visible(refusal.detail)}.", style="not bold default"))


def _what(found: Inspection) -> str:
    return "privateMapKey" if found.ticket else "UserSig"


def _print(renderable: RenderableType) -> None:
    """Print without the blanks that fill up lines: they are in the way of whoever copies or pipes the text."""
    out = console()
    with out.capture() as captured:
        out.print(renderable)
    for line in captured.get().splitlines():
        print_line(line.rstrip())


def _pairs() -> Table:
    pairs = Table.grid(padding=(0, 2))
    pairs.add_column(style="dim", no_wrap=True)
    pairs.add_column(overflow="fold")
    return pairs


def _fields(found: Inspection, now: int) -> Table:
    fields = _pairs()
    for name, value in found.fields:
        fields.add_row(f"  {visible(name)}", Text(_value(name, value, found, now)))
        if name == "TLS.userbuf" and found.userbuf is not None:
            for part, text in _userbuf(found.userbuf, now):
                fields.add_row(f"    {part}", Text(text))
    return fields


def _value(name: str, value: object, found: Inspection, now: int) -> str:
    text = visible(value if isinstance(value, str) else repr(value))
    if name == "TLS.time" and found.issued_at is not None:
        return f"{text}  ({when(found.issued_at)})"
    if name in ("TLS.expire", "TLS.expire_after") and found.expires_at is not None and found.issued_at is not None:
        return f"{text}  ({duration(found.expires_at - found.issued_at)}, {_until(found.expires_at, now)})"
    return text


def _until(end: int, now: int) -> str:
    state = f"{duration(end - now)} left" if end >= now else f"over for {duration(now - end)}"
    return f"until {when(end)}, {state}"


def _userbuf(userbuf: Userbuf, now: int) -> list[tuple[str, str]]:
    kind = "a number" if isinstance(userbuf.room, int) else "a name"
    return [
        ("user", visible(userbuf.account.decode("utf-8", "backslashreplace"))),
        ("app", str(userbuf.sdk_app_id)),
        ("room", f"{visible(str(userbuf.room))}  ({kind})"),
        ("expiry", f"{userbuf.expires_at}  ({_until(userbuf.expires_at, now)})"),
        ("privileges", f"{int(userbuf.privileges)}  ({', '.join(userbuf.privileges.names) or 'none'})"),
    ]


def _checks(found: Inspection) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in found.checks:
        mark, style = _MARKS[check.outcome]
        table.add_row(f"  {check.step}", Text(mark, style=style), _check(check))
    return table


def _check(check: CheckResult) -> Text:
    if check.outcome == "passed":
        return Text(check.title)
    if check.outcome == "not checked":
        return Text(f"{check.title} - not checked: {visible(check.detail)}", style="dim")
    code = "" if check.code is None else f"{int(check.code)}: "
    return Text.assemble((check.title, "bold"), f"\n{code}{visible(check.detail)}")


def _verdict(found: Inspection) -> None:
    if found.code is None:
        _print(Text(f"No check of the {_what(found)} failed."))
        if not found.complete:
            _print(Text(_what_is_open(found), style="dim"))
        if found.userbuf is not None and not found.ticket:
            _print(Text("It carries a TLS.userbuf, as a privateMapKey does: with --ticket it is judged as one."))
        return
    entry = entry_of(int(found.code))
    verdict = Text(f"Refused with {int(found.code)} {found.code.name}", style="bold red")
    verdict.append(f": {visible(found.detail)}.", style="not bold default")
    _print(verdict)
    lines = _pairs()
    if found.mistake:
        lines.add_row("Likely mistake", visible(found.mistake))
    if entry is not None:
        lines.add_row("What to do", found.remedy)
    _print(lines)


def _what_is_open(found: Inspection) -> str:
    reasons = sorted({check.detail for check in found.checks if check.outcome == "not checked"} - {FOLLOWS})
    said = f"Not all of them were made: {'; '.join(reasons)}."
    if not any(reason.startswith("no ") for reason in reasons):
        return said
    return f"{said} Use --app, --user{', --room' * found.ticket} and --key or --data."


def as_dict(found: Inspection, around: Sequence[AccountRefusedError] | None = None) -> dict[str, object]:
    """The same for a program; ``around`` is None where nothing stored was looked at."""
    return {
        "version": None if found.version is None else int(found.version),
        "ticket": found.ticket,
        "fields": dict(found.fields),
        "userbuf": None if found.userbuf is None else _userbuf_dict(found.userbuf),
        "issuedAt": found.issued_at,
        "expiresAt": found.expires_at,
        "checks": [
            {
                "step": check.step,
                "title": check.title,
                "outcome": check.outcome,
                "code": None if check.code is None else int(check.code),
                "detail": check.detail,
            }
            for check in found.checks
        ],
        "complete": found.complete,
        "keyFingerprint": found.key,
        "code": 0 if found.code is None else int(found.code),
        "key": "" if found.code is None else found.code.name,
        "detail": found.detail,
        "mistake": found.mistake,
        "remedy": found.remedy,
        "around": None
        if around is None
        else [{"code": int(refusal.code), "key": refusal.code.name, "detail": refusal.detail} for refusal in around],
    }


def _userbuf_dict(userbuf: Userbuf) -> dict[str, object]:
    return {
        "userId": userbuf.account.decode("utf-8", "backslashreplace"),
        "sdkAppId": userbuf.sdk_app_id,
        "room": userbuf.room,
        "expiresAt": userbuf.expires_at,
        "privilegeMap": int(userbuf.privileges),
        "privileges": list(userbuf.privileges.names),
    }
