"""One ICE + DTLS-SRTP transport of aiortc without any SDP: RTP and RTCP packets in and out, as they are."""

from __future__ import annotations

import asyncio
from typing import Any

from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceTransport
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcicetransport import RTCIceCandidate, RTCIceParameters
from aiortc.rtp import RtcpPacket, RtpPacket
from parlour.sdp.model import LocalTransport, RemoteTransport


class _Tap(RTCDtlsTransport):  # type: ignore[misc]
    """Hands every authentic packet over instead of routing it to a receiver."""

    def __init__(self, ice: RTCIceTransport, certificates: list[RTCCertificate]) -> None:
        super().__init__(ice, certificates)
        self.rtp: asyncio.Queue[bytes] = asyncio.Queue()
        self.rtcp: asyncio.Queue[Any] = asyncio.Queue()

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self.rtp.put_nowait(data)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        for packet in RtcpPacket.parse(data):
            self.rtcp.put_nowait(packet)


class OrtcPeer:
    """The client end of a transport: it sends the checks and the ClientHello."""

    def __init__(self) -> None:
        self._gatherer = RTCIceGatherer(iceServers=[])
        self._gatherer._connection.ice_controlling = True
        self._ice = RTCIceTransport(self._gatherer)
        self._dtls = _Tap(self._ice, [RTCCertificate.generateCertificate()])
        self._dtls._set_role("client")
        self.ended = asyncio.Event()
        """Set when DTLS is over: by a goodbye, by :meth:`close` or by a failure."""
        self._dtls.on("statechange", self._state_changed)

    def _state_changed(self) -> None:
        if self._dtls.state in {"closed", "failed"}:
            self.ended.set()

    @property
    def parameters(self) -> RemoteTransport:
        """What an SDP of this peer would say."""
        ice = self._gatherer.getLocalParameters()
        fingerprints = self._dtls.getLocalParameters().fingerprints
        (fingerprint,) = (print.value for print in fingerprints if print.algorithm == "sha-256")
        return RemoteTransport(ufrag=ice.usernameFragment, pwd=ice.password, fingerprint=fingerprint.upper())

    async def gather(self) -> set[int]:
        """Open its sockets; returns their ports."""
        await self._gatherer.gather()
        return {candidate.port for candidate in self._gatherer.getLocalCandidates()}

    async def connect(self, server: LocalTransport) -> None:
        """ICE, then DTLS; returns when both are through on this end."""
        await self._gatherer.gather()
        for index, candidate in enumerate(server.candidates):
            await self._ice.addRemoteCandidate(
                RTCIceCandidate(1, f"s{index}", candidate.ip, candidate.port, 2130706431 - index, "udp", "host")
            )
        await self._ice.addRemoteCandidate(None)
        await self._ice.start(RTCIceParameters(usernameFragment=server.ufrag, password=server.pwd, iceLite=True))
        assert self._ice.state == "completed", self._ice.state
        await self._dtls.start(RTCDtlsParameters([RTCDtlsFingerprint("sha-256", server.fingerprint)]))

    async def send_rtp(self, packet: bytes) -> None:
        """Seal and send one RTP or RTCP packet."""
        await self._dtls._send_rtp(packet)

    async def receive_rtp(self, timeout: float = 5) -> tuple[RtpPacket, bytes]:
        """The next RTP packet: parsed, and its bytes."""
        data = await asyncio.wait_for(self._dtls.rtp.get(), timeout)
        return RtpPacket.parse(data), data

    async def receive_rtcp(self, kind: type[Any], timeout: float = 5) -> Any:
        """The next RTCP packet of that class; others are passed over."""
        async with asyncio.timeout(timeout):
            while not isinstance(packet := await self._dtls.rtcp.get(), kind):
                pass
        return packet

    async def close(self) -> None:
        """Say goodbye and free the sockets."""
        await self._dtls.stop()
        await self._ice.stop()
