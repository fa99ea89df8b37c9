"""The machine that a bench runs on: what it is, who uses its cores, and how much of them each process took."""

from __future__ import annotations

import contextlib
import os
import platform
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
"""The kernel counts CPU time in these parts of a second (proc(5)): 10 ms on most machines."""


@dataclass(frozen=True)
class Cores:
    """Which core the server has for itself, and which one everything else shares."""

    server: int
    others: int

    @property
    def apart(self) -> bool:
        """Whether those are two."""
        return self.server != self.others


def _cores() -> Cores:
    ours = sorted(os.sched_getaffinity(0))
    return Cores(ours[0], ours[-1])


CORES = _cores()
"""The first core that we may use for the server, the last one for the rest."""


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run on that core alone; processes and threads that are started meanwhile stay on it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def facts() -> dict[str, object]:
    """What a reader has to know to compare figures."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: metadata.version(name) for name in ("uvicorn", "httptools", "websockets", "sqlalchemy", "uvloop")},
    }


def in_words(facts: Mapping[str, object]) -> str:
    """The same in one line, of what was recorded."""
    rest = {name: value for name, value in facts.items() if name not in {"cpu", "cores"}}
    return f"{facts['cpu']}, {facts['cores']} cores, " + ", ".join(f"{name} {value}" for name, value in rest.items())


def kernel() -> dict[str, object]:
    """The kernel, whose UDP paths are most of what forwarding costs."""
    return {"linux": platform.release().partition("-")[0]}


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU, user and system, that all threads of a process and its dead children have taken."""
    return sum(int(field) for field in _stat(pid)[11:15]) / TICK


def family_cpu_seconds(pid: int) -> float:
    """The same of a process and of its living children, as PostgreSQL has one for each connection."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    total = cpu_seconds(pid)
    for child in children:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += cpu_seconds(int(child))
    return total


def thread_cpu_seconds(pid: int) -> float:
    """The same of the living threads alone, to the nanosecond where the kernel tells (sched_info)."""
    try:
        parts = [path.read_text(encoding="ascii").split() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    except OSError:
        return cpu_seconds(pid)  # a thread ended just now
    return sum(int(part[0]) for part in parts) / 1e9 if parts else cpu_seconds(pid)


def memory_kib(pid: int) -> int:
    """The process's share of memory (PSS), in KiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise LookupError(f"/proc/{pid}/smaps_rollup has no Pss")


def busy_seconds(core: int) -> float:
    """Seconds that a core was not idle since the machine started, whoever used it: other guests of the host too."""
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *values = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _wait, irq, softirq, steal, *_ = map(int, values)
            return (user + nice + system + irq + softirq + steal) / TICK
    raise LookupError(f"/proc/stat has no core {core}")


def file_system(folder: Path) -> str:
    """The kind of file system a folder is on; a figure of durable writes on ``tmpfs`` would mean nothing."""
    best, kind = Path("/"), "unknown"
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, where, said, *_ = line.split()
        if folder.resolve().is_relative_to(where) and Path(where).is_relative_to(best):
            best, kind = Path(where), said
    return kind


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _stat(pid: int) -> list[str]:
    """The fields of proc(5) behind the program's name, which may hold anything, also brackets and spaces."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
