"""The error catalogue and the exception that carries its codes. Imports nothing else of Parlour."""

from parlour.errors.catalogue import Entry, NotFound, catalogue, entry_of, find
from parlour.errors.codes import PASSING, ErrorCode
from parlour.errors.rtc_error import RtcError, enter_refused, login_refused, resume_refused

__all__ = [
    "PASSING",
    "Entry",
    "ErrorCode",
    "NotFound",
    "RtcError",
    "catalogue",
    "enter_refused",
    "entry_of",
    "find",
    "login_refused",
    "resume_refused",
]
