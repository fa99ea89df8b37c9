"""The media core as the control plane uses it: transports, tracks and their events on the event loop."""

from parlour.media.core import MediaCore
from parlour.media.counters import MediaCounters
from parlour.media.model import Level, MediaFullError, Policed, SourceSent, TcpLimits, TransportHandle
from parlour.media.numbers import MediaNumbers, ProducerNumbers, ShardNumbers, TransportNumbers

__all__ = [
    "Level",
    "MediaCore",
    "MediaCounters",
    "MediaFullError",
    "MediaNumbers",
    "Policed",
    "ProducerNumbers",
    "ShardNumbers",
    "SourceSent",
    "TcpLimits",
    "TransportHandle",
    "TransportNumbers",
]
