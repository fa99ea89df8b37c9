"""What holds back pytest's third worker."""

from __future__ import annotations

from tests.workers import IDLE, PATIENCE, Processors


class Machine:
    """Two processors, and how idle they are in each second from now on; afterwards as in the last."""

    def __init__(self, *idle: float) -> None:
        self.idle, self.second, self.spent = list(idle), 0.0, (0.0, 0.0)
        self.processors = Processors(lambda: self.spent, lambda: self.second, self.sleep)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds)):
            share = self.idle.pop(0) if len(self.idle) > 1 else self.idle[0]
            self.spent = (self.spent[0] + 200, self.spent[1] + 200 * share)
            self.second += 1


def test_a_test_begins_at_once_where_nothing_is_known_or_a_processor_was_idle() -> None:
    machine = Machine(IDLE)
    assert machine.processors.wait_for_one() == 0
    machine.sleep(3)
    assert machine.processors.wait_for_one() == 0


def test_a_test_waits_until_a_processor_is_idle_again_and_not_for_ever() -> None:
    machine = Machine(0.1, 0.1, 0.1, 0.5, 0.0)
    machine.sleep(1)
    assert machine.processors.wait_for_one() == 3
    machine.sleep(1)
    assert machine.processors.wait_for_one() == PATIENCE
