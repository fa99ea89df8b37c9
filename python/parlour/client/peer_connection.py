"""A peer connection in an event loop: the transport of the extension, its events as callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parlour._media import ClientTransport
from parlour.protocol.words import Codec, Kind

if TYPE_CHECKING:
    from parlour._media import ClientTransportStats, FrameEvent

DISCONNECTED_TIMEOUT = 10.0
"""Ours: seconds without a working path after which a connection is given up."""

NOT_SET_UP = (OSError, RuntimeError, ValueError)
"""What making one or describing it raises: there is no socket to be had, or the SDP or a codec is none for it."""

OnFailed = Callable[[str, bool], None]
"""Called with the reason, and whether the connection had ever been connected."""


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One encoded frame, whole."""

    kind: Kind
    codec: Codec
    timestamp: int
    """Media time in ticks of ``clock_rate``; its start is arbitrary, its differences are exact."""
    clock_rate: int
    keyframe: bool
    """A video frame that decodes without earlier ones."""
    contiguous: bool
    """False when frames before this one were lost."""
    data: bytes
    """H264 in Annex B form."""


class PeerConnection:
    """One peer connection. Its callbacks run in the event loop it was made in."""

    def __init__(self, address: str, codecs: Sequence[Codec], where: Callable[[], str] | None = None) -> None:
        """``where`` tells the local address as it is by now, for ICE restarts."""
        self.on_frame: Callable[[str, EncodedFrame], None] = lambda mid, frame: None
        self.on_keyframe_request: Callable[[str], None] = lambda mid: None
        self.on_connected: Callable[[], None] = lambda: None
        self.on_lost: Callable[[], None] = lambda: None
        """Called when its path answers no more; an ICE restart may find another before it is given up."""
        self.on_failed: OnFailed = lambda reason, was_connected: None
        self._address = address
        self._where = where
        self._loop = asyncio.get_running_loop()
        self._transport = ClientTransport(addresses=[address], codecs=codecs)
        self._fd = self._transport.event_fd()
        self._open = True
        self._connected = asyncio.Event()
        self._settled = asyncio.Event()
        self._patience: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._fd, self._drain)

    @property
    def is_open(self) -> bool:
        """False after :meth:`close` or a failure."""
        return self._open

    @property
    def was_connected(self) -> bool:
        """Whether ICE and DTLS have been through."""
        return self._connected.is_set()

    async def connected(self) -> None:
        """Wait until ICE and DTLS are through, or it is closed; ``was_connected`` tells which."""
        await self._settled.wait()

    def create_offer(self, add: Sequence[Kind], stop: Sequence[str] = ()) -> tuple[str, list[str]]:
        """The SDP offer that adds and stops tracks, and the mids of the added ones."""
        return self._transport.create_offer(add, stop)

    def accept_answer(self, sdp: str) -> None:
        """Take the server's answer."""
        self._transport.accept_answer(sdp)
        self._expect_connection()

    def create_ice_restart(self) -> str:
        """The SDP offer with new ICE credentials, from wherever this machine is by now."""
        self._follow_address()
        return self._transport.create_ice_restart()

    def _follow_address(self) -> None:
        address = self._address if self._where is None else self._where()
        if address != self._address:
            self._transport.move_to(address)
            self._address = address

    def accept_offer(self, sdp: str) -> str:
        """Answer the server's offer; it may be an ICE restart."""
        self._follow_address()
        answer = self._transport.accept_offer(sdp)
        self._expect_connection()
        return answer

    def write(self, mid: str, codec: Codec, timestamp: int, data: bytes, level: int | None = None) -> bool:
        """Queue a frame for sending; from any thread. False when it was dropped at once."""
        return self._transport.write_frame(mid, codec=codec, timestamp=timestamp, data=data, level=level)

    def request_keyframe(self, mid: str) -> None:
        """Ask for a keyframe of a received track (sent at most every 500 ms)."""
        self._transport.request_keyframe(mid)

    def stats(self) -> ClientTransportStats:
        """Counters of the transport."""
        return self._transport.stats()

    def close(self) -> None:
        """Say goodbye and free the ports. Idempotent."""
        if self._open:
            self._open = False
            self._settled.set()
            self._loop.remove_reader(self._fd)
            self._stop_patience()
            self._transport.close()

    def _drain(self) -> None:
        for event in self._transport.drain_events():
            if not self._open:
                return
            match event["type"]:
                case "frame":
                    self.on_frame(event["mid"], _frame(event))
                case "keyframe-request":
                    self.on_keyframe_request(event["mid"])
                case "connected":
                    self._connected.set()
                    self._settled.set()
                    self._stop_patience()
                    self.on_connected()
                case "ice":
                    if event["state"] == "disconnected":
                        self._start_patience()
                        self.on_lost()
                    elif event["state"] == "connected":
                        self._stop_patience()
                case "closed":
                    self.fail(event["detail"] or "the server closed the transport")
                case "track":
                    pass

    def _expect_connection(self) -> None:
        if not self._connected.is_set():
            self._start_patience()

    def _start_patience(self) -> None:
        if self._patience is None and self._open:
            reason = f"no path to the server for {DISCONNECTED_TIMEOUT:g} s"
            self._patience = self._loop.call_later(DISCONNECTED_TIMEOUT, self.fail, reason)

    def _stop_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def fail(self, reason: str) -> None:
        """Close it and tell the owner why."""
        if self._open:
            self.close()
            self.on_failed(reason, self.was_connected)


def _frame(event: FrameEvent) -> EncodedFrame:
    return EncodedFrame(
        kind=event["kind"],
        codec=event["codec"],
        timestamp=event["timestamp"],
        clock_rate=event["clock_rate"],
        keyframe=event["keyframe"],
        contiguous=event["contiguous"],
        data=event["data"],
    )
