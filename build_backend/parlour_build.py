"""The PEP 517 back end: maturin, with the browser SDK and the pages built first.

In a checkout (``web/package.json`` is there) the web build runs before the wheel is packed, so that
``pip install .`` gives a wheel with everything inside. A source distribution carries the built pages and no
``web/``, so installing from it needs no Node.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import maturin
from maturin import (
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).resolve().parent.parent
SDK = ROOT / "python/parlour/static/sdk"
SDK_FILES = ("trtc.js", "trtc.umd.js", "trtc.esm.js", "index.d.ts")


def build_web() -> None:
    """Build ``web/`` into ``python/parlour/static``; outside a checkout, check that it is there already."""
    if (ROOT / "web/package.json").exists():
        try:
            subprocess.run(["make", "--no-print-directory", "web"], cwd=ROOT, check=True, stdout=sys.stderr)
        except FileNotFoundError:
            raise SystemExit("parlour: building from a checkout needs make and Node.js 20 or newer") from None
        except subprocess.CalledProcessError as failed:
            raise SystemExit(f"parlour: the web build failed (make web, exit {failed.returncode})") from None
    for name in SDK_FILES:
        if not (SDK / name).exists():
            missing = (SDK / name).relative_to(ROOT)
            raise SystemExit(f"parlour: {missing} is missing; the source archive is incomplete")


def build_wheel(directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """Build a wheel into ``directory`` and return its file name (PEP 517)."""
    build_web()
    return str(maturin.build_wheel(directory, config_settings, metadata_directory))


def build_editable(directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """Build an editable wheel and return its file name (PEP 660). The pages are left to ``make build``."""
    return str(maturin.build_editable(directory, config_settings, metadata_directory))


def build_sdist(directory: str, config_settings: Any = None) -> str:
    """Build a source distribution with the built pages inside and return its file name (PEP 517)."""
    build_web()
    return str(maturin.build_sdist(directory, config_settings))
