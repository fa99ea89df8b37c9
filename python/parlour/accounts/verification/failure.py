"""How a verification fails, and how texts of strangers are shown in the sentences about it."""

from __future__ import annotations

MAX_SHOWN = 200
"""Characters of a stranger's text that reach a message or a log line."""


class NotVerifiedError(Exception):
    """The credential is not accepted. ``detail`` is a sentence for the client, ``cause`` what only the log may say.

    The split keeps addresses of the operator's network from whoever tries to log in. ``judged`` is false when nobody
    could tell whether the credential is good.
    """

    def __init__(self, detail: str, cause: str = "", *, judged: bool = True) -> None:
        super().__init__(detail)
        self.detail = detail
        self.cause = cause
        self.judged = judged


class CallFailedError(Exception):
    """A call got no usable answer. ``problem`` is a sentence without its subject: "answered with status 500"."""

    def __init__(self, problem: str, cause: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.cause = cause


def visible(text: str, limit: int = MAX_SHOWN) -> str:
    """The text on one line: what does not print (controls, line ends, direction marks) escaped, cut at ``limit``."""
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text[:limit]
    )
    return shown if len(text) <= limit and len(shown) <= limit else shown[: limit - 1] + "…"
