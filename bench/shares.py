"""What a forwarded packet's time goes to: ``python -m bench.shares [--seconds 8] [--json FILE]``.

Runs ``parlour serve`` on a core of its own under perf (Debian: linux-perf; root is needed for the kernel's part), lets
it forward one kind of media after the other to a hundred, and tells how many of the microseconds of a packet the parts
took. What goes over the loopback interface charges the receiver's half of the kernel to the sender.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from parlour.load import patterns
from parlour.load.stage import Layout

from bench import machine
from bench.contenders import Contender, parlour_alone
from bench.media import WARM_UP, filled
from bench.media_parts import WITHIN_SENDING

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "shares.json"
SUBSCRIBERS = 100
FREQUENCY = 4000
"""Samples a second."""

LAYOUTS = {
    "video": Layout(1, SUBSCRIBERS, patterns=(patterns.BURSTS,)),
    "video, packets 1 ms apart": Layout(1, SUBSCRIBERS, patterns=(patterns.SPREAD,)),
    "audio": Layout(10, SUBSCRIBERS, patterns=(patterns.SPEECH,)),
}
SYMBOLS = {
    "sending": "__x64_sys_sendmmsg",
    **WITHIN_SENDING,
    "receiving": "__x64_sys_recvmmsg",
    "waiting": "__x64_sys_epoll_wait",
}
"""Parts of the kernel, each with the function that it is with all that it calls."""
CORE = "_media.abi3.so"
_LINE = re.compile(r"^\s*([\d.]+)%(?:\s+[\d.]+%)?\s+\[[.k]\] (\S+)", re.MULTILINE)
_OBJECT = re.compile(r"^\s*([\d.]+)%\s+(\S+)\s*$", re.MULTILINE)


def _report(data: Path, *options: str) -> str:
    command = ["perf", "report", "--stdio", "-g", "none", "-i", str(data), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def shares(data: Path) -> dict[str, float]:
    """The parts of all samples in a file of perf's."""
    by_symbol = {name: float(share) for share, name in _LINE.findall(_report(data, "--children", "--sort", "sym"))}
    by_object = {name: float(share) for share, name in _OBJECT.findall(_report(data, "--no-children", "--sort", "dso"))}
    parts = {part: by_symbol.get(symbol, 0.0) for part, symbol in SYMBOLS.items()}
    parts["media core"] = by_object.get(CORE, 0.0)
    return {part: round(share / 100, 4) for part, share in parts.items()}


async def _measure(server: Contender, layout: Layout, seconds: float, data: Path) -> dict[str, Any]:
    async with filled(server, layout) as stage:
        stage.start()
        await asyncio.sleep(WARM_UP)
        command = ["perf", "record", "-F", str(FREQUENCY), "-g", "-p", str(server.pid), "-o", str(data)]
        null = asyncio.subprocess.DEVNULL
        perf = await asyncio.create_subprocess_exec(*command, "--", "sleep", str(seconds), stderr=null, stdout=null)
        window = await stage.window(seconds, server.cpu)
        await perf.wait()
    return {"microseconds": round(window.microseconds, 2), "shares": shares(data)}


def measure(seconds: float) -> dict[str, Any]:
    """All kinds, one after the other."""
    kinds = {}
    for kind, layout in LAYOUTS.items():
        with tempfile.TemporaryDirectory(prefix="parlour-shares-") as folder:
            place = Path(folder)
            with parlour_alone(place / "data") as server:
                kinds[kind] = asyncio.run(_measure(server, layout, seconds, place / "perf.data"))
        print(text(kind, kinds[kind]), flush=True)
    return {"machine": machine.facts() | machine.kernel(), "subscribers": SUBSCRIBERS, "kinds": kinds}


def text(kind: str, measured: dict[str, Any]) -> str:
    """One kind: each part in microseconds and as a share."""
    whole, parts = measured["microseconds"], measured["shares"]
    lines = [f"{kind}: {whole:.2f} µs a packet, perf included"]
    for part, share in parts.items():
        indent = "    " if part in WITHIN_SENDING else "  "
        lines.append(f"{indent}{part:<26}{whole * share:5.2f} µs {share:5.0%}")
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.shares", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="of each kind (8)")
    parser.add_argument("--json", type=Path, help=f"where to keep it; {RESULTS.relative_to(ROOT)} is the place for it")
    options = parser.parse_args()
    if shutil.which("perf") is None:
        print("perf is missing: sudo apt-get install --no-install-recommends linux-perf", file=sys.stderr)
        return 1
    measured = measure(options.seconds)
    if options.json:
        options.json.write_text(json.dumps(measured, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
