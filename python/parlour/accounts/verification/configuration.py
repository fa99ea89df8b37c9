"""What an operator sets about third-party verification, and the checks of the addresses that are set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

MAX_URL_LENGTH = 2048

_HOST_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_MAX_HOST_LENGTH = 253  # RFC 1035 §2.3.4, without the final dot


@dataclass(frozen=True, slots=True)
class VerificationSettings:
    """Bounds of every call to a third party.

    ``timeout`` in seconds covers the whole call: look up the name, connect, TLS, request and answer.
    ``allow_private`` opens loopback, private and shared address ranges; link-local, multicast and reserved ones stay
    closed. ``ca_file`` holds certificate authorities in PEM that are trusted besides those of the system.
    """

    timeout: float = 3.0
    allow_private: bool = False
    ca_file: Path | None = None
    max_answer_bytes: int = 65536

    def __post_init__(self) -> None:
        if self.timeout <= 0:
            raise ValueError(f"the timeout of a verification is {self.timeout} s; it has to be more than 0")
        if self.max_answer_bytes <= 0:
            raise ValueError(f"an answer of {self.max_answer_bytes} bytes cannot be read; allow more than 0")


def checked_endpoint_url(text: str) -> str:
    """The address of a verification endpoint, its host in lower case. Raises ValueError with a sentence."""
    parts = _checked_https(text.strip(), "endpoint URL")
    query = f"?{parts.query}" if parts.query else ""
    return f"https://{parts.netloc.lower()}{parts.path or '/'}{query}"


def checked_issuer(text: str) -> str:
    """An OpenID Connect issuer, letter for letter: tokens have to name the very same. Raises ValueError.

    Source: OpenID Connect Discovery 1.0 §3, "a URL using the https scheme with no query or fragment component".
    """
    text = text.strip()
    parts = _checked_https(text, "issuer")
    if "?" in text:
        raise ValueError(f"The issuer {_without_query(parts)} has a query part; an issuer has none.")
    return text


def _checked_https(text: str, what: str) -> SplitResult:
    # Texts that are not understood are not shown whole: what stands before the @ or in the query may be a secret.
    if not text:
        raise ValueError(f"The {what} is empty. Give an address like https://auth.example.com/check.")
    if len(text) > MAX_URL_LENGTH:
        raise ValueError(f"The {what} has {len(text)} characters; {MAX_URL_LENGTH} are allowed.")
    if not all("!" <= letter <= "~" and letter != "\\" for letter in text):
        raise ValueError(
            f"The {what} holds a space, a backslash, a control character or a letter outside ASCII. Write a host name "
            "with other letters in its xn-- form, and such letters in a path percent-encoded."
        )
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise ValueError(f"The {what} is not a URL: {error}.") from None
    if parts.scheme != "https":
        given = f"begins with {parts.scheme}:" if parts.scheme else "has no scheme"
        raise ValueError(f"The {what} {given}. Only https is used: a credential is sent there.")
    if "@" in parts.netloc:
        raise ValueError(f"The {what} holds a user name or a password. Requests are signed instead: leave it out.")
    if "#" in text:
        raise ValueError(f"The {what} has a fragment (#), which is never sent. Leave it out.")
    if not host or not _is_host(host, bracketed=parts.netloc.startswith("[")):
        raise ValueError(f"The {what} has no host name or address that can be used: {parts.netloc!r}.")
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError(f"The {what} has a colon after its host but no port from 1 to 65535: {parts.netloc!r}.")
    return parts


def _is_host(host: str, *, bracketed: bool) -> bool:
    if bracketed:
        try:
            return IPv6Address(host).scope_id is None
        except AddressValueError:
            return False
    return len(host) <= _MAX_HOST_LENGTH and all(_HOST_LABEL.fullmatch(label) for label in host.split("."))


def _without_query(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
