"""A bare signaling client for tests: JSON over a WebSocket, nothing of the project's own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import websockets

if TYPE_CHECKING:
    from tests.conftest import RunningServer

Json = dict[str, Any]
OFFERS = Path(__file__).parent / "unit" / "sdp_offers"
DEADLINE = 10.0


def offer(name: str = "chromium-audio-video") -> str:
    """An uplink offer as a real browser made it."""
    return (OFFERS / f"{name}.sdp").read_bytes().decode()


class Refused(Exception):
    """An error answer."""

    def __init__(self, error: Json) -> None:
        super().__init__(error["message"])
        self.error = error
        self.code: int = error["code"]
        self.extra: int = error["extraCode"]


class Wire:
    """One socket. Events are kept in order until they are asked for."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.events: asyncio.Queue[Json] = asyncio.Queue()
        self.strays: list[Json] = []
        self._stray = asyncio.Event()
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, server: RunningServer, **options: Any) -> Self:
        """Connect."""
        return cls(await websockets.connect(server.signaling_url, max_size=2**22, ping_interval=None, **options))

    async def _read(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for text in self.socket:
                message = json.loads(text)
                if message.get("id") in self._answers:
                    self._answers.pop(message["id"]).set_result(message)
                elif "id" in message:
                    self.strays.append(message)
                    self._stray.set()
                else:
                    self.events.put_nowait(message)

    async def ask(self, kind: str, **fields: Any) -> Json:
        """Send a request; its ``ok``, or Refused."""
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"id": number, "type": kind, **fields}))
        done, _ = await asyncio.wait({answer, self._reader}, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED)
        assert done, f"no answer to {kind}"
        if not answer.done():
            raise ConnectionError(f"closed {self.socket.close_code} {self.socket.close_reason}")
        reply = answer.result()
        if "error" in reply:
            raise Refused(reply["error"])
        ok: Json = reply["ok"]
        return ok

    async def refused(self, kind: str, **fields: Any) -> Refused:
        """Send a request that is refused."""
        try:
            ok = await self.ask(kind, **fields)
        except Refused as refusal:
            return refusal
        raise AssertionError(f"{kind} was not refused but answered {ok}")

    async def answered(self, count: int, timeout: float = 60) -> list[Json]:
        """Wait for so many answers to what was sent without ``ask``; they, in the order in which they came."""
        async with asyncio.timeout(timeout):
            while len(self.strays) < count:
                assert not self._reader.done(), f"closed {self.socket.close_code} {self.socket.close_reason}"
                self._stray.clear()
                waiting = asyncio.ensure_future(self._stray.wait())
                await asyncio.wait({waiting, self._reader}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        return self.strays

    async def event(self) -> Json:
        """The next event."""
        return await asyncio.wait_for(self.events.get(), DEADLINE)

    async def quiet(self) -> bool:
        """Whether no event is there; a ping's answer proves that all before it has arrived."""
        await self.ask("ping")
        return self.events.empty()

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait for the server to close; code and reason."""
        await asyncio.wait_for(asyncio.shield(self._reader), DEADLINE)
        return self.socket.close_code, self.socket.close_reason

    async def close(self, code: int = 1000) -> None:
        """Close from our side."""
        await self.socket.close(code)
        await asyncio.wait_for(self._reader, DEADLINE)

    def drop(self) -> None:
        """Lose the socket without a word."""
        self.socket.transport.abort()

    async def login(self, server: RunningServer, user_id: str) -> Json:
        """Log in."""
        return await self.ask("login", sdkAppId=server.app, userId=user_id, userSig=server.user_sig(user_id))


async def join(server: RunningServer, user_id: str, room: int | str = 1, **more: object) -> tuple[Wire, Json]:
    """A socket that is in a room, and what ``enter`` answered."""
    wire = await Wire.open(server)
    login = await wire.login(server, user_id)
    entered = await wire.ask("enter", ticket=login["ticket"], roomId=room, stringRoom=isinstance(room, str), **more)
    return wire, entered


def answer_to(offer_sdp: str) -> str:
    """What a client that takes everything would answer: an honest mirror of the offer."""
    text = re.sub(r"a=(candidate|end-of|msid|ssrc|ice-lite)[^\r]*\r\n", "", offer_sdp)
    for pattern, mine in (
        ("a=setup:actpass", "a=setup:active"),
        ("a=sendonly", "a=recvonly"),
        (r"a=ice-ufrag:\S+", "a=ice-ufrag:clientfrag"),
        (r"a=ice-pwd:\S+", "a=ice-pwd:" + "c" * 24),
        (r"a=fingerprint:sha-256 \S+", "a=fingerprint:sha-256 " + ":".join(["CD"] * 32)),
    ):
        text = re.sub(pattern, mine, text)
    return text
