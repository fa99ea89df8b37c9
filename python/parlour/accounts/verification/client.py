"""HTTPS calls to addresses that others chose: bounded, without redirects, and never into the server's own network.

The name is looked up once per connection, each address is judged, and the connection goes to the very address that was
judged; TLS still verifies the name in the URL. A name that changes its mind between check and connect gains nothing.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpcore

from parlour.accounts.verification.addresses import objection
from parlour.accounts.verification.configuration import VerificationSettings, checked_endpoint_url
from parlour.accounts.verification.failure import CallFailedError

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Looks up a host: the addresses of a name and port as texts, best first. Raises OSError."""

RESOLVER_THREADS = 16
MAX_ADDRESSES = 4
"""Addresses of one name that are tried, one after the other, before it counts as not reachable."""

# Shorter than any web server keeps an idle connection, so that none is used at the moment its other end closes it.
_KEEPALIVE_SECONDS = 2.0
_IDLE_CONNECTIONS = 100
_NAME_MISMATCH = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH of OpenSSL


class SystemResolver:
    """The system's own look-up. Each name has at most one look-up under way, which all who ask for it share.

    It has threads of its own: look-ups cannot be stopped, and names that nobody answers for must not hold up the
    threads that others work with.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="verification-dns")
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host, each once, in the system's order. Raises OSError or UnicodeError."""
        key = host, port
        lookup = self._under_way.get(key)
        if lookup is None:
            lookup = asyncio.get_running_loop().run_in_executor(self._threads, _addresses, host, port)
            self._under_way[key] = lookup
            lookup.add_done_callback(lambda done: self._finished(key, done))
        return await asyncio.shield(lookup)

    def close(self) -> None:
        """Start no further look-up."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _finished(self, key: tuple[str, int], lookup: asyncio.Future[list[str]]) -> None:
        del self._under_way[key]
        if not lookup.cancelled():
            lookup.exception()  # looked at, for when nobody waits any more


def _addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that are allowed, whatever the name says."""

    def __init__(self, resolve: Resolve, settings: VerificationSettings) -> None:
        self._resolve = resolve
        self._settings = settings
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first allowed address that takes one. Raises CallFailedError."""
        addresses = await self._allowed(host, port)
        last: Exception | None = None
        for address in addresses:
            # An address that swallows packets leaves time for the ones after it.
            share = self._settings.timeout / len(addresses)
            try:
                return await self._network.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        if isinstance(last, httpcore.ConnectTimeout):
            raise TimeoutError(f"no connection to {host} port {port}")
        raise CallFailedError("cannot be reached: it takes no connection", f"{host} port {port}: {last}")

    async def _allowed(self, host: str, port: int) -> list[str]:
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise CallFailedError("cannot be reached: its host name has no address", f"{host}: {error}") from None
        allowed: list[str] = []
        refused: list[str] = []
        for text in found:
            address = ip_address(text)
            against = objection(address, allow_private=self._settings.allow_private)
            if against is None:
                allowed.append(text)
            else:
                refused.append(f"{address} is {against}")
        if not allowed:
            cause = "; ".join(refused[:MAX_ADDRESSES]) or "no address at all"
            raise CallFailedError("has no address that this server may connect to", f"{host}: {cause}")
        return allowed[:MAX_ADDRESSES]


class HttpsClient:
    """Calls third parties under the settings. One slow party never holds up another: nothing is queued."""

    def __init__(self, settings: VerificationSettings, resolve: Resolve | None = None) -> None:
        self._max_answer_bytes = settings.max_answer_bytes
        self._resolver = SystemResolver()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_trust(settings.ca_file),
            max_connections=None,  # bounded per app by the judge: a common bound would let one app starve the others
            max_keepalive_connections=_IDLE_CONNECTIONS,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=_GuardedBackend(resolve or self._resolver, settings),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
        self._resolver.close()

    async def fetch(
        self, method: str, url: str, headers: Sequence[tuple[str, str]] = (), body: bytes | None = None
    ) -> bytes:
        """The body of an answer with status 200. The caller sets the deadline.

        Raises CallFailedError for everything else that a stranger can answer, and TimeoutError if the network gave up.
        """
        try:
            url = checked_endpoint_url(url)
        except ValueError as error:
            raise CallFailedError("has an address that is not used", str(error)) from None
        sent = [
            # Made here: httpcore writes an IPv6 address without its brackets.
            ("Host", urlsplit(url).netloc),
            ("User-Agent", "Parlour"),
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),
            *headers,
        ]
        if body is not None:
            sent.append(("Content-Length", str(len(body))))
        try:
            async with self._pool.stream(method, url, headers=sent, content=body) as response:
                _check_head(response)
                return await self._read(response)
        except CallFailedError:
            raise
        except httpcore.TimeoutException as error:
            raise TimeoutError(str(error)) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError, ValueError) as error:
            raise _explained(error) from None

    async def _read(self, response: httpcore.Response) -> bytes:
        content = bytearray()
        async for chunk in response.aiter_stream():
            content += chunk
            if len(content) > self._max_answer_bytes:
                raise CallFailedError(f"sent an answer of more than {self._max_answer_bytes} bytes")
        return bytes(content)


@functools.cache
def _system_trust() -> ssl.SSLContext:
    """Reading what the system trusts takes some 50 ms of a start: once a process is enough."""
    return ssl.create_default_context()


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return _system_trust()
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        raise ValueError(f"the CA file {ca_file} of the verification holds no certificate in PEM") from None
    except OSError as error:
        raise ValueError(f"the CA file {ca_file} of the verification cannot be read: {error.strerror}") from None
    return context


def _check_head(response: httpcore.Response) -> None:
    if 300 <= response.status < 400:
        raise CallFailedError(f"answered with status {response.status}; redirects are not followed")
    if response.status != 200:
        raise CallFailedError(f"answered with status {response.status} instead of 200")
    encodings = [value for name, value in response.headers if name.lower() == b"content-encoding"]
    if any(value.strip().lower() not in (b"", b"identity") for value in encodings):
        raise CallFailedError("sent a compressed answer, which was not asked for")


def _explained(error: Exception) -> CallFailedError:
    """What a failed call means, in words. httpcore wraps what happened below it, and keeps it as an argument."""
    root: BaseException = error
    while (below := root.__cause__ or next(iter(root.args), None)) and isinstance(below, BaseException):
        root = below
    cause = f"{type(root).__name__}: {root}"
    if isinstance(root, ssl.SSLCertVerificationError):
        if root.verify_code in _NAME_MISMATCH:
            return CallFailedError("has a certificate that is made for another host name", cause)
        return CallFailedError(f"has a certificate that is not trusted: {root.verify_message}", cause)
    if isinstance(root, ssl.SSLError):
        return CallFailedError("does not speak TLS that can be used", cause)
    if isinstance(error, httpcore.ConnectError):
        return CallFailedError("closed the connection before TLS was set up", cause)
    if isinstance(error, httpcore.ProtocolError):
        return CallFailedError("closed the connection early or did not answer in HTTP", cause)
    return CallFailedError("closed the connection before its answer was complete", cause)
