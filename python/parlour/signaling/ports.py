"""What signaling asks of the media core: the part of ``MediaCore`` that it uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from parlour.media import Level, Policed, SourceSent
from parlour.sdp import LocalTransport, RemoteTransport, TrackSpec


class Transport(Protocol):
    """A transport's id and our end of it."""

    @property
    def id(self) -> int:
        """Its id."""

    @property
    def local(self) -> LocalTransport:
        """Our end."""


class Media(Protocol):
    """Commands that return at once; see ``parlour.media.MediaCore``."""

    def pick_shard(self) -> int:
        """The shard for a new room. Raises MediaFullError when none takes one."""

    def has_room(self, shard: int, transports: int) -> bool:
        """Whether a shard can take so many transports more."""

    def create_transport(
        self,
        shard: int,
        *,
        on_closed: Callable[[str], None] | None = None,
        on_policed: Callable[[Policed], None] | None = None,
        on_source: Callable[[SourceSent], None] | None = None,
        on_level: Callable[[Level], None] | None = None,
        on_silent: Callable[[], None] | None = None,
    ) -> Transport:
        """Make a transport that waits for its peer. Raises MediaFullError."""

    def restart_ice(self, transport: int) -> Transport:
        """Give it new credentials; the peer's come with ``set_remote``."""

    def set_remote(self, transport: int, remote: RemoteTransport) -> None:
        """Say who the peer is."""

    def remove_transport(self, transport: int) -> None:
        """Close it with its producers and consumers."""

    def allocate_ssrc(self, transport: int) -> int:
        """An SSRC that the transport never sent with."""

    def add_producer(self, transport: int, track: TrackSpec, *, rid: str = "") -> int:
        """Accept an incoming track, or one encoding of it."""

    def remove_producer(self, producer: int) -> None:
        """Stop it and its consumers."""

    def watch_level(self, producer: int, every: float | None) -> None:
        """Tell how loud it is, every so many seconds; None: no more."""

    def add_consumer(
        self,
        transport: int,
        producers: Sequence[int],
        track: TrackSpec,
        *,
        cname: str,
        source: int = 0,
        rank: int = 0,
    ) -> int:
        """Forward one of the encodings of a track, the biggest first: the one at the place ``source``."""

    def set_consumer_source(self, consumer: int, source: int, temporal: int | None) -> None:
        """Forward another encoding, from its next keyframe on; of its frames those up to that temporal layer."""

    def set_consumer_paused(self, consumer: int, paused: bool) -> None:
        """Forward nothing of it, or go on."""

    def remove_consumer(self, consumer: int) -> None:
        """Stop forwarding."""
