"""An inspection of a UserSig, for people and for programs."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from parlour.cli.output import console, visible, when
from parlour.errors import entry_of
from parlour.usersig import Inspection, Version, duration

_MARKS = {"passed": ("ok", "green"), "failed": ("FAILED", "bold red"), "not checked": ("not made", "dim")}
_VERSIONS = {Version.V1: "version 1 (ECDSA)", Version.V2: "version 2 (HMAC-SHA256)"}


def show(found: Inspection, now: int) -> None:
    """Print the fields, the checks and the verdict."""
    out = console()
    if found.version is not None:
        out.print(Text(f"UserSig of {_VERSIONS[found.version]}", style="bold"))
    if found.fields:
        fields = Table.grid(padding=(0, 2))
        fields.add_column(style="dim", no_wrap=True)
        fields.add_column(overflow="fold")
        for name, value in found.fields:
            fields.add_row(visible(name), Text(_value(name, value, found, now)))
        out.print()
        out.print(fields)
    out.print(_checks(found))
    out.print()
    _verdict(found)


def _checks(found: Inspection) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("step", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("code", no_wrap=True)
    table.add_column("why", overflow="fold")
    for check in found.checks:
        mark, style = _MARKS[check.outcome]
        row_style = "" if check.outcome != "not checked" else "dim"
        code = "" if check.code is None else str(int(check.code))
        detail = Text(visible(check.detail))
        table.add_row(check.step, Text(mark, style=style), check.title, code, detail, style=row_style)
    return table


def _verdict(found: Inspection) -> None:
    out = console()
    if found.code is None:
        out.print(Text("No check failed: a login with it would be accepted." if found.complete else "No check failed."))
        if not found.complete:
            missing = sorted(
                {c.detail for c in found.checks if c.outcome == "not checked" and c.detail.startswith("no ")}
            )
            hint = "; ".join(missing) or "some checks could not be made"
            out.print(Text(f"Not all of them were made: {hint}. Use --app, --user and --key or --data.", style="dim"))
        return
    entry = entry_of(int(found.code))
    verdict = Text(f"Refused with {int(found.code)} {found.code.name}", style="bold red")
    verdict.append(f": {visible(found.detail)}.", style="not bold default")
    out.print(verdict)
    if found.mistake:
        out.print(Text.assemble(("Likely mistake  ", "dim"), visible(found.mistake)))
    if entry is not None:
        out.print(Text.assemble(("What to do      ", "dim"), found.remedy))


def _value(name: str, value: object, found: Inspection, now: int) -> str:
    text = visible(value if isinstance(value, str) else repr(value))
    if name == "TLS.time" and found.issued_at is not None:
        return f"{text}  ({when(found.issued_at)})"
    if name in ("TLS.expire", "TLS.expire_after") and found.expires_at is not None and found.issued_at is not None:
        lifetime = found.expires_at - found.issued_at
        left = found.expires_at - now
        state = f"{duration(left)} left" if left >= 0 else f"over since {duration(-left)}"
        return f"{text}  (for {duration(lifetime)}, until {when(found.expires_at)}, {state})"
    return text


def as_dict(found: Inspection) -> dict[str, object]:
    """The same for a program."""
    return {
        "version": None if found.version is None else int(found.version),
        "fields": dict(found.fields),
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
        "code": 0 if found.code is None else int(found.code),
        "key": "" if found.code is None else found.code.name,
        "detail": found.detail,
        "mistake": found.mistake,
        "remedy": found.remedy,
    }
