"""Write what is made from the catalogue: the Python enum, the TypeScript constants and the docs page.

``python -m parlour.errors.generate`` writes them into the checkout; with ``--check`` it writes nothing and exits 1 if
one of them is stale.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from parlour.errors.catalogue import Entry, catalogue
from parlour.generated import keep, row

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SOURCE = "python/parlour/errors/catalogue.toml"
NOTICE = f"Made from {SOURCE} by `python -m parlour.errors.generate`; change it there."

HEADINGS = {
    "sdk": (
        "SDK codes",
        "What `getCode()` of an `RtcError` returns in an app. Behind `0x4001` stands an account code and behind "
        "`0x4004` a room code; both are in `extraCode` and in the message.",
    ),
    "account": (
        "Account codes",
        "Why a login was refused, or a call of the account REST. "
        "The steps are those of [the UserSig checks](usersig.md).",
    ),
    "room": ("Room codes", "Why a room could not be entered."),
    "rest": (
        "Codes of the account REST's access layer",
        "Why a REST call was refused before its command was looked at.",
    ),
}

PASSING = "Refusals that decide nothing about the user: the server is down or busy in part, or late. Ask again."

STATES = {
    "raised": "",
    "planned": " *(settled, not raised by this release)*",
    "foreign": " *(not a code of Parlour's own)*",
}


def python_enum(entries: tuple[Entry, ...]) -> str:
    """The text of ``codes.py``."""
    lines = [
        f'"""Every code of the catalogue under its key.\n\n{NOTICE}\n"""',
        "",
        "from enum import IntEnum",
        "",
        "",
        "class ErrorCode(IntEnum):",
        '    """One member a code; the documented misspellings are aliases of the right member."""',
        "",
    ]
    for entry in entries:
        lines += [f"    {name} = {entry.shown}" for name in (entry.key, *entry.aliases)]
    lines += ["", "", "PASSING = frozenset(", "    {"]
    lines += [f"        ErrorCode.{entry.key}," for entry in entries if entry.passing]
    lines += ["    }", ")", f'"""{PASSING}"""']
    return "\n".join(lines) + "\n"


def typescript(entries: tuple[Entry, ...]) -> str:
    """The text of ``errors.ts``."""
    lines = [
        f"// {NOTICE}",
        "",
        "/** Every code under its key; the documented misspellings are there too. */",
        "export const ErrorCode = {",
        *(f"  {name}: {entry.shown}," for entry in entries for name in (entry.key, *entry.aliases)),
        "} as const;",
        "",
        f"/** {PASSING} */",
        "export const PASSING: ReadonlySet<number> = new Set<number>([",
        *(f"  ErrorCode.{entry.key}," for entry in entries if entry.passing),
        "]);",
        "",
        "export type ErrorKey = keyof typeof ErrorCode;",
        "",
        "/** The key of each code, in its right spelling. */",
        "export const ERROR_KEYS: Readonly<Record<number, ErrorKey>> = {",
        *(f"  [{entry.shown}]: {json.dumps(entry.key)}," for entry in entries),
        "};",
        "",
        "export interface ErrorEntry {",
        "  readonly key: ErrorKey;",
        "  readonly aliases: readonly string[];",
        '  readonly kind: "sdk" | "account" | "room" | "rest";',
        "  /** The code as its users write it. */",
        "  readonly shown: string;",
        "  readonly cause: string;",
        "  readonly remedy: string;",
        "}",
        "",
        "/** What happened and what to do, for each code. Large: a page imports it, the SDK's own code does not. */",
        "export const ERRORS: Readonly<Record<number, ErrorEntry>> = {",
    ]
    for entry in entries:
        lines += [
            f"  [{entry.shown}]: {{",
            f"    key: {json.dumps(entry.key)},",
            f"    aliases: {json.dumps(list(entry.aliases))},",
            f"    kind: {json.dumps(entry.kind)},",
            f"    shown: {json.dumps(entry.shown)},",
            f"    cause: {json.dumps(entry.cause, ensure_ascii=False)},",
            f"    remedy: {json.dumps(entry.remedy, ensure_ascii=False)},",
            "  },",
        ]
    return "\n".join([*lines, "};"]) + "\n"


def docs_page(entries: tuple[Entry, ...]) -> str:
    """The text of ``docs/errors.md``."""
    lines = [
        "# Error codes",
        "",
        f"<!-- {NOTICE} -->",
        "",
        "Every code, what it means and what to do. The same texts come from the command line: `parlour explain 70009`,",
        "`parlour explain 0x4001`, `parlour explain -8`.",
        "",
        "*Passing*: the refusal decides nothing about the user; a part of the server is down or busy, or was too slow.",
        "The SDKs ask again by themselves while they reconnect; after any other refusal they give up.",
    ]
    for kind, (heading, introduction) in HEADINGS.items():
        lines += ["", f"## {heading}", "", introduction, "", "| Code | Key | What happened | What to do | Raised by |"]
        lines += ["|---|---|---|---|---|"]
        for entry in entries:
            if entry.kind == kind:
                keys = " ".join([f"`{entry.key}`", *(f"(also `{alias}`)" for alias in entry.aliases)])
                shown = f"{entry.shown} ({entry.code})" if kind == "sdk" else entry.shown
                remedy = entry.remedy + " *(passing)*" * entry.passing
                cells = (shown, keys, entry.cause, remedy, entry.raised_by + STATES[entry.state])
                lines.append(row(cells))
    return "\n".join(lines) + "\n"


OUTPUTS: dict[str, Callable[[tuple[Entry, ...]], str]] = {
    "python/parlour/errors/codes.py": python_enum,
    "web/sdk/src/generated/errors.ts": typescript,
    "docs/errors.md": docs_page,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or only compare them. Returns the exit status."""
    entries = catalogue()
    made = {path: make(entries) for path, make in OUTPUTS.items()}
    return keep("parlour.errors.generate", lambda _: made, arguments, root=ROOT)


if __name__ == "__main__":
    sys.exit(main())
