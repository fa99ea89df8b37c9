"""Addresses of the media port: which are told, and from which answers leave. And how many connections it takes."""

from __future__ import annotations

import pytest
from parlour.media import MediaCore, MediaFullError
from parlour.media.addresses import announced

from tests.peers.stun_peer import StunPeer, binding_request


@pytest.mark.parametrize(
    ("bind", "asked"),
    [
        ("0.0.0.0", "127.0.0.5"),
        ("0.0.0.0", "127.0.0.9"),
        ("::", "127.0.0.5"),
        ("::", "::1"),
        ("127.0.0.7", "127.0.0.7"),
    ],
)
async def test_an_answer_leaves_from_the_announced_address_that_was_asked(bind: str, asked: str) -> None:
    core = MediaCore(bind=bind, port=0, announce=(asked,))
    await core.start()
    try:
        local = core.create_transport(0).local
        assert [candidate.ip for candidate in local.candidates] == [asked]
        # A connected socket takes datagrams from that address alone, as a NAT on the way would.
        with StunPeer((asked, core.ports[0])) as peer:
            peer.check(local, nominate=True)
            peer.check(local)
    finally:
        await core.close()


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_no_candidate_is_a_wildcard(wildcard: str) -> None:
    addresses = announced(wildcard).addresses
    assert addresses
    assert not {"0.0.0.0", "::"} & set(addresses)


async def test_a_full_shard_says_so_at_the_call_and_has_room_again_when_one_leaves() -> None:
    core = MediaCore(bind="127.0.0.1", port=0, max_transports=3)
    await core.start()
    try:
        first = core.create_transport(0)
        assert core.has_room(0, 2)
        core.create_transport(0)
        assert not core.has_room(0, 2)
        core.create_transport(0)
        with pytest.raises(MediaFullError, match="takes no more"):
            core.create_transport(0)
        core.remove_transport(first.id)
        local = core.create_transport(0).local
        with StunPeer(("127.0.0.1", core.ports[0])) as peer:
            peer.send(binding_request(local))
            assert peer.receive().message_class.name == "RESPONSE"
    finally:
        await core.close()
