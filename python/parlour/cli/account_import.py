"""``parlour account import``: many accounts from a file, in transactions of some hundreds each."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from parlour.cli.arguments import AppOfAccountArgument, parse_one_of
from parlour.cli.options import StoreOptions, on_stores
from parlour.cli.output import fail, message, print_json, print_pairs, visible
from parlour.cli.progress import progress
from parlour.cli.store import known_app, on_storage

if TYPE_CHECKING:
    from parlour.cli.import_file import Entry, NamedAccount
    from parlour.storage import App, Storage

BATCH = 500
"""Accounts of one transaction: large enough to be fast, small enough that a running server's logins get in between."""

TOLD = 20
"""Failures that people are told one by one; with --json it is ten times as many."""


@dataclass(slots=True)
class Counts:
    """What became of the lines; ``failures`` are the first ones, as line and reason."""

    made: int = 0
    there: int = 0
    failed: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)

    def fail(self, line: int, reason: str) -> None:
        """Count a failure."""
        self.failed += 1
        if len(self.failures) < 10 * TOLD:
            self.failures.append((line, reason))


@on_stores
def import_accounts(
    options: StoreOptions,
    sdk_app_id: AppOfAccountArgument,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The file; - reads standard input.")],
    form: Annotated[
        str,
        typer.Option("--format", metavar="auto|lines|csv|json", help="The form of the file; auto looks at line 1."),
    ] = "auto",
) -> None:
    """Make accounts from a file. It has one userId a line, or is CSV with a header, or has a JSON object a line.

    CSV and JSON have userId, nick and faceUrl. An account that is there stays, and takes the profile that is given, so
    an import can be run again. Lines that name no account are told and passed over; the exit status is 1 then.
    """
    from parlour.cli.import_file import FORMATS

    parse_one_of(form, "--format", FORMATS)
    settings = options.settings()
    counts = Counts()

    async def work(storage: Storage) -> None:
        from parlour.cli.import_file import HeaderError, read_accounts
        from parlour.storage import StorageError
        from parlour.storage.model import bound

        app = await known_app(storage, sdk_app_id)
        most = bound(app.limits.max_accounts, settings.accounts.max_accounts)
        with _opened(file) as (stream, size), progress("importing", size) as advance:
            try:
                await _store_all(storage, app, read_accounts(stream, form, advance), most, counts)
            except HeaderError as error:
                fail(str(error))
            except StorageError as error:
                done = counts.made + counts.there
                fail(f"{error} Until then {done} accounts were imported: run it again, those that are there stay.")

    on_storage(settings, work, patient=True)
    _tell(counts, options.as_json)
    if counts.failed:
        raise typer.Exit(1)


async def _store_all(storage: Storage, app: App, entries: Iterator[Entry], most: int, counts: Counts) -> None:
    from parlour.cli.import_file import BadLine

    batch: dict[str, NamedAccount] = {}
    for entry in entries:
        if isinstance(entry, BadLine):
            counts.fail(entry.line, entry.reason)
            continue
        # A userId that comes again may bring another profile; the later line wins.
        if len(batch) == BATCH or entry.user_id in batch:
            await _store(storage, app, batch, most, counts)
            batch = {}
        batch[entry.user_id] = entry
    if batch:
        await _store(storage, app, batch, most, counts)


async def _store(storage: Storage, app: App, batch: dict[str, NamedAccount], most: int, counts: Counts) -> None:
    from parlour.storage import NewAccount

    now, within = int(time.time()), storage.database.timeout
    there = await storage.accounts.registered_many(app.sdk_app_id, list(batch), within=within)
    new = [
        NewAccount(app.sdk_app_id, one.user_id, "plain", now, one.nick, one.face_url, most) for one in batch.values()
    ]
    refused = await storage.accounts.put_many(new, within=within)
    for account, error in zip(batch.values(), refused, strict=True):
        if error is not None:
            counts.fail(account.line, str(error).rstrip("."))
        elif account.user_id in there:
            counts.there += 1
        else:
            counts.made += 1


@contextlib.contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The stream, and its size if it has one."""
    if file == "-":
        yield sys.stdin.buffer, None
        return
    try:
        stream = Path(file).expanduser().open("rb")
    except OSError as error:
        fail(f"The file {file} cannot be read: {error.strerror}.")
    with stream:
        found = os.fstat(stream.fileno())
        yield stream, found.st_size if stat.S_ISREG(found.st_mode) else None


def _tell(counts: Counts, as_json: bool) -> None:
    if as_json:
        failures = [{"line": line, "reason": reason} for line, reason in counts.failures]
        print_json({"made": counts.made, "there": counts.there, "failed": counts.failed, "failures": failures})
        return
    for line, reason in counts.failures[:TOLD]:
        message(f"line {line}: {visible(reason)}")
    if counts.failed > TOLD:
        message(f"… and {counts.failed - TOLD} more lines that failed; --json tells up to {10 * TOLD}.")
    print_pairs([("made", counts.made), ("there already", counts.there), ("failed", counts.failed)])
