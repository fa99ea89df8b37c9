"""Tokens that the server signs for itself: the privilege ticket of a login, and the right to resume a session.

A token is ``v1.<purpose>.<payload>.<tag>``: the payload is base64url JSON, the tag an HMAC-SHA256 over all that stands
before it. The format is ours; clients treat tokens as opaque. They are bound to their purpose, so that one kind never
passes as the other.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from typing import Literal

from parlour.accounts.identity import AcceptedLogin, Identity
from parlour.accounts.refusal import AccountRefusedError
from parlour.errors import ErrorCode

TICKET_LIFETIME = 600.0
"""Seconds between login and enter; also what ``limits.ticket_lifetime`` defaults to."""

MAX_TOKEN_LENGTH = 2048
_TAG_BYTES = 32

Purpose = Literal["ticket", "resume"]


class _BadTokenError(Exception):
    """The token is not ours or was changed."""


class TokenSigner:
    """Issues and reads tokens under one secret. Times are unix seconds and always passed in."""

    def __init__(self, secret: bytes, *, ticket_lifetime: float = TICKET_LIFETIME) -> None:
        if len(secret) < 32:
            raise ValueError("a token secret has at least 32 bytes")
        self._secret = secret
        self._ticket_lifetime = ticket_lifetime

    def issue_ticket(self, login: AcceptedLogin, now: float) -> tuple[str, int]:
        """A privilege ticket for ``enter``, and when it expires."""
        expires_at = int(now + self._ticket_lifetime)
        return self._issue("ticket", _claims(login) | {"exp": expires_at}), expires_at

    def read_ticket(self, token: str, now: float) -> AcceptedLogin:
        """What login a ticket was issued to. Refuses with 70346 (not verifiable) or 70347 (expired)."""
        try:
            payload = self._read("ticket", token)
            login = _login(payload)
            expires_at = _number(payload, "exp")
        except _BadTokenError:
            raise AccountRefusedError(
                ErrorCode.TICKET_INVALID, "the ticket is not one that this server signed"
            ) from None
        if now > expires_at:
            raise AccountRefusedError(
                ErrorCode.TICKET_EXPIRED, f"the ticket expired {int(now - expires_at)} s ago: log in again"
            )
        return login

    def issue_resume(self, session_id: str, login: AcceptedLogin, *, expires_at: float, room: str = "") -> str:
        """A resume token for a session in a room. Who holds the session decides when it really ends."""
        return self._issue("resume", _claims(login) | {"sid": session_id, "room": room, "exp": int(expires_at)})

    def read_resume(self, token: str, now: float) -> tuple[str, str, AcceptedLogin]:
        """Session id, room and login of a resume token. Refuses with 70236 (tampered) or 70221 (expired)."""
        try:
            payload = self._read("resume", token)
            session_id, login = _word(payload, "sid"), _login(payload)
            room = _word({"room": "", **payload}, "room")  # tokens of earlier releases name none
            expires_at = _number(payload, "exp")
        except _BadTokenError:
            raise AccountRefusedError(
                ErrorCode.RESUME_TOKEN_TAMPERED, "the resume token is not one that this server signed"
            ) from None
        if now > expires_at:
            raise AccountRefusedError(
                ErrorCode.LOGIN_STATE_INVALID, f"the session ended {int(now - expires_at)} s ago: log in again"
            )
        return session_id, room, login

    def _issue(self, purpose: Purpose, payload: dict[str, object]) -> str:
        packed = base64.urlsafe_b64encode(json.dumps(payload, separators=(",", ":")).encode()).rstrip(b"=").decode()
        signed = f"v1.{purpose}.{packed}"
        return f"{signed}.{self._tag(signed).hex()}"

    def _read(self, purpose: Purpose, token: str) -> dict[str, object]:
        if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
            raise _BadTokenError
        signed, _, tag = token.rpartition(".")
        try:
            given = bytes.fromhex(tag)
        except ValueError:
            raise _BadTokenError from None
        if len(tag) != 2 * _TAG_BYTES or not hmac.compare_digest(given, self._tag(signed)):
            raise _BadTokenError
        # From here on it is our own writing; what remains is whether it is of the right kind.
        version, _, rest = signed.partition(".")
        said, _, packed = rest.partition(".")
        if version != "v1" or said != purpose:
            raise _BadTokenError
        return _unpacked(packed)

    def _tag(self, signed: str) -> bytes:
        return hmac.digest(self._secret, signed.encode("ascii"), "sha256")


def said_by(token: str) -> Identity | None:
    """Whose token it says it is, unproven: enough to look up what it is to be proven with. None if it says nothing."""
    try:
        payload = _unpacked(token.split(".")[2]) if len(token) <= MAX_TOKEN_LENGTH and token.isascii() else {}
        return Identity(_number(payload, "app"), _word(payload, "user"))
    except (_BadTokenError, IndexError):
        return None


def _unpacked(packed: str) -> dict[str, object]:
    try:
        payload = json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        raise _BadTokenError from None
    if not isinstance(payload, dict):
        raise _BadTokenError
    return payload


def _claims(login: AcceptedLogin) -> dict[str, object]:
    return {
        "app": login.identity.sdk_app_id,
        "user": login.identity.user_id,
        "login": login.login_id,
        "iat": login.issued_at,
        "until": login.expires_at,
        "key": login.key,
    }


def _login(payload: dict[str, object]) -> AcceptedLogin:
    until = None if payload.get("until") is None else _number(payload, "until")
    identity = Identity(_number(payload, "app"), _word(payload, "user"))
    return AcceptedLogin(identity, _word(payload, "login"), _number(payload, "iat"), until, _word(payload, "key"))


def _number(payload: dict[str, object], name: str) -> int:
    value = payload.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _BadTokenError
    return value


def _word(payload: dict[str, object], name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str):
        raise _BadTokenError
    return value
