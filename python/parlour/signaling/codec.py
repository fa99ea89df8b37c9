"""Between text frames and messages."""

from __future__ import annotations

from typing import Any

import msgspec

from parlour.errors import ErrorCode, RtcError
from parlour.protocol.messages import (
    AnyRequest,
    ErrorAnswer,
    ErrorBody,
    Event,
    Login,
    Message,
    OkAnswer,
    RequestId,
)

MAX_REASON = 200
"""Characters of a decoder's complaint that go back; it may quote what was sent."""


class _Head(msgspec.Struct):
    id: RequestId


class _AnyLogin(msgspec.Struct, tag="login", rename="camel"):
    """A login whose user and account type may be anything: the account service has codes of its own for that."""

    id: RequestId
    sdk_app_id: int
    user_id: Any = None
    user_sig: Any = None
    sdk_version: str = ""
    account_type: Any = None


_requests: msgspec.json.Decoder[AnyRequest] = msgspec.json.Decoder(AnyRequest)
_logins = msgspec.json.Decoder(_AnyLogin)
_heads = msgspec.json.Decoder(_Head)
_encoder = msgspec.json.Encoder()


class MalformedError(Exception):
    """A text that is no request. Without a readable ``request_id`` it is not even the frame of one."""

    def __init__(self, request_id: int | None, reason: str) -> None:
        reason = reason if len(reason) <= MAX_REASON else reason[: MAX_REASON - 1] + "…"
        super().__init__(reason)
        self.request_id = request_id
        self.error = RtcError(ErrorCode.INVALID_PARAMETER, f"the message cannot be read: {reason}")


def decode_request(text: str) -> AnyRequest:
    """The request in a text frame. Raises MalformedError."""
    try:
        return _requests.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        try:
            return Login(**msgspec.structs.asdict(_logins.decode(text)))
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            pass
        try:
            request_id = _heads.decode(text).id
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            request_id = None
        raise MalformedError(request_id, str(error)) from None


def encode_ok(request_id: int, body: Message) -> str:
    """The answer to a request that was carried out."""
    return _encoder.encode(OkAnswer(id=request_id, ok=msgspec.Raw(_encoder.encode(body)))).decode()


def encode_error(request_id: int | None, error: RtcError) -> str:
    """The answer to a request that was refused."""
    body = ErrorBody(
        code=error.code, key=error.key, message=error.message, extra_code=error.extra_code, name=error.name
    )
    return _encoder.encode(ErrorAnswer(id=request_id, error=body)).decode()


def encode_event(event: Event) -> str:
    """An event."""
    return _encoder.encode(event).decode()


def request_type(request: AnyRequest) -> str:
    """The ``type`` of a request."""
    tag: Any = request.__struct_config__.tag
    return str(tag)
