"""One figure for a connection: the worse of its round trip and its loss, by the documented bounds."""

from __future__ import annotations

import pytest
from parlour.quality import LinkQuality, grade, measured


@pytest.mark.parametrize(
    ("rtt_ms", "loss", "expected"),
    [
        (None, None, 0),
        (0, 0, 1),
        (99.9, 0.0099, 1),
        (100, 0, 2),
        (0, 0.01, 2),
        (199, 0.029, 2),
        (200, 0, 3),
        (0, 0.03, 3),
        (350, 0, 4),
        (0, 0.07, 4),
        (600, 0, 5),
        (0, 0.15, 5),
        (20, 0.5, 5),
        (1900, 0, 5),
        (250, 0.001, 3),
        (None, 0.08, 4),
        (450, None, 4),
    ],
)
def test_the_worse_of_round_trip_and_loss_counts(rtt_ms: float | None, loss: float | None, expected: int) -> None:
    assert grade(rtt_ms, loss) == expected


def test_what_is_not_known_is_zero_in_the_figures() -> None:
    assert measured(None, 0.5) == LinkQuality(5, 0, 0.5)
    assert measured(50, None) == LinkQuality(1, 50, 0)
