"""The library of ``shim.c``, which processes of tests are started with: see there what it does to them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="parlour-shim-")


@cache
def _library() -> Path:
    library = Path(_folder().name) / "shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def shimmed(**variables: str) -> dict[str, str]:
    """An environment to start a process in: ``SHIM_STALL`` or ``SHIM_KEEP`` with their values."""
    return {**os.environ, "LD_PRELOAD": str(_library()), **variables}
