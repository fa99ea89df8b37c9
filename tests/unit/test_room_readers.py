"""Readers of a room's events: each in order and complete by itself, and what becomes of one that is too slow."""

from __future__ import annotations

import pytest
from parlour.rooms import (
    MemberJoined,
    MemberLeft,
    ReaderFailedError,
    Room,
    RoomClosed,
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
    subject.enter("ann", "s1", "audience", "live")
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


def test_a_reader_that_fails_is_cut_off_and_told_and_the_change_goes_on() -> None:
    faults: list[tuple[str, Exception]] = []
    subject = Room(ROOM_ID, RoomLimits(), lambda who, fault: faults.append((who, fault)))
    broken = RuntimeError("broken")

    def fail() -> None:
        raise broken

    before, failing, behind = (subject.read(limit=8, on_news=news) for news in (None, fail, None))
    assert subject.enter("ann", "s1") == [MemberJoined("ann", "anchor")]
    subject.enter("ben", "s2")
    assert faults == [("a reader of room 7", broken)], "it is told once"
    assert before.take() == behind.take() == [MemberJoined("ann", "anchor"), MemberJoined("ben", "anchor")]
    assert len(failing) == 0
    with pytest.raises(ReaderFailedError) as told:
        failing.take()
    assert told.value.__cause__ is broken


def test_a_listener_that_fails_keeps_nobody_out_of_the_room() -> None:
    faults: list[tuple[str, Exception]] = []
    rooms, heard, broken = Rooms(RoomLimits(), lambda who, fault: faults.append((who, fault))), [], KeyError("broken")

    def fail(app: int, subject: Room) -> None:
        raise broken

    rooms.listen(fail)
    rooms.listen(lambda app, subject: heard.append(subject.read(limit=8)))
    rooms.open(1, ROOM_ID).enter("ann", "s1")
    assert faults == [("a listener for rooms, at room 7", broken)]
    assert heard[0].take() == [MemberJoined("ann", "anchor")]


def test_the_last_event_of_a_room_is_that_it_is_closed() -> None:
    rooms, calls = Rooms(RoomLimits()), []
    subject = rooms.open(1, ROOM_ID)
    quick, slow = subject.read(limit=8, on_news=lambda: calls.append("news")), subject.read(limit=2)
    subject.enter("ann", "s1")
    quick.take()
    subject.leave("ann", "s1")
    assert rooms.close_if_empty(1, ROOM_ID)
    assert calls == ["news", "news"]
    assert quick.take() == [MemberLeft("ann"), RoomClosed()]
    assert slow.take() == RoomSnapshot((), (), missed=3, closed=True)
    rooms.open(1, ROOM_ID).enter("ben", "s2")
    assert quick.take() == slow.take() == [], "another room of the same name is another one's to read"


def test_a_room_that_nobody_could_enter_is_closed_for_its_readers_too() -> None:
    rooms, heard = Rooms(RoomLimits()), []
    rooms.listen(lambda app, subject: heard.append(subject.read(limit=8)))
    rooms.open(1, ROOM_ID)
    assert rooms.close_if_empty(1, ROOM_ID)
    assert heard[0].take() == [RoomClosed()]
