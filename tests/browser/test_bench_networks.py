"""Calls on bad networks, each for a moment: what ``python -m bench.networks`` and ``make soak`` measure for long.

One of each kind: browsers compute. Every weather is in the simulated ones (``crates/media/tests/bandwidth.rs``).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench import networks

pytestmark = pytest.mark.browser
SECONDS = 3.0
EMPTIES_FIRST = {"narrows-up-150": 7.0}
"""Seconds of a measurement that begins with a queue that has to empty: nothing is heard meanwhile."""
OF_EACH_KIND = ("loss-10", "down-300-firefox", "narrows-up-150", "competes", "step")
SCENARIOS = {scenario.name: scenario for scenario in networks.SCENARIOS}


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "WARM_UP", 1.0)
    monkeypatch.setattr(networks, "SETTLED", 1.0)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_a_call_goes_on_on_a_bad_network(name: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]
    seconds = EMPTIES_FIRST.get(name, SECONDS)
    measured = asyncio.run(networks.measure(scenario, seconds, tmp_path))
    for who in ("spoiled", "other"):
        one = measured[who]
        assert one["seconds"] >= seconds - 1
        assert one["framesPerSecond"] > 0, f"{who} sees nothing: {one}"
        assert one["concealed"] < 0.9, f"{who} hears nothing: {one}"
    limited = {way for way, conditions in (("up", scenario.up), ("down", scenario.down)) if "rate" in conditions}
    assert {way for way in limited if measured["used"][way]} == limited
    assert networks.report(measured).startswith(f"{scenario.name}: queue p95 ")
