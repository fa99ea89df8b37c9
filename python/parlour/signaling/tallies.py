"""What signaling counts: requests by how they ended. Plain numbers; whoever exposes them reads them."""

from __future__ import annotations

from collections import Counter

from parlour.errors import RtcError

MOST_KINDS = 1000
"""Ways in which requests ended that are told apart: as many as the catalogue can make, and never more."""


class Tallies:
    """``requests`` are by their type, the code and the code behind it; 0 and 0: carried out."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int, int]] = Counter()

    def carried_out(self, request: str) -> None:
        """One was."""
        self.requests[request, 0, 0] += 1

    def refused(self, request: str, error: RtcError) -> None:
        """One was not."""
        kind = (request, int(error.code), int(error.extra_code or 0))
        if kind not in self.requests and len(self.requests) >= MOST_KINDS:
            kind = (request, int(error.code), 0)
        self.requests[kind] += 1
