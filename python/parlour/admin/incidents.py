"""What nobody expected: a name for it that the caller hears, and the traceback for the operator."""

from __future__ import annotations

import secrets
import traceback

import structlog

log = structlog.get_logger(__name__)


def record_incident(error: Exception, where: str, *credentials: str) -> str:
    """Log an unexpected exception and return the name of the incident, such as ``a1b2c3d4e5f6``.

    The traceback is text without local variables; a credential of the request that got into its messages is blotted.
    """
    incident = secrets.token_hex(6)
    text = "".join(traceback.format_exception(error))
    for credential in filter(None, credentials):
        text = text.replace(credential, "…")
    log.error("account_rest_fault", incident=incident, where=where, exception=text)
    return incident
