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
        self._level = min(self._burst, self._level + (now - self._then) * self._rate)
        self._then = now
        if self._level < cost:
            return False
        self._level -= cost
        return True

    def owe(self, cost: float) -> None:
        """Take tokens for what has been done already, at most down to a debt of ``burst``; less than 0 gives back."""
        self._level = min(max(self._level - cost, -self._burst), self._burst)
