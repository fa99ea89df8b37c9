"""Media over TCP (ICE-TCP) at the media core: which candidates are told, and that each of them is one."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aioice import stun
from parlour.media import MediaCore, TcpLimits

from tests.peers.stun_peer import DEADLINE, binding_request


def checked(address: tuple[str, int], request: stun.Message) -> tuple[stun.Message, tuple[str, int]]:
    """The answer to a check that is sent by a connection, and what this end's address is."""
    with socket.create_connection(address, timeout=DEADLINE) as connection, connection.makefile("rb") as stream:
        check = bytes(request)
        connection.sendall(len(check).to_bytes(2) + check)
        answer = stun.parse_message(stream.read(int.from_bytes(stream.read(2))))
        return answer, connection.getsockname()[:2]


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "127.0.0.7"])
async def test_every_candidate_for_tcp_is_one_and_tells_the_peer_its_address_in_its_own_family(bind: str) -> None:
    announce = {"0.0.0.0": ("127.0.0.1", "127.0.0.9"), "::": ("::1", "127.0.0.1")}.get(bind, ())
    core = MediaCore(bind=bind, port=0, announce=announce, tcp=TcpLimits())
    await core.start()
    try:
        local = core.create_transport(0).local
        by_tcp = [candidate for candidate in local.candidates if candidate.protocol == "tcp"]
        assert [candidate.ip for candidate in by_tcp] == list(announce or (bind,))
        assert {candidate.port for candidate in local.candidates} == set(core.ports)
        for candidate in by_tcp:
            request = binding_request(local, nominate=True)
            answer, mine = await asyncio.to_thread(checked, (candidate.ip, candidate.port), request)
            assert answer.transaction_id == request.transaction_id
            assert answer.attributes["XOR-MAPPED-ADDRESS"] == mine
        assert core.protocols == ("udp", "tcp")
    finally:
        await core.close()


async def test_without_it_none_is_told_and_nobody_listens() -> None:
    core = MediaCore(bind="127.0.0.1", port=0)
    await core.start()
    try:
        assert {candidate.protocol for candidate in core.create_transport(0).local.candidates} == {"udp"}
        assert core.protocols == ("udp",)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", core.ports[0]), timeout=DEADLINE)
        assert (await core.snapshot())["shards"][0]["tcp"] is None
    finally:
        await core.close()
