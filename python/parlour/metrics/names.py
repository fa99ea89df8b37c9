"""Who has a series of its own. Prometheus keeps each label's values for weeks, and clients choose their own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

OTHER = "other"
"""The label under which everybody without a series of its own is summed up. Nobody else has it."""

LONGEST = 128
"""Characters of a label that a client chose."""

RANKED_EVERY = 60
"""Rounds after which those that are much larger by now take the place of the smallest."""

MUCH = 2

NameT = TypeVar("NameT")


def label(text: str) -> str:
    """A client's text as a label: no control characters, no marks that turn the direction of writing, no lone
    surrogates, not too long. The exposition escapes what its own format needs.
    """
    if len(text) <= LONGEST and text.isprintable():
        return text
    shown = "".join(one if one.isprintable() else f"\\u{{{ord(one):x}}}" for one in text[:LONGEST])
    return shown + "…" if len(text) > LONGEST else shown


class Names(Generic[NameT]):
    """Up to ``most`` names, which they keep as long as they are there: a series that comes and goes tells nothing."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: set[NameT] = set()
        self._rounds = 0

    def __contains__(self, name: NameT) -> bool:
        return name in self.kept

    def follow(self, sizes: Mapping[NameT, int]) -> set[NameT]:
        """Go by who is there now, and how large. Returns those that have no series any more."""
        before = set(self.kept)
        self.kept &= sizes.keys()
        self._rounds += 1
        free = self.most - len(self.kept)
        if (free > 0 and len(sizes) > len(self.kept)) or self._rounds % RANKED_EVERY == 0:
            others = sorted(sizes.keys() - self.kept, key=lambda name: -sizes[name])
            self.kept.update(others[:free])
            smallest = sorted(self.kept, key=lambda name: sizes[name])
            for small, large in zip(smallest, others[max(free, 0) :], strict=False):
                if self._rounds % RANKED_EVERY or sizes[large] < MUCH * sizes[small]:
                    break
                self.kept.remove(small)
                self.kept.add(large)
        return before - self.kept
