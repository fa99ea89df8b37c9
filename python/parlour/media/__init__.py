"""The media core as the control plane uses it: transports, tracks and their events on the event loop."""

from parlour.media.core import Limited, MediaCore, MediaFullError, Policed, TransportHandle
from parlour.media.counters import MediaCounters

__all__ = ["Limited", "MediaCore", "MediaCounters", "MediaFullError", "Policed", "TransportHandle"]
