"""UserSig, the signed proof of who a user is, and privateMapKey, the ticket for a room: sign, verify, inspect.

Pure: keys and the time are arguments.
"""

from parlour.usersig.envelope import Envelope, open_envelope
from parlour.usersig.inspect import FOLLOWS, CheckResult, Inspection, inspect
from parlour.usersig.keys import load_private_key, load_public_key
from parlour.usersig.messages import duration
from parlour.usersig.model import (
    ALL_METHODS,
    AppKeys,
    KeyRefusedError,
    PrivateMapKeyError,
    UserSigError,
    Verified,
    Version,
    fingerprint,
)
from parlour.usersig.private_map_key import DEFAULT_TICKET_EXPIRE, sign_private_map_key, verify_private_map_key
from parlour.usersig.sign import DEFAULT_EXPIRE, sign_v1, sign_v2
from parlour.usersig.userbuf import Privilege, Userbuf, UserbufError, build_userbuf, parse_userbuf
from parlour.usersig.verify import verify

__all__ = [
    "ALL_METHODS",
    "DEFAULT_EXPIRE",
    "DEFAULT_TICKET_EXPIRE",
    "FOLLOWS",
    "AppKeys",
    "CheckResult",
    "Envelope",
    "Inspection",
    "KeyRefusedError",
    "PrivateMapKeyError",
    "Privilege",
    "UserSigError",
    "Userbuf",
    "UserbufError",
    "Verified",
    "Version",
    "build_userbuf",
    "duration",
    "fingerprint",
    "inspect",
    "load_private_key",
    "load_public_key",
    "open_envelope",
    "parse_userbuf",
    "sign_private_map_key",
    "sign_v1",
    "sign_v2",
    "verify",
    "verify_private_map_key",
]
