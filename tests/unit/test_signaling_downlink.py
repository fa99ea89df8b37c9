"""The downlink's negotiation: m-lines used again, one offer at a time, consumers only for what was taken."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from parlour.errors import RtcError
from parlour.media import SourceSent
from parlour.protocol.messages import DownlinkOffer
from parlour.signaling.downlink import MAX_LINES, REMEMBERED

from tests.unit.downlink_client import H264, Client, answer_to


def mids(offer: DownlinkOffer) -> dict[str, str]:
    return {track.mid: track.user_id for track in offer.tracks}


def test_a_consumer_comes_with_the_answer_and_only_for_what_it_takes() -> None:
    client = Client()
    client.publish("ann")
    client.publish("ann", "audio")
    assert client.downlink.subscribe("ann", "main", ["audio", "video"]) == 1
    assert client.receiving == set()
    assert mids(client.offers[0]) == {"0": "ann", "1": "ann"}
    client.answer(refuse=frozenset({"1"}))
    assert client.receiving == {client.producer("ann", "audio")}
    assert len(client.offers) == 1, "what was refused is not offered again"
    client.publish("bob")
    client.downlink.subscribe("bob", "main", ["video"])
    assert mids(client.offers[1]) == {"0": "ann", "2": "bob"}
    assert "m=video 0" in client.offers[1].sdp, "the refused m-line stays dead"


def test_changes_while_an_offer_is_unanswered_are_gathered() -> None:
    client = Client()
    for user in ("ann", "bob", "cyd"):
        client.publish(user)
    assert client.downlink.subscribe("ann", "main", ["video"]) == 1
    assert client.downlink.subscribe("bob", "main", ["video"]) == 2
    assert client.downlink.subscribe("cyd", "main", ["video"]) == 2
    client.downlink.drop("ann", "main")
    assert len(client.offers) == 1
    client.answer()
    assert client.receiving == set(), "ann was dropped before her offer was answered"
    assert len(client.offers) == 2
    assert sorted(mids(client.offers[1]).values()) == ["bob", "cyd"]
    client.answer()
    assert client.receiving == {client.producer("bob"), client.producer("cyd")}


def test_a_track_that_ends_stops_its_consumer_at_once_and_leaves_its_m_line_to_the_next() -> None:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.unpublish("ann")
    assert client.book.consumers == {}
    assert client.offers[-1].tracks == []
    assert "a=inactive" in client.offers[-1].sdp
    client.answer()
    client.publish("bob", codec="h264")
    client.downlink.subscribe("bob", "main", ["video"])
    assert mids(client.offers[-1]) == {"0": "bob"}
    client.answer()
    assert client.receiving == {client.producer("bob")}


def test_an_uplink_that_fails_and_comes_back_keeps_the_m_line_and_gets_new_ssrcs() -> None:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.publish("ann", living=False)
    assert len(client.offers) == 1
    client.publish("ann")
    assert mids(client.offers[-1]) == {"0": "ann"}
    client.answer()
    assert client.receiving == {client.producer("ann")}
    ssrcs = [re.findall(r"a=ssrc:(\d+)", offer.sdp) for offer in client.offers]
    assert not set(ssrcs[0]) & set(ssrcs[1])


def test_a_failed_downlink_waits_for_the_restart_which_begins_anew() -> None:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.book.fail(next(iter(client.book.transports)), "consent-expired")
    assert client.failures == ["consent-expired"]
    client.publish("bob")
    client.downlink.subscribe("bob", "main", ["video"])
    assert len(client.offers) == 1
    client.downlink.restart()
    offer = client.offers[-1]
    assert (offer.revision, offer.restart, mids(offer)) == (2, True, {"0": "ann", "1": "bob"})
    client.downlink.answer(1, "too late")
    client.answer()
    assert client.receiving == {client.producer("ann"), client.producer("bob")}


@pytest.mark.parametrize("how", ["restart", "failure"])
def test_the_first_answer_to_an_offer_withdrawn_meanwhile_was_asked_for_and_no_other_is(how: str) -> None:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    if how == "failure":
        client.book.fail(next(iter(client.book.transports)), "consent-expired")
    client.downlink.restart()
    first, second = client.offers
    assert client.downlink.answer(first.revision, "of whatever length: it is not read")
    assert not client.downlink.answer(first.revision, "once more")
    assert client.downlink.answer(second.revision, answer_to(second.sdp))
    assert not client.downlink.answer(second.revision, answer_to(second.sdp))
    with pytest.raises(RtcError, match="no downlink-offer with revision 3"):
        client.downlink.answer(3, answer_to(second.sdp))


def test_offers_that_are_withdrawn_again_and_again_are_not_all_remembered() -> None:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    for _ in range(REMEMBERED + 1):
        client.downlink.restart()
    late = [client.downlink.answer(offer.revision, "late") for offer in client.offers[:-1]]
    assert late == [False] + [True] * REMEMBERED


def test_without_a_socket_the_offer_waits_and_an_unanswered_one_is_repeated() -> None:
    client = Client()
    client.publish("ann")
    client.online = False
    client.downlink.subscribe("ann", "main", ["video"])
    client.online = True
    client.downlink.resend()
    client.downlink.resend()
    assert [offer.revision for offer in client.offers] == [1, 1]
    client.answer()
    assert client.receiving == {client.producer("ann")}
    client.downlink.resend()
    assert len(client.offers) == 2


def test_an_answer_of_another_connection_is_refused_and_the_right_one_still_counts() -> None:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.publish("bob")
    client.downlink.subscribe("bob", "main", ["video"])
    with pytest.raises(RtcError) as refusal:
        client.downlink.answer(2, answer_to(client.offers[-1].sdp, client="stranger"))
    assert refusal.value.code == 0x1001
    client.answer()
    assert client.receiving == {client.producer("ann"), client.producer("bob")}


def h264(profile_level_id: str) -> str:
    return H264.replace("42e01f", profile_level_id)


def test_however_many_formats_were_published_a_later_codec_still_has_its_payload_types() -> None:
    client = Client()
    profiles = [f"{profile}{level:02x}" for profile in ("42e0", "4200", "4d00", "6400") for level in range(10, 60, 5)]
    for number, profile in enumerate(profiles):
        client.publish(f"user{number}", codec="h264", fmtp=h264(profile))
        client.downlink.subscribe(f"user{number}", "main", ["video"])
        client.answer()
        client.unpublish(f"user{number}")
        client.answer()
    client.publish("last")
    client.downlink.subscribe("last", "main", ["video"])
    client.answer()
    assert client.receiving == {client.producer("last")}
    assert len(client.downlink._payload_types._given) <= 9
    assert len(client.downlink._lines) == 1, "an m-line whose track is gone is used again"


def test_a_codec_that_the_client_refused_is_not_offered_again_and_another_of_that_stream_is() -> None:
    client = Client()
    client.publish("ann", codec="h264")
    client.publish("ann", "audio")
    client.downlink.subscribe("ann", "main", ["audio", "video"])
    video = next(track.mid for track in client.offers[0].tracks if track.kind == "video")
    client.answer(refuse=frozenset({video}))
    assert client.receiving == {client.producer("ann", "audio")}
    for _ in range(3):  # published anew, as after a lost uplink: still H264
        client.publish("ann", codec="h264")
    assert len(client.offers) == 1
    assert client.downlink.subscriptions["ann", "main"] == {"audio", "video"}, (
        "it is still wanted, once it can be played"
    )
    client.publish("ann", codec="vp8")
    client.answer()
    assert client.receiving == {client.producer("ann", "audio"), client.producer("ann")}


def test_a_client_that_refuses_everything_never_runs_out_of_m_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parlour.signaling.downlink.MAX_LINES", 40)
    client = Client()
    for number in range(50):
        user = f"user{number}"
        client.publish(user)
        client.downlink.subscribe(user, "main", ["video"])
        client.answer(refuse=frozenset(track.mid for track in client.offers[-1].tracks))
        client.unpublish(user)
    assert len(client.downlink._lines) <= 40
    assert client.downlink._refused == set()
    client.publish("last")
    client.downlink.subscribe("last", "main", ["video"])
    client.answer()
    assert client.receiving == {client.producer("last")}
    assert [offer.restart for offer in client.offers].count(True) == 1


def test_more_tracks_than_a_connection_has_m_lines_are_refused_with_a_code() -> None:
    client = Client()
    for number in range(MAX_LINES):
        client.downlink.subscribe(f"user{number}", "main", ["video"])
    with pytest.raises(RtcError, match="at most 512") as refusal:
        client.downlink.subscribe("one more", "main", ["video"])
    assert refusal.value.code == 0x1001
    client.downlink.subscribe("user0", "main", ["audio"])


def test_whatever_changes_before_the_next_offer_costs_nothing_for_each_change() -> None:
    client = Client()
    client.hurried = True
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    spent = len(client.book.ssrcs)
    for _ in range(100):  # before the pace lets the next offer be made
        client.publish("ann")
    assert (len(client.offers), len(client.book.ssrcs)) == (1, spent)
    client.wait()
    for _ in range(100):  # while that offer is unanswered
        client.publish("ann")
    assert (len(client.offers), len(client.book.ssrcs)) == (2, spent + 2)
    client.online = False
    client.answer()
    for _ in range(100):  # while there is no socket
        client.publish("ann")
        client.wait()
    assert len(client.book.ssrcs) <= spent + 4
    client.online = True
    client.downlink.resend()
    client.wait()
    client.answer()
    assert client.receiving == {client.producer("ann")}


def test_what_is_wanted_again_before_the_next_offer_is_received_again_under_new_ssrcs() -> None:
    client = Client()
    client.hurried = True
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.downlink.drop("ann", "main")
    assert client.receiving == set()
    revision = client.downlink.subscribe("ann", "main", ["video"])
    assert revision == 2
    client.wait()
    client.answer()
    assert client.downlink.revision == 2
    assert client.receiving == {client.producer("ann")}


def test_the_camera_is_served_before_the_screen_and_what_a_path_does_not_carry_is_told_by_its_name() -> None:
    client = Client()
    client.publish("ann", stream="auxiliary")
    client.publish("ann")
    client.downlink.subscribe("ann", "auxiliary", ["video"])
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.wait()
    client.answer()
    by_producer = {producers: number for number, (_, producers, _) in client.book.consumers.items()}
    camera, screen = (client.tracks["ann", stream, "video"].producers for stream in ("main", "auxiliary"))
    assert client.book.ranks[by_producer[camera]] < client.book.ranks[by_producer[screen]]
    sent = SourceSent(by_producer[screen], source=None, why="bandwidth", needed=900_000, available=310_000)
    assert client.book.on_source is not None
    client.book.on_source(sent)
    assert client.sent == [(("ann", "auxiliary", "video"), sent)]
    assert told(client) == [("ann", "none", "the path carries 310 of 900 kbit/s")]
    client.downlink.drop("ann", "auxiliary")
    client.book.on_source(sent)
    assert len(client.sent) == len(client.told) == 1, "what came too late is of nobody"


def test_what_comes_in_place_of_what_is_wanted_is_told_with_the_reason_until_it_comes_again() -> None:
    client = Client()
    publish_both(client)
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    (consumer,) = client.book.consumers
    send = client.book.on_source
    assert send is not None
    narrow = SourceSent(consumer, source=1, why="bandwidth", needed=900_000, available=310_000)
    send(narrow)
    client.downlink.resend()
    client.downlink.video_types.want(("ann", "main"), "small")
    send(replace(narrow, why=None))
    client.downlink.video_types.want(("ann", "main"), "big")
    send(replace(narrow, why="missing", needed=0))
    send(replace(narrow, source=0, why=None))
    path = ("ann", "small", "the path carries 310 of 900 kbit/s")
    assert told(client) == [
        path,
        path,
        ("ann", "small", "asked for"),
        ("ann", "big", "asked for"),
        ("ann", "small", "ann does not send the big one now"),
        ("ann", "big", "asked for"),
    ]


def test_what_is_forwarded_anew_is_not_taken_for_what_came_before_in_its_place() -> None:
    client = Client()
    publish_both(client)
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    (consumer,) = client.book.consumers
    assert client.book.on_source is not None
    client.book.on_source(SourceSent(consumer, source=None, why="bandwidth", needed=900_000, available=31_000))
    client.downlink.restart()
    client.answer()
    assert told(client) == [("ann", "none", "the path carries 31 of 900 kbit/s"), ("ann", "big", "asked for")]


def publish_both(client: Client, user: str = "ann") -> None:
    client.publish(user, encodings=2)


def told(client: Client) -> list[tuple[str, str, str]]:
    return [(event.user_id, event.video_type, event.reason) for event in client.told]


def test_who_wants_the_small_stream_gets_it_and_the_big_one_again_without_an_offer() -> None:
    client = Client()
    publish_both(client)
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    assert client.receiving == {client.producer("ann")}
    assert client.told == [], "the big one is what a client expects"
    client.downlink.video_types.want(("ann", "main"), "small")
    assert client.receiving == {client.producer("ann", encoding=1)}
    client.downlink.video_types.want(("ann", "main"), "big")
    assert client.receiving == {client.producer("ann")}
    assert told(client) == [("ann", "small", "asked for"), ("ann", "big", "asked for")]
    assert len(client.offers) == 1


def test_the_small_one_of_three_encodings_is_the_last() -> None:
    client = Client()
    client.publish("ann", encodings=3)
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.downlink.video_types.want(("ann", "main"), "small")
    assert client.receiving == {client.producer("ann", encoding=2)}


def test_the_small_stream_may_be_wanted_before_the_subscription_and_outlives_it() -> None:
    client = Client()
    publish_both(client)
    client.downlink.video_types.want(("ann", "main"), "small")
    for _ in range(2):
        client.downlink.subscribe("ann", "main", ["video"])
        client.answer()
        assert client.receiving == {client.producer("ann", encoding=1)}
        client.downlink.drop("ann", "main")
        client.answer()
    assert told(client) == [("ann", "small", "asked for")]
    client.unpublish("ann")
    assert client.downlink.video_types.wanted == {}


def test_a_missing_small_stream_is_told_and_comes_when_it_appears() -> None:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.downlink.video_types.want(("ann", "main"), "small")
    assert client.receiving == {client.producer("ann")}
    publish_both(client)
    client.answer()
    assert client.receiving == {client.producer("ann", encoding=1)}
    client.publish("ann")
    client.answer()
    assert client.receiving == {client.producer("ann")}
    missing = ("ann", "big", "ann sends no small stream")
    assert told(client) == [missing, ("ann", "small", "asked for"), missing]


def test_however_often_it_is_asked_for_it_is_changed_once_in_a_while() -> None:
    client = Client()
    publish_both(client)
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.hurried = True
    for number in range(10_001):
        client.downlink.video_types.want(("ann", "main"), "big" if number % 2 else "small")
    assert (client.book.switches, len(client.told), len(client.later)) == (1, 1, 1)
    assert client.receiving == {client.producer("ann", encoding=1)}
    client.downlink.video_types.want(("ann", "main"), "big")
    client.wait()
    assert (client.book.switches, len(client.told), len(client.later)) == (2, 2, 0)
    assert client.receiving == {client.producer("ann")}


def test_what_was_told_without_a_socket_is_told_with_the_next_one() -> None:
    client = Client()
    publish_both(client)
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    client.online = False
    client.downlink.video_types.want(("ann", "main"), "small")
    assert client.told == []
    client.online = True
    client.downlink.resend()
    assert told(client) == [("ann", "small", "asked for")]
    assert client.downlink.video_types.wanted == {("ann", "main"): "small"}


@pytest.mark.parametrize(("codec", "told"), [("vp8", False), ("h264", False), ("vp9", True), ("av1", True)])
def test_the_descriptor_of_what_frames_need_is_offered_where_it_is_needed(codec: str, told: bool) -> None:
    client = Client()
    client.publish("ann", codec=codec)
    client.downlink.subscribe("ann", "main", ["video"])
    assert f"{codec.upper()}/90000" in client.offers[-1].sdp
    assert ("#dependency-descriptor-rtp-header-extension" in client.offers[-1].sdp) == told
    assert ("a=extmap-allow-mixed\r\n" in client.offers[-1].sdp) == told
    client.answer()
    [(_, _, track)] = client.book.consumers.values()
    assert (track.dependency_descriptor_extension is not None) == told


def test_who_takes_no_long_extensions_is_sent_no_descriptors() -> None:
    client = Client()
    client.publish("ann", codec="av1")
    client.downlink.subscribe("ann", "main", ["video"])
    offer = client.offers[-1]
    client.downlink.answer(offer.revision, answer_to(offer.sdp.replace("a=extmap-allow-mixed\r\n", "")))
    [(_, _, track)] = client.book.consumers.values()
    assert track.dependency_descriptor_extension is None


def test_whose_video_is_left_out_is_told_why_and_neither_sent_nor_taken_until_it_is_again() -> None:
    client = Client()
    client.unseen["ann", "main"] = "ann is not among the last 2 who spoke"
    client.publish("ann", encodings=2)
    client.publish("ann", "audio")
    client.downlink.subscribe("ann", "main", ["audio", "video"])
    client.answer()
    (video,) = [number for number, (_, producers, _) in client.book.consumers.items() if len(producers) == 2]
    assert client.book.paused == {video}, "sound goes on"
    assert [(event.video_type, event.reason) for event in client.told] == [
        ("none", "ann is not among the last 2 who spoke")
    ]
    assert client.downlink.taken.biggest(("ann", "main")) is None
    client.downlink.look_who_is_seen(frozenset({"ann"}))
    assert len(client.told) == 1
    del client.unseen["ann", "main"]
    client.downlink.look_who_is_seen(frozenset({"ann"}))
    assert client.book.paused == set()
    assert (client.told[-1].video_type, client.told[-1].reason) == ("big", "asked for")
    assert client.downlink.taken.biggest(("ann", "main")) == 0
    client.unseen["ann", "main"] = "another reason"
    client.downlink.look_who_is_seen(frozenset({"ann"}))
    assert client.book.paused == {video}
    # Its uplink comes back with other producers, and it is still left out.
    client.publish("ann", encodings=2)
    client.answer()
    assert len(client.book.paused) == 1
    assert client.told[-1].reason == "another reason"
    client.unpublish("ann")
    client.answer()
    del client.unseen["ann", "main"]
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    assert client.book.paused == set()
