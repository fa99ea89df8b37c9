"""The machinery of the scenarios; that each code has one and the page is fresh is the generator's ``--check``."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict

from tests.scenarios.generate import page
from tests.scenarios.registry import ROOT, Scenario, gaps, required, scenarios


def one(code: int, cause: str = "It broke.") -> Scenario:
    return Scenario(code, "tests/scenarios/test_x.py", "test_x", cause, "Breaks it.", "account store")


def test_58_codes_need_a_scenario() -> None:
    assert len(required()) == 58


def test_a_code_without_a_scenario_is_named() -> None:
    complete = tuple(one(entry.code) for entry in required())
    assert gaps(complete) == []
    assert gaps(complete[1:]) == ["70001 USERSIG_EXPIRED has no scenario."]


def test_a_scenario_of_an_unknown_code_is_named() -> None:
    complete = tuple(one(entry.code) for entry in required())
    assert gaps((*complete, one(70011))) == [
        "tests/scenarios/test_x.py::test_x is for 70011, which is no account code."
    ]


def test_the_page_has_one_row_a_scenario_and_no_cell_breaks_the_table() -> None:
    rows = page((one(70001), one(70002, "a | b"))).splitlines()[-2:]
    assert rows[0].startswith("| 70001 | `USERSIG_EXPIRED` | It broke. | Breaks it. | account store | ")
    assert "a \\| b" in rows[1]


def test_every_scenario_runs_on_both_databases() -> None:
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/scenarios"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    databases: dict[str, set[str]] = defaultdict(set)
    for test, parameters in re.findall(r"^(\S+?::\w+)\[(.*)\]$", collected, re.M):
        databases[test] |= {"sqlite", "postgresql"} & set(parameters.split("-"))
    assert {f"{told.file}::{told.test}" for told in scenarios()} <= databases.keys()
    assert all(both == {"sqlite", "postgresql"} for both in databases.values()), databases
