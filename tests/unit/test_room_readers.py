"""Readers of a room's events: each in order and complete by itself, and what becomes of one that is too slow."""

from __future__ import annotations

from parlour.rooms import (
    MemberJoined,
    MemberLeft,
    Room,
    RoomLimits,
    Rooms,
    RoomSnapshot,
    StreamPublished,
    StreamUnpublished,
    read_room_id,
)

ROOM_ID = read_room_id(7, string_room=False)


def room() -> Room:
    return Room(ROOM_ID, RoomLimits())


def test_each_reader_gets_every_event_in_order_whenever_it_takes() -> None:
    subject = room()
    eager, lazy = subject.read(limit=8), subject.read(limit=8)
    subject.enter("ann", "s1")
    assert eager.take() == [MemberJoined("ann", "anchor")]
    subject.publish("ann", "s1", "main", stream_id="1", audio=True, video=True)
    stream = subject.stream("ann", "main")
    assert stream is not None
    subject.leave("ann", "s1")
    later = [StreamPublished(stream), StreamUnpublished(stream), MemberLeft("ann")]
    assert eager.take() == later
    assert lazy.take() == [MemberJoined("ann", "anchor"), *later]
    assert eager.take() == lazy.take() == []


def test_a_reader_that_is_too_slow_goes_on_from_the_room_as_it_stands_and_holds_up_nobody() -> None:
    subject = room()
    slow, other = subject.read(limit=2), subject.read(limit=8)
    for number in range(4):
        subject.enter(f"user{number}", f"s{number}")
    assert len(slow) == 0, "what it lost is not kept"
    everybody = tuple((f"user{number}", "anchor") for number in range(4))
    assert slow.take() == RoomSnapshot(everybody, (), missed=4)
    assert other.take() == [MemberJoined(f"user{number}", "anchor") for number in range(4)]
    subject.leave("user0", "s0")
    assert slow.take() == other.take() == [MemberLeft("user0")]


def test_a_change_is_kept_whole_or_not_at_all() -> None:
    subject = room()
    subject.enter("ann", "s1")
    subject.publish("ann", "s1", "main", stream_id="1", audio=True, video=False)
    reader = subject.read(limit=2)
    assert isinstance(reader.take(), RoomSnapshot)
    subject.enter("ann", "s2")  # removed, unpublished, left, joined
    assert reader.take() == RoomSnapshot((("ann", "anchor"),), (), missed=4)


def test_who_begins_in_a_room_with_people_gets_the_room_first() -> None:
    subject = room()
    subject.enter("ann", "s1", "audience")
    reader = subject.read(limit=8)
    assert reader.take() == RoomSnapshot((("ann", "audience"),), (), missed=0)
    assert reader.take() == []


def test_a_reader_is_called_once_until_it_takes_and_not_after_it_was_closed() -> None:
    subject, calls = room(), []
    reader = subject.read(limit=8, on_news=lambda: calls.append("news"))
    assert not calls
    subject.enter("ann", "s1")
    subject.enter("ben", "s2")
    assert calls == ["news"]
    reader.take()
    subject.leave("ann", "s1")
    assert calls == ["news", "news"]
    reader.close()
    reader.close()
    subject.leave("ben", "s2")
    assert calls == ["news", "news"]
    assert reader.take() == []


def test_a_listener_hears_of_every_room_before_anybody_is_in_it() -> None:
    rooms, heard = Rooms(RoomLimits()), []
    rooms.listen(lambda app, subject: heard.append((app, subject.room_id, subject.read(limit=8))))
    rooms.open(1, ROOM_ID).enter("ann", "s1")
    rooms.open(1, ROOM_ID).enter("ben", "s2")
    rooms.open(2, ROOM_ID)
    assert [(app, room_id) for app, room_id, _ in heard] == [(1, ROOM_ID), (2, ROOM_ID)]
    assert heard[0][2].take() == [MemberJoined("ann", "anchor"), MemberJoined("ben", "anchor")]
