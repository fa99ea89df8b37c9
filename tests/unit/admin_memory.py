"""The account REST on a real HTTP port, with an account system in memory behind it that a test can break."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import uvicorn
from parlour.accounts import AccountRefusedError
from parlour.accounts.manager import BatchResult, ItemResult, Presence
from parlour.admin import AdminSettings, create_admin_routes
from parlour.errors import ErrorCode
from parlour.storage.model import KINDS, App, AppLimits
from parlour.usersig import AppKeys, UserSigError, sign_v2, verify
from starlette.applications import Starlette

APP = 1400000001
KEY = "0123456789abcdef" * 4
ADMIN = "administrator"
USER_SIG = sign_v2(APP, ADMIN, KEY, expire=86_400, now=int(time.time()))
Json = dict[str, Any]


@dataclass(frozen=True)
class MemoryCaller:
    app: App
    identifier: str


def an_app() -> App:
    return App(APP, "Lessons", "active", 1_700_000_000, AppKeys((KEY,), ()), owner=1001)


@dataclass
class Memory:
    """Both ports. ``fault`` is raised by every call of the manager; ``deadline`` is how many items a batch gets to."""

    app: App = field(default_factory=an_app)
    accounts: dict[str, Json] = field(default_factory=dict)
    online_at: dict[str, tuple[str, ...]] = field(default_factory=dict)
    blacklist: dict[str, tuple[str, int]] = field(default_factory=dict)
    counted: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    refuse_request: ErrorCode | None = None
    fault: Exception | None = None
    deadline: int | None = None

    async def rest_app(self, sdk_app_id: int, identifier: str) -> MemoryCaller:
        if sdk_app_id != self.app.sdk_app_id:
            raise AccountRefusedError(ErrorCode.SDKAPPID_NOT_FOUND, f"There is no app {sdk_app_id}.")
        if self.app.state != "active":
            raise AccountRefusedError(ErrorCode.APP_DISABLED, "The app is suspended.")
        return MemoryCaller(self.app, identifier)

    async def prove_admin(self, caller: MemoryCaller, user_sig: str, source: str) -> None:
        self.sources.append(source)
        try:
            verify(
                user_sig,
                sdk_app_id=caller.app.sdk_app_id,
                user_id=caller.identifier,
                keys=self.app.keys,
                now=int(time.time()),
            )
        except UserSigError as error:
            raise AccountRefusedError(error.code, str(error)) from None
        if caller.identifier not in caller.app.admins:
            raise AccountRefusedError(ErrorCode.ADMIN_REQUIRED, f"{caller.identifier} is no administrator.")

    async def take_request(self, app: App, command: str) -> None:
        self.counted.append(command)
        if self.refuse_request is not None:
            raise AccountRefusedError(self.refuse_request, "Too many.")

    def check_account_type(self, caller: MemoryCaller, value: object) -> None:
        assert value is not None
        number = int(value) if isinstance(value, str) and value.isdigit() and len(value) < 10 else value
        if isinstance(number, bool) or not isinstance(number, int):
            raise AccountRefusedError(ErrorCode.ACCTYPE_INVALID, "The account type is no number.")
        if number != caller.app.account_type:
            raise AccountRefusedError(ErrorCode.ACCTYPE_MISMATCH, "The account type is not the app's.")

    def _break(self) -> None:
        if self.fault is not None:
            raise self.fault

    def _batch(self, items: Sequence[ItemResult]) -> BatchResult:
        self._break()
        names = [item.user_id for item in items]
        assert len(names) == len(set(names))
        if self.deadline is None or self.deadline >= len(items):
            return BatchResult(list(items))
        return BatchResult(list(items[: self.deadline]), ErrorCode.BATCH_TIMEOUT, "Not all was done in time.")

    def _known(self, user_id: str) -> ItemResult:
        there = user_id in self.accounts
        return ItemResult(user_id, None if there else ErrorCode.USERID_NOT_REGISTERED, there)

    async def import_account(self, app: App, user_id: str, *, nick: str | None, face_url: str | None) -> None:
        self._break()
        profile = self.accounts.setdefault(user_id, {"nick": "", "face_url": ""})
        profile |= {name: value for name, value in (("nick", nick), ("face_url", face_url)) if value is not None}

    async def import_many(self, app: App, user_ids: Sequence[str]) -> BatchResult:
        result = self._batch([ItemResult(user) for user in user_ids])
        self.accounts |= {item.user_id: {} for item in result.items}
        return result

    async def delete_many(self, app: App, user_ids: Sequence[str]) -> BatchResult:
        result = self._batch([self._known(user) for user in user_ids])
        for item in result.items:
            self.accounts.pop(item.user_id, None)
        return result

    async def check_many(self, app: App, user_ids: Sequence[str]) -> BatchResult:
        return self._batch([ItemResult(user, None, user in self.accounts) for user in user_ids])

    async def kick(self, app: App, user_id: str) -> None:
        self._break()
        if user_id not in self.accounts:
            raise AccountRefusedError(ErrorCode.USERID_NOT_REGISTERED, f"{user_id} is no account of this app.")

    async def online(self, app: App, user_ids: Sequence[str]) -> list[Presence]:
        self._break()
        return [
            Presence(
                user,
                user in self.accounts,
                "Online" if user in self.online_at else "Offline",
                self.online_at.get(user, ()),
            )
            for user in user_ids
        ]

    async def register(self, app: App, user_id: str, kind: str) -> None:
        self._break()
        if (code := self._misfit(user_id, kind)) is not None:
            raise AccountRefusedError(code, "The userId does not fit its kind.")
        self.accounts[user_id] = {}

    async def register_many(self, app: App, accounts: Sequence[tuple[str, str]]) -> BatchResult:
        result = self._batch([ItemResult(user, self._misfit(user, kind)) for user, kind in accounts])
        self.accounts |= {item.user_id: {} for item in result.items if item.code is None}
        return result

    def _misfit(self, user_id: str, kind: str) -> ErrorCode | None:
        if kind not in KINDS:
            return ErrorCode.ACCOUNT_KIND_UNKNOWN
        fits = {
            "plain": True,
            "phone": user_id.startswith("+"),
            "email": "@" in user_id,
            "tls": 0 < len(user_id) <= 32 and user_id.isascii() and user_id.isprintable(),
        }
        codes = {
            "phone": ErrorCode.PHONE_FORMAT_INVALID,
            "email": ErrorCode.EMAIL_FORMAT_INVALID,
            "tls": ErrorCode.TLS_ACCOUNT_FORMAT_INVALID,
        }
        return None if fits[kind] else codes[kind]

    async def block(self, app: App, user_id: str, reason: str) -> None:
        self._break()
        self.blacklist[user_id] = (reason, 1_700_000_000)

    async def unblock(self, app: App, user_id: str) -> None:
        self._break()
        self.blacklist.pop(user_id, None)

    async def blocked(self, app: App, *, after: str, limit: int) -> list[tuple[str, str, int]]:
        self._break()
        rows = ((user, *entry) for user, entry in sorted(self.blacklist.items()) if user > after)
        return list(itertools.islice(rows, limit))

    async def app_of_owner(self, app: App, uin: object, *, write: bool) -> None:
        self._break()
        number = int(uin) if isinstance(uin, str) and uin.isdigit() and len(uin) < 20 else uin
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise AccountRefusedError(ErrorCode.UIN_INVALID, "Uin is no operator's number.")
        if self.app.owner is None:
            raise AccountRefusedError(ErrorCode.APP_HAS_NO_OWNER, "Nobody owns the app.")
        if number != self.app.owner:
            code = ErrorCode.UIN_MISMATCH if write else ErrorCode.UIN_NOT_DEVELOPER
            raise AccountRefusedError(code, "The app is another's.")

    async def change_app(self, app: App, **changes: Any) -> App:
        self._break()
        limits = {name: changes.pop(name) for name in list(changes) if hasattr(AppLimits(), name)}
        self.app = replace(self.app, **changes, limits=replace(self.app.limits, **limits))
        return self.app

    async def issue_user_sig(self, app: App, user_id: str, expire: int) -> tuple[str, int, int]:
        self._break()
        if not self.app.keys.secrets:
            raise AccountRefusedError(ErrorCode.VERIFICATION_METHOD_MISSING, "The app has no secret key.")
        now = int(time.time())
        return sign_v2(app.sdk_app_id, user_id, self.app.keys.secrets[0], expire=expire, now=now), now, now + expire


class MemoryRest:
    """A running account REST: its port, its memory, and calls to it."""

    def __init__(self, port: int, memory: Memory, client: httpx.AsyncClient) -> None:
        self.port = port
        self.memory = memory
        self.client = client

    @property
    def parameters(self) -> dict[str, str]:
        return {"sdkappid": str(APP), "identifier": ADMIN, "usersig": USER_SIG, "random": "7", "contenttype": "json"}

    async def raw(self, command: str, content: bytes, **parameters: str | None) -> Json:
        """The answer to a POST of bytes; a parameter that is None is left out."""
        query = {name: value for name, value in (self.parameters | parameters).items() if value is not None}
        answer = await self.client.post(f"/v4/{command}", params=query, content=content)
        assert answer.status_code == 200
        body: Json = answer.json()
        assert body["ActionStatus"] == ("OK" if body["ErrorCode"] == 0 else "FAIL")
        assert bool(body["ErrorInfo"]) == bool(body["ErrorCode"])
        return body

    async def call(self, command: str, body: Json, **parameters: str | None) -> Json:
        """The answer to a call with a JSON body."""
        return await self.raw(command, httpx.Request("POST", "http://x", json=body).content, **parameters)


@contextlib.asynccontextmanager
async def running(settings: AdminSettings | None = None, memory: Memory | None = None) -> AsyncIterator[MemoryRest]:
    """An account REST under uvicorn on a free port."""
    memory = memory or Memory()
    app = Starlette(routes=create_admin_routes(memory, memory, settings or AdminSettings()))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, server_header=False)
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])
        port = listener.getsockname()[1]
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, verify=False) as client:
                yield MemoryRest(port, memory, client)
        finally:
            server.force_exit = True
            await server.shutdown(sockets=[listener])
