"""How scenarios talk to the server, and what its refusals have to look like."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import httpx

from tests.conftest import RunningServer
from tests.wire import Json, Refused, Wire

LOGIN_REFUSED = 0x4001
ENTER_REFUSED = 0x4004
ADMIN = "administrator"
IMPORT = "im_open_login_svc/account_import"
CHECK = "im_open_login_svc/account_check"


async def call(server: RunningServer, command: str, body: object = None, **url: object) -> Json:
    """The answer to one call of the account REST, which comes with HTTP 200 whatever it says.

    The administrator calls, with a good UserSig; ``url`` replaces parameters of the URL, None leaves one out. Bytes are
    sent as they are, anything else as JSON.
    """
    given = {"sdkappid": server.app, "identifier": ADMIN, "usersig": server.user_sig(ADMIN)} | url
    query = urlencode({name: value for name, value in given.items() if value is not None})
    content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    async with httpx.AsyncClient(verify=False, timeout=30) as http:
        response = await http.post(f"{server.url}/v4/{command}?{query}", content=content)
    assert response.status_code == 200
    answer: Json = response.json()
    secrets = (server.key, str(given["usersig"] or server.key))
    assert not any(secret in answer["ErrorInfo"] for secret in secrets)
    return answer


async def done(server: RunningServer, command: str, body: object = None, **url: object) -> Json:
    """The same for a call that is carried out."""
    answer = await call(server, command, body, **url)
    assert (answer["ActionStatus"], answer["ErrorCode"], answer["ErrorInfo"]) == ("OK", 0, ""), answer
    return answer


async def refused_call(server: RunningServer, code: int, command: str, body: object = None, **url: object) -> Json:
    """The same for a call that is refused with ``code``."""
    answer = await call(server, command, body, **url)
    assert (answer["ActionStatus"], answer["ErrorCode"]) == ("FAIL", code), answer
    return answer


async def refused_login(wire: Wire, server: RunningServer, code: int, user_id: object = "ann", **fields: object) -> str:
    """Log in, be refused with ``code`` as an account code, and hear this. The UserSig is good unless one is given."""
    user_sig = str(fields.setdefault("userSig", server.user_sig(str(user_id))))
    fields.setdefault("sdkAppId", server.app)
    refused = await wire.refused("login", userId=user_id, **fields)
    text = account_code(refused, LOGIN_REFUSED, code)
    assert server.key not in text
    assert not user_sig or user_sig not in text
    return text


def account_code(refused: Refused, nested_in: int, code: int) -> str:
    """That a refusal of the signaling channel carries an account code, and what it says."""
    assert (refused.code, refused.extra) == (nested_in, code), refused.error
    message: str = refused.error["message"]
    assert f"({code})" in message
    return message


async def logs_in(server: RunningServer, user_id: str = "ann") -> None:
    """A login with a good UserSig on a socket of its own succeeds."""
    wire = await Wire.open(server)
    await wire.login(server, user_id)
    await wire.close()


async def registered(server: RunningServer, *user_ids: str) -> set[str]:
    """Those of the userIds that the server says are accounts."""
    answer = await done(server, CHECK, {"CheckItem": [{"UserID": user_id} for user_id in user_ids]})
    return {item["UserID"] for item in answer["ResultItem"] if item["AccountStatus"] == "Imported"}
