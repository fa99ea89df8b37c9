"""How the account service says no, before it is known to whom."""

from __future__ import annotations

from parlour.errors import ErrorCode


class AccountRefusedError(Exception):
    """A check failed: its account code, and one sentence with the values in question.

    The signaling channel wraps it into an ``RtcError`` 0x4001, the account REST into its answer's ErrorCode.
    """

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
