"""What is wrong with a session description."""

from __future__ import annotations

from parlour.errors import ErrorCode, RtcError


class SdpError(RtcError):
    """A session description that cannot be read or used: INVALID_PARAMETER, with the line or mid it is about."""

    def __init__(self, detail: str) -> None:
        super().__init__(ErrorCode.INVALID_PARAMETER, f"the SDP cannot be used: {detail}")
