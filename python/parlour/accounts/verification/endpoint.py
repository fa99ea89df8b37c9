"""The conversation with a verification endpoint: the signed question, and the answer. The page is docs/third-party.md.

The signature is ``v1=`` and the hex HMAC-SHA256 of ``<timestamp>.<body>`` under the app's verification secret. The time
is inside what is signed, so an endpoint that refuses old ones cannot be shown a captured request again later.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass

from parlour.accounts.verification.documents import DocumentError, parse_object
from parlour.accounts.verification.failure import CallFailedError

TIMESTAMP_HEADER = "X-Parlour-Timestamp"
SIGNATURE_HEADER = "X-Parlour-Signature"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an endpoint answered; ``reason`` as it was written, "" if none was given."""

    ok: bool
    reason: str = ""


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """The value of ``X-Parlour-Signature`` for a body sent at that unix second."""
    return "v1=" + hmac.digest(secret.encode(), b"%d." % timestamp + body, "sha256").hex()


def question(
    secret: str, *, app_id: int, user_id: str, credential: str, now: int, nonce: str
) -> tuple[bytes, list[tuple[str, str]]]:
    """Body and headers of a request; ``now`` in unix seconds, ``nonce`` never the same twice."""
    members = {"sdkAppId": app_id, "userId": user_id, "credential": credential, "time": now, "nonce": nonce}
    body = json.dumps(members, separators=(",", ":")).encode("ascii")
    headers = [
        ("Content-Type", "application/json"),
        (TIMESTAMP_HEADER, str(now)),
        (SIGNATURE_HEADER, signature(secret, now, body)),
    ]
    return body, headers


def parse_answer(body: bytes) -> Verdict:
    """The verdict in an answer's body: ``{"ok": true}`` or ``{"ok": false, "reason": "..."}``.

    The reason may be left out; other members are not looked at. Raises CallFailedError for anything else: a broken
    answer is never a yes.
    """
    try:
        members = parse_object(body)
    except DocumentError as error:
        raise CallFailedError(f"sent an answer that {error}") from None
    if "ok" not in members:
        raise CallFailedError("sent an answer without the member 'ok'")
    verdict, reason = members["ok"], members.get("reason", "")
    if not isinstance(verdict, bool):
        raise CallFailedError("sent an answer whose 'ok' is neither true nor false")
    if not isinstance(reason, str):
        raise CallFailedError("sent an answer whose 'reason' is not a text")
    return Verdict(verdict, reason)
