"""Rooms: the invariants that hold after any sequence of calls, and the refusals one by one."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from parlour.errors import RtcError
from parlour.rooms import (
    MemberJoined,
    MemberLeft,
    MemberRemoved,
    MuteChanged,
    RoleChanged,
    Room,
    RoomEvent,
    RoomId,
    RoomLimits,
    RoomReader,
    Rooms,
    RoomSnapshot,
    Stream,
    StreamChanged,
    StreamPublished,
    StreamUnpublished,
    read_room_id,
)

LIMITS = RoomLimits(max_members=4, max_audience=20, max_publishers=2, resume_timeout=90.0)


def room(limits: RoomLimits = LIMITS) -> Room:
    return Room(read_room_id(7, string_room=False), limits)


class Listener:
    """Somebody who knows the room from its events alone."""

    def __init__(self) -> None:
        self.members: list[str] = []
        self.streams: dict[tuple[str, str], Stream] = {}

    def take(self, reader: RoomReader) -> None:
        match reader.take():
            case RoomSnapshot(members, streams):
                self.members = [user_id for user_id, _ in members]
                self.streams = {(stream.user_id, stream.stream_type): stream for stream in streams}
            case events:
                self.hear(events)

    def hear(self, events: list[RoomEvent]) -> None:
        for event in events:
            match event:
                case MemberJoined(user_id):
                    assert user_id not in self.members
                    self.members.append(user_id)
                case MemberLeft(user_id):
                    assert not [key for key in self.streams if key[0] == user_id], "a stream outlived its user"
                    self.members.remove(user_id)
                case StreamPublished(stream):
                    assert stream.user_id in self.members
                    assert (stream.user_id, stream.stream_type) not in self.streams
                    self.streams[stream.user_id, stream.stream_type] = stream
                case StreamChanged(stream) | MuteChanged(stream):
                    assert (stream.user_id, stream.stream_type) in self.streams
                    self.streams[stream.user_id, stream.stream_type] = stream
                case StreamUnpublished(stream):
                    assert self.streams.pop((stream.user_id, stream.stream_type)) == stream
                case MemberRemoved(user_id):
                    assert user_id in self.members


USERS = st.sampled_from(["ann", "bob", "cyd", "dan", "eve", "fay"])
TYPES = st.sampled_from(["main", "auxiliary"])


class RoomMachine(RuleBasedStateMachine):
    """Any sequence of calls, also wrong ones: state, events and caps stay consistent."""

    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.room = room()
        self.listener = Listener()
        self.reader, self.read = self.room.read(limit=16), Listener()
        self.slow_reader, self.slowly_read = self.room.read(limit=4), Listener()
        self.now = 0.0
        self.count = 0

    def tell(self, change: object) -> None:
        """Run a change; a refusal must leave the room as it was."""
        before = [(member.user_id, member.session, dict(member.streams)) for member in self.room.members]
        try:
            events = change()  # type: ignore[operator]
        except RtcError:
            assert before == [(m.user_id, m.session, dict(m.streams)) for m in self.room.members]
            return
        self.listener.hear(events or [])

    @rule(target=sessions, user=USERS, role=st.sampled_from(["anchor", "anchor", "audience"]))
    def enter(self, user: str, role: str) -> tuple[str, str]:
        self.count += 1
        session = f"s{self.count}"
        self.tell(lambda: self.room.enter(user, session, role))  # type: ignore[arg-type]
        return user, session

    @rule(who=sessions)
    def leave(self, who: tuple[str, str]) -> None:
        self.tell(lambda: self.room.leave(*who))

    @rule(user=USERS)
    def remove(self, user: str) -> None:
        self.tell(lambda: self.room.remove(user, "banned"))

    @rule(who=sessions, kind=TYPES, audio=st.booleans(), video=st.booleans(), muted=st.booleans())
    def publish(self, who: tuple[str, str], kind: str, audio: bool, video: bool, muted: bool) -> None:
        self.count += 1
        stream_id = f"id{self.count}"
        self.tell(
            lambda: self.room.publish(
                *who,
                kind,
                stream_id=stream_id,
                audio=audio,
                video=video,
                audio_muted=muted,
                video_muted=muted,  # type: ignore[arg-type]
            )
        )

    @rule(who=sessions, kind=TYPES)
    def unpublish(self, who: tuple[str, str], kind: str) -> None:
        self.tell(lambda: self.room.unpublish(*who, kind))  # type: ignore[arg-type]

    @rule(who=sessions, kind=TYPES, audio=st.none() | st.booleans(), video=st.none() | st.booleans())
    def mute(self, who: tuple[str, str], kind: str, audio: bool | None, video: bool | None) -> None:
        self.tell(lambda: self.room.mute(*who, kind, audio=audio, video=video))  # type: ignore[arg-type]

    @rule(who=sessions)
    def lose(self, who: tuple[str, str]) -> None:
        self.tell(lambda: self.room.socket_lost(*who, self.now))

    @rule(who=sessions)
    def find(self, who: tuple[str, str]) -> None:
        self.tell(lambda: self.room.socket_back(*who))

    @rule(seconds=st.floats(0.0, 100.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for member in self.room.expired(self.now):
            assert member.lost_at is not None
            assert self.now - member.lost_at >= LIMITS.resume_timeout
            self.tell(lambda member=member: self.room.leave(member.user_id, member.session))
        assert self.room.expired(self.now) == []

    @invariant()
    def the_listener_knows_what_the_room_knows(self) -> None:
        assert self.listener.members == [member.user_id for member in self.room.members]
        assert self.listener.streams == {(s.user_id, s.stream_type): s for s in self.room.streams}

    @invariant()
    def a_reader_that_keeps_up_knows_it_too_from_events_alone(self) -> None:
        taken = self.reader.take()
        assert not isinstance(taken, RoomSnapshot)
        self.read.hear(taken)
        assert self.read.members == [member.user_id for member in self.room.members]
        assert self.read.streams == {(s.user_id, s.stream_type): s for s in self.room.streams}

    @rule()
    def a_slow_reader_knows_it_whenever_it_reads(self) -> None:
        self.slowly_read.take(self.slow_reader)
        assert self.slowly_read.members == [member.user_id for member in self.room.members]
        assert self.slowly_read.streams == {(s.user_id, s.stream_type): s for s in self.room.streams}

    @invariant()
    def what_waits_is_bounded(self) -> None:
        assert len(self.slow_reader) <= 4

    @invariant()
    def caps_hold(self) -> None:
        assert len(self.room) <= LIMITS.max_members
        assert self.room.publishers <= LIMITS.max_publishers

    @invariant()
    def streams_make_sense(self) -> None:
        streams = list(self.room.streams)
        assert len({stream.stream_id for stream in streams}) == len(streams)
        for stream in streams:
            assert stream.audio or stream.video
            assert stream.audio or not stream.audio_muted
            assert stream.video or not stream.video_muted
        assert all(not member.streams or member.role == "anchor" for member in self.room.members)


RoomMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRoomMachine = RoomMachine.TestCase


def test_the_same_user_entering_again_removes_the_earlier_session_first() -> None:
    subject = room()
    subject.enter("ann", "s1")
    [published] = subject.publish("ann", "s1", "main", stream_id="x", audio=True, video=True)
    assert isinstance(published, StreamPublished)
    assert subject.enter("ann", "s2") == [
        MemberRemoved("ann", "s1", "kick"),
        StreamUnpublished(published.stream),
        MemberLeft("ann"),
        MemberJoined("ann", "anchor"),
    ]
    assert subject.leave("ann", "s1") == [], "the earlier session may not take the later one out"


def test_one_member_too_many_is_refused_but_a_returning_one_is_not() -> None:
    subject = room()
    for user in "abcd":
        subject.enter(user, f"s{user}")
    with pytest.raises(RtcError) as refusal:
        subject.enter("e", "se")
    assert (refusal.value.code, refusal.value.extra_code) == (0x4004, -102052)
    subject.enter("a", "again")


def test_one_publisher_too_many_is_refused_and_unpublish_frees_the_slot_while_mute_does_not() -> None:
    subject = room()
    for user in "abc":
        subject.enter(user, user)
    for user in "ab":
        subject.publish(user, user, "main", stream_id=user, audio=True, video=False)
    subject.publish("a", "a", "auxiliary", stream_id="a2", audio=False, video=True)
    subject.mute("a", "a", "main", audio=True)
    with pytest.raises(RtcError) as refusal:
        subject.publish("c", "c", "main", stream_id="c", audio=True, video=True)
    assert (refusal.value.code, refusal.value.extra_code) == (0x1001, -102052)
    subject.unpublish("b", "b", "main")
    subject.publish("c", "c", "main", stream_id="c", audio=True, video=True)


def test_a_changed_stream_keeps_its_id() -> None:
    subject = room()
    subject.enter("ann", "s")
    subject.publish("ann", "s", "main", stream_id="first", audio=True, video=False)
    assert subject.publish("ann", "s", "main", stream_id="second", audio=True, video=True, video_muted=True) == [
        StreamChanged(Stream("ann", "main", "first", True, True, False, True)),
        MuteChanged(Stream("ann", "main", "first", True, True, False, True)),
    ]


def test_a_small_stream_that_appears_or_goes_is_told_and_is_only_there_with_a_video() -> None:
    subject = room()
    subject.enter("ann", "s")

    def publish(*, video: bool, small: bool) -> list[RoomEvent]:
        return subject.publish("ann", "s", "main", stream_id="x", audio=True, video=video, small=small)

    publish(video=True, small=False)
    assert publish(video=True, small=True) == [StreamChanged(Stream("ann", "main", "x", True, True, small=True))]
    assert publish(video=True, small=True) == []
    assert publish(video=True, small=False) == [StreamChanged(Stream("ann", "main", "x", True, True))]
    assert publish(video=False, small=True) == [StreamChanged(Stream("ann", "main", "x", True, False))]


@pytest.mark.parametrize("value", [1, 123, 4294967294])
def test_a_numeric_room_id_is_good(value: int) -> None:
    assert read_room_id(value, string_room=False) == RoomId(str(value), string=False)


@pytest.mark.parametrize(
    "value", ["1", "a b!#$%&()+-:;<=.>?@[]^_{}|~,", "x" * 64, "../../etc/passwd".replace("/", ".")]
)
def test_a_string_room_id_is_good(value: str) -> None:
    assert read_room_id(value, string_room=True) == RoomId(value, string=True)


@pytest.mark.parametrize(
    ("value", "string_room"),
    [
        (0, False), (-1, False), (4294967295, False), (2**70, False), (True, False), (1.5, False), ("123", False),
        ("", False), (None, False), (123, True), ("", True), ("x" * 65, True), ("a/b", True), ("a\\b", True),
        ("a\nb", True), ("a\r\nb", True), ("a\0b", True), ("a'b", True), ('a"b', True), ("é", True),
        ("raum\u202e", True), ("а", True),  # Cyrillic
        ("`id`", True), ("x" * 65536, True), (None, True), ([], True),
    ],
)  # fmt: skip
def test_a_bad_room_id_is_refused_with_10012(value: object, string_room: bool) -> None:
    with pytest.raises(RtcError) as refusal:
        read_room_id(value, string_room=string_room)
    assert (refusal.value.code, refusal.value.extra_code) == (0x4004, -10012)
    assert len(refusal.value.message) < 300, "what was sent is not echoed at length"
    assert refusal.value.message.isprintable()


def test_numeric_and_string_rooms_of_the_same_text_are_two_rooms_and_apps_do_not_meet() -> None:
    rooms = Rooms(LIMITS)
    number, text = read_room_id(123, string_room=False), read_room_id("123", string_room=True)
    rooms.open(1, number).enter("ann", "s1")
    rooms.open(1, text).enter("ann", "s2")
    rooms.open(2, number).enter("ann", "s3")
    assert len(rooms) == 3
    one = rooms.open(1, number)
    assert not rooms.close_if_empty(1, number)
    one.leave("ann", "s1")
    assert rooms.close_if_empty(1, number)
    assert rooms.get(1, number) is None
    assert rooms.get(1, text) is not None


def test_a_lost_socket_keeps_its_user_for_the_resume_timeout() -> None:
    subject = room()
    subject.enter("ann", "s1")
    subject.socket_lost("ann", "s1", 100.0)
    assert subject.expired(189.9) == []
    subject.socket_back("ann", "s1")
    assert subject.expired(1000.0) == []
    subject.socket_lost("ann", "s1", 1000.0)
    assert [member.user_id for member in subject.expired(1090.0)] == ["ann"]


def live_room() -> Room[str]:
    subject = room()
    subject.enter("ann", "s1", "anchor", "live")
    return subject


def test_the_audience_of_a_live_room_is_no_anchor_and_publishes_nothing() -> None:
    subject = live_room()
    assert subject.enter("bob", "s2", "audience", "live") == [MemberJoined("bob", "audience")]
    assert [member.user_id for member in subject.anchors] == ["ann"]
    with pytest.raises(RtcError, match="audience"):
        subject.publish("bob", "s2", "main", stream_id="x", audio=True, video=True)
    assert subject.leave("bob", "s2") == [MemberLeft("bob", "audience")]


def test_who_becomes_an_anchor_may_publish_and_who_becomes_audience_publishes_nothing_any_more() -> None:
    subject = live_room()
    subject.enter("bob", "s2", "audience", "live")
    assert subject.switch_role("bob", "s2", "anchor") == [RoleChanged("bob", "anchor")]
    assert subject.switch_role("bob", "s2", "anchor") == [], "said twice"
    [published] = subject.publish("bob", "s2", "main", stream_id="x", audio=True, video=True)
    assert isinstance(published, StreamPublished)
    assert subject.switch_role("bob", "s2", "audience") == [
        StreamUnpublished(published.stream),
        RoleChanged("bob", "audience"),
    ]
    assert (list(subject.streams), subject.publishers) == ([], 0)
    assert [member.user_id for member in subject.anchors] == ["ann"]
    with pytest.raises(RtcError) as refusal:
        subject.switch_role("bob", "another session", "anchor")
    assert refusal.value.code == 0x1001


def test_a_room_is_of_the_scene_of_who_opened_it_and_rtc_has_no_roles() -> None:
    subject = live_room()
    with pytest.raises(RtcError, match="opened in the mode live"):
        subject.enter("bob", "s2", "anchor", "rtc")
    call = room()
    with pytest.raises(RtcError, match="in the mode live only"):
        call.enter("ann", "s1", "audience", "rtc")
    call.enter("ann", "s1")
    with pytest.raises(RtcError, match="no roles"):
        call.switch_role("ann", "s1", "audience")


def test_a_live_room_takes_more_than_a_call_does_and_not_more_than_its_own_limit() -> None:
    subject = live_room()
    for number in range(LIMITS.max_audience - 1):
        subject.enter(f"user-{number}", "s", "audience", "live")
    with pytest.raises(RtcError) as refusal:
        subject.enter("late", "s", "audience", "live")
    assert (refusal.value.code, refusal.value.extra_code) == (0x4004, -102052)


def test_a_live_room_has_no_more_anchors_than_a_call_has_members_and_a_refusal_puts_nobody_out() -> None:
    subject = live_room()
    for number in range(LIMITS.max_members - 1):
        subject.enter(f"anchor-{number}", "s", "anchor", "live")
    subject.enter("bob", "s2", "audience", "live")
    with pytest.raises(RtcError) as refusal:
        subject.switch_role("bob", "s2", "anchor")
    assert (refusal.value.code, refusal.value.extra_code) == (0x404A, -102052)
    with pytest.raises(RtcError) as refusal:
        subject.enter("bob", "s3", "anchor", "live")
    assert (refusal.value.code, refusal.value.extra_code) == (0x4004, -102052)
    assert subject.member("bob", "s2").role == "audience", "where it was"
    assert subject.enter("ann", "s9", "anchor", "live")[-1] == MemberJoined("ann", "anchor"), "who is one comes back"
    subject.leave("ann", "s9")
    assert subject.switch_role("bob", "s2", "anchor") == [RoleChanged("bob", "anchor")]
