"""Figures by room, user and stream: bounded in number, right in sum, whoever comes, goes or calls himself what."""

from __future__ import annotations

from collections import Counter

import pytest
from parlour.media import ProducerNumbers, TransportNumbers
from parlour.media.numbers import Given, Standing
from parlour.metrics.figures import Figures, LinkOf, StreamOf
from parlour.metrics.names import LONGEST, OTHER, RANKED_EVERY, Names, label
from parlour.quality import measured
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry


def transport(number: int, sent: int, drops: dict[str, int] | None = None) -> TransportNumbers:
    return TransportNumbers(
        number, 0, "connected", 0, sent // 2, 0, sent, 20.0, 0, 10**6, None, None, 0.0, 0.0, drops or {}
    )


def producer(number: int, packets: int) -> ProducerNumbers:
    standing = Standing(2, 1, 0, 1, 0.5, 3.0, None, {"bandwidth": 1})
    given = Given(packets * 2, packets * 2000, 0, 0, 0, 0, 0, 0)
    return ProducerNumbers(
        number, 1, "video", "h", packets, packets * 1000, 0, 0.1, 5.0, 0, 0, 0, 0, packets, 0, 0, 3, given, standing
    )


class Rounds:
    """Rooms whose users have a downlink each, with the number of the user."""

    def __init__(self, rooms: int, users: int) -> None:
        self.figures = Figures(rooms, users)
        self.sent: Counter[int] = Counter()

    def round(self, rooms: dict[str, list[int]], more: int = 1000) -> None:
        members = {("1", room): [f"u{user}" for user in users] for room, users in rooms.items()}
        self.figures.begin(members, Counter())
        owners = {}
        for room, users in rooms.items():
            for user in users:
                self.sent[user] += more
                owners[user] = LinkOf(1, room, f"u{user}", "downlink", measured(20, 0))
        rows = [transport(user, self.sent[user], {"paused": self.sent[user] // more}) for user in owners]
        self.figures.add_links(rows, owners, 1.0)

    @property
    def total(self) -> int:
        return sum(room.bytes_out for room in self.figures.rooms.values())


def test_the_largest_rooms_have_series_and_the_rest_is_summed_up() -> None:
    rounds = Rounds(rooms=2, users=3)
    rounds.round({"a": [1], "b": [2, 3, 4], "c": [5, 6], "d": [7]})
    figures = rounds.figures
    assert {room: of.members for (_, room), of in figures.rooms.items()} == {"b": 3, "c": 2, OTHER: 2}
    named = {key[2] for key in figures.links if key[2] != OTHER}
    assert len(named) == 3
    assert rounds.total == 7000
    assert figures.rooms[OTHER, OTHER].bytes_out == 2000
    assert figures.rooms["1", "b"].drops == {"paused": 3}


def test_no_counter_becomes_less_whoever_leaves_and_whoever_gets_a_series() -> None:
    rounds = Rounds(rooms=1, users=1)
    rounds.round({"a": [1, 2, 3], "b": [4]})
    rounds.round({"a": [1], "b": [4]})
    assert rounds.figures.rooms["1", "a"].bytes_out == 4000, "what those sent who left stays"
    rounds.round({"b": [4, 5]})
    assert {room for _, room in rounds.figures.rooms} == {"b", OTHER}, "the room that is gone has no series"
    # What b had before it got its series stays where it was counted.
    assert rounds.figures.rooms["1", "b"].bytes_out == 2000
    assert rounds.figures.rooms[OTHER, OTHER].bytes_out == 2000


def test_a_series_is_kept_until_another_room_is_much_larger_for_some_time() -> None:
    names: Names[str] = Names(1)
    names.follow({"a": 2})
    for _ in range(RANKED_EVERY - 2):
        names.follow({"a": 2, "b": 9, "c": 3})
        assert names.kept == {"a"}
    assert names.follow({"a": 2, "b": 9, "c": 3}) == {"a"}
    assert names.kept == {"b"}
    for _ in range(RANKED_EVERY):
        names.follow({"b": 9, "d": 10})
    assert names.kept == {"b"}, "10 is not much more than 9"


@pytest.mark.parametrize("most", [0, 1, 5])
def test_there_are_never_more_series_than_allowed_whatever_rooms_are_called(most: int) -> None:
    rounds = Rounds(rooms=most, users=most)
    for number in range(50):
        rounds.round({f"room {number} {other}": [number * 100 + other] for other in range(20)})
        assert len(rounds.figures.rooms) <= most + 1
        assert len(rounds.figures.links) <= 2 * most + 1
    assert not most or len(rounds.figures.rooms) == most + 1


def test_who_calls_himself_other_is_one_of_them() -> None:
    figures = Figures(5, 5)
    figures.begin({("1", '"other"'): ["other", "ann"]}, Counter())
    owners = {
        number: LinkOf(1, '"other"', user, "uplink", measured(1, 0)) for number, user in ((1, "other"), (2, "ann"))
    }
    figures.add_links([transport(1, 10), transport(2, 20)], owners, 1.0)
    by_user = {key[1:3]: of for key, of in figures.links.items()}
    assert by_user['"other"', "ann"].row is not None
    assert by_user['"other"', "other"].row is None, "a sum has no state"


def test_streams_are_counted_by_their_layer_and_what_subscribers_get() -> None:
    figures = Figures(5, 5)
    owners = {7: StreamOf(1, "9", "ann", "main")}
    for packets in (10, 25, 25):
        figures.begin({("1", "9"): ["ann"]}, Counter({("1", "9"): 1}))
        figures.add_streams([producer(7, packets)], owners, 2.0)
    (key,) = figures.streams
    assert key == ("1", "9", "ann", "main", "video", "h")
    stream = figures.streams[key]
    assert (stream.counts["packets"], stream.given["packets"]) == (25, 50)
    assert (stream.receiving, stream.thinned, stream.starved, stream.why) == (2, 1, 1, {"bandwidth": 1})
    assert stream.bits == 0, "nothing came in the last round"


HOSTILE = [
    'a"} 1\nparlour_logins_total{result="ok"} 999999\n#',
    "a\\",
    "a\r\nb",
    "\u202egnp.exe",
    "\x1b[2J\x07",
    "\x85\u2028\u2029",
    "日本 👩‍👩‍👧",
    "%s%n{{label}}${__expr}",
    "x" * 10_000,
    "\ud800",
    "",
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_no_name_of_a_user_or_room_makes_a_line_of_its_own_or_breaks_the_text(name: str) -> None:
    from parlour.metrics.links import links, rooms

    figures = Figures(5, 5)
    figures.begin({("1", name): [name]}, Counter())
    figures.add_links([transport(1, 8)], {1: LinkOf(1, name, name, "uplink", measured(1, 0))}, 1.0)

    class Exposed(Collector):
        def collect(self):  # type: ignore[no-untyped-def]
            yield from rooms(figures)
            yield from links(figures)

    registry = CollectorRegistry()
    registry.register(Exposed())
    text = generate_latest(registry).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert "parlour_logins" not in families
    (sample,) = families["parlour_link_sent_bytes"].samples
    assert sample.value == 8
    assert sample.labels == {"app": "1", "room": label(name), "user": label(name), "link": "uplink"}
    assert label(name).isprintable()
    assert len(label(name)) <= LONGEST * 10
