"""UserSig, the signed proof of who a user is: sign, verify, inspect. Pure: keys and the time are arguments."""

from parlour.usersig.inspect import CheckResult, Inspection, inspect
from parlour.usersig.keys import load_private_key, load_public_key
from parlour.usersig.mistakes import duration
from parlour.usersig.model import AppKeys, KeyRefusedError, UserSigError, Verified, Version
from parlour.usersig.sign import DEFAULT_EXPIRE, sign_v1, sign_v2
from parlour.usersig.verify import verify

__all__ = [
    "DEFAULT_EXPIRE",
    "AppKeys",
    "CheckResult",
    "Inspection",
    "KeyRefusedError",
    "UserSigError",
    "Verified",
    "Version",
    "duration",
    "inspect",
    "load_private_key",
    "load_public_key",
    "sign_v1",
    "sign_v2",
    "verify",
]
