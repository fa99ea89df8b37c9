"""Calls on bad networks, each for a moment: what ``python -m bench.networks`` and ``make soak`` measure for long."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench import networks

pytestmark = pytest.mark.browser
SECONDS = 3.0


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "WARM_UP", 1.0)
    monkeypatch.setattr(networks, "SETTLED", 1.0)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("scenario", networks.SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_call_goes_on_on_a_bad_network(scenario: networks.Scenario, tmp_path: Path) -> None:
    measured = asyncio.run(networks.measure(scenario, SECONDS, tmp_path))
    for who in ("spoiled", "other"):
        one = measured[who]
        assert one["seconds"] >= SECONDS - 1
        assert one["framesPerSecond"] > 0, f"{who} sees nothing: {one}"
        assert one["concealed"] < 0.9, f"{who} hears nothing: {one}"
    limited = {name for name, conditions in (("up", scenario.up), ("down", scenario.down)) if "rate" in conditions}
    assert {name for name in limited if measured["used"][name]} == limited
    assert networks.report(measured).startswith(f"{scenario.name}: queue p95 ")
