"""The machinery of the marks; that each code has one and the page is fresh is the generator's ``--check``."""

from __future__ import annotations

from tests.browser.reached import Reached, gaps, page, required


def one(code: int, how: str = "Does it.") -> Reached:
    return Reached(code, "tests/browser/test_x.py", "test_x", how)


def test_27_codes_need_a_test() -> None:
    assert len(required()) == 27


def test_a_code_without_a_test_and_a_test_of_no_code_are_named() -> None:
    complete = tuple(one(entry.code) for entry in required())
    assert gaps(complete) == []
    assert gaps(complete[1:]) == ["INVALID_PARAMETER 0x1000 is reached by no test."]
    assert gaps((*complete, one(70001))) == ["tests/browser/test_x.py::test_x is for 70001, no code of the SDK."]


def test_the_page_has_one_row_a_mark_and_no_cell_breaks_the_table() -> None:
    row = page((one(0x1000, "a | b"),)).splitlines()[-1]
    assert row.startswith("| 0x1000 (4096) | `INVALID_PARAMETER` | ")
    assert "a \\| b" in row
