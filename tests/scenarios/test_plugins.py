"""Codes of what nobody expected, brought about by plugins with a fault in them."""

from __future__ import annotations

import re

from structlog.testing import capture_logs

from tests.conftest import StartServer
from tests.scenarios.calls import IMPORT, done, logs_in, refused_call, refused_login, registered
from tests.scenarios.conftest import Unchanged
from tests.scenarios.registry import scenario
from tests.wire import Wire

KICK = "im_open_login_svc/kick"


def incident(text: str, lines: list[dict[str, object]], secret: str) -> dict[str, object]:
    """The line in the log that a message refers to; it has the traceback, and no secret."""
    found = re.search(r"incident ([0-9a-f]+) in the server's log", text)
    assert found is not None
    (line,) = [line for line in lines if line.get("incident") == found[1]]
    assert secret not in str(lines)
    return line


@scenario(
    70308,
    cause="Something unexpected went wrong inside the account service; the message names an incident in the log.",
    how="Runs with a verifier plugin that raises a KeyError for one of two users, and logs in as both.",
    part="plugin",
)
async def test_a_verifier_that_falls_over(start_server: StartServer, unchanged: Unchanged) -> None:
    server = await start_server(plugins__verifiers=["tests.scenarios.faulty:verifier"])
    wire = await Wire.open(server)
    user_sig = server.user_sig("ann")
    async with unchanged():
        with capture_logs() as lines:
            text = await refused_login(wire, server, 70308, userSig=user_sig)
    assert "the account service failed" in text
    assert "KeyError" not in text
    assert "KeyError: 'ann'" in str(incident(text, lines, user_sig)["trace"])
    await wire.login(server, "bob")
    await wire.close()


@scenario(
    70401,
    cause="Something unexpected went wrong in the account REST; the message names an incident in the log.",
    how="Runs with a REST plugin that raises a KeyError for one command, and calls this one and another.",
    part="plugin",
)
async def test_a_rest_plugin_that_falls_over(start_server: StartServer, unchanged: Unchanged) -> None:
    server = await start_server(plugins__rest_middleware=["tests.scenarios.faulty:middleware"])
    await done(server, IMPORT, {"UserID": "ann"})
    user_sig = server.user_sig("administrator")
    async with unchanged():
        with capture_logs() as lines:
            answer = await refused_call(server, 70401, KICK, {"UserID": "ann"}, usersig=user_sig)
    assert "KeyError" not in answer["ErrorInfo"]
    assert "KeyError: 'kick'" in str(incident(answer["ErrorInfo"], lines, user_sig)["exception"])
    assert await registered(server, "ann") == {"ann"}
    await logs_in(server, "ann")
