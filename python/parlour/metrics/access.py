"""Who may read the numbers: whoever has the token; without one, this machine itself. Pure.

An address proves little once a proxy stands in front: on the same machine it makes strangers come from 127.0.0.1. So
what came by a proxy, or may have, needs the token, whatever the address.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FORWARDING = (
    *("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port"),
    *("x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"),
)
"""Header fields by which a proxy gives itself away."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why somebody may not; the HTTP status, and a sentence that says what to do."""

    status: int
    sentence: str


class Gate:
    """``trusted_proxies`` are those of the settings. An empty ``token``: nobody from elsewhere may."""

    def __init__(self, token: str, trusted_proxies: Sequence[str] = ()) -> None:
        self._token = token.encode()
        self._proxies = tuple(ipaddress.ip_network(network, strict=False) for network in trusted_proxies)

    def refuses(self, client: str, headers: Mapping[str, str]) -> Refused | None:
        """None: whoever comes from that address with these header fields may. Names of fields are in lower case."""
        given = headers.get("authorization", "")
        if given:
            scheme, _, credential = given.partition(" ")
            right = bool(self._token) and hmac.compare_digest(credential.strip().encode(), self._token)
            if scheme.lower() == "bearer" and right:
                return None
            return Refused(401, "That is not the token of metrics.token; send it as `Authorization: Bearer TOKEN`.")
        what = self._foreign(client, headers)
        if what is None:
            return None
        if self._token:
            return Refused(401, f"The metrics need `Authorization: Bearer TOKEN` with metrics.token: {what}.")
        return Refused(
            403, f"The metrics are for this machine alone: {what}. Set metrics.token to read them from elsewhere."
        )

    def _foreign(self, client: str, headers: Mapping[str, str]) -> str | None:
        """Why that is not this machine, for all that is known."""
        try:
            address = ipaddress.ip_address(client.partition("%")[0])
        except ValueError:
            return "it is not known where the request comes from"
        address = getattr(address, "ipv4_mapped", None) or address
        if not address.is_loopback:
            return f"the request comes from {address}"
        by = next((name for name in FORWARDING if name in headers), None)
        if by is not None:
            return f"the request came by a proxy (it has {by})"
        if any(address in network for network in self._proxies):
            return f"{address} is one of trusted_proxies, and it is not said whom it asks for"
        # A page that had its own name lead to 127.0.0.1 (DNS rebinding) runs in a browser on this machine.
        if not _is_local(headers.get("host", "")):
            return "the request is to a name that is not this machine's own (localhost, 127.0.0.1)"
        return None


def _is_local(host: str) -> bool:
    """Whether a Host field names this machine as it names itself."""
    name, colon, port = host.rpartition(":")
    name = (name if colon and port.isdigit() else host).lower()
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
