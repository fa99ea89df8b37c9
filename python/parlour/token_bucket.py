"""A token bucket: how often something may happen, on the average and at once. Pure: the time is passed in."""

from __future__ import annotations


class TokenBucket:
    """``rate`` tokens a second, ``burst`` at once. Times are seconds of a clock that never jumps."""

    __slots__ = ("_burst", "_level", "_rate", "_then")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._level, self._then = float(burst), now

    def take(self, now: float, cost: float = 1) -> bool:
        """Take tokens; False when there are not as many."""
        self.fill(now)
        if self._level < cost:
            return False
        self._level -= cost
        return True

    def fill(self, now: float) -> None:
        """Put in what is due by now."""
        self._level = min(self._burst, self._level + (now - self._then) * self._rate)
        self._then = now

    def owe(self, cost: float) -> None:
        """Take tokens whether they are there or not; less than 0 gives back."""
        self._level = min(self._level - cost, self._burst)

    def until_paid(self, now: float, longest: float) -> float:
        """Seconds until nothing is owed. A debt that takes more than ``longest`` to pay becomes one that takes that."""
        self.fill(now)
        self._level = max(self._level, -longest * self._rate)
        return max(0.0, -self._level / self._rate)
