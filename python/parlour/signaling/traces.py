"""What signaling tells whoever traces joins; by default nobody does."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parlour.signaling.channel import Channel
    from parlour.signaling.session import Session


class Traces:
    """Follows nothing. What follows joins overrides it."""

    def request(self, channel: Channel, kind: str) -> AbstractContextManager[None]:
        """Around the carrying out of a request."""
        return nullcontext()

    def publishing(self, session: Session) -> None:
        """A session publishes: its uplink may have a transport now."""

    def subscribing(self, session: Session) -> None:
        """A session subscribes: its downlink may have a transport now."""

    def closed(self, channel: Channel) -> None:
        """A socket is gone."""
