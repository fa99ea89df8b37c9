"""How the account service says no, before it is known to whom."""

from __future__ import annotations

from parlour.errors import ErrorCode


class AccountRefusedError(Exception):
    """A check failed: its account code, and one sentence with the values in question.

    The signaling channel wraps it into an ``RtcError`` 0x4001, the account REST into its answer's ErrorCode.
    ``wrong_credential`` says that the credential itself was judged and found wrong: that alone is held against whoever
    presents it. What failed on our side, or a third party's, never is.
    """

    def __init__(self, code: ErrorCode, detail: str, *, wrong_credential: bool = False) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.wrong_credential = wrong_credential
