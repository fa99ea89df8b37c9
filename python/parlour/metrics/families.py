"""Families of metrics whose samples are at hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

Family = TypeVar("Family", CounterMetricFamily, GaugeMetricFamily)


def family(
    kind: type[Family], name: str, text: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], float]]
) -> Family:
    """A family of that kind with a sample for each set of values of its labels."""
    made = kind(name, text, labels=labels)
    for values, value in samples:
        made.add_metric(values, value)
    return made
