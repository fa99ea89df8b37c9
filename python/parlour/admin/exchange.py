"""The HTTP side of the account REST: parameters of the URL, a body read within bounds, one answer."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from parlour.accounts.refusal import AccountRefusedError
from parlour.admin.texts import shown
from parlour.errors import ErrorCode

Headers = Sequence[tuple[bytes, bytes]]

LINGER = 2.0
"""Seconds for which we throw away what a client still sends after its request was refused. A socket that is closed
with unread bytes is reset, and the reset can overtake the answer (RFC 9112, section 9.6)."""

MAX_PARAMETERS = 32

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class BodyTooLargeError(AccountRefusedError):
    """The body has more bytes than are allowed: 60008."""

    def __init__(self, most: int) -> None:
        super().__init__(
            ErrorCode.HTTP_REQUEST_INVALID,
            f"The body is larger than the {most} bytes that are allowed; send less at once.",
        )


class BodyTooSlowError(AccountRefusedError):
    """The body was not here in time: 60008."""

    def __init__(self, received: int, timeout: float) -> None:
        super().__init__(
            ErrorCode.HTTP_REQUEST_INVALID,
            f"The body was not complete after {timeout:g} seconds, {received} bytes of it are here; send it in one go.",
        )


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete; nobody waits for an answer."""


def read_parameters(query: bytes) -> Mapping[str, str]:
    """The parameters of a URL by name. Refuses with 60002 what could be read in two ways."""
    try:
        text = query.decode("ascii")
        if _BROKEN_ESCAPE.search(text):
            raise _bad_url("a % in it is not followed by two hexadecimal digits")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeError:
        raise _bad_url("its parameters are not UTF-8 in percent-encoding") from None
    except ValueError:
        raise _bad_url(f"it has more than {MAX_PARAMETERS} parameters") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise _bad_url(f"it has the parameter {shown(twice)} twice")
    return parameters


def _bad_url(reason: str) -> AccountRefusedError:
    return AccountRefusedError(ErrorCode.URL_MALFORMED, f"The URL cannot be read: {reason}.")


class Exchange:
    """One request and its answer.

    ``body_bytes`` and ``body_timeout`` (seconds) bound the body. What was refused is not read on: the answer goes out
    at once, and the connection is closed unless the rest of the body is known to be small.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, body_bytes: int, body_timeout: float) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._body_bytes = body_bytes
        self._body_timeout = body_timeout
        self._complete = False
        self._too_slow = False

    @property
    def method(self) -> str:
        """GET, POST, …"""
        return str(self._scope["method"])

    @property
    def parameters(self) -> Mapping[str, str]:
        """The parameters of the URL. Refuses with 60002."""
        return read_parameters(self._scope["query_string"])

    def header(self, name: bytes) -> bytes | None:
        """The value of a header by its lower-case name; None when it is not there."""
        return next((value for known, value in self._scope["headers"] if known == name), None)

    async def body(self) -> bytes:
        """The whole body. Raises BodyTooLargeError, BodyTooSlowError or ClientGoneError."""
        if (self._announced() or 0) > self._body_bytes:
            raise BodyTooLargeError(self._body_bytes)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_timeout):
                while not self._complete:
                    chunk = await self._next_chunk()
                    size += len(chunk)
                    if size > self._body_bytes:
                        raise BodyTooLargeError(self._body_bytes)
                    chunks.append(chunk)
        except TimeoutError:
            self._too_slow = True
            raise BodyTooSlowError(size, self._body_timeout) from None
        return b"".join(chunks)

    async def answer(self, status: int, content: bytes, headers: Headers) -> None:
        """Send the answer, and get rid of the rest of the body."""
        closing = self._too_slow or not (self._complete or self._rest_is_small())
        lingering = closing and not self._too_slow  # a slow client has been waited for already
        everything = [*headers, (b"content-length", str(len(content)).encode())]
        if closing:
            everything.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": everything})
        await self._send({"type": "http.response.body", "body": content, "more_body": lingering})
        if lingering:
            await self._throw_away()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next_chunk(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        self._complete = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    async def _throw_away(self) -> None:
        try:
            async with asyncio.timeout(LINGER):
                while not self._complete:
                    await self._next_chunk()
        except (TimeoutError, ClientGoneError):
            pass

    def _announced(self) -> int | None:
        length = self.header(b"content-length")
        return int(length) if length is not None and length.isdigit() else None

    def _rest_is_small(self) -> bool:
        if self.header(b"transfer-encoding") is not None:
            return False
        return (self._announced() or 0) <= self._body_bytes
