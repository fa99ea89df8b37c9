"""The HTTP side of the account REST: parameters of the URL, a body read within bounds, one answer."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from parlour.accounts.refusal import AccountRefusedError
from parlour.admin import wire
from parlour.admin.texts import shown
from parlour.errors import ErrorCode

LINGER = 2.0
"""Seconds for which we throw away what a client still sends after its request was refused. A socket that is closed
with unread bytes is reset, and the reset can overtake the answer (RFC 9112, section 9.6)."""

MAX_PARAMETERS = 32

_HEADERS = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)

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


def json_response(answer: msgspec.Struct, status: int = 200, *, more: Iterable[tuple[bytes, bytes]] = ()) -> Response:
    """An answer in JSON that nobody keeps; ``more`` are further headers."""
    response = Response(wire.encode(answer), status)
    response.raw_headers += _HEADERS
    response.raw_headers += more
    return response


class BoundedRequest(Request):
    """A request whose body is read within bounds: ``most`` bytes, ``timeout`` seconds."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, most: int, timeout: float) -> None:
        super().__init__(scope, receive, send)
        self._most = most
        self._timeout = timeout
        self._too_slow = False

    @property
    def parameters(self) -> Mapping[str, str]:
        """The parameters of the URL. Refuses with 60002."""
        return read_parameters(self.scope["query_string"])

    async def bounded_body(self) -> bytes:
        """The whole body. Raises BodyTooLargeError, BodyTooSlowError, or ClientDisconnect when the client is gone."""
        if self._announced() > self._most:
            raise BodyTooLargeError(self._most)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._timeout):
                async for chunk in self.stream():
                    size += len(chunk)
                    if size > self._most:
                        raise BodyTooLargeError(self._most)
                    chunks.append(chunk)
        except TimeoutError:
            self._too_slow = True
            raise BodyTooSlowError(size, self._timeout) from None
        return b"".join(chunks)

    async def answer(self, response: Response) -> None:
        """Send the answer, and get rid of the rest of the body."""
        if not self._too_slow and (self._stream_consumed or self._rest_is_small()):
            await response(self.scope, self._receive, self._send)
            return
        response.headers["connection"] = "close"
        lingering = not self._too_slow  # a slow client has been waited for already
        start = {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": response.body, "more_body": lingering})
        if lingering:
            with contextlib.suppress(TimeoutError, ClientDisconnect):
                async with asyncio.timeout(LINGER):
                    async for _ in self.stream():
                        pass
            await self._send({"type": "http.response.body", "body": b""})

    def _rest_is_small(self) -> bool:
        return "transfer-encoding" not in self.headers and self._announced() <= self._most

    def _announced(self) -> int:
        length = self.headers.get("content-length", "")
        return int(length) if length.isdecimal() else 0


class BoundedApp:
    """An ASGI application that answers each request with what ``respond`` makes of it."""

    def __init__(
        self, respond: Callable[[BoundedRequest], Awaitable[Response]], *, body_bytes: int, body_timeout: float
    ) -> None:
        self._respond = respond
        self._body_bytes = body_bytes
        self._body_timeout = body_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, unless nobody waits for it any more."""
        request = BoundedRequest(scope, receive, send, most=self._body_bytes, timeout=self._body_timeout)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        await request.answer(response)
