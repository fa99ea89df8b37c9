"""The media core as the control plane uses it: transports, tracks and their events on the event loop."""

from parlour.media.core import MediaCore, MediaFullError, Policed, TransportHandle
from parlour.media.snapshot import Snapshot

__all__ = ["MediaCore", "MediaFullError", "Policed", "Snapshot", "TransportHandle"]
