"""Every attack of the catalogue has its test, and what needs no server of its own is here."""

from __future__ import annotations

import math
import re

import pytest
from parlour.media import model

from tests.attacks.catalogue import ASVS, ATTACKS
from tests.browser.films import ROOT


@pytest.mark.parametrize("name", [*ATTACKS, *ASVS])
def test_the_tests_of_an_attack_are_there(name: str) -> None:
    for test in (ATTACKS | ASVS)[name]:
        place, _, function = test.partition("::")
        text = (ROOT / place).read_text()
        assert re.search(rf"(?m)^(async )?(def|fn) {function}\(", text), f"{name}: {test} is not there"


@pytest.mark.parametrize("requirement", ASVS)
def test_the_tests_of_a_requirement_are_named_by_its_number(requirement: str) -> None:
    number = f"v{requirement.replace('.', '_')}_"
    for test in ASVS[requirement]:
        assert test.partition("::")[2].removeprefix("test_").startswith(number), test


def test_user_fragments_have_64_bits_that_nobody_can_guess_and_are_never_equal() -> None:
    made = {model._ice_chars(model._UFRAG_LENGTH) for _ in range(20_000)}
    assert len(made) == 20_000
    assert len(set("".join(made))) == len(model._ICE_CHARS)
    assert model._UFRAG_LENGTH * math.log2(len(set(model._ICE_CHARS))) >= 64
    assert model._PWD_LENGTH * math.log2(len(set(model._ICE_CHARS))) >= 128
