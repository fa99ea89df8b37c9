"""How many UserSigs one core verifies in a second, version 2 and version 1.

`python bench/usersig.py [--runs N] [--seconds S] [--json]`. Processor time counts, not the time of the day, so that
other work on the machine disturbs little. The exit status is 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from parlour.usersig import (
    AppKeys,
    open_envelope,
    sign_private_map_key,
    sign_v1,
    sign_v2,
    verify,
    verify_private_map_key,
)

APP, USER, NOW = 1400000000, "xiaojun", 1_700_000_000
KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
ROOM = 10_000
BATCH = 200


@dataclass(frozen=True)
class Measured:
    """Verifications per second of processor time, one figure for each run; ``target`` None: there is none."""

    name: str
    runs: tuple[float, ...]
    target: int | None

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    @property
    def met(self) -> bool:
        return self.target is None or self.median >= self.target


def measure(name: str, work: Callable[[], object], target: int | None, *, runs: int, seconds: float) -> Measured:
    work()
    return Measured(name, tuple(_per_second(work, seconds) for _ in range(runs)), target)


def _per_second(work: Callable[[], object], seconds: float) -> float:
    done, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for _ in range(BATCH):
            work()
        done += BATCH
    return done / spent


def ec_keys() -> tuple[str, str]:
    private = ec.generate_private_key(ec.SECP256R1())
    return (
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    )


def cases() -> dict[str, tuple[Callable[[], object], int | None]]:
    private, public = ec_keys()
    keys = AppKeys((KEY,), (public,))
    v2, stored = (sign_v2(APP, USER, KEY, now=NOW, level=level) for level in (-1, 0))
    v1 = sign_v1(APP, USER, private, now=NOW)
    ticket = sign_private_map_key(APP, USER, KEY, room=ROOM, now=NOW)
    envelope = open_envelope(v2)

    def login(sig: str) -> Callable[[], object]:
        return lambda: verify(sig, sdk_app_id=APP, user_id=USER, keys=keys, now=NOW)

    def join() -> object:
        return verify_private_map_key(
            ticket, sdk_app_id=APP, user_id=USER, room=ROOM, room_exists=True, keys=keys, now=NOW
        )

    return {
        "version 2": (login(v2), 50_000),
        "version 2, zlib level 0": (login(stored), None),
        "version 2, opened before": (
            lambda: verify(envelope, sdk_app_id=APP, user_id=USER, keys=keys, now=NOW),
            None,
        ),
        "version 1 (ECDSA on P-256)": (login(v1), None),
        "privateMapKey": (join, None),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="UserSig verifications per second on one core.")
    parser.add_argument("--runs", type=int, default=7, help="runs of each case; the median counts (7)")
    parser.add_argument("--seconds", type=float, default=0.5, help="processor seconds of a run (0.5)")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    chosen = parser.parse_args()
    measured = [
        measure(name, work, target, runs=chosen.runs, seconds=chosen.seconds)
        for name, (work, target) in cases().items()
    ]
    if chosen.json:
        results = [
            {"name": one.name, "perSecond": round(one.median), "target": one.target, "met": one.met}
            | {"runs": [round(run) for run in one.runs]}
            for one in measured
        ]
        print(json.dumps({"bench": "usersig", "python": platform.python_version(), "results": results}, indent=2))
    else:
        print(f"UserSig verifications per second on one core, Python {platform.python_version()}\n")
        print(f"{'':28}{'median':>9}{'lowest':>10}{'highest':>10}{'target':>10}")
        for one in measured:
            target = "" if one.target is None else f"{one.target:,}"
            missed = "" if one.met else "  missed"
            print(f"{one.name:28}{one.median:9,.0f}{min(one.runs):10,.0f}{max(one.runs):10,.0f}{target:>10}{missed}")
    return 0 if all(one.met for one in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
