"""From the bytes of a body to the structure of a command. Refuses with ``AccountRefusedError``; nothing else comes out.

The JSON is read strictly first and not straight into the structure, which would let a member be named twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from parlour import strict_json
from parlour.accounts.refusal import AccountRefusedError
from parlour.admin.texts import shown
from parlour.admin.wire import MAX_BATCH, MAX_QUERIED
from parlour.errors import ErrorCode

JsonObject = dict[str, object]
Precheck = Callable[[JsonObject], None]
Shape = TypeVar("Shape", bound=msgspec.Struct)

_PLACE = re.compile(r"^(?P<what>.*) - at `\$\.?(?P<place>[^`]*)`$", re.DOTALL)
_JSON_NAMES = {list: "an array", str: "a text", bool: "a boolean", type(None): "null"}


def read_object(raw: bytes) -> JsonObject:
    """The JSON object in a body. Refuses with 70101 when the body is empty, 60003 when it is no JSON object."""
    if not raw:
        raise AccountRefusedError(
            ErrorCode.REQUEST_EMPTY, "The request has no body; send a JSON object, {} where nothing is to be said."
        )
    try:
        value = strict_json.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise _not_json(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _not_json(f"{error.msg}, line {error.lineno} column {error.colno}") from None
    except strict_json.RepeatedMemberError as error:
        raise _not_json(f"the member {shown(error.name)} comes twice in one object") from None
    except strict_json.ConstantError as error:
        raise _not_json(f"{error.word} is no JSON number") from None
    except strict_json.DeepNestingError:
        raise _not_json("it is nested too deeply") from None
    except strict_json.LongNumberError:
        raise _not_json("a number in it has too many digits") from None
    if not isinstance(value, dict):
        raise _not_json(f"it is {_JSON_NAMES.get(type(value), 'a number')}")
    return value


def _not_json(reason: str) -> AccountRefusedError:
    return AccountRefusedError(ErrorCode.BODY_NOT_JSON, f"The body is not one JSON object in UTF-8: {reason}.")


def read_shape(value: JsonObject, shape: type[Shape]) -> Shape:
    """The structure of a command's body. Refuses with 70402, or with a code that a field has for itself."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        found = _PLACE.match(str(error))
        what, place = (found["what"], found["place"]) if found else (str(error), "")
    except UnicodeEncodeError:
        what, place = "a member's name holds half of a surrogate pair, which is no character", ""
    sentence = f"{place}: {what}" if place else f"{what[:1].upper()}{what[1:]}"
    fields = ", ".join(member.encode_name for member in msgspec.structs.fields(shape))
    raise AccountRefusedError(ErrorCode.PARAMETER_INVALID, f"{sentence}. The body may hold {fields}.")


def batch(member: str, code: ErrorCode) -> Precheck:
    """A check that a list has 1 to 100 items, which refuses with ``code``; another type is left to the structure."""

    def check(body: JsonObject) -> None:
        items = body.get(member)
        if isinstance(items, list) and not 1 <= len(items) <= MAX_BATCH:
            raise AccountRefusedError(code, f"{member} holds {len(items)} items; send between 1 and {MAX_BATCH}.")

    return check


def to_account(body: JsonObject) -> None:
    """The codes that openim has for ``To_Account``: 90001 none, 90011 more than 500, 90003 not a list of texts."""
    users = body.get("To_Account", [])
    if not isinstance(users, list):
        raise AccountRefusedError(
            ErrorCode.OPENIM_ACCOUNT_NOT_STRING, 'To_Account has to be a list of userIds, such as ["ann"].'
        )
    if not users:
        raise AccountRefusedError(ErrorCode.OPENIM_BODY_INVALID, "To_Account names nobody; send at least one userId.")
    if len(users) > MAX_QUERIED:
        raise AccountRefusedError(
            ErrorCode.OPENIM_TOO_MANY_ACCOUNTS,
            f"To_Account holds {len(users)} users; ask for at most {MAX_QUERIED} in one call.",
        )
    for place, user in enumerate(users):
        if not isinstance(user, str):
            raise AccountRefusedError(
                ErrorCode.OPENIM_ACCOUNT_NOT_STRING, f"To_Account[{place}] is no text; put every userId in quotes."
            )
