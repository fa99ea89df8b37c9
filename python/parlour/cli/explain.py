"""``parlour explain``: what a code means, what causes it, what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from parlour.cli.output import JsonOption, fail, print_json, print_pairs
from parlour.errors import Entry, NotFound, find

_KINDS = {
    "sdk": "SDK code: getCode() of an RtcError",
    "account": "account code: behind 0x4001, or in an answer of the account REST",
    "room": "room code: behind 0x4004, or 0x4001 on resuming",
    "rest": "access code of the account REST",
}
_STATES = {
    "planned": "This release does not raise it yet.",
    "foreign": "Other services of the family use it; Parlour never raises it.",
}


def command(
    code: Annotated[
        str,
        typer.Argument(
            metavar="CODE", help="A number (70009, -8), hex (0x4001), or a key in any case (JOIN_ROOM_FAILED)."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Explain an error code: what happened, and what to do about it."""
    found = find(code)
    if isinstance(found, NotFound):
        _not_found(found, as_json)
        return
    if as_json:
        print_json(_as_json(found))
        return
    shown = f"{found.shown} (decimal {found.code})" if found.kind == "sdk" else found.shown
    pairs = [("Code", shown), ("Key", found.key), ("Kind", _KINDS[found.kind])]
    if found.aliases:
        pairs.append(("Also spelled", ", ".join(found.aliases)))
    pairs += [("What happened", found.cause), ("What to do", found.remedy), ("Raised by", found.raised_by)]
    if found.state in _STATES:
        pairs.append(("Note", _STATES[found.state]))
    print_pairs(pairs)


# Negative codes come without --, so what looks like an unknown option is the argument.
command.context_settings = {"ignore_unknown_options": True}  # type: ignore[attr-defined]


def _not_found(missing: NotFound, as_json: bool) -> None:
    nearest = missing.nearest
    if as_json:
        print_json({"typed": missing.text, "nearest": None if nearest is None else _as_json(nearest)})
    sentence = f"There is no code or key {missing.text!r} in the catalogue."
    if nearest is not None:
        sentence += f" Did you mean {nearest.shown} ({nearest.key})?"
    fail(sentence, answered=as_json)


def _as_json(entry: Entry) -> dict[str, object]:
    return {
        "code": entry.code,
        "shown": entry.shown,
        "key": entry.key,
        "aliases": list(entry.aliases),
        "kind": entry.kind,
        "state": entry.state,
        "cause": entry.cause,
        "remedy": entry.remedy,
        "raisedBy": entry.raised_by,
    }
