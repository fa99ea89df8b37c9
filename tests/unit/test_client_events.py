"""The events of the Python SDK are its own: what an application writes against stays, whatever the protocol becomes."""

from dataclasses import fields, is_dataclass
from typing import get_args

import msgspec
import pytest
from parlour.client import events
from parlour.client.translation import ToldEvent, translate
from parlour.client.volumes import VolumeView
from parlour.protocol import messages as m

STREAM = m.StreamInfo(
    user_id="ann", stream_type="auxiliary", stream_id="7", audio=False, video=True, audio_muted=False, video_muted=True
)
OF_THE_WIRE = [
    m.PeerJoin(user_id="ann", role="audience"),
    m.PeerLeave(user_id="ann"),
    m.StreamAdded(stream=STREAM),
    m.StreamUpdated(stream=STREAM),
    m.StreamRemoved(user_id="ann", stream_type="auxiliary", stream_id="7"),
    m.MuteChanged(user_id="ann", stream_type="auxiliary", audio_muted=True, video_muted=False),
    m.VideoReceived(user_id="ann", stream_type="main", video_type="small", reason="asked for"),
    m.NetworkQuality(
        uplink_quality=1, downlink_quality=4, uplink_rtt=20, uplink_loss=0.5, downlink_rtt=380, downlink_loss=9.5
    ),
    m.ClientBanned(reason="kick", message="the same user entered the room again"),
    m.ServerStopping(message="the server is going down"),
]


def test_the_public_events_and_their_fields_are_these():
    told = {kind.__name__: [field.name for field in fields(kind)] for kind in get_args(events.ClientEvent)}
    assert told == {
        "PeerJoin": ["user_id", "role"],
        "PeerLeave": ["user_id"],
        "StreamAdded": ["stream"],
        "StreamUpdated": ["stream"],
        "StreamRemoved": ["user_id", "stream_type", "stream_id"],
        "MuteChanged": ["user_id", "stream_type", "audio_muted", "video_muted"],
        "VideoReceived": ["user_id", "stream_type", "video_type", "reason"],
        "NetworkQuality": [
            "uplink_quality", "downlink_quality", "uplink_rtt", "uplink_loss", "downlink_rtt", "downlink_loss",
        ],
        "Volumes": ["volumes", "speakers"],
        "ClientBanned": ["reason", "message"],
        "ServerStopping": ["message"],
        "ConnectionChanged": ["state"],
        "Failed": ["error"],
    }  # fmt: skip
    assert [field.name for field in fields(events.PublishedStream)] == [
        "user_id", "stream_type", "stream_id", "audio", "video", "audio_muted", "video_muted", "small",
    ]  # fmt: skip
    assert [field.name for field in fields(events.Volume)] == ["user_id", "stream_type", "volume"]
    assert set(events.__all__) == {*told, "PublishedStream", "Volume", "RoomEvent", "ClientEvent"}


@pytest.mark.parametrize("message", OF_THE_WIRE, ids=lambda message: type(message).__name__)
def test_an_event_of_the_protocol_is_told_whole_in_a_class_of_the_sdk(message):
    event = translate(message)
    assert type(event).__name__ == type(message).__name__
    assert type(event).__module__ == "parlour.client.events"
    assert as_values(event) == msgspec.structs.asdict(message) | (
        {"stream": msgspec.structs.asdict(STREAM)} if hasattr(message, "stream") else {}
    )


def test_every_event_of_the_protocol_is_translated_or_between_sdk_and_server():
    assert {type(message) for message in OF_THE_WIRE} == set(get_args(ToldEvent))
    between = {m.DownlinkOffer, m.EncodingsWanted, m.MediaFailed, m.IceRestartWanted}
    of_differences = {m.Volumes}
    assert set(get_args(m.AnyEvent)) - set(get_args(ToldEvent)) == between | of_differences


def test_volumes_are_told_whole_though_the_wire_has_their_differences_alone():
    def loud(volume, user_id="ann", stream_type="main"):
        return m.Volume(user_id=user_id, volume=volume, stream_type=stream_type)

    def told(message):
        event = view.apply(message)
        return [(one.user_id, one.stream_type, one.volume) for one in event.volumes], event.speakers

    view = VolumeView()
    ann, bob, screen = ("ann", "main", 40), ("bob", "main", 60), ("ann", "auxiliary", 40)
    assert told(m.Volumes(volumes=[loud(40)], speakers=["ann"], whole=True)) == ([ann], ("ann",))
    assert told(m.Volumes(volumes=[loud(60, "bob")])) == ([bob, ann], ("ann",))
    assert told(m.Volumes(volumes=[loud(40, "ann", "auxiliary")])) == ([bob, screen, ann], ("ann",))
    assert told(m.Volumes(volumes=[loud(0), loud(0, "cat")], speakers=[])) == ([bob, screen], ())
    assert told(m.Volumes(volumes=[loud(40)], whole=True)) == ([ann], ())


def as_values(thing):
    """A dataclass and those in it as dictionaries; nothing of the wire is in it."""
    assert not isinstance(thing, msgspec.Struct)
    if is_dataclass(thing):
        return {field.name: as_values(getattr(thing, field.name)) for field in fields(thing)}
    return thing
