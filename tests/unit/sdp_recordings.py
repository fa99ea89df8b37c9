"""What real stacks offered and answered: ``tests/record_sdp.py`` writes it down."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def recorded(kind: str, name: str) -> str:
    """An ``"offer"`` or an ``"answer"``."""
    return (HERE / f"sdp_{kind}s" / f"{name}.sdp").read_bytes().decode()
