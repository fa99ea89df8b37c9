"""Janus VideoRoom beside us: its process, and the adapter that takes load peers into its rooms.

Debian's package (``apt-get install janus``) is run as a program with a configuration of its own: ICE-lite on the
loopback interface, one event loop for the one core it gets, nothing but the VideoRoom and the WebSocket loaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import websockets
from parlour.load import description
from parlour.load.errors import LoadError
from parlour.load.patterns import Track
from parlour.load.peers import Member, Peers

from bench import machine

HOW_TO_INSTALL = "Janus is not there to compare with: `apt-get install janus` (Debian, Ubuntu) brings it."
LIBRARIES = (Path("/usr/lib/x86_64-linux-gnu/janus"), Path("/usr/lib/aarch64-linux-gnu/janus"), Path("/usr/lib/janus"))
HOST = "127.0.0.1"
START_TIMEOUT = 20.0
ANSWER_TIMEOUT = 20.0
OVER = frozenset({"success", "error", "event"})
"""Kinds of messages that end a transaction; an ``ack`` only says that it began."""

CONFIGURATION = """\
general: {{ configs_folder = "{folder}", plugins_folder = "{folder}/plugins", transports_folder = "{folder}/transports",
  events_folder = "{folder}/none", loggers_folder = "{folder}/none", debug_level = 2, session_timeout = 0,
  event_loops = 1, protected_folders = ["/nowhere"] }}
certificates: {{ }}
media: {{ rtp_port_range = "20000-60000" }}
nat: {{ ice_lite = true, ice_enforce_list = "127.0.0.1", full_trickle = false }}
"""
WEBSOCKET = 'general: {{ json = "compact", ws = true, ws_interface = "lo", ws_port = {port} }}\n'


def library() -> Path | None:
    """Where its plugins are; None when it is not installed."""
    if shutil.which("janus") is None:
        return None
    return next((folder for folder in LIBRARIES if folder.is_dir()), None)


def version() -> str:
    """As its command says it."""
    said = subprocess.run(["janus", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
    return found[0] if found else "of an unknown version"


class JanusServer:
    """A Janus process on the server's core. Ends with the ``with``."""

    def __init__(self, folder: Path) -> None:
        libraries = library()
        assert libraries is not None
        with contextlib.closing(socket.create_server((HOST, 0))) as free:
            self.port: int = free.getsockname()[1]
        (folder / "none").mkdir()
        for kind, name in (("plugins", "videoroom"), ("transports", "websockets")):
            (folder / kind).mkdir()
            for found in (libraries / kind).glob(f"libjanus_{name}.so*"):
                (folder / kind / found.name).symlink_to(found)
        (folder / "janus.jcfg").write_text(CONFIGURATION.format(folder=folder), encoding="utf-8")
        (folder / "janus.transport.websockets.jcfg").write_text(WEBSOCKET.format(port=self.port), encoding="utf-8")
        self._log = folder / "log"
        command = ["janus", "-F", str(folder), "-C", str(folder / "janus.jcfg"), "-o"]
        with self._log.open("wb") as written, machine.on_core(machine.CORES.server):
            self._process = subprocess.Popen(
                command, stdout=written, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder
            )

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def __enter__(self) -> JanusServer:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), contextlib.closing(socket.create_connection((HOST, self.port), 1.0)):
                return self
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError(f"Janus did not start:\n{self._log.read_text(errors='replace')[-2000:]}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Session:
    """One WebSocket with one session: requests by transaction."""

    def __init__(self) -> None:
        self._socket: websockets.ClientConnection
        self._reader: asyncio.Task[None]
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._id: int | None = None

    async def open(self, port: int) -> None:
        self._socket = await websockets.connect(
            f"ws://{HOST}:{port}", subprotocols=[websockets.Subprotocol("janus-protocol")],
            max_size=None, ping_interval=None, compression=None, proxy=None,
        )  # fmt: skip
        self._reader = asyncio.create_task(self._read())
        self._id = (await self._ask({"janus": "create"}))["data"]["id"]

    async def attach(self) -> int:
        """A new handle of the VideoRoom."""
        answer = await self._ask({"janus": "attach", "plugin": "janus.plugin.videoroom"})
        return int(answer["data"]["id"])

    async def message(self, handle: int, body: dict[str, Any], jsep: dict[str, str] | None = None) -> dict[str, Any]:
        """A request to the plugin, and what it says in the end, with its SDP as ``sdp``."""
        request = {"janus": "message", "handle_id": handle, "body": body} | ({"jsep": jsep} if jsep else {})
        answer = await self._ask(request)
        data: dict[str, Any] = answer.get("plugindata", {}).get("data", {})
        if "error" in data:
            raise LoadError(f"Janus refused {body['request']}: {data['error']} ({data.get('error_code')})")
        return data | {"sdp": answer.get("jsep", {}).get("sdp", "")}

    async def close(self) -> None:
        """End the session with everything in it."""
        self._reader.cancel()
        with contextlib.suppress(websockets.WebSocketException, OSError):
            await self._socket.send(json.dumps({"janus": "destroy", "session_id": self._id, "transaction": "end"}))
            await self._socket.close()

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        transaction = str(next(self._numbers))
        answer = self._waiting[transaction] = asyncio.get_running_loop().create_future()
        session = {} if self._id is None else {"session_id": self._id}
        await self._socket.send(json.dumps(request | session | {"transaction": transaction}))
        try:
            said: dict[str, Any] = await asyncio.wait_for(answer, ANSWER_TIMEOUT)
        except TimeoutError:
            raise LoadError(f"Janus did not answer {request['janus']} in {ANSWER_TIMEOUT:g} s") from None
        if said["janus"] == "error":
            raise LoadError(f"Janus refused {request['janus']}: {said['error']['reason']}")
        return said

    async def _read(self) -> None:
        async for text in self._socket:
            said = json.loads(text)
            if said.get("janus") in OVER and (waiting := self._waiting.pop(said.get("transaction", ""), None)):
                waiting.set_result(said)


class JanusMember:
    """A user of a room: a session with a handle for what it publishes and one for what it receives."""

    def __init__(self, peers: Peers, room: int, name: str) -> None:
        self.name = name
        self.uplink: int | None = None
        self.downlink: int | None = None
        self.feed = 0
        self._peers = peers
        self._room = room
        self.session = _Session()

    async def publish(self, tracks: Sequence[Track]) -> None:
        """Join as a publisher, with the offer."""
        sending = self._peers.sending(tracks)
        handle = await self.session.attach()
        body = {"request": "joinandconfigure", "ptype": "publisher", "room": self._room, "display": self.name}
        joined = await self.session.message(handle, body, {"type": "offer", "sdp": sending.offer})
        self.feed = joined["id"]
        self.uplink = await self._peers.connect(sending.local, description.read(joined["sdp"], HOST), sending)

    async def subscribe(self, others: Sequence[Member]) -> None:
        """Join as a subscriber of all at once, and answer the offer."""
        feeds = [{"feed": other.feed} for other in others if isinstance(other, JanusMember)]
        handle, local = await self.session.attach(), self._peers.local()
        body = {"request": "join", "ptype": "subscriber", "room": self._room, "streams": feeds}
        remote = description.read((await self.session.message(handle, body))["sdp"], HOST)
        answer = {"type": "answer", "sdp": description.answer(local, remote)}
        await self.session.message(handle, {"request": "start", "room": self._room}, answer)
        self.downlink = await self._peers.connect(local, remote)

    async def leave(self) -> None:
        """Go."""
        self._peers.generator.remove([peer for peer in (self.uplink, self.downlink) if peer is not None])
        await self.session.close()


class JanusRooms:
    """A Janus by its port."""

    def __init__(self, peers: Peers, port: int) -> None:
        self._peers = peers
        self._port = port
        self._rooms: dict[int, asyncio.Task[None]] = {}

    async def join(self, room: int, name: str) -> JanusMember:
        """A session for a user; its room is made when it is the first."""
        if room not in self._rooms:
            self._rooms[room] = asyncio.create_task(self._make(room))
        await self._rooms[room]
        member = JanusMember(self._peers, room, name)
        await member.session.open(self._port)
        return member

    async def _make(self, room: int) -> None:
        session = _Session()
        await session.open(self._port)
        handle = await session.attach()
        settings = {"publishers": 1000, "videocodec": "vp8", "audiocodec": "opus", "bitrate": 0, "permanent": False}
        await session.message(handle, {"request": "create", "room": room} | settings)
        await session.close()


@contextlib.contextmanager
def server(folder: Path) -> Iterator[JanusServer]:
    """A Janus in a folder of its own."""
    folder.mkdir()
    with JanusServer(folder) as served:
        yield served
