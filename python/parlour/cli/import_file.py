"""The file of ``parlour account import``: one account a line, read as a stream so that its size does not matter.

Three forms, told apart by the first line: JSON objects (``{"userId": "ann", "nick": "Ann"}``), CSV with a header that
has ``userId``, or nothing but one userId a line.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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

    Raises ``HeaderError`` before anything is read of a CSV file with columns that are not known.
    """
    lines = _lines(stream, advance)
    first = next(lines, None)
    if first is None:
        return iter(())
    known = _form_of(first[1]) if form == "auto" else form
    everything = chain([first], lines)
    if known == "csv":
        return _read_csv(everything)
    return (_checked(number, _read_json if known == "json" else _read_line, text) for number, text in everything)


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
    return "csv" if "userid" in (cell.strip().lower() for cell in next(csv.reader([first]), [])) else "lines"


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


def _read_csv(lines: Iterator[tuple[int, str]]) -> Iterator[Entry]:
    at = 0

    def texts() -> Iterator[str]:
        nonlocal at
        for number, text in lines:
            at = number
            yield text + "\n"  # a quoted cell may go on in the next line

    rows = csv.reader(texts(), strict=True)
    columns = _columns(next(rows))

    def entries() -> Iterator[Entry]:
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadLine(at, f"the line is no CSV: {error}")
                continue
            if len(row) != len(columns):
                yield BadLine(at, f"the line has {len(row)} cells, the header {len(columns)}")
                continue
            # An empty cell of a profile says nothing, so that what is stored stays.
            yield _account(at, {name: cell for name, cell in zip(columns, row, strict=True) if cell})

    return entries()


def _columns(header: Sequence[str]) -> list[str]:
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
