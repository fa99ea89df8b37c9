"""The client's picture of its room, and how it catches up with a snapshot."""

from parlour.client.events import MuteChanged, PeerJoin, PeerLeave, StreamAdded, StreamRemoved
from parlour.client.room import RoomView
from parlour.client.translation import published_stream
from parlour.protocol import messages as m


def stream(user, *, id="1", audio=True, video=True, muted=False):
    return m.StreamInfo(user_id=user, stream_type="main", stream_id=id, audio=audio, video=video, video_muted=muted)


def snapshot(users, streams):
    return m.Snapshot(members=[m.Member(user_id=user) for user in users], streams=streams)


def follow(view, events):
    for event in events:
        view.apply(event)
    return [type(event).__name__ for event in events]


def test_a_first_snapshot_gives_members_then_streams_then_what_is_muted():
    view = RoomView()
    events = view.catch_up(snapshot(["ann", "ben"], [stream("ann", muted=True), stream("ben")]))
    assert follow(view, events) == ["PeerJoin", "PeerJoin", "StreamAdded", "StreamAdded", "MuteChanged"]
    assert list(view.members) == ["ann", "ben"]
    assert view.streams["ann", "main"].video_muted


def test_what_changed_meanwhile_is_told_once_and_in_order():
    view = RoomView()
    follow(view, view.catch_up(snapshot(["ann", "ben", "cat"], [stream("ann"), stream("ben"), stream("cat")])))
    later = snapshot(["ann", "cat", "dan"], [stream("ann", muted=True), stream("cat", id="2"), stream("dan")])
    events = view.catch_up(later)
    assert follow(view, events) == [
        "StreamRemoved", "StreamRemoved", "PeerLeave", "PeerJoin", "StreamAdded", "StreamAdded", "MuteChanged",
    ]  # fmt: skip
    assert [event.user_id for event in events[:3]] == ["ben", "cat", "ben"]
    assert view.catch_up(later) == []


def test_a_track_that_came_is_an_update():
    view = RoomView()
    follow(view, view.catch_up(snapshot(["ann"], [stream("ann", video=False)])))
    assert follow(view, view.catch_up(snapshot(["ann"], [stream("ann")]))) == ["StreamUpdated"]
    assert view.streams["ann", "main"].video


def test_events_keep_the_picture():
    view = RoomView()
    events = [
        PeerJoin(user_id="ann"),
        StreamAdded(stream=published_stream(stream("ann"))),
        MuteChanged(user_id="ann", stream_type="main", audio_muted=True, video_muted=False),
    ]
    follow(view, events)
    assert view.streams["ann", "main"].audio_muted
    follow(view, [StreamRemoved(user_id="ann", stream_type="main", stream_id="1"), PeerLeave(user_id="ann")])
    assert not view.members
    assert not view.streams
