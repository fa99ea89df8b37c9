"""Make what other languages and readers need of the protocol.

``python -m parlour.protocol.generate`` writes, from a checkout:

- ``docs/protocol.schema.json``, a JSON Schema (2020-12) of every message;
- ``web/sdk/src/generated/messages.ts``, TypeScript types;
- the tables of ``docs/protocol.md``, between its marker comments; the prose around them is written by hand.

``--check`` writes nothing and exits 1 when a file is stale.
"""

from __future__ import annotations

import enum
import inspect
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from parlour.generated import keep
from parlour.protocol import messages, words

Schema = dict[str, Any]

REQUESTS: tuple[type[Any], ...] = get_args(messages.AnyRequest)
EVENTS: tuple[type[Any], ...] = get_args(messages.AnyEvent)
ANSWERS: tuple[type[Any], ...] = get_args(messages.AnyOk)
UNIONS = {"AnyRequest": REQUESTS, "AnyEvent": EVENTS}
ALIASES = {
    frozenset(get_args(getattr(words, name))): name
    for name in ("StreamType", "Scene", "Role", "Kind", "RemovalReason", "VideoType", "ReceivedVideo")
}

BOUNDS = (
    "MAX_USER_ID_BYTES",
    "MAX_ROOM_NUMBER",
    "MAX_ROOM_NAME_BYTES",
    "ROOM_NAME_PUNCTUATION",
    "ROOM_NAME_CHARACTERS",
)
"""Of the words' bounds those that TypeScript needs."""


def definitions() -> dict[str, Schema]:
    """JSON Schema of every structure on the wire, by its name, in the order of ``messages.py``."""
    roots = [*REQUESTS, *EVENTS, *ANSWERS, messages.OkAnswer, messages.ErrorAnswer]
    _, components = msgspec.json.schema_components(roots, ref_template="#/$defs/{name}")
    order = {name: place for place, name in enumerate(vars(messages))}
    for schema in components.values():
        if "description" in schema:
            schema["description"] = wire_words(schema["description"])
        for part in schema["properties"].values():
            if "enum" in part:
                part["enum"] = list(part["enum"])
    return dict(sorted(components.items(), key=lambda item: order[item[0]]))


def wire_words(text: str) -> str:
    """A docstring in wire words: ``snake_case`` in double backticks becomes `camelCase`; one line a paragraph."""

    def camel(match: re.Match[str]) -> str:
        return "`" + re.sub(r"_([a-z])", lambda letter: letter.group(1).upper(), match.group(1)) + "`"

    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return re.sub(r"``([^`]+)``", camel, "\n".join(paragraphs))


def render_schema(defs: dict[str, Schema]) -> str:
    """The JSON Schema file."""
    unions = {
        name: {"oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds]} for name, kinds in UNIONS.items()
    }
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Parlour signaling, version {messages.PROTOCOL_VERSION}",
        "description": "Made by python -m parlour.protocol.generate; edit messages.py instead.",
        "$defs": defs | unions,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


# --- TypeScript -----------------------------------------------------------------------------------------------


def ts_type(schema: Schema) -> str:
    """The TypeScript type of a JSON Schema."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " | ".join(ts_type(part) for part in schema["anyOf"])
    if "enum" in schema:
        if alias := ALIASES.get(frozenset(schema["enum"])):
            return alias
        return " | ".join(json.dumps(value) for value in schema["enum"])
    match schema.get("type"):
        case "array":
            item = ts_type(schema["items"])
            return f"({item})[]" if "|" in item else f"{item}[]"
        case "integer" | "number":
            return "number"
        case "boolean" | "string" | "null" as plain:
            return str(plain)
    return "unknown"


def ts_comment(text: str, indent: str = "") -> list[str]:
    """A JSDoc comment."""
    lines = text.splitlines()
    if len(lines) == 1:
        return [f"{indent}/** {text} */"]
    return [f"{indent}/**", *(f"{indent} * {line}" for line in lines), f"{indent} */"]


def ts_interface(name: str, schema: Schema) -> list[str]:
    """One structure as an interface; what has a default may be absent on the wire."""
    if not schema["properties"]:
        return [*ts_comment(schema.get("description", name)), f"export type {name} = Record<string, never>;", ""]
    required = set(schema.get("required", ()))
    head = f"export interface {name}"
    lines = [
        *ts_comment(schema.get("description", name)),
        f"{head}<Ok = unknown> {{" if name == "OkAnswer" else f"{head} {{",
    ]
    for field, part in schema["properties"].items():
        kind = "Ok" if (name, field) == ("OkAnswer", "ok") else ts_type(part)
        if "default" in part and part["default"] is not None:
            lines.append(f"  /** Default: {json.dumps(part['default'])}. */")
        lines.append(f"  {field}{'' if field in required else '?'}: {kind};")
    return [*lines, "}", ""]


def ts_union(name: str, kinds: Iterable[type[Any]]) -> list[str]:
    """A union of structures."""
    return [f"export type {name} =", *(f"  | {kind.__name__}" for kind in kinds), ";", ""]


def ts_enum(kind: type[enum.IntEnum]) -> list[str]:
    """Numbers with names: a constant object and the type of its values."""
    notes = member_notes(kind)
    lines = [*ts_comment(wire_words(kind.__doc__ or kind.__name__)), f"export const {kind.__name__} = {{"]
    for member in kind:
        lines += [*ts_comment(notes[member.name], "  "), f"  {member.name}: {member.value},"]
    return [
        *lines,
        "} as const;",
        f"export type {kind.__name__} = (typeof {kind.__name__})[keyof typeof {kind.__name__}];",
        "",
    ]


def member_notes(kind: type[enum.IntEnum]) -> dict[str, str]:
    """The string that follows each member in the source, as its description."""
    source = inspect.getsource(kind)
    return {
        name: wire_words(note)
        for name, note in re.findall(r"^    ([A-Z_]+) = \d+\n    \"\"\"(.*?)\"\"\"", source, re.M | re.S)
    }


def render_typescript(defs: dict[str, Schema]) -> str:
    """The TypeScript module."""
    lines = [
        "// Made from messages.py and words.py by python -m parlour.protocol.generate; do not edit.",
        "",
        f"export const PROTOCOL_VERSION = {messages.PROTOCOL_VERSION};",
        f"export const SIGNALING_PATH = {json.dumps(messages.SIGNALING_PATH)};",
        *(f"export const {name} = {json.dumps(getattr(words, name))};" for name in BOUNDS),
        "",
    ]
    for values, alias in ALIASES.items():
        lines.append(f"export type {alias} = {' | '.join(json.dumps(value) for value in sorted(values))};")
    lines.append("")
    for name, schema in defs.items():
        lines += ts_interface(name, schema)
    for name, kinds in UNIONS.items():
        lines += ts_union(name, kinds)
    lines += ["/** What the `ok` of each request's answer holds. */", "export interface Answers {"]
    lines += [f'  "{tag(kind)}": {messages.ANSWERS[kind].__name__};' for kind in REQUESTS]
    lines += ["}", ""]
    lines += ts_enum(messages.CloseCode) + ts_enum(messages.ClientCloseCode)
    return "\n".join(lines)


def tag(kind: type[Any]) -> str:
    """The ``type`` of a message."""
    return str(kind.__struct_config__.tag)


# --- the page -------------------------------------------------------------------------------------------------


def md_fields(schema: Schema) -> list[str]:
    """A table of a structure's fields, without ``type`` and ``id``."""
    required = set(schema.get("required", ()))
    rows = []
    for field, part in schema["properties"].items():
        if field == "type" or (field == "id" and part.get("maximum")):
            continue
        kind = ts_type(part).replace("|", "\\|")
        absent = "required" if field in required else f"`{json.dumps(part.get('default'))}`"
        rows.append(f"| `{field}` | {kind} | {absent} |")
    return ["| field | type | when absent |", "|---|---|---|", *rows, ""] if rows else ["No fields.", ""]


def md_structures(kinds: Sequence[type[Any]], defs: dict[str, Schema], *, headed: bool = True) -> str:
    """A section for each message."""
    lines: list[str] = []
    for kind in kinds:
        schema = defs[kind.__name__]
        title = f"### `{tag(kind)}`" if headed else f"### {kind.__name__}"
        lines += [title, "", schema.get("description", "").replace("\n", "\n\n"), ""]
        lines += md_fields(schema)
        if kind in messages.ANSWERS:
            lines += [f"Answer: {messages.ANSWERS[kind].__name__}.", ""]
    return "\n".join(lines)


def md_aliases() -> str:
    """The words that some fields are limited to."""
    rows = [f"| {alias} | {', '.join(f'`{value}`' for value in sorted(values))} |" for values, alias in ALIASES.items()]
    return "\n".join(["| type | one of |", "|---|---|", *rows, "", ""])


def md_close_codes(kind: type[enum.IntEnum]) -> str:
    """A table of close codes."""
    notes = member_notes(kind)
    rows = [f"| {code.value} | {code.name.lower().replace('_', ' ')} | {notes[code.name]} |" for code in kind]
    return "\n".join(["| code | name | why |", "|---|---|---|", *rows, ""])


def render_page(page: str, defs: dict[str, Schema]) -> str:
    """The protocol page with its tables made anew. Raises ValueError when a marker is missing."""
    named = {kind.__name__ for kind in (*REQUESTS, *EVENTS, *ANSWERS)}
    parts = [getattr(messages, name) for name in defs if name not in named]
    tables = {
        "requests": md_structures(REQUESTS, defs),
        "answers": md_structures(ANSWERS, defs, headed=False),
        "events": md_structures(EVENTS, defs),
        "parts": md_aliases() + md_structures(parts, defs, headed=False),
        "close-codes": md_close_codes(messages.CloseCode),
        "client-close-codes": md_close_codes(messages.ClientCloseCode),
    }
    for name, table in tables.items():
        pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.S)
        if not pattern.search(page):
            raise ValueError(
                f"docs/protocol.md has no marker '<!-- generated: {name} -->'; put it back, followed by '<!-- end -->'"
            )
        page = pattern.sub(lambda found, table=table: f"{found.group(1)}\n{table}\n{found.group(2)}", page)  # type: ignore[misc]
    return page


def files(root: Path) -> dict[str, str]:
    """The texts of all files below a checkout; of the page, the prose is the one that is there."""
    defs, page = definitions(), "docs/protocol.md"
    return {
        "docs/protocol.schema.json": render_schema(defs),
        "web/sdk/src/generated/messages.ts": render_typescript(defs),
        page: render_page((root / page).read_text(encoding="utf-8"), defs),
    }


if __name__ == "__main__":
    sys.exit(keep("parlour.protocol.generate", files, root=Path(__file__).parents[3]))
