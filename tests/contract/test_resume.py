"""Coming back to a session: what the server tells apart, and what it says of what it still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.wire import Wire, join

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
