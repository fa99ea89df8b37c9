"""Which of pytest's workers runs what, and when: tests that measure take turns, and what only waits costs nothing.

With three workers on two processors the first takes what has to take turns, the second the rest, and the third what
waits more than it computes; beyond that it begins a test only while a processor is idle. So a fast machine is made use
of, and on a slow one those that look at speed have no third beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

IN_TURNS = {"attacks", "browser", "network"}  # folders: these look at speed, memory or pictures
# Files of these that look at nothing that a load changes.
BESIDE = {
    "tests/attacks/test_import_kill.py",
    *(
        f"tests/browser/test_{name}.py"
        for name in (
            "aiortc",
            "captures",
            "checks",
            "codes",
            "demo",
            "devices",
            "dtls_roles",
            "given_up",
            "hidden_tab",
            "ipv6",
            "live",
            "moving",
            "operations",
            "recovery",
            "sei",
            "statistics",
            "volumes",
            "wrappers",
        )
    ),
}
# Files that compute for less than a third of their time.
WAITING = {
    "tests/browser/test_given_up.py",
    "tests/unit/test_admin_rest.py",
    *(
        f"tests/contract/test_{name}.py"
        for name in (
            "client",
            "client_reconnect",
            "liveness",
            "load",
            "media_limits",
            "private_map_key",
            "supervision",
            "verifiers",
        )
    ),
}
THIRD = "gw2"
IDLE = 0.25  # of all processors: so much is left for a test of the third worker
LOOK = 1.0  # seconds over which that is looked at
PATIENCE = 60.0  # seconds


def takes_turns(nodeid: str) -> bool:
    """Whether a test runs when no other of its like does."""
    file = nodeid.split("::", 1)[0]
    return file.split("/")[1] in IN_TURNS and file not in BESIDE


class FilesAndTurns(LoadScopeScheduling):
    """A worker takes a file at a time, or everything that takes turns."""

    def _split_scope(self, nodeid: str) -> str:
        return "in turns" if takes_turns(nodeid) else nodeid.split("::", 1)[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        waits = node.gateway.id == THIRD
        fitting = next((scope for scope in self.workqueue if (scope in WAITING) == waits), None)
        if fitting is not None and self.numnodes > 2:
            self.workqueue.move_to_end(fitting, last=False)
        super()._assign_work_unit(node)


@dataclass
class Processors:
    """How idle the processors are. ``times`` gives what they spent and what of it idle, ``now`` and ``sleep`` time."""

    times: Callable[[], tuple[float, float]]
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._looked, self._before, self._idle = self.now(), self.times(), True

    def wait_for_one(self) -> float:
        """Wait until a processor was idle for a moment, or for ``PATIENCE``; how many seconds that took."""
        begun = self.now()
        while not self._is_idle() and self.now() - begun < PATIENCE:
            self.sleep(LOOK)
        return self.now() - begun

    def _is_idle(self) -> bool:
        if self.now() - self._looked >= LOOK:
            total, idle = self.times()
            passed = total - self._before[0]
            self._idle = idle - self._before[1] >= IDLE * passed
            self._looked, self._before = self.now(), (total, idle)
        return self._idle


def since_boot() -> tuple[float, float]:
    """What all processors have spent, and what of it in waiting, in ticks (proc(5), ``/proc/stat``)."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [float(number) for number in file.readline().split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesAndTurns:
    """Divide the tests among the workers."""
    return FilesAndTurns(config, log)


_processors = Processors(since_boot)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    """Hold back what the third worker would begin on a busy machine, before the test's time counts."""
    worker = getattr(item.config, "workerinput", {}).get("workerid")
    if worker == THIRD and item.nodeid.split("::", 1)[0] not in WAITING:
        _processors.wait_for_one()
    return (yield)
