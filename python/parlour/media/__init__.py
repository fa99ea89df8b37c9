"""The media core as the control plane uses it: transports, tracks and their events on the event loop."""

from parlour.media.core import Level, MediaCore, MediaFullError, Policed, SourceSent, TransportHandle
from parlour.media.counters import MediaCounters

__all__ = ["Level", "MediaCore", "MediaCounters", "MediaFullError", "Policed", "SourceSent", "TransportHandle"]
