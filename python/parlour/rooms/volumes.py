"""How loud everybody in a room is, and what listeners know of that. Pure: time is an argument, in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parlour.protocol.words import StreamType

SoundKey = tuple[str, StreamType]
"""The sound of a stream: whose, and of which."""

MOST_VOLUMES = 16
"""Volumes of one message; of more, those that changed most come first and the others with the next."""

MOST_SPEAKERS = 8

DEAD_BAND = 2
"""What differs by so little is no news, unless it is silence now."""


class Volumes:
    """The volumes of one room, 1 to 100; who is not in it is silent."""

    def __init__(self) -> None:
        self.now: dict[SoundKey, int] = {}
        self._heard_at: dict[SoundKey, float] = {}

    def heard(self, now: float, key: SoundKey, volume: int) -> None:
        """A sound is so loud."""
        if volume <= 0:
            self.silence(key)
            return
        self.now[key] = min(volume, 100)
        self._heard_at[key] = now

    def silence(self, key: SoundKey) -> None:
        """A sound is muted or ended."""
        self.now.pop(key, None)
        self._heard_at.pop(key, None)

    def settle(self, now: float, stale: float) -> None:
        """What was not heard for so many seconds is silent: of what can be heard something is."""
        for key in [key for key, at in self._heard_at.items() if now - at >= stale]:
            self.silence(key)


@dataclass(frozen=True, slots=True)
class News:
    """What changed: volumes, and who speaks, if that did."""

    volumes: list[tuple[SoundKey, int]]
    speakers: tuple[str, ...] | None


class Told:
    """What a group of listeners was told."""

    def __init__(self) -> None:
        self.volumes: dict[SoundKey, int] = {}
        self.speakers: tuple[str, ...] = ()

    def news(self, volumes: Mapping[SoundKey, int], speakers: Sequence[str]) -> News | None:
        """What is to be told now, which counts as told; None if nothing is."""
        changes: list[tuple[int, SoundKey]] = []
        for key in self.volumes.keys() | volumes.keys():
            before, after = self.volumes.get(key, 0), volumes.get(key, 0)
            if abs(after - before) > DEAD_BAND or (after == 0 and before > 0):
                changes.append((abs(after - before), key))
        changes.sort(key=lambda change: (-change[0], change[1]))
        now = tuple(speakers[:MOST_SPEAKERS])
        differs = now != self.speakers
        self.speakers = now
        told = [(key, volumes.get(key, 0)) for _, key in changes[:MOST_VOLUMES]]
        for key, volume in told:
            if volume:
                self.volumes[key] = volume
            else:
                del self.volumes[key]
        return News(told, now if differs else None) if told or differs else None
