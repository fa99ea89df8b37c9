"""One figure: several runs of one load against one server, with what each process took of the processor."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvloop

from bench import machine
from bench.load import HttpClient, IsRight, Load, NewSocketClient, NextRequest, OpenSocketClient, open_another

END_TIMEOUT = 30.0
"""Seconds that the answers still under way at the end of a run may take."""


@dataclass(frozen=True)
class Workload:
    """What is asked, over what kind of connection, how many at a time. ``items``: what one request counts as."""

    name: str
    client: type[HttpClient] | type[OpenSocketClient]
    connections: int
    is_right: IsRight
    target: int | None = None
    items: int = 1
    adds: bool = False  # makes accounts, which are to be taken away again


@dataclass(frozen=True)
class Run:
    """One run. Times of answers in milliseconds; shares of one core that each process was busy for."""

    per_second: float
    per_cpu_second: float
    p50: float
    p99: float
    server: float
    load: float
    database: float
    strangers: float


@dataclass(frozen=True)
class Figure:
    """The runs of one workload."""

    workload: Workload
    place: str
    runs: tuple[Run, ...]

    def median(self, member: str) -> float:
        """The median of a member of the runs."""
        return float(statistics.median(getattr(run, member) for run in self.runs))

    def spread(self, member: str) -> tuple[float, float]:
        """The lowest and the highest."""
        values = [getattr(run, member) for run in self.runs]
        return min(values), max(values)

    def to_json(self) -> dict[str, Any]:
        """The medians, for the results file."""
        work = self.workload
        return {
            "name": work.name,
            "database": self.place,
            "connections": work.connections,
            "target": work.target,
            "perSecond": round(self.median("per_second")),
            "perSecondRange": [round(value) for value in self.spread("per_second")],
            "perServerCpuSecond": round(self.median("per_cpu_second")),
            "perServerCpuSecondRange": [round(value) for value in self.spread("per_cpu_second")],
            "milliseconds": {name: round(self.median(name), 2) for name in ("p50", "p99")},
            "busy": {name: round(self.median(name), 3) for name in ("server", "load", "database", "strangers")},
        }


@dataclass(frozen=True)
class Timing:
    """How long to measure: ``runs`` that count, of ``seconds`` each, after one that does not."""

    runs: int
    seconds: float


def measure(
    workload: Workload,
    next_request: NextRequest,
    *,
    port: int,
    server_pid: int,
    place: str,
    database_cpu: Callable[[], float],
    timing: Timing,
    between: Callable[[], None] = lambda: None,
) -> Figure:
    """Run a workload several times; ``between`` tidies up after each run, outside the measured time."""
    runs = []
    with machine.on_core(machine.CORES.others):
        for _ in range(timing.runs + 1):
            runs.append(uvloop.run(_run(workload, next_request, port, server_pid, database_cpu, timing.seconds)))
            between()
    return Figure(workload, place, tuple(runs[1:]))


@dataclass(frozen=True)
class _Spent:
    """CPU seconds until now, and the time of day."""

    wall: float
    server: float
    load: float
    database: float
    core: float

    @classmethod
    def now(cls, server_pid: int, database_cpu: Callable[[], float]) -> _Spent:
        core = machine.busy_seconds(machine.CORES.server)
        return cls(time.perf_counter(), machine.cpu_seconds(server_pid), time.process_time(), database_cpu(), core)


async def _run(
    workload: Workload,
    next_request: NextRequest,
    port: int,
    server_pid: int,
    database_cpu: Callable[[], float],
    seconds: float,
) -> Run:
    loop = asyncio.get_running_loop()
    load = Load(next_request, workload.is_right, loop)
    clients = await _connected(workload, load, port)
    before = _Spent.now(server_pid, database_cpu)
    for client in clients:
        client.start()
    if workload.client is NewSocketClient:
        for _ in range(workload.connections):
            load.starts()
            open_another(load, port)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(load.idle.wait(), seconds)
    with contextlib.suppress(TimeoutError):  # a run goes on until its first answer, which others may keep waiting
        await asyncio.wait_for(load.moving.wait(), END_TIMEOUT)
    load.running = False
    after = _Spent.now(server_pid, database_cpu)
    if load.failure is None:
        await asyncio.wait_for(load.idle.wait(), END_TIMEOUT)
    if load.failure is not None:
        raise load.failure
    return _as_run(load, workload.items, before, after)


async def _connected(workload: Workload, load: Load, port: int) -> list[HttpClient | OpenSocketClient]:
    """The connections that stay open for the whole run, opened before its time begins."""
    if workload.client is NewSocketClient:
        return []
    clients: list[HttpClient | OpenSocketClient] = []
    ended = load.loop.create_task(load.idle.wait())  # which a failure sets
    for _ in range(workload.connections):
        _, client = await load.loop.create_connection(lambda: workload.client(load), "127.0.0.1", port)
        if isinstance(client, OpenSocketClient):
            await asyncio.wait({client.open, ended}, return_when=asyncio.FIRST_COMPLETED)
        clients.append(client)
    ended.cancel()
    if load.failure is not None:
        raise load.failure
    return clients


def _as_run(load: Load, items: int, before: _Spent, after: _Spent) -> Run:
    wall = after.wall - before.wall
    server, core = after.server - before.server, after.core - before.core
    in_order = sorted(load.took)
    if not in_order:
        raise RuntimeError(f"Not one answer came within {END_TIMEOUT:g} s.")
    own = server if machine.CORES.apart else core
    return Run(
        per_second=load.done * items / wall,
        per_cpu_second=load.done * items / max(server, 1 / machine.TICK),
        p50=in_order[len(in_order) // 2] * 1000,
        p99=in_order[len(in_order) * 99 // 100] * 1000,
        server=server / wall,
        load=(after.load - before.load) / wall,
        database=(after.database - before.database) / wall,
        strangers=max(0.0, core - own) / wall,
    )
