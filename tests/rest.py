"""Calls to the account REST of a running server, as an administrator's back end makes them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    from tests.conftest import RunningServer

Json = dict[str, Any]
ADMIN = "administrator"
UNLIMITED = {"admin__requests_per_second": 0} | {
    f"rates__{name}": 0
    for name in (
        *("account_import", "multiaccount_import", "account_delete", "account_check", "kick", "query_online_status"),
        *("register_account", "register_accounts", "blacklist_add", "blacklist_delete", "blacklist_get"),
        *("app_get", "app_set", "usersig"),
    )
}
"""Settings that lift every rate."""


class Rest:
    """A back end. Every answer is checked for what the convention promises of all of them."""

    def __init__(self, server: RunningServer, client: httpx.AsyncClient) -> None:
        self.server = server
        self.client = client
        self.user_sig = server.user_sig(ADMIN)

    @classmethod
    @asynccontextmanager
    async def of(cls, server: RunningServer) -> AsyncIterator[Self]:
        """A back end with connections of its own."""
        async with httpx.AsyncClient(base_url=server.url, timeout=20, verify=False) as client:
            yield cls(server, client)

    def parameters(self, **changed: str | None) -> dict[str, str]:
        """The parameters of the URL; one that is None is left out."""
        whole = {
            "sdkappid": str(self.server.app),
            "identifier": ADMIN,
            "usersig": self.user_sig,
            "random": "1",
            "contenttype": "json",
        }
        return {name: value for name, value in (whole | changed).items() if value is not None}

    async def raw(self, command: str, content: bytes, **changed: str | None) -> Json:
        """The answer to bytes."""
        answer = await self.client.post(f"/v4/{command}", params=self.parameters(**changed), content=content)
        return checked(answer)

    async def call(self, command: str, body: Json, **changed: str | None) -> Json:
        """The answer to a body."""
        return await self.raw(command, json.dumps(body).encode(), **changed)

    async def code(self, command: str, body: Json, **changed: str | None) -> int:
        """The ErrorCode alone."""
        return int((await self.call(command, body, **changed))["ErrorCode"])

    async def imported(self, *user_ids: str) -> list[bool]:
        """Which of them are accounts."""
        items = [{"UserID": user_id} for user_id in user_ids]
        answer = await self.call("im_open_login_svc/account_check", {"CheckItem": items})
        assert [item["UserID"] for item in answer["ResultItem"]] == list(user_ids)
        return [item["AccountStatus"] == "Imported" for item in answer["ResultItem"]]


def checked(answer: httpx.Response) -> Json:
    """The body of an answer that keeps the convention."""
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    body: Json = answer.json()
    assert body["ActionStatus"] == ("OK" if body["ErrorCode"] == 0 else "FAIL")
    assert bool(body["ErrorInfo"]) == bool(body["ErrorCode"])
    return body
