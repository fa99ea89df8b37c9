"""The one exception that carries a catalogue code to a client."""

from __future__ import annotations

from parlour.errors.catalogue import entry_of
from parlour.errors.codes import ErrorCode


class RtcError(Exception):
    """A refusal or failure with its code, as the v4 API shows it.

    ``code`` is what ``getCode()`` returns; ``extra_code`` is the account or room code behind it, else 0.
    ``message`` is ``<detail> (<extra code>) <KEY code>``; a missing detail becomes the catalogue's cause.
    """

    def __init__(
        self, code: ErrorCode, detail: str = "", *, extra: ErrorCode | None = None, name: str = "RtcError"
    ) -> None:
        self.code = int(code)
        self.extra_code = 0 if extra is None else int(extra)
        self.key = code.name
        self.detail = detail or _cause(extra if extra is not None else code)
        self.name = name
        nested = "" if extra is None else f" ({int(extra)})"
        self.message = f"{self.detail}{nested} <{self.key} {_shown(code)}>"
        super().__init__(self.message)

    @classmethod
    def received(cls, *, code: int, key: str, message: str, extra_code: int = 0, name: str = "RtcError") -> RtcError:
        """The error that the other side sent, its text as it came; the code may be newer than this catalogue."""
        error = cls.__new__(cls, message)
        error.code, error.extra_code, error.key, error.name = code, extra_code, key, name
        error.message = error.detail = message
        return error

    @property
    def message_(self) -> str:
        """The same text; v4 apps read this member too."""
        return self.message

    def get_code(self) -> int:
        """The catalogue code."""
        return self.code

    def get_extra_code(self) -> int:
        """The account or room code behind ``code``, or 0."""
        return self.extra_code

    getCode = get_code  # noqa: N815 - the v4 name
    getExtraCode = get_extra_code  # noqa: N815 - the same


def login_refused(extra: ErrorCode, detail: str = "") -> RtcError:
    """The account service said no: 0x4001 with the account code behind it."""
    return _join_failed(ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, extra, detail)


def enter_refused(extra: ErrorCode, detail: str = "") -> RtcError:
    """The room said no: 0x4004 with the room or account code behind it."""
    return _join_failed(ErrorCode.JOIN_ROOM_FAILED, extra, detail)


def resume_refused(extra: ErrorCode, detail: str = "") -> RtcError:
    """A session is not taken up again: 0x4001 with the account code behind it."""
    return RtcError(ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, f"resume failed: {detail or _cause(extra)}", extra=extra)


def _join_failed(code: ErrorCode, extra: ErrorCode, detail: str) -> RtcError:
    return RtcError(code, f"join failed: {detail or _cause(extra)}", extra=extra)


def _cause(code: ErrorCode) -> str:
    entry = entry_of(int(code))
    return code.name if entry is None else entry.cause.rstrip(".")


def _shown(code: ErrorCode) -> str:
    entry = entry_of(int(code))
    return str(int(code)) if entry is None else entry.shown
