"""Sessions that somebody ended: their resume tokens are refused for good, while one that is unknown may enter again."""

from __future__ import annotations

MOST = 65_536
"""Sessions remembered; of more, the oldest are forgotten. A token that comes back later than that finds
its user in the room by another session, if there is one to be protected from it."""


class EndedSessions:
    """Why sessions ended, until their tokens have expired. Times in seconds of the caller's clock."""

    def __init__(self, *, remember: float, most: int = MOST) -> None:
        self._remember = remember
        self._most = most
        self._ended: dict[str, tuple[float, str]] = {}

    def __len__(self) -> int:
        return len(self._ended)

    def add(self, session_id: str, why: str, now: float) -> None:
        """Somebody ended this session."""
        self._ended.setdefault(session_id, (now, why))
        # In the order in which they ended, so that the ones to forget come first.
        while len(self._ended) > self._most or now - next(iter(self._ended.values()))[0] > self._remember:
            del self._ended[next(iter(self._ended))]

    def why(self, session_id: str) -> str | None:
        """Why it ended; None for a session that nobody ended, or of which nothing is known."""
        found = self._ended.get(session_id)
        return None if found is None else found[1]
