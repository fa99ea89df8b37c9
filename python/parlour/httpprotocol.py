"""uvicorn's HTTP protocol, deaf to upgrades that are not ours.

A client may offer to go on in another protocol (RFC 9110 §7.8: a server may ignore that). Java's HttpClient and curl
offer HTTP/2 with every request to a plain http address; httptools then stops reading, and the body is lost.
"""

from __future__ import annotations

import re

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_OFFER = re.compile(rb"(?i)(?<=\n)upgrade:(?![ \t]*websocket\b)[^\r\n]*\r\n")
_HEAD_END = b"\r\n\r\n"


class HttpProtocol(HttpToolsProtocol):
    """Takes the offer of an upgrade out of a request's head, unless it is a WebSocket's."""

    _reading_body = False

    def data_received(self, data: bytes) -> None:
        """Bytes came. A head that comes in pieces is looked at piece by piece: a line cut in two passes as it is."""
        if not self._reading_body and (b"pgrade:" in data or b"PGRADE:" in data):
            head, end, rest = data.partition(_HEAD_END)
            data = _OFFER.sub(b"", head + end) + rest
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The head is over."""
        self._reading_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is over; what comes next is a head again."""
        self._reading_body = False
        super().on_message_complete()
