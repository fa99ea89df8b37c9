"""Plugins with a fault in them, as an operator might write them."""

from __future__ import annotations

from parlour.accounts.plugins import Applicant
from parlour.admin import Answer, Call, Proceed

CLASSES = {"bob": "5b"}
OFFICE_HOURS = {"account_import": range(24), "account_check": range(24)}


def verifier(applicant: Applicant) -> None:
    """Lets every pupil of a class in, and falls over whom it does not know."""
    assert CLASSES[applicant.user_id]


async def middleware(call: Call, proceed: Proceed) -> Answer:
    """Knows office hours for some of the commands, and falls over the others."""
    assert OFFICE_HOURS[call.command]
    return await proceed()
