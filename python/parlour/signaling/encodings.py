"""Which encodings of a video are taken by those who receive it, and which of them its publisher is told to send."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from parlour.protocol.words import Kind
from parlour.signaling.pace import Later
from parlour.signaling.video_types import StreamKey, VideoTypes

PATIENCE = 5.0
"""Seconds for which an encoding goes on that nobody takes any more, so that who leaves and comes back, or wants the
small one for a moment, waits for nothing. It bounds how often a publisher is told as well: nothing can be begun again
that was not paused before."""

OnTaken = Callable[[StreamKey, int | None, int | None], object]
"""Called with a stream, and the place of the biggest encoding that a client took of its video and takes now."""


class TakenEncodings:
    """What one client takes of the videos of others, as its subscriptions and wishes have it."""

    def __init__(
        self, subscriptions: Mapping[StreamKey, frozenset[Kind]], video_types: VideoTypes, on_taken: OnTaken
    ) -> None:
        self._subscriptions = subscriptions
        self._video_types = video_types
        self._on_taken = on_taken

    def biggest(self, key: StreamKey) -> int | None:
        """The place of the biggest encoding that it takes, which may be beyond the last; None if it takes none."""
        return self._video_types.biggest(key) if "video" in self._subscriptions.get(key, ()) else None

    @contextmanager
    def changing(self, key: StreamKey) -> Iterator[None]:
        """Around whatever may change what it takes of a stream."""
        before = self.biggest(key)
        yield
        after = self.biggest(key)
        if after != before:
            self._on_taken(key, before, after)


class WantedEncodings:
    """The encodings of one published video. All are wanted at first, and none that was taken by nobody for a while.

    With one that is taken those below it are wanted, though nobody asks for them: a path that becomes narrow is served
    from there at once, for 100 kbit/s of the publisher's. It costs the same whoever asks how often: to take is compared
    with what was told, and who else takes it is looked up when one was let go, once in ``PATIENCE``.
    """

    def __init__(
        self,
        rids: tuple[str, ...],
        *,
        biggest: Callable[[], int | None],
        tell: Callable[[tuple[str, ...]], object],
        clock: Callable[[], float],
        later: Later,
    ) -> None:
        """``biggest`` looks up the place of the biggest that anybody takes; ``tell`` gets the rids that are wanted."""
        self.rids = rids
        self._biggest = biggest
        self._tell = tell
        self._clock = clock
        self._later = later
        self._first = 0
        """The place of the biggest one that is wanted; of none, their number."""
        self._let_go = [clock()] * len(rids)
        """When somebody last ceased to take it, by place."""
        self._is_told = self._waits = self._is_over = False
        self._look_in(PATIENCE)

    def changed(self, before: int | None, after: int | None) -> None:
        """Somebody takes another one than before as the biggest, none, or one for the first time."""
        last = len(self.rids) - 1
        if after is not None and min(after, last) < self._first:
            self._want_from(min(after, last))
        if before is not None:
            self._let_go[min(before, last)] = self._clock()
            if min(before, last) == self._first:
                self._look_in(PATIENCE)

    def repeat(self) -> None:
        """The publisher has a new socket, or sends them on a new connection: it is told what it was told before."""
        if self._is_told:
            self._tell(self.rids[self._first :])

    def stop(self) -> None:
        """The video is not published any more."""
        self._is_over = True

    def _want_from(self, place: int) -> None:
        self._first = place
        self._is_told = True
        self._tell(self.rids[place:])

    def _look_in(self, seconds: float) -> None:
        if not self._waits:
            self._waits = True
            self._later(seconds, self._look)

    def _look(self) -> None:
        """Whether anybody takes what is wanted, once those who let go of it have had their time to come back."""
        self._waits = False
        if self._is_over:
            return
        now, count = self._clock(), len(self.rids)
        patient = (place for place in range(self._first, count) if self._let_go[place] + PATIENCE > now)
        spared = next(patient, count)
        if spared > self._first:
            biggest = self._biggest()
            wanted = spared if biggest is None else min(biggest, count - 1, spared)
            if wanted != self._first:
                self._want_from(wanted)
        if self._first == spared < count:
            self._look_in(self._let_go[spared] + PATIENCE - now)
