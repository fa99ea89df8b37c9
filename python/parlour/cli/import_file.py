"""The file of ``parlour account import``: one account a line, read as a stream so that its size does not matter.

Three forms, told apart by the first line: JSON objects (``{"userId": "ann", "nick": "Ann"}``), CSV with a header that
has ``userId``, or nothing but one userId a line. A quoted cell of CSV ends in its line as well, so that a quotation
mark that nobody closed costs one account and not the rest of the file.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, BinaryIO

from parlour.accounts.refusal import AccountRefusedError
from parlour.accounts.user_ids import checked_user_id
from parlour.admin.texts import check_profile_text

MAX_LINE = 64 * 1024
"""Bytes of a line that are read; a longer one is no account."""

COLUMNS = ("userId", "nick", "faceUrl")
_BY_FOLDED = {name.lower(): name for name in COLUMNS}
FORMATS = ("auto", "lines", "csv", "json")

_CSV_REASONS = {
    "end of data": "a quotation mark is not closed",
    "new-line": "there is a carriage return outside of quotation marks",
}
"""For what the reader of the standard library says of a whole file, the words that fit a single line."""


@dataclass(frozen=True, slots=True)
class NamedAccount:
    """An account to import, and the number of its line; None leaves what is there."""

    line: int
    user_id: str
    nick: str | None = None
    face_url: str | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that names no account, and why, without a full stop."""

    line: int
    reason: str


class HeaderError(Exception):
    """The header of a CSV file cannot be used; the text is one sentence."""


Entry = NamedAccount | BadLine
Advance = Callable[[int], None]


def read_accounts(stream: BinaryIO, form: str = "auto", advance: Advance = lambda _: None) -> Iterator[Entry]:
    """What each line names, in order; empty lines are passed over. ``advance`` is told the bytes that were read.

    Raises ``HeaderError`` before any account is read of a CSV file whose header is broken or has unknown columns.
    """
    lines = _lines(stream, advance)
    first = next(lines, None)
    if first is None:
        return iter(())
    known = _form_of(first[1]) if form == "auto" else form
    if known == "csv":
        columns = _columns(first[1])
        return (_checked(number, partial(_read_csv, columns), text) for number, text in lines)
    read = _read_json if known == "json" else _read_line
    return (_checked(number, read, text) for number, text in chain([first], lines))


def _lines(stream: BinaryIO, advance: Advance) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, numbered from 1. Bytes that are no UTF-8 are kept as what no userId may hold."""
    number = 0
    while raw := stream.readline(MAX_LINE):
        number += 1
        read = len(raw)
        if read == MAX_LINE and not raw.endswith(b"\n"):
            while (more := stream.readline(MAX_LINE)) and not more.endswith(b"\n"):
                read += len(more)
            read += len(more)
        advance(read)
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape").rstrip("\r\n")
        if text:
            yield number, text


def _form_of(first: str) -> str:
    if first.startswith("{"):
        return "json"
    # Split by hand: a header with a broken quotation is a header all the same, and is told as one.
    return "csv" if "userid" in (cell.strip(' \t"').lower() for cell in first.split(",")) else "lines"


def _read_line(text: str) -> dict[str, Any]:
    return {"userId": text}


def _read_json(text: str) -> dict[str, Any]:
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the line is no JSON") from None
    if not isinstance(members, dict):
        raise ValueError("the line is no JSON object")
    for name in members:
        if name not in COLUMNS:
            raise ValueError(f"{str(name)[:40]!r} is no member of an account; there are {', '.join(COLUMNS)}")
    return members


def _read_csv(columns: Sequence[str], text: str) -> dict[str, Any]:
    cells = _cells(text)
    if len(cells) != len(columns):
        raise ValueError(f"the line has {len(cells)} cells, the header {len(columns)}")
    # An empty cell of a profile says nothing, so that what is stored stays.
    return {name: cell for name, cell in zip(columns, cells, strict=True) if cell}


def _cells(text: str) -> list[str]:
    """The cells of one line of CSV (RFC 4180, section 2); ``ValueError`` says what is wrong with it."""
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        reason = next((ours for theirs, ours in _CSV_REASONS.items() if theirs in str(error)), str(error))
        raise ValueError(f"the line is no CSV: {reason}") from None


def _columns(text: str) -> list[str]:
    try:
        header = _cells(text)
    except ValueError as error:
        raise HeaderError(f"The header with the columns cannot be used: {error}.") from None
    columns = [_BY_FOLDED.get(cell.strip().lower(), "") for cell in header]
    for cell, column in zip(header, columns, strict=True):
        if not column:
            raise HeaderError(f"The column {cell[:40]!r} is not known; there are {', '.join(COLUMNS)}.")
    if "userId" not in columns or len(set(columns)) != len(columns):
        raise HeaderError("The header needs the column userId, and no column twice.")
    return columns


def _checked(number: int, read: Callable[[str], dict[str, Any]], text: str) -> Entry:
    try:
        return _account(number, read(text))
    except ValueError as error:
        return BadLine(number, str(error))


def _account(number: int, members: dict[str, Any]) -> Entry:
    try:
        user_id = checked_user_id(members.get("userId", ""))
        nick, face_url = (_profile(name, members.get(name)) for name in COLUMNS[1:])
    except AccountRefusedError as refused:
        return BadLine(number, refused.detail.rstrip("."))
    except ValueError as error:
        return BadLine(number, str(error))
    return NamedAccount(number, user_id, nick, face_url)


def _profile(name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is not a text")
    check_profile_text(name, value)
    return value
