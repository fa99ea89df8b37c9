"""How good a connection is, as one figure: the worse of its round trip and its loss. Pure.

0: not yet known, 1: excellent, 2: good, 3: fair, 4: poor, 5: very poor, 6: disconnected.
"""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN, DISCONNECTED = 0, 6

GRADES: tuple[tuple[float, float], ...] = ((100, 0.01), (200, 0.03), (350, 0.07), (600, 0.15))
"""Below this round trip in milliseconds and this share lost a connection has the grade of its place, from 1 up."""


def grade(rtt_ms: float | None, loss: float | None) -> int:
    """1 to 5; 0 while neither is known."""
    if rtt_ms is None and loss is None:
        return UNKNOWN
    for number, (most_rtt, most_loss) in enumerate(GRADES, start=1):
        if (rtt_ms or 0) < most_rtt and (loss or 0) < most_loss:
            return number
    return len(GRADES) + 1


@dataclass(frozen=True, slots=True)
class LinkQuality:
    """One direction of a client: its grade, the round trip in milliseconds, the share lost (0 to 1); 0 if unknown."""

    grade: int = UNKNOWN
    rtt_ms: float = 0
    loss: float = 0


NOTHING = LinkQuality()
GONE = LinkQuality(DISCONNECTED)


def measured(rtt_ms: float | None, loss: float | None) -> LinkQuality:
    """The quality of a link that is up."""
    return LinkQuality(grade(rtt_ms, loss), rtt_ms or 0, loss or 0)
