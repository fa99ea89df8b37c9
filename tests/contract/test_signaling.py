"""The protocol as docs/protocol.md tells it, over real sockets to a real server."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import websockets
from parlour.protocol.messages import PeerJoin
from parlour.signaling.codec import encode_event
from parlour.signaling.room_session import wire_event

from tests.wire import Wire, answer_to, join, offer

if TYPE_CHECKING:
    from tests.conftest import RunningServer, StartServer

INVALID_PARAMETER, INVALID_OPERATION = 0x1000, 0x1001
LOGIN_REFUSED, ENTER_REFUSED, NO_SUCH_STREAM = 0x4001, 0x4004, 0x4010


async def publish(wire: Wire, **fields: object) -> dict[str, str]:
    return await wire.ask("publish", **({"sdp": offer(), "audioMid": "0", "videoMid": "1"} | fields))


async def test_login_tells_what_a_client_needs_to_know(server: RunningServer) -> None:
    wire = await Wire.open(server)
    login = await wire.login(server, "ann")
    assert login["heartbeatInterval"] == 10
    assert login["maxMessageBytes"] == 262_144
    assert login["ticketExpiresAt"] > 1_600_000_000
    assert await wire.ask("ping") == {}


async def test_another_reader_of_a_room_gets_what_its_members_are_told(server: RunningServer) -> None:
    service, readers = server._service, []
    assert service is not None
    service.rooms.listen(lambda app, room: readers.append(room.read(limit=64)))
    ann, _ = await join(server, "ann")
    ben, _ = await join(server, "ben")
    stream_id = (await publish(ann, audioMuted=True))["streamId"]
    await ann.ask("leave")
    told = [await ben.event() for _ in range(3)]
    (reader,) = readers
    events = reader.take()
    assert [wire_event(event) for event in events][:2] == [PeerJoin(user_id="ann"), PeerJoin(user_id="ben")]
    assert [json.loads(encode_event(wire_event(event))) for event in events[2:]] == told
    assert [event["type"] for event in told] == ["stream-added", "stream-removed", "peer-leave"]
    assert told[0]["stream"]["streamId"] == stream_id


async def test_a_page_of_another_origin_may_connect(server: RunningServer) -> None:
    wire = await Wire.open(server, origin="https://somewhere.example")
    await wire.login(server, "ann")


async def test_an_unknown_version_is_refused_before_the_upgrade_and_told_the_known_one(server: RunningServer) -> None:
    with pytest.raises(websockets.InvalidStatus) as refusal:
        await websockets.connect(server.signaling_url.replace("v=1", "v=2"))
    assert refusal.value.response.status_code == 400
    assert b"v=1" in (refusal.value.response.body or b"")


@pytest.mark.parametrize("kind", ["ping", "enter", "publish", "subscribe", "leave", "mute", "downlink-answer"])
async def test_a_request_before_login_is_refused_and_login_still_works(server: RunningServer, kind: str) -> None:
    fields = {
        "enter": {"ticket": "x", "roomId": 1},
        "publish": {"sdp": "x"},
        "subscribe": {"userId": "x"},
        "downlink-answer": {"revision": 1, "sdp": "x"},
    }
    wire = await Wire.open(server)
    assert (await wire.refused(kind, **fields.get(kind, {}))).code == INVALID_OPERATION
    await wire.login(server, "ann")


async def test_an_error_has_its_code_key_text_and_the_code_behind_it(server: RunningServer) -> None:
    wire = await Wire.open(server)
    refusal = await wire.refused("login", sdkAppId=server.app, userId="ann", userSig="")
    assert refusal.error == {
        "code": LOGIN_REFUSED,
        "extraCode": 70002,
        "key": "SIGNAL_CHANNEL_SETUP_FAILED",
        "message": refusal.error["message"],
        "name": "RtcError",
    }
    assert re.fullmatch(r"join failed: .+ \(70002\) <SIGNAL_CHANNEL_SETUP_FAILED 0x4001>", refusal.error["message"])


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"userId": "ann"}, 70002),
        ({"userId": "ann", "userSig": None}, 70002),
        ({"userId": "ann", "userSig": 7}, 70402),
        ({"userSig": "x"}, 70402),
        ({"userId": None, "userSig": "x"}, 70402),
        ({"userId": 7, "userSig": "x"}, 70402),
        ({"userId": {"a": [1]}, "userSig": "x"}, 70402),
        ({"userId": 7, "sdkAppId": 5}, -8),
    ],
)
async def test_a_login_without_a_usable_user_or_usersig_gets_its_account_code(
    server: RunningServer, fields: dict[str, object], code: int
) -> None:
    wire = await Wire.open(server)
    refusal = await wire.refused("login", **{"sdkAppId": server.app} | fields)
    assert (refusal.code, refusal.extra) == (LOGIN_REFUSED, code)
    await wire.login(server, "ann")


async def test_the_snapshot_and_the_events_tell_the_room_in_join_order(server: RunningServer) -> None:
    ann, first = await join(server, "ann")
    assert first["snapshot"] == {"members": [], "streams": []}
    bob, _ = await join(server, "bob")
    stream_id = (await publish(bob, videoMuted=True))["streamId"]
    cyd, third = await join(server, "cyd")
    stream = {
        "userId": "bob", "streamType": "main", "streamId": stream_id, "audio": True, "video": True, "videoMuted": True,
    }  # fmt: skip
    assert third["snapshot"] == {
        "members": [{"userId": "ann"}, {"userId": "bob"}],
        "streams": [stream],
    }
    assert await ann.event() == {"type": "peer-join", "userId": "bob"}
    assert await ann.event() == {"type": "stream-added", "stream": stream}
    assert await ann.event() == {"type": "peer-join", "userId": "cyd"}
    await bob.ask("mute", video=False, audio=True)
    changed = {"type": "mute-changed", "userId": "bob", "streamType": "main", "audioMuted": True, "videoMuted": False}
    assert await cyd.event() == changed
    await bob.ask("leave")
    for wire in (ann, cyd):
        if wire is ann:
            assert await wire.event() == changed
        assert await wire.event() == {
            "type": "stream-removed", "userId": "bob", "streamType": "main", "streamId": stream_id,
        }  # fmt: skip
        assert await wire.event() == {"type": "peer-leave", "userId": "bob"}
    assert (await bob.events.get())["type"] == "peer-join"
    assert bob.events.empty(), "nobody is told of the own doings"


async def test_numeric_and_string_rooms_do_not_meet(server: RunningServer) -> None:
    ann, _ = await join(server, "ann", 123)
    _, entered = await join(server, "bob", "123")
    assert entered["snapshot"]["members"] == []
    assert await ann.quiet()


async def test_after_leaving_the_same_socket_enters_again(server: RunningServer) -> None:
    wire = await Wire.open(server)
    login = await wire.login(server, "ann")
    for room in (1, 2, 1):
        await wire.ask("enter", ticket=login["ticket"], roomId=room)
        await wire.ask("leave")
    await wire.login(server, "bob")
    assert (await wire.refused("enter", ticket=login["ticket"], roomId=1)).extra == 70346


@pytest.mark.parametrize(
    ("room", "string"),
    [
        (0, False),
        (4294967295, False),
        ("x", False),
        (-1, False),
        ("", True),
        ("x" * 65, True),
        ("../x", True),
        (7, True),
    ],
)
async def test_a_bad_room_id_is_refused_with_10012(server: RunningServer, room: int | str, string: bool) -> None:
    wire = await Wire.open(server)
    login = await wire.login(server, "ann")
    refusal = await wire.refused("enter", ticket=login["ticket"], roomId=room, stringRoom=string)
    assert (refusal.code, refusal.extra) == (ENTER_REFUSED, -10012)
    await wire.ask("enter", ticket=login["ticket"], roomId=1)


async def test_a_ticket_of_no_or_another_login_is_refused(server: RunningServer) -> None:
    ann, bob = await Wire.open(server), await Wire.open(server)
    await ann.login(server, "ann")
    ticket = (await bob.login(server, "bob"))["ticket"]
    for wrong in (ticket, ticket + "x", "", "v1.ticket.e30." + "0" * 64, "x" * 100_000):
        assert (await ann.refused("enter", ticket=wrong, roomId=1)).extra == 70346


async def test_the_same_user_entering_again_removes_the_earlier_and_others_see_a_new_entry(
    server: RunningServer,
) -> None:
    bob, _ = await join(server, "bob")
    first, entered = await join(server, "ann")
    await publish(first)
    second, _ = await join(server, "ann")
    banned = await first.event()
    assert (banned["type"], banned["reason"]) == ("client-banned", "kick")
    assert (await first.closed())[0] == 4409
    told = [(await bob.event())["type"] for _ in range(5)]
    assert told == ["peer-join", "stream-added", "stream-removed", "peer-leave", "peer-join"]
    late = await Wire.open(server)
    assert (await late.refused("resume", resumeToken=entered["resumeToken"])).extra == 70221
    assert await second.quiet()


async def test_publish_answers_for_the_streams_m_lines_and_refuses_what_is_wrong(server: RunningServer) -> None:
    wire, _ = await join(server, "ann")
    assert (await wire.refused("publish", sdp="nonsense", audioMid="0")).code == INVALID_PARAMETER
    assert (await wire.refused("publish", sdp=offer())).code == INVALID_PARAMETER
    assert (await wire.refused("publish", sdp=offer(), audioMid="9")).code == INVALID_PARAMETER
    assert (await wire.refused("publish", sdp=offer(), audioMid="1")).code == INVALID_PARAMETER
    assert await wire.ask("unpublish") == {}, "what is not published is unpublished"
    assert (await wire.refused("mute", audio=True)).code == INVALID_OPERATION
    answer = (await publish(wire))["sdp"]
    assert "a=ice-lite" in answer
    assert answer.count("a=recvonly") == 2
    assert answer.count("a=setup:passive") == 2
    assert f" {server.media.ports[0]} typ host" in answer
    other = offer("firefox-audio-video")
    assert (await wire.refused("publish", sdp=other, audioMid="0")).code == INVALID_OPERATION
    again = await wire.ask("publish", sdp=other, audioMid="0", videoMid="1", restart=True)
    assert "a=recvonly" in again["sdp"]


async def test_an_auxiliary_stream_shares_the_uplink_and_each_ends_alone(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    bob, _ = await join(server, "bob")
    screen = offer("chromium-audio-video-screen")
    main = await publish(ann, sdp=screen)
    assert main["sdp"].count("a=recvonly") == 2
    assert (await ann.refused("publish", sdp=screen, streamType="auxiliary", videoMid="1")).code == INVALID_PARAMETER, (
        "that m-line is the main stream's"
    )
    both = await ann.ask("publish", sdp=screen, streamType="auxiliary", videoMid="2")
    assert both["sdp"].count("a=recvonly") == 3
    assert both["streamId"] != main["streamId"]
    assert [(await bob.event())["stream"]["streamType"] for _ in range(2)] == ["main", "auxiliary"]
    await ann.ask("unpublish")
    assert (await bob.event())["streamType"] == "main"
    await publish(ann, sdp=screen, videoMid=None)
    added = (await bob.event())["stream"]
    assert (added["audio"], added["video"]) == (True, False)
    await publish(ann, sdp=screen)
    updated = await bob.event()
    assert (updated["type"], updated["stream"]["video"]) == ("stream-updated", True)


async def test_the_publisher_too_many_is_refused_until_another_stops(start_server: StartServer) -> None:
    server = await start_server(rooms__max_publishers=1, rooms__max_members=2)
    ann, _ = await join(server, "ann")
    bob, _ = await join(server, "bob")
    await publish(ann)
    refusal = await bob.refused("publish", sdp=offer(), audioMid="0")
    assert (refusal.code, refusal.extra) == (INVALID_OPERATION, -102052)
    await ann.ask("unpublish")
    await publish(bob)
    cyd = await Wire.open(server)
    login = await cyd.login(server, "cyd")
    refusal = await cyd.refused("enter", ticket=login["ticket"], roomId=1)
    assert (refusal.code, refusal.extra) == (ENTER_REFUSED, -102052)


async def test_subscribing_brings_one_offer_at_a_time(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    bob, _ = await join(server, "bob")
    assert (await bob.refused("subscribe", userId="ann")).code == NO_SUCH_STREAM
    assert (await bob.refused("subscribe", userId="bob")).code == INVALID_PARAMETER
    await publish(ann, sdp=offer("chromium-audio-video-screen"))
    await ann.ask("publish", sdp=offer("chromium-audio-video-screen"), streamType="auxiliary", videoMid="2")
    await bob.event()
    await bob.event()
    assert (await bob.ask("subscribe", userId="ann", video=False))["revision"] == 1
    first = await bob.event()
    assert (first["type"], first["revision"]) == ("downlink-offer", 1)
    assert first["tracks"] == [{"mid": "0", "userId": "ann", "streamType": "main", "kind": "audio"}]
    assert (await bob.ask("subscribe", userId="ann"))["revision"] == 2
    assert (await bob.ask("subscribe", userId="ann", streamType="auxiliary"))["revision"] == 2
    assert await bob.quiet(), "the first offer is unanswered"
    refusal = await bob.refused("downlink-answer", revision=1, sdp="v=0\r\nnonsense")
    assert refusal.code == INVALID_PARAMETER
    assert (await bob.refused("downlink-answer", revision=7, sdp=answer_to(first["sdp"]))).code == INVALID_PARAMETER
    await bob.ask("downlink-answer", revision=1, sdp=answer_to(first["sdp"]))
    second = await bob.event()
    assert (second["revision"], len(second["tracks"])) == (2, 3)
    await bob.ask("downlink-answer", revision=2, sdp=answer_to(second["sdp"]))
    await bob.ask("downlink-answer", revision=2, sdp=answer_to(second["sdp"]))
    await ann.ask("unpublish")
    types = [(await bob.event())["type"] for _ in range(2)]
    assert sorted(types) == ["downlink-offer", "stream-removed"]
    assert await bob.ask("unsubscribe", userId="nobody") == {}


async def test_a_downlink_restart_begins_with_a_full_offer(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    bob, _ = await join(server, "bob")
    await publish(ann)
    await bob.event()
    await bob.ask("subscribe", userId="ann")
    first = await bob.event()
    await bob.ask("downlink-answer", revision=1, sdp=answer_to(first["sdp"]))
    await bob.ask("downlink-restart")
    second = await bob.event()
    assert (second["revision"], second["restart"], len(second["tracks"])) == (2, True, 2)
    ufrag = re.compile(r"a=ice-ufrag:(\S+)")
    assert ufrag.findall(first["sdp"])[0] != ufrag.findall(second["sdp"])[0]
    stranger = answer_to(first["sdp"]).replace("clientfrag", "otherfrag1")
    await bob.ask("downlink-answer", revision=2, sdp=stranger)


async def test_a_closed_socket_leaves_at_once_and_a_lost_one_is_kept(start_server: StartServer) -> None:
    server = await start_server(rooms__resume_timeout=1)
    watcher, _ = await join(server, "watcher")
    for code in (1000, 1001):
        ann, _ = await join(server, "ann")
        await watcher.event()
        await ann.close(code)
        assert await watcher.event() == {"type": "peer-leave", "userId": "ann"}
    bob, _ = await join(server, "bob")
    await watcher.event()
    bob.drop()
    await bob.closed()
    assert await watcher.quiet(), "bob is still there"
    assert await watcher.event() == {"type": "peer-leave", "userId": "bob"}


async def test_resuming_brings_snapshot_streams_subscriptions_and_the_offer_without_answer(
    server: RunningServer,
) -> None:
    ann, _ = await join(server, "ann")
    bob, entered = await join(server, "bob")
    await publish(ann)
    mine = await publish(bob)
    await bob.event()
    await bob.ask("subscribe", userId="ann", audio=False)
    unanswered = await bob.event()
    bob.drop()
    await bob.closed()
    await ann.ask("mute", audio=True)
    again = await Wire.open(server)
    resumed = await again.ask("resume", resumeToken=entered["resumeToken"])
    assert resumed["sessionId"] == entered["sessionId"]
    assert resumed["snapshot"]["members"] == [{"userId": "ann"}]
    assert resumed["snapshot"]["streams"][0]["audioMuted"] is True
    assert [stream["streamId"] for stream in resumed["published"]] == [mine["streamId"]]
    assert resumed["subscriptions"] == [{"userId": "ann", "streamType": "main", "audio": False, "video": True}]
    assert await again.event() == unanswered
    await again.ask("downlink-answer", revision=1, sdp=answer_to(unanswered["sdp"]))
    await again.ask("leave")
    assert [(await ann.event())["type"] for _ in range(4)] == [
        "peer-join", "stream-added", "stream-removed", "peer-leave",
    ]  # fmt: skip


async def test_resuming_takes_the_place_of_a_socket_that_is_still_there(server: RunningServer) -> None:
    first, entered = await join(server, "ann")
    second = await Wire.open(server)
    resumed = await second.ask("resume", resumeToken=entered["resumeToken"])
    assert (await first.closed())[0] == 1001
    watcher, snapshot = await join(server, "watcher")
    assert snapshot["snapshot"]["members"] == [{"userId": "ann"}]
    third = await Wire.open(server)
    await third.ask("resume", resumeToken=resumed["resumeToken"])
    await second.closed()
    assert await watcher.quiet()


@pytest.mark.parametrize(("token", "code"), [("x", 70236), ("", 70236), ("v1.resume.e30." + "0" * 64, 70236)])
async def test_a_resume_token_that_is_not_ours_is_refused(server: RunningServer, token: str, code: int) -> None:
    wire = await Wire.open(server)
    refusal = await wire.refused("resume", resumeToken=token)
    assert (refusal.code, refusal.extra) == (LOGIN_REFUSED, code)
    await wire.login(server, "ann")


async def test_a_resume_token_of_a_session_that_is_over_is_refused_with_70221(server: RunningServer) -> None:
    wire, entered = await join(server, "ann")
    await wire.ask("leave")
    late = await Wire.open(server)
    assert (await late.refused("resume", resumeToken=entered["resumeToken"])).extra == 70221


async def test_a_socket_that_does_not_log_in_is_closed_and_one_that_did_stays(start_server: StartServer) -> None:
    """What falls silent is in ``test_liveness``: this client's library answers pings."""
    server = await start_server(limits__login_timeout=0.3)
    idle = await Wire.open(server)
    assert await idle.closed() == (4408, "no login within 0.3 s")
    wire = await Wire.open(server)
    await wire.login(server, "ann")
    idle = await Wire.open(server)
    assert await idle.closed() == (4408, "no login within 0.3 s")
    assert await wire.ask("ping") == {}


async def test_a_stopping_server_tells_its_clients(start_server: StartServer) -> None:
    server = await start_server()
    ann, _ = await join(server, "ann")
    idle = await Wire.open(server)
    await server.stop()
    for wire in (ann, idle):
        assert (await wire.event())["type"] == "server-stopping"
        assert (await wire.closed())[0] == 1012
    with pytest.raises(OSError):
        await websockets.connect(f"ws://127.0.0.1:{server.port}/v1/ws")


async def test_wrong_fields_are_answered_and_do_not_cost_the_socket(server: RunningServer) -> None:
    wire = await Wire.open(server)
    for text in (
        '{"id": 101, "type": "login"}',
        '{"id": 102, "type": "login", "sdkAppId": "1400000001", "userId": "ann"}',
        '{"id": 103, "type": "nonsense"}',
        '{"id": 104}',
        json.dumps({"id": 105, "type": "x" * 10_000}),
    ):
        await wire.socket.send(text)
    await wire.login(server, "ann")
    answers = [(stray["id"], stray["error"]["code"]) for stray in wire.strays]
    assert answers == [(number, INVALID_PARAMETER) for number in range(101, 106)]
    assert max(len(stray["error"]["message"]) for stray in wire.strays) < 400


@pytest.mark.parametrize("codec", ["VP9", "AV1"])
async def test_vp9_and_av1_are_forwarded(server: RunningServer, codec: str) -> None:
    others = {"VP8", "H264", "VP9", "AV1"} - {codec}
    ann, _ = await join(server, "ann")
    bob, _ = await join(server, "bob")
    await publish(ann, sdp=re.sub(rf"a=rtpmap:\d+ ({'|'.join(others)})/90000\r\n", "", offer()))
    await bob.event()
    await bob.ask("subscribe", userId="ann")
    offered = await bob.event()
    assert f" {codec}/90000" in offered["sdp"]
    await bob.ask("downlink-answer", revision=1, sdp=answer_to(offered["sdp"]))
    router = (await server.media.snapshot())["shards"][0]["router"]
    assert len(router["consumers"]) == 2


async def test_a_codec_that_a_viewer_refuses_is_not_sent_to_it_and_another_codec_later_is(
    server: RunningServer,
) -> None:
    h264 = re.sub(r"a=rtpmap:\d+ VP8/90000\r\n", "", offer())
    ann, _ = await join(server, "ann")
    bob, entered = await join(server, "bob")
    await publish(ann, sdp=h264)
    await bob.event()
    await bob.ask("subscribe", userId="ann")
    first = await bob.event()
    assert "H264/90000" in first["sdp"]
    video = next(track["mid"] for track in first["tracks"] if track["kind"] == "video")
    refusal = re.sub(r"m=video 9", "m=video 0", answer_to(first["sdp"])).replace(f"BUNDLE 0 {video}", "BUNDLE 0")
    await bob.ask("downlink-answer", revision=1, sdp=refusal)
    router = (await server.media.snapshot())["shards"][0]["router"]
    assert len(router["consumers"]) == 1, "only the sound is sent"
    await publish(ann, sdp=h264, restart=True)
    second = await bob.event()
    assert [track["kind"] for track in second["tracks"]] == ["audio"], "it is not offered again"
    await bob.ask("downlink-answer", revision=2, sdp=answer_to(second["sdp"]))
    bob.drop()
    again = await Wire.open(server)
    resumed = await again.ask("resume", resumeToken=entered["resumeToken"])
    assert resumed["subscriptions"] == [{"userId": "ann", "streamType": "main", "audio": True, "video": True}]
    await publish(ann, sdp=offer(), restart=True)
    third = await again.event()
    assert {track["kind"] for track in third["tracks"]} == {"audio", "video"}
    assert "VP8/90000" in third["sdp"]
