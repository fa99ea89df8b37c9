"""How long the parsers written in Python are fuzzed: `make fuzz` sets FUZZ_FACTOR."""

import os

from hypothesis import settings

FACTOR = int(os.environ.get("FUZZ_FACTOR", "1"))

settings.register_profile("fuzz", max_examples=100 * FACTOR, deadline=None)
if FACTOR > 1:
    settings.load_profile("fuzz")


def examples(ordinary: int) -> int:
    """How many inputs to try where an ordinary test run tries this many."""
    return ordinary * FACTOR
