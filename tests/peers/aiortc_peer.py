"""A room client on aiortc: a WebRTC stack that shares no code with the server, the browsers or str0m.

It speaks the signaling protocol as plain JSON, on purpose without the project's own message structs.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Callable
from typing import Any, Literal

import websockets
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender, RTCSessionDescription

Json = dict[str, Any]
Setup = Literal["actpass", "active", "passive"]


class Refused(Exception):
    """The server answered a request with an error."""

    def __init__(self, error: Json) -> None:
        super().__init__(error["message"])
        self.code: int = error["code"]
        self.extra_code: int = error.get("extraCode", 0)


def prefer_codec(pc: RTCPeerConnection, name: str) -> None:
    """Put one video codec first (``VP8``, ``H264``) in the next offer."""
    wanted = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.name.upper() in (name.upper(), "RTX")]
    for transceiver in pc.getTransceivers():
        if transceiver.kind == "video":
            transceiver.setCodecPreferences(wanted)


class AiortcPeer:
    """One user in one room with an uplink and a downlink peer connection, as browsers have them.

    ``offers`` is what it says of its side of DTLS in offers, ``is_passive`` whether it answers that it waits for the
    server's hello, as no browser does.
    """

    def __init__(self, url: str, *, offers: Setup = "actpass", is_passive: bool = False) -> None:
        self._offers, self._is_passive = offers, is_passive
        self.url = url.replace("http", "ws", 1) + "/v1/ws?v=1"
        self.events: asyncio.Queue[Json] = asyncio.Queue()
        self.seen: list[Json] = []
        self.uplink: RTCPeerConnection | None = None
        self.downlink: RTCPeerConnection | None = None
        self.snapshot: Json = {}
        self._tracks: dict[tuple[str, str], asyncio.Future[MediaStreamTrack]] = {}
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self._ids = itertools.count(1)
        self._socket: Any = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self, sdk_app_id: int, user_id: str, user_sig: str, room_id: int | str = 1) -> None:
        """Log in and enter a room. Raises Refused."""
        self._socket = await websockets.connect(self.url, max_size=2**20)
        self._spawn(self._read())
        login = await self.request("login", sdkAppId=sdk_app_id, userId=user_id, userSig=user_sig)
        string_room = isinstance(room_id, str)
        entered = await self.request("enter", ticket=login["ticket"], roomId=room_id, stringRoom=string_room)
        self.snapshot = entered["snapshot"]

    async def publish(self, *tracks: MediaStreamTrack, codec: str = "VP8") -> None:
        """Publish the tracks (one audio, one video at the most) as the main stream."""
        self.uplink = pc = RTCPeerConnection()
        for track in tracks:
            pc.addTransceiver(track, direction="sendonly")
        prefer_codec(pc, codec)
        await pc.setLocalDescription(await pc.createOffer())
        mids = {f"{transceiver.kind}Mid": transceiver.mid for transceiver in pc.getTransceivers()}
        sdp = pc.localDescription.sdp.replace("a=setup:actpass", f"a=setup:{self._offers}")
        answer = await self.request("publish", sdp=sdp, **mids)
        await pc.setRemoteDescription(RTCSessionDescription(sdp=answer["sdp"], type="answer"))

    def target_bitrate(self) -> int | None:
        """The bits a second that the encoder of what it publishes aims at; None while there is none yet."""
        assert self.uplink is not None
        sender = next(sender for sender in self.uplink.getSenders() if sender.kind == "video")
        encoder = vars(sender)["_RTCRtpSender__encoder"]  # the library tells it nowhere else
        return None if encoder is None else int(encoder.target_bitrate)

    async def unpublish(self) -> None:
        """Stop publishing."""
        await self.request("unpublish")
        if self.uplink:
            await self.uplink.close()
            self.uplink = None

    async def subscribe(self, user_id: str, audio: bool = True, video: bool = True) -> None:
        """Ask for a user's main stream; ``track`` waits for what comes."""
        await self.request("subscribe", userId=user_id, audio=audio, video=video)

    async def track(self, user_id: str, kind: str, timeout: float = 15) -> MediaStreamTrack:
        """The remote track of a subscribed stream, once the downlink carries it."""
        return await asyncio.wait_for(asyncio.shield(self._track(user_id, kind)), timeout)

    async def expect(self, matches: Callable[[Json], bool], timeout: float = 15) -> Json:
        """The next event that matches; those before it are kept in ``seen``."""
        async with asyncio.timeout(timeout):
            while True:
                event = await self.events.get()
                if matches(event):
                    return event

    async def request(self, kind: str, **fields: Any) -> Json:
        """Send a request and return what it was answered. Raises Refused."""
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "type": kind, **fields}))
        reply = await asyncio.wait_for(answer, 15)
        if "error" in reply:
            raise Refused(reply["error"])
        ok: Json = reply["ok"]
        return ok

    async def close(self) -> None:
        """Leave and end everything."""
        for pc in (self.uplink, self.downlink):
            if pc:
                await pc.close()
        if self._socket:
            await self._socket.close(1000)
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _track(self, user_id: str, kind: str) -> asyncio.Future[MediaStreamTrack]:
        return self._tracks.setdefault((user_id, kind), asyncio.get_running_loop().create_future())

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for text in self._socket:
                message = json.loads(text)
                if "id" in message:
                    self._answers.pop(message["id"]).set_result(message)
                    continue
                self.seen.append(message)
                self.events.put_nowait(message)
                if message["type"] == "downlink-offer":
                    await self._answer(message)

    async def _answer(self, offer: Json) -> None:
        if self.downlink is None or offer.get("restart"):
            self.downlink = RTCPeerConnection()
        pc = self.downlink
        await pc.setRemoteDescription(RTCSessionDescription(sdp=offer["sdp"], type="offer"))
        if self._is_passive:
            for transceiver in pc.getTransceivers():
                transceiver.receiver.transport._set_role("server")
        await pc.setLocalDescription(await pc.createAnswer())
        by_mid = {transceiver.mid: transceiver for transceiver in pc.getTransceivers()}
        for wanted in offer["tracks"]:
            waiting = self._track(wanted["userId"], wanted["kind"])
            if not waiting.done():
                waiting.set_result(by_mid[wanted["mid"]].receiver.track)
        self._spawn(self._send_answer(offer["revision"], pc.localDescription.sdp))

    async def _send_answer(self, revision: int, sdp: str) -> None:
        await self.request("downlink-answer", revision=revision, sdp=sdp)
