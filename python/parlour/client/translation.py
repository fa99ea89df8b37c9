"""From messages of the protocol to what the application sees: the one place where the two meet."""

from __future__ import annotations

from parlour.client import events
from parlour.protocol import messages as m

ToldEvent = (
    m.PeerJoin
    | m.PeerLeave
    | m.StreamAdded
    | m.StreamUpdated
    | m.StreamRemoved
    | m.MuteChanged
    | m.VideoReceived
    | m.NetworkQuality
    | m.ClientBanned
    | m.ServerStopping
)
"""The protocol's events that are the application's; the others are between the SDK and the server."""


def published_stream(stream: m.StreamInfo) -> events.PublishedStream:
    """A stream."""
    return events.PublishedStream(
        user_id=stream.user_id,
        stream_type=stream.stream_type,
        stream_id=stream.stream_id,
        audio=stream.audio,
        video=stream.video,
        audio_muted=stream.audio_muted,
        video_muted=stream.video_muted,
        small=stream.small,
    )


def translate(
    event: ToldEvent,
) -> events.RoomEvent | events.VideoReceived | events.NetworkQuality | events.ClientBanned | events.ServerStopping:
    """An event."""
    match event:
        case m.PeerJoin():
            return events.PeerJoin(user_id=event.user_id, role=event.role)
        case m.PeerLeave():
            return events.PeerLeave(user_id=event.user_id)
        case m.StreamAdded():
            return events.StreamAdded(stream=published_stream(event.stream))
        case m.StreamUpdated():
            return events.StreamUpdated(stream=published_stream(event.stream))
        case m.StreamRemoved():
            return events.StreamRemoved(user_id=event.user_id, stream_type=event.stream_type, stream_id=event.stream_id)
        case m.MuteChanged():
            return events.MuteChanged(
                user_id=event.user_id,
                stream_type=event.stream_type,
                audio_muted=event.audio_muted,
                video_muted=event.video_muted,
            )
        case m.VideoReceived():
            return events.VideoReceived(
                user_id=event.user_id,
                stream_type=event.stream_type,
                video_type=event.video_type,
                reason=event.reason,
            )
        case m.NetworkQuality():
            return events.NetworkQuality(
                uplink_quality=event.uplink_quality,
                downlink_quality=event.downlink_quality,
                uplink_rtt=event.uplink_rtt,
                uplink_loss=event.uplink_loss,
                downlink_rtt=event.downlink_rtt,
                downlink_loss=event.downlink_loss,
            )
        case m.ClientBanned():
            return events.ClientBanned(reason=event.reason, message=event.message)
        case m.ServerStopping():
            return events.ServerStopping(message=event.message)
