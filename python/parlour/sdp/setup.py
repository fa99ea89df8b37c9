"""Who is the client of a DTLS association (RFC 4145 §4, RFC 5763 §5, RFC 8842 §5).

We are the server wherever the peer lets us, so that we choose the SRTP profile.
"""

from __future__ import annotations

from parlour.sdp.errors import SdpError
from parlour.sdp.model import Setup


def setup_of_offer(value: str, current: Setup | None = None) -> Setup:
    """What a peer is that offers ``a=setup:value``; empty: it offers none. ``current`` is what it is, if it is already.

    ``actpass`` leaves it to us, and a role that is taken stays (RFC 8842 §5.5). Without the attribute an offer is
    ``active`` (RFC 4145 §4). Raises SdpError for everything else.
    """
    match value:
        case "actpass":
            return current or "active"
        case "active" | "passive":
            return value
        case "":
            return current or "active"
        case "holdconn":
            raise SdpError("a=setup:holdconn is not for DTLS (RFC 8842 §5.1): it must be actpass, active or passive")
    raise SdpError(f"a=setup must be actpass, active or passive, not {value[:16]!a}")


def setup_of_answer(value: str) -> Setup:
    """What a peer is that answers ``a=setup:value`` to our ``actpass``. Raises SdpError for what is no answer.

    Without the attribute an answer is ``passive`` (RFC 4145 §4).
    """
    match value:
        case "active" | "passive":
            return value
        case "":
            return "passive"
        case "holdconn":
            raise SdpError("a=setup:holdconn is not for DTLS (RFC 8842 §5.1): the answer must be active or passive")
    raise SdpError(f"a=setup of the answer must be active or passive, not {value[:16]!a}")


def answer_to(peer: Setup) -> Setup:
    """What we are."""
    return "passive" if peer == "active" else "active"
