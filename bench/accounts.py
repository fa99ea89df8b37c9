"""How fast the account system is: ``python -m bench.accounts [--quick] [--json FILE]``.

UserSig verifications, logins through the WebSocket, account_import and account_check over HTTP, on SQLite and on
PostgreSQL, each beside its target; and how they grow from a thousand accounts to a million. A real ``parlour serve``
has one core for itself; the load, and PostgreSQL, share another. Every rate limit is lifted, all other settings are
the defaults. Targets are printed and not enforced.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from parlour.usersig import sign_v2

from bench import machine, report, servers, usersig
from bench.load import HttpClient, NewSocketClient, NextRequest, OpenSocketClient, frame
from bench.measure import Figure, Timing, Workload, measure
from bench.stores import APP, KEY, Place, place, user

HTTP_CONNECTIONS = 64
SOCKETS = 64
SIGNED_USERS = 4000
"""Users whose UserSigs are made before a run; who logs in is one of them in turn."""

ADMIN = "administrator"
BATCH = 100
START_SIZE = 10_000
"""Accounts that are there when the figures with targets are measured."""

GROWTH_RUNS = 3
"""Runs of each figure of the growth at most; there are many of them."""

SIZES = (1_000, 10_000, 100_000, 1_000_000)


def _carried_out(answer: bytes) -> bool:
    return b'"ErrorCode":0' in answer


def _all_there(answer: bytes) -> bool:
    return b'"AccountStatus":"Imported"' in answer and b"NotImported" not in answer


def _logged_in(answer: bytes) -> bool:
    return b'"ticket"' in answer


IMPORT = Workload("account_import, one account a call", HttpClient, HTTP_CONNECTIONS, _carried_out, 1_500, adds=True)
IMPORT_MANY = Workload(
    f"multiaccount_import, {BATCH} accounts a call", HttpClient, 8, _carried_out, None, BATCH, adds=True
)
CHECK = Workload("account_check, one account a call", HttpClient, HTTP_CONNECTIONS, _all_there, 3_000)
CHECK_MANY = Workload(f"account_check, {BATCH} accounts a call", HttpClient, 8, _all_there, None, BATCH)
LOGIN = Workload("login again on open sockets", OpenSocketClient, SOCKETS, _logged_in, 1_000)
LOGIN_NEW = Workload("login, a new socket for each", NewSocketClient, SOCKETS, _logged_in, 1_000)
LOGIN_FIRST = Workload("first login, which makes the account", OpenSocketClient, SOCKETS, _logged_in, adds=True)

WORKLOADS = (LOGIN_NEW, LOGIN, LOGIN_FIRST, IMPORT, IMPORT_MANY, CHECK, CHECK_MANY)
GROWING = (IMPORT, CHECK, LOGIN)


class Requests:
    """Makes the requests of each workload. ``there``: how many accounts were put there, by number from 0."""

    def __init__(self, there: int) -> None:
        self.there = there
        self._now = int(time.time())
        self._fresh = itertools.count(there)
        # Steps that visit every account, far from each other.
        self._known = (number * 7_919 % there for number in itertools.count())
        self._admin_sig = sign_v2(APP, ADMIN, KEY, now=self._now)

    def of(self, workload: Workload) -> NextRequest:
        """The requests of a workload, one after another."""
        made: dict[str, Callable[[], Iterator[bytes]]] = {
            IMPORT.name: lambda: self._posts("account_import", ({"UserID": name} for name in self._new_users())),
            IMPORT_MANY.name: lambda: self._posts("multiaccount_import", map(_import_body, self._new_batches())),
            CHECK.name: lambda: self._posts("account_check", (_check_body([name]) for name in self._known_users())),
            CHECK_MANY.name: lambda: self._posts("account_check", map(_check_body, _in_batches(self._known_users()))),
            LOGIN.name: self._logins_again,
            LOGIN_NEW.name: self._logins_again,
            LOGIN_FIRST.name: lambda: map(self._login, self._new_users()),
        }
        return made[workload.name]().__next__

    def _posts(self, command: str, bodies: Iterable[object]) -> Iterator[bytes]:
        head = (
            f"POST /v4/im_open_login_svc/{command}?sdkappid={APP}&identifier={ADMIN}&usersig={self._admin_sig}"
            "&random=99999999&contenttype=json HTTP/1.1\r\n"
            "Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
        )
        for body in bodies:
            text = json.dumps(body)
            yield f"{head}{len(text)}\r\n\r\n{text}".encode()

    def _logins_again(self) -> Iterator[bytes]:
        users = itertools.islice(self._known_users(), min(SIGNED_USERS, self.there))
        return itertools.cycle([self._login(name) for name in users])

    def _login(self, name: str) -> bytes:
        sig = sign_v2(APP, name, KEY, now=self._now)
        return frame(json.dumps({"id": 1, "type": "login", "sdkAppId": APP, "userId": name, "userSig": sig}).encode())

    def _new_users(self) -> Iterator[str]:
        return (user(number) for number in self._fresh)

    def _known_users(self) -> Iterator[str]:
        return (user(number) for number in self._known)

    def _new_batches(self) -> Iterator[list[str]]:
        return _in_batches(self._new_users())


def _in_batches(names: Iterator[str]) -> Iterator[list[str]]:
    while True:
        yield list(itertools.islice(names, BATCH))


def _import_body(names: list[str]) -> object:
    return {"Accounts": names}


def _check_body(names: list[str]) -> object:
    return {"CheckItem": [{"UserID": name} for name in names]}


def verifications(timing: Timing) -> list[usersig.Measured]:
    """The figures of ``bench.usersig``, on the server's core."""
    with machine.on_core(machine.CORES.server):
        return [
            usersig.measure(f"UserSig verification, {name}", work, target, runs=timing.runs, seconds=timing.seconds / 4)
            for name, (work, target) in usersig.cases().items()
        ]


def generator(timing: Timing) -> Iterator[Figure]:
    """What the load generator can do by itself: the same load against a server that only answers."""
    with tempfile.TemporaryDirectory(prefix="parlour-bench-") as folder, servers.null_server(Path(folder)) as null:
        for workload in (CHECK, LOGIN, LOGIN_NEW):
            yield measure(
                workload, Requests(START_SIZE).of(workload), port=null.port, server_pid=null.pid,
                place="the null server", database_cpu=lambda: 0.0, timing=timing,
            )  # fmt: skip


class Measured:
    """A server on a place, to be measured with any number of accounts there."""

    def __init__(self, where: Place, served: servers.Served, timing: Timing) -> None:
        self.place = where
        self._served = served
        self._timing = timing
        self.there = 0

    def fill(self, size: int) -> None:
        """Have that many accounts there."""
        self.place.fill(self.there, size)
        self.there = size

    def figure(self, workload: Workload) -> Figure:
        """Measure one workload."""
        return measure(
            workload, Requests(self.there).of(workload), port=self._served.port, server_pid=self._served.pid,
            place=self.place.name, database_cpu=self.place.cpu_seconds, timing=self._timing,
            between=self.place.forget if workload.adds else lambda: None,
        )  # fmt: skip


def main() -> int:
    """Measure and print; 0 unless something is broken."""
    chosen = _arguments()
    timing = Timing(2, 1.0) if chosen.quick else Timing(chosen.runs, chosen.seconds)
    rough = Timing(min(timing.runs, GROWTH_RUNS), timing.seconds)
    sizes = SIZES[:2] if chosen.quick else SIZES
    results: dict[str, Any] = {"bench": "accounts", "quick": chosen.quick, "machine": machine.facts()}
    results |= {
        "runs": timing.runs,
        "growthRuns": rough.runs,
        "secondsOfARun": timing.seconds,
        "accountsThere": START_SIZE,
    }
    report.heading(results)
    measured = verifications(timing)
    report.verifications(measured)
    results["usersig"] = [
        {"name": one.name, "perSecond": round(one.median), "target": one.target}
        | {"perSecondRange": [round(min(one.runs)), round(max(one.runs))]}
        for one in measured
    ]
    report.figures_heading("The load generator alone, against a server that only answers")
    results["generator"] = [report.figure(one.to_json()) for one in generator(timing)]
    results["databases"], results["figures"], results["growth"] = {}, [], []
    for name in chosen.database:
        with place(name) as where, servers.parlour(where) as served:
            results["databases"][where.name] = where.facts()
            results["figures"] += _figures(Measured(where, served, timing))
    for name in chosen.database:
        with place(name) as where, servers.parlour(where) as served:
            results["growth"] += _growth(Measured(where, served, rough), sizes)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _figures(measured: Measured) -> list[dict[str, Any]]:
    report.figures_heading(f"{measured.place.facts()}; {START_SIZE:,} accounts there")
    measured.fill(START_SIZE)
    return [report.figure(measured.figure(workload).to_json()) for workload in WORKLOADS]


def _growth(measured: Measured, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    report.growth_heading(measured.place.name)
    rows: list[dict[str, Any]] = []
    for size in sizes:
        measured.fill(size)
        for workload in GROWING:
            alone = measured.figure(replace(workload, connections=1)).to_json()["milliseconds"]
            rows.append(measured.figure(workload).to_json() | {"accounts": size, "alone": alone})
            report.growth(rows[-1], next(row for row in rows if row["name"] == workload.name))
    return rows


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.accounts", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a short run: rough figures, two sizes, about two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    parser.add_argument("--runs", type=int, default=5, help="runs of each figure; the median counts (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of a run (2)")
    parser.add_argument(
        "--database", action="append", choices=("sqlite", "postgresql"), help="only this one; by default both"
    )
    chosen = parser.parse_args()
    chosen.database = chosen.database or ["sqlite", "postgresql"]
    return chosen


if __name__ == "__main__":
    sys.exit(main())
