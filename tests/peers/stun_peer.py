"""A STUN client on aioice's messages: an ICE agent's connectivity checks, one at a time, from a plain socket."""

from __future__ import annotations

import math
import os
import select
import socket
import time
from typing import Self

from aioice import stun
from parlour.sdp.model import LocalTransport

DEADLINE = 5.0
"""Seconds an answer may take before a test gives up. Answers come in well under a millisecond."""


def binding_request(transport: LocalTransport, *, pwd: str | None = None, nominate: bool = False) -> stun.Message:
    """A connectivity check for that transport (RFC 8445 §7.1), signed with its password or with another one."""
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["USERNAME"] = f"{transport.ufrag}:peer"
    request.attributes["PRIORITY"] = 0x6E7F00FF
    request.attributes["ICE-CONTROLLING"] = int.from_bytes(os.urandom(8))
    if nominate:
        request.attributes["USE-CANDIDATE"] = None
    request.add_message_integrity((pwd or transport.pwd).encode())
    return request


class StunPeer:
    """One UDP socket that checks one server port."""

    def __init__(self, server: tuple[str, int]) -> None:
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.server = server
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.connect(server)
        self.socket.settimeout(DEADLINE)

    @property
    def address(self) -> tuple[str, int]:
        """This end."""
        host, port = self.socket.getsockname()[:2]
        return str(host), int(port)

    def send(self, datagram: bytes | stun.Message) -> None:
        """Send without waiting for anything."""
        self.socket.send(bytes(datagram))

    def receive(self) -> stun.Message:
        """The next datagram, which has to be STUN."""
        return stun.parse_message(self.socket.recv(2048))

    def check(self, transport: LocalTransport, *, nominate: bool = False, again: float = DEADLINE) -> float:
        """One check, which is sent `again` after so many seconds as long as no answer comes (RFC 8489 §6.2.1).

        Returns the seconds it took; raises when it is not answered within `DEADLINE`, or not as RFC 8445 says. The
        first datagram that comes has to be the answer: whatever else was sent before got silence.
        """
        request = binding_request(transport, nominate=nominate)
        started = time.monotonic()
        answer = self.answer(request, again)
        took = time.monotonic() - started
        assert answer.transaction_id == request.transaction_id, f"an answer to something else: {answer}"
        assert answer.message_class == stun.Class.RESPONSE, answer
        assert answer.check_message_integrity(transport.pwd.encode())
        assert "FINGERPRINT" in answer.attributes
        assert answer.attributes["XOR-MAPPED-ADDRESS"] == self.address
        return took

    def answer(self, request: stun.Message, again: float) -> stun.Message:
        """What comes when that was sent once, or every `again` seconds."""
        for _ in range(math.ceil(DEADLINE / again)):
            self.send(request)
            if select.select([self.socket], [], [], again)[0]:
                return self.receive()
        raise TimeoutError(f"no answer within {DEADLINE:g} s")

    def close(self) -> None:
        """Free the port."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
