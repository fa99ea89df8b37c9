"""The media core as the control plane uses it: transports, tracks and their events on the event loop."""

from parlour.media.core import MediaCore, TransportHandle
from parlour.media.snapshot import Snapshot

__all__ = ["MediaCore", "Snapshot", "TransportHandle"]
