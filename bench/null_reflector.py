"""The null reflector as a process, and the adapter that takes load peers to it: rooms without a word of signaling."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence

from parlour._media import NullReflector
from parlour.load.patterns import Track
from parlour.load.peers import Member, Peers

HOST = "127.0.0.1"


class NullMember:
    """A peer that sends to a room of the reflector, one that receives from a room, or both."""

    def __init__(self, peers: Peers, address: tuple[str, int], room: int, name: str) -> None:
        self.name = name
        self.room = room
        self.uplink: int | None = None
        self.downlink: int | None = None
        self._peers = peers
        self._address = address

    async def publish(self, tracks: Sequence[Track]) -> None:
        """Say so, and wait for the echo."""
        sending = self._peers.sending(tracks)
        self.uplink = await self._peers.connect_to_reflector(self._address, self.room, sending)

    async def subscribe(self, others: Sequence[Member]) -> None:
        """The same, in the one room where the others send."""
        (room,) = {other.room for other in others if isinstance(other, NullMember)}
        self.downlink = await self._peers.connect_to_reflector(self._address, room)

    async def leave(self) -> None:
        """Be gone; the reflector knows nothing of it."""
        self._peers.generator.remove([peer for peer in (self.uplink, self.downlink) if peer is not None])


class NullRooms:
    """A reflector by its port. ``mutual``: everybody sends in a room of its own, so that nobody hears itself."""

    def __init__(self, peers: Peers, port: int, *, mutual: bool = False) -> None:
        self._peers = peers
        self._address = (HOST, port)
        self._mutual = mutual
        self._joined = 0

    async def join(self, room: int, name: str) -> NullMember:
        """A member; there is nobody to ask."""
        self._joined += 1
        return NullMember(self._peers, self._address, 1_000_000 + self._joined if self._mutual else room, name)


def main() -> None:
    """Say where it listens, and reflect until told to end."""
    reflector = NullReflector(HOST)
    print(json.dumps({"url": f"udp://{HOST}:{reflector.port}"}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
