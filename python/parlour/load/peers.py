"""The generator in an event loop, and what an adapter for a kind of server has to offer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from parlour._media import LoadGenerator
from parlour.load import description
from parlour.load.errors import LoadError
from parlour.load.patterns import Track

if TYPE_CHECKING:
    from parlour._media import LoadPattern, LoadPeer
    from parlour.protocol.words import Kind

LOOK = 0.01
"""Seconds between two looks at peers that connect."""


PATIENCE = 15.0
"""Seconds that a server has to answer the checks and the handshake of a peer."""


class Member(Protocol):
    """A user in a room."""

    name: str
    uplink: int | None
    """The generator's number of the peer that sends."""
    downlink: int | None
    """And of the one that receives."""

    async def publish(self, tracks: Sequence[Track]) -> None:
        """Offer tracks and connect. Nothing is sent before the generator is told to start."""

    async def subscribe(self, others: Sequence[Member]) -> None:
        """Receive what others of the room publish, and connect."""

    async def leave(self) -> None:
        """Go, on purpose."""


class RoomServer(Protocol):
    """A server, as an adapter shows it."""

    async def join(self, room: int, name: str) -> Member:
        """Enter a room, which is made if it is missing. Raises LoadError with the server's reason."""


@dataclass(frozen=True)
class Sending:
    """What a publisher announced, for the generator."""

    local: description.Local
    tracks: tuple[Track, ...]
    ssrcs: tuple[int, ...]

    @property
    def offer(self) -> str:
        """The SDP."""
        return description.offer(self.local, self.tracks, self.ssrcs)

    def streams(self, *, twcc: bool) -> list[tuple[Kind, int, int, int | None, LoadPattern, int]]:
        """The streams, for the generator."""
        return [
            (
                track.kind, ssrc, description.PAYLOAD_TYPES[track.kind], description.TWCC_ID if twcc else None,
                track.pattern.compiled(), track.phase,
            )
            for track, ssrc in zip(self.tracks, self.ssrcs, strict=True)
        ]  # fmt: skip


class Peers:
    """One generator and the peers in it."""

    def __init__(self, *, patience: float = PATIENCE) -> None:
        self.generator = LoadGenerator(secrets.randbits(64), patience=timedelta(seconds=patience))

    def sending(self, tracks: Sequence[Track]) -> Sending:
        """New SSRCs and credentials for a publisher."""
        ssrcs = tuple(secrets.randbelow(2**32 - 2) + 1 for _ in tracks)
        return Sending(self.local(), tuple(tracks), ssrcs)

    def local(self) -> description.Local:
        """New credentials for a peer."""
        return description.Local(self.generator.fingerprint)

    async def connect(
        self, local: description.Local, remote: description.Remote, sending: Sending | None = None
    ) -> int:
        """Connect a peer and wait until media may flow. Raises LoadError with the reason when it cannot."""
        streams = [] if sending is None else sending.streams(twcc=remote.twcc_extension is not None)
        peer = self.generator.connect(
            remote.address,
            local=(local.ufrag, local.pwd),
            peer=(remote.ufrag, remote.pwd),
            fingerprint=remote.fingerprint,
            outgoing=streams,
            twcc_extension=remote.twcc_extension,
            repair_payload_types=remote.repair_payload_types,
        )
        return await self.connected(peer)

    async def connect_to_reflector(self, address: tuple[str, int], room: int, sending: Sending | None = None) -> int:
        """The same for a null reflector."""
        streams = [] if sending is None else sending.streams(twcc=True)
        return await self.connected(self.generator.connect_to_reflector(address, room=room, outgoing=streams))

    async def connected(self, peer: int) -> int:
        """Wait until a peer is connected, and return its number."""
        while True:
            state, reason = self.generator.state(peer)
            if state == "connected":
                return peer
            if state == "failed":
                raise LoadError(reason or "a peer failed")
            await asyncio.sleep(LOOK)

    def reports(self) -> dict[int, LoadPeer]:
        """What is told of each peer, by its number."""
        return {one["peer"]: one for one in self.generator.peers()}

    def close(self) -> None:
        """End all peers. Idempotent."""
        self.generator.close()
