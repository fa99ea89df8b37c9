"""Texts for people name the bounds that hold; what is code has them from one place."""

from __future__ import annotations

from pathlib import Path

import pytest
from parlour.errors import ErrorCode, entry_of
from parlour.protocol.words import MAX_ROOM_NAME_BYTES, MAX_ROOM_NUMBER, MAX_SDK_APP_ID, ROOM_NAME_PUNCTUATION

PROTOCOL = Path(__file__).parents[2] / "docs/protocol.md"


@pytest.mark.parametrize(
    ("code", "bounds"),
    [
        (ErrorCode.INVALID_PARAMETER, (MAX_ROOM_NUMBER, MAX_ROOM_NAME_BYTES)),
        (ErrorCode.ROOM_ID_INVALID, (MAX_ROOM_NUMBER, MAX_ROOM_NAME_BYTES)),
        (ErrorCode.SDKAPPID_MALFORMED, (MAX_SDK_APP_ID,)),
    ],
)
def test_the_catalogue_names_the_bounds_that_hold(code: ErrorCode, bounds: tuple[int, ...]) -> None:
    entry = entry_of(code)
    assert entry is not None
    for bound in bounds:
        assert str(bound) in entry.cause + entry.remedy


def test_the_page_of_the_protocol_names_the_bounds_that_hold() -> None:
    text = " ".join(PROTOCOL.read_text(encoding="utf-8").split())
    assert f"(1 … {MAX_ROOM_NUMBER})" in text
    assert f"up to {MAX_ROOM_NAME_BYTES} bytes" in text
    assert f"`` {ROOM_NAME_PUNCTUATION.strip()} ``" in text
