"""Who speaks in a room, and who of them has the floor. Pure: time is an argument, in seconds.

What clients say of their own sound decides here, so that three things hold whatever they say. To be louder gains
nothing: it counts that and for how long somebody spoke. Who only ever speaks is put behind whoever begins to, and
shares the floor in turns with others who do the same. And nobody is given the floor within a second of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TAKES_OVER = 2.0
"""Seconds that somebody has to have spoken of late to take the floor from who speaks: a question, not a "yes"."""

REMEMBERED = 3.0
"""Seconds of speech that count at most. They pass half as fast while nothing is said, and end with the turn."""

REST = 1.0
"""Seconds between two who get the floor. A holder who says nothing for so long loses it to who goes on speaking."""

TURN = 10.0
"""Seconds after which somebody who spoke all the time as well has the floor."""

STALE = 6.0
"""Seconds after which somebody of whom nothing more is heard speaks no more: one who is silent is told of as such."""


@dataclass(slots=True)
class _Talk:
    spoken: float
    heard_at: float
    said_at: float = float("-inf")
    credit: float = 0.0
    speaks: bool = False
    began: float = 0.0
    """When the turn began in which this user speaks."""
    had_floor: float = float("-inf")
    """Until when the user had the floor."""


class Speakers:
    """Of one room."""

    def __init__(self) -> None:
        self.holder: str | None = None
        """Who has the floor; None while nobody speaks."""
        self._talks: dict[str, _Talk] = {}
        self._recent: list[str] = []
        self._given_at = float("-inf")

    def heard(self, now: float, user_id: str, *, speaks: bool, spoken: float) -> None:
        """Somebody speaks, or not; ``spoken`` are the seconds so far, which begin anew when the track does."""
        talk = self._talks.setdefault(user_id, _Talk(spoken, now))
        passed = max(0.0, now - talk.heard_at)
        said = min(passed, max(0.0, spoken - talk.spoken))
        talk.credit = min(REMEMBERED, max(0.0, talk.credit + said - (passed - said) / 2))
        if said > 0:
            talk.said_at = now
        if not speaks:
            talk.credit = 0.0
        elif not talk.speaks:
            talk.began = now
        talk.spoken, talk.heard_at, talk.speaks = spoken, now, speaks
        self._choose(now)

    def silence(self, now: float, user_id: str) -> None:
        """Somebody is muted, or publishes no sound any more."""
        talk = self._talks.get(user_id)
        if talk is not None and talk.speaks:
            talk.speaks, talk.credit = False, 0.0
            self._choose(now)

    def keep(self, now: float, user_ids: Iterable[str]) -> None:
        """Only these are in the room."""
        here = set(user_ids)
        self._talks = {user_id: talk for user_id, talk in self._talks.items() if user_id in here}
        self._recent = [user_id for user_id in self._recent if user_id in here]
        self._choose(now)

    def speaking(self, now: float) -> list[str]:
        """Who speaks: the holder of the floor first, then who began last."""
        self._choose(now)
        others = [user_id for user_id in self._talks if self._speaks(now, user_id) and user_id != self.holder]
        others.sort(key=lambda user_id: self._talks[user_id].began, reverse=True)
        return others if self.holder is None else [self.holder, *others]

    def last(self, among: Sequence[str], count: int) -> frozenset[str]:
        """Of these the so many who had the floor last; of those who never had, the first of the list."""
        recent = [user_id for user_id in self._recent if user_id in among]
        never = [user_id for user_id in among if user_id not in recent]
        return frozenset([*recent, *never][:count])

    def _speaks(self, now: float, user_id: str) -> bool:
        talk = self._talks.get(user_id)
        return talk is not None and talk.speaks and now - talk.heard_at < STALE

    def _choose(self, now: float) -> None:
        holder = self.holder if self.holder is not None and self._speaks(now, self.holder) else None
        if holder is None and self.holder is not None:
            self._lose(now)
        if now - self._given_at < REST:
            return
        talks = self._talks
        others = [user_id for user_id in talks if user_id != holder and self._speaks(now, user_id)]
        if holder is None:
            # Who says most; of those who say as much, who had it longest ago.
            best = min(others, key=lambda who: (-talks[who].credit, talks[who].had_floor, who), default=None)
        else:
            others = [user_id for user_id in others if self._may_take_over(now, user_id, holder)]
            best = min(others, key=lambda who: (talks[who].had_floor, -talks[who].credit, who), default=None)
        if best is not None:
            self._lose(now)
            self.holder, self._given_at = best, now
            self._recent = [best, *(user_id for user_id in self._recent if user_id != best)]

    def _lose(self, now: float) -> None:
        talk = None if self.holder is None else self._talks.get(self.holder)
        if talk is not None:
            talk.had_floor = now
        self.holder = None

    def _may_take_over(self, now: float, user_id: str, holder: str) -> bool:
        talk, holders = self._talks[user_id], self._talks[holder]
        is_newer = talk.began > holders.began and talk.had_floor < talk.began
        is_silent = now - holders.said_at >= REST
        is_over = now - self._given_at >= TURN
        return talk.credit >= TAKES_OVER and (is_newer or is_silent or is_over)
