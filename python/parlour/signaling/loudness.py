"""Who is how loud in one room, who has the floor, who is told of it, and whose pictures are left out for it.

The media core tells of the tracks that are watched, and they are while somebody wants to know.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from parlour.media import Level
from parlour.protocol import messages
from parlour.protocol.words import VOLUME_INTERVALS
from parlour.rooms import News, Room, Speakers, Stream, Told, Volumes
from parlour.rooms.volumes import SoundKey
from parlour.signaling.codec import encode_event
from parlour.signaling.pace import Later, Pace
from parlour.signaling.ports import Media

if TYPE_CHECKING:
    from parlour.signaling.session import Session

FOR_THE_FLOOR = 0.5
"""Seconds between two looks at who speaks, where nobody wants to know volumes oftener."""

LEAST_STALE = 1.5
"""Seconds after which something of which no more is told is silent. A longer interval counts twice and a half."""

BEHIND = 32
"""Messages that wait for a client from which on it is told no volumes, and whole again when it has caught up."""


class _Group:
    """Listeners who are told equally often."""

    def __init__(self, interval: int, pace: Pace) -> None:
        self.interval = interval
        self.pace = pace
        self.told = Told()


class Loudness:
    """Of one room. ``last_n``: so many of those who show themselves are seen, who had the floor last; 0: all."""

    def __init__(
        self, room: Room[Session], media: Media, last_n: int, clock: Callable[[], float], later: Later
    ) -> None:
        self._room = room
        self._media = media
        self._last_n = last_n
        self._clock = clock
        self._later = later
        self._volumes = Volumes()
        self._speakers = Speakers()
        self._groups: dict[int, _Group] = {}
        self._listeners: dict[int, dict[str, Session]] = {}
        """Who is told how often, by the session's id."""
        self._watched: dict[int, float] = {}
        """How often the core tells of a producer, in seconds."""
        self._sounds: dict[int, SoundKey] = {}
        self._had_floor: str | None = None
        """Who had the floor when it was looked who is seen."""
        self._unseen: frozenset[str] = frozenset()
        """Whose main pictures are not sent."""

    # --- listeners ---

    def listen(self, session: Session, interval: int) -> int:
        """Tell a session every so many milliseconds, or the next shorter interval that there is; 0: no more.

        Returns which.
        """
        shorter = (it for it in reversed(VOLUME_INTERVALS) if it <= interval)
        chosen = 0 if interval <= 0 else next(shorter, VOLUME_INTERVALS[0])
        before, session.volume_interval = session.volume_interval, chosen
        self._forget(session, before)
        if chosen and chosen not in self._groups:
            self._groups[chosen] = _Group(chosen, Pace(self._clock, self._later))
        if chosen:
            self._listeners.setdefault(chosen, {})[session.id] = session
            self.repeat(session)
        if chosen != before:
            watched = len(self._watched)
            self._drop_empty_groups()
            self.changed()
            session.owe(lines=max(watched, len(self._watched)))
        return chosen

    def repeat(self, session: Session) -> None:
        """Tell a session all that its group knows: it listens anew, or has a new socket."""
        group = self._groups.get(session.volume_interval)
        if group is not None:
            session.missed_volumes = False
            news = News(list(group.told.volumes.items()), group.told.speakers)
            session.tell(_event(news, whole=True))

    def left(self, session: Session) -> None:
        """A session is in the room no more."""
        self._forget(session, session.volume_interval)
        if session.volume_interval and session.volume_interval not in self._listeners:
            self.changed()  # the core was asked as often as the last of its group wished

    def _forget(self, session: Session, interval: int) -> None:
        listeners = self._listeners.get(interval)
        if listeners is not None:
            listeners.pop(session.id, None)
            if not listeners:
                del self._listeners[interval]

    def _drop_empty_groups(self) -> None:
        self._groups = {interval: group for interval, group in self._groups.items() if interval in self._listeners}

    # --- the room and the core ---

    def changed(self) -> None:
        """Somebody came or left, or something of what is published changed."""
        if not self._groups and not self._watched and not self._last_n:
            return
        now = self._clock()
        members = self._room.anchors
        self._drop_empty_groups()
        every = min([*self._groups, *([FOR_THE_FLOOR * 1000] if self._seen_are_limited() else [])], default=None)
        there: dict[int, SoundKey] = {}
        audible: set[SoundKey] = set()
        for member in members:
            for (stream_type, kind), source in member.session.uplink.published.items():
                stream = member.streams.get(stream_type)
                if kind == "audio" and stream is not None:
                    there.update((producer, (member.user_id, stream_type)) for producer in source.producers)
                    if not stream.audio_muted:
                        audible.add((member.user_id, stream_type))
        self._sounds = there
        self._watch({} if every is None else dict.fromkeys(there, every / 1000))
        for key in [key for key in self._volumes.now if key not in audible]:
            self._volumes.silence(key)
        for member in members:
            if (member.user_id, "main") not in audible:
                self._speakers.silence(now, member.user_id)
        self._speakers.keep(now, (member.user_id for member in members))
        self._tell()
        self._look_who_is_seen()

    def heard(self, level: Level) -> None:
        """The core tells how loud a producer is."""
        key = self._sounds.get(level.producer)
        stream = None if key is None else self._room.stream(*key)
        if key is None or stream is None or stream.audio_muted:
            return
        now = self._clock()
        self._volumes.heard(now, key, level.volume)
        if key[1] == "main":
            self._speakers.heard(now, key[0], speaks=level.speaks, spoken=level.spoken)
            self._follow_the_floor()
        self._tell()

    def _watch(self, wanted: dict[int, float]) -> None:
        for producer in self._watched.keys() - wanted.keys():
            with contextlib.suppress(LookupError):  # it is gone
                self._media.watch_level(producer, None)
        for producer, every in wanted.items():
            if self._watched.get(producer) != every:
                with contextlib.suppress(LookupError):  # it closed just now; its event is on the way
                    self._media.watch_level(producer, every)
        self._watched = wanted

    # --- telling ---

    def _tell(self) -> None:
        for group in tuple(self._groups.values()):
            self._tell_group(group)

    def _tell_group(self, group: _Group) -> None:
        """Tell a group what is news to it, once in its interval; and look again while anything can be heard."""
        if self._groups.get(group.interval) is not group or not group.pace.take(partial(self._tell_group, group)):
            return
        now, seconds = self._clock(), group.interval / 1000
        self._volumes.settle(now, max(LEAST_STALE, 2.5 * max(self._watched.values(), default=0.0)))
        news = group.told.news(self._volumes.now, self._speakers.speaking(now))
        self._follow_the_floor()
        if news is not None:
            self._send(group, news)
        if news is not None or group.told.volumes or group.told.speakers:
            group.pace.rest(seconds)
        if group.told.volumes or group.told.speakers:
            # Of what ends without a word nobody else tells.
            group.pace.take(partial(self._tell_group, group))

    def _send(self, group: _Group, news: News) -> None:
        text = encode_event(_event(news))
        for session in tuple(self._listeners.get(group.interval, {}).values()):
            if session.channel is None:
                continue
            if session.channel.waiting >= BEHIND:
                session.missed_volumes = True
            elif session.missed_volumes:
                self.repeat(session)
            else:
                session.channel.tell_text(text)

    # --- who is seen ---

    def why_unseen(self, user_id: str, stream_type: str) -> str | None:
        """Why a stream's video is not sent to anybody, in words; None when it is."""
        if stream_type != "main" or user_id not in self._unseen:
            return None
        return f"{user_id} is not among the last {self._last_n} who spoke"

    def _cameras(self) -> list[Stream]:
        return [stream for stream in self._room.streams if stream.stream_type == "main" and stream.video]

    def _seen_are_limited(self) -> bool:
        return 0 < self._last_n < sum(not stream.video_muted for stream in self._cameras())

    def _follow_the_floor(self) -> None:
        if self._speakers.holder != self._had_floor:
            self._look_who_is_seen()

    def _look_who_is_seen(self) -> None:
        self._had_floor = self._speakers.holder
        if not self._last_n:
            return
        cameras = self._cameras()
        showing = [stream.user_id for stream in cameras if not stream.video_muted]
        unseen: frozenset[str] = frozenset()
        if len(showing) > self._last_n:
            seen = self._speakers.last(showing, self._last_n)
            unseen = frozenset(stream.user_id for stream in cameras) - seen
        changed = unseen ^ self._unseen
        if changed:
            self._unseen = unseen
            for member in self._room.members:
                member.session.downlink.look_who_is_seen(changed)


def _event(news: News, *, whole: bool = False) -> messages.Volumes:
    return messages.Volumes(
        volumes=[
            messages.Volume(user_id=user_id, stream_type=stream_type, volume=volume)
            for (user_id, stream_type), volume in news.volumes
        ],
        speakers=None if news.speakers is None else list(news.speakers),
        whole=whole,
    )
