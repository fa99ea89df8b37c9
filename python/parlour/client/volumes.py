"""How loud everybody is, as the server's differences tell it."""

from __future__ import annotations

from parlour.client import events
from parlour.protocol import messages as m
from parlour.protocol.words import StreamType


class VolumeView:
    """What is known now."""

    def __init__(self) -> None:
        self._volumes: dict[tuple[str, StreamType], int] = {}
        self._speakers: tuple[str, ...] = ()

    def apply(self, message: m.Volumes) -> events.Volumes:
        """Follow a message. Returns how it is since then."""
        if message.whole:
            self._volumes.clear()
        for one in message.volumes:
            if one.volume > 0:
                self._volumes[one.user_id, one.stream_type] = one.volume
            else:
                self._volumes.pop((one.user_id, one.stream_type), None)
        if message.speakers is not None:
            self._speakers = tuple(message.speakers)
        loudest = sorted(self._volumes.items(), key=lambda item: (-item[1], item[0]))
        volumes = (
            events.Volume(user_id=user_id, stream_type=stream_type, volume=volume)
            for (user_id, stream_type), volume in loudest
        )
        return events.Volumes(volumes=tuple(volumes), speakers=self._speakers)
