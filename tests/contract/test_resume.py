"""Coming back to a session: what the server tells apart, and what it says of what it still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.wire import Wire, join, offer

if TYPE_CHECKING:
    from tests.conftest import RunningServer, StartServer

LOGIN_REFUSED = 0x4001
ENDED, UNKNOWN = 70221, -200001


async def refused_resume(server: RunningServer, token: str) -> tuple[int, int]:
    """Code and extraCode of a refused ``resume``."""
    wire = await Wire.open(server)
    refusal = await wire.refused("resume", resumeToken=token)
    await wire.login(server, "somebody")  # the socket is good for a login then
    await wire.close()
    return refusal.code, refusal.extra


async def test_a_session_of_which_only_time_ran_out_is_unknown_and_not_ended(start_server: StartServer) -> None:
    server = await start_server(rooms__resume_timeout=0.3)
    watcher, _ = await join(server, "watcher")
    ann, entered = await join(server, "ann")
    ann.drop()
    assert [(await watcher.event())["type"] for _ in range(2)] == ["peer-join", "peer-leave"]
    assert await refused_resume(server, entered["resumeToken"]) == (LOGIN_REFUSED, UNKNOWN)


async def test_a_session_of_a_server_that_was_started_anew_is_unknown(start_server: StartServer) -> None:
    first = await start_server()
    ann, entered = await join(first, "ann")
    await first.stop()
    assert (await ann.closed())[0] == 1012
    second = await start_server()
    assert await refused_resume(second, entered["resumeToken"]) == (LOGIN_REFUSED, UNKNOWN)
    again, fresh = await join(second, "ann")
    assert fresh["snapshot"] == {"members": [], "streams": []}
    # The same user is in the same room by a newer session: the old one must not put it out.
    assert await refused_resume(second, entered["resumeToken"]) == (LOGIN_REFUSED, ENDED)
    again.drop()


async def test_whoever_ended_a_session_it_stays_ended(server: RunningServer) -> None:
    left, entered_left = await join(server, "left")
    await left.ask("leave")
    closed, entered_closed = await join(server, "closed")
    await closed.close(1000)
    kicked, entered_kicked = await join(server, "kicked")
    await join(server, "kicked")
    await kicked.closed()
    removed, entered_removed = await join(server, "removed")
    assert server._service is not None
    server._service.force_off(server.app, ["removed"], "removed by the test")
    assert (await removed.closed())[0] == 4409
    for entered in (entered_left, entered_closed, entered_kicked, entered_removed):
        assert await refused_resume(server, entered["resumeToken"]) == (LOGIN_REFUSED, ENDED)


async def test_what_is_asked_again_after_a_resume_is_done_and_told_to_nobody_twice(server: RunningServer) -> None:
    ann, _ = await join(server, "ann")
    bob, entered = await join(server, "bob")
    mine = {"sdp": offer(), "audioMid": "0", "videoMid": "1"}
    await ann.ask("publish", **mine)
    published = await bob.ask("publish", **mine)
    await bob.ask("mute", audio=True)
    await ann.ask("subscribe", userId="bob")
    await bob.ask("subscribe", userId="ann")
    told = [(await ann.event())["type"] for _ in range(4)]
    assert sorted(told) == ["downlink-offer", "mute-changed", "peer-join", "stream-added"]
    bob.drop()
    again = await Wire.open(server)
    resumed = await again.ask("resume", resumeToken=entered["resumeToken"])
    assert [(stream["streamId"], stream["audioMuted"]) for stream in resumed["published"]] == [
        (published["streamId"], True)
    ]
    assert resumed["subscriptions"] == [{"userId": "ann", "streamType": "main", "audio": True, "video": True}]
    assert (await again.ask("publish", **mine, audioMuted=True))["streamId"] == published["streamId"]
    await again.ask("mute", audio=True)
    first = await again.ask("subscribe", userId="ann")
    assert await again.ask("subscribe", userId="ann") == first
    assert await ann.quiet(), "nothing of that is news"
    for _ in range(2):
        assert await again.ask("unsubscribe", userId="ann") == {}
        assert await again.ask("unpublish") == {}
    removed = [(await ann.event())["type"] for _ in range(1)]
    assert removed == ["stream-removed"]
    for _ in range(2):
        assert await again.ask("leave") == {}
    assert (await ann.event())["type"] == "peer-leave"
    assert await ann.quiet()


async def test_only_a_client_that_says_1000_or_1001_leaves_and_no_closing_of_ours_that_it_echoes(
    server: RunningServer,
) -> None:
    watcher, _ = await join(server, "watcher")
    tokens = []
    for code in (1002, 1011, 3000, 4000, 4408, 4999):
        ann, entered = await join(server, f"ann{code}")
        await ann.close(code)
        tokens.append(entered["resumeToken"])
    faulty, entered = await join(server, "faulty")
    await faulty.socket.send(b"binary")
    assert (await faulty.closed())[0] == 4400, "its library has echoed our code"
    tokens.append(entered["resumeToken"])
    for token in tokens:
        wire = await Wire.open(server)
        resumed = await wire.ask("resume", resumeToken=token)
        assert {"userId": "watcher"} in resumed["snapshot"]["members"]
        await wire.close(1001)
    told = [(await watcher.event())["type"] for _ in range(2 * len(tokens))]
    assert told == ["peer-join"] * len(tokens) + ["peer-leave"] * len(tokens)
