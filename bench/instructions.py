"""Instructions per forwarded packet: ``python -m bench.instructions [--check | --record]``.

Callgrind counts what the media core does for each packet that it forwards, sealing included, with one publisher and
ten subscribers (``crates/sim/src/bin/forward.rs``). Time on a shared machine says little about a change of a few
percent; this count repeats within a fraction of one, so that ``--check`` fails when the path grew by more than 3 %
beyond the recorded figure. Who makes it dearer on purpose records the new figure in the same commit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "bench" / "results" / "instructions.json"
KINDS = {"video": "video, bursts of 8 x 1,100 B", "audio": "audio, 100 B at 50/s"}

GROWTH = 0.03
"""Share by which the figure may grow without being recorded anew."""

FEATURES = ("aes", "avx", "avx2", "bmi2", "pclmulqdq", "sha_ni", "asimd", "pmull")
"""Of the CPU: the cryptographic library picks its code by these. Callgrind shows the program no newer ones."""


@dataclass(frozen=True)
class Toolchain:
    """What the count depends on besides our code."""

    rustc: str
    valgrind: str
    machine: str
    features: tuple[str, ...]


def toolchain() -> Toolchain:
    """The one that is here."""
    flags = set(
        re.findall(r"^(?:flags|Features)\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)[0].split()
    )
    return Toolchain(
        rustc=_output("rustc", "--version"),
        valgrind=_output("valgrind", "--version"),
        machine=platform.machine(),
        features=tuple(name for name in FEATURES if name in flags),
    )


def build() -> Path:
    """The binary that is measured, compiled as the workspace is."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--workspace", "--bin", "forward"]
    subprocess.run(command, cwd=ROOT, check=True)
    return target / "release" / "forward"


def count(binary: Path, kind: str) -> float:
    """Instructions per forwarded packet of that kind."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        command = [
            "valgrind",
            "--tool=callgrind",
            "--quiet",
            "--collect-atstart=no",
            "--toggle-collect=*forward_packets*",
            f"--callgrind-out-file={out}",
            str(binary),
            kind,
        ]
        forwarded = int(_output(*command))
        totals = re.search(r"^totals: (\d+)$", out.read_text(encoding="utf-8"), re.M)
    if totals is None or int(totals[1]) == 0:
        raise SystemExit("callgrind collected nothing: is there a function forward_packets?")
    return int(totals[1]) / forwarded


def recorded() -> tuple[dict[str, float], Toolchain]:
    """The figures that were recorded, and with what."""
    found = json.loads(RECORD.read_text(encoding="utf-8"))
    chain = {**found["toolchain"], "features": tuple(found["toolchain"]["features"])}
    return found["instructions"], Toolchain(**chain)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _differences(here: Toolchain, there: Toolchain) -> list[str]:
    ours, theirs = asdict(here), asdict(there)
    return [f"{name} is {ours[name]}, recorded with {theirs[name]}" for name in ours if ours[name] != theirs[name]]


def main() -> int:
    """Count, print, and check or record; 1: it grew."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help=f"fail when a figure grew by more than {GROWTH:.0%}%")
    what.add_argument("--record", action="store_true", help=f"write {RECORD.relative_to(ROOT)}")
    options = parser.parse_args()

    here, binary = toolchain(), build()
    figures = {kind: count(binary, kind) for kind in KINDS}
    if options.record:
        content = {"instructions": {kind: round(figure) for kind, figure in figures.items()}, "toolchain": asdict(here)}
        RECORD.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    before, there = recorded()
    grown = []
    for kind, figure in figures.items():
        change = figure / before[kind] - 1
        print(
            f"{KINDS[kind]:30} {figure:8,.0f} instructions a forwarded packet, recorded {before[kind]:,}: {change:+.1%}"
        )
        if change > GROWTH:
            grown.append(kind)
    differences = _differences(here, there)
    if differences and (grown or not options.check):
        print("The toolchain differs: " + "; ".join(differences))
    if options.check and grown:
        print(
            f"Forwarding {' and '.join(grown)} takes over {GROWTH:.0%} more instructions than recorded. Find what was "
            "added (callgrind_annotate), or record it in this commit: python -m bench.instructions --record",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
