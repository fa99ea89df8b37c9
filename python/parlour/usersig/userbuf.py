"""The userbuf of a room ticket: which user of which app may do what in which room, until when. Big-endian bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag

MAX_USERBUF_BYTES = 1024
"""More than any userId and room name need (limit: ours)."""

_NUMBER_ROOM, _TEXT_ROOM = 0, 1
_HEAD = struct.Struct(">BH")  # cVer, wAccountLen; the account follows
_BODY = struct.Struct(">IIIII")  # dwSdkAppid, dwAuthID, dwExpTime, dwPrivilegeMap, dwAccountType
_LENGTH = struct.Struct(">H")  # of the room's name, which ends the userbuf when cVer is 1


class Privilege(IntFlag):
    """What a ticket allows in its room. The auxiliary stream is the shared screen."""

    CREATE = 1
    ENTER = 2
    SEND_AUDIO = 4
    RECEIVE_AUDIO = 8
    SEND_VIDEO = 16
    RECEIVE_VIDEO = 32
    SEND_AUXILIARY = 64
    RECEIVE_AUXILIARY = 128
    ALL = 255

    @property
    def names(self) -> tuple[str, ...]:
        """The privileges held, one by one, as in ``send-audio``."""
        return tuple(str(one.name).lower().replace("_", "-") for one in Privilege if one in self)


class UserbufError(ValueError):
    """Bytes that are no userbuf, or values that none can carry; the text says why."""


@dataclass(frozen=True, slots=True)
class Userbuf:
    """The fields of a userbuf.

    ``account`` are the bytes of the userId, as the signer wrote them. ``room`` is a number or a text. ``expires_at``
    in unix seconds. Of the privilege map only the low eight bits mean something.
    """

    account: bytes
    sdk_app_id: int
    room: int | str
    expires_at: int
    privileges: Privilege

    def is_for(self, user_id: str) -> bool:
        """Whether the account is this user.

        Published signers for Node and Java write the low byte of each UTF-16 unit instead of UTF-8. That form is taken
        too: it can stand for several users, but ``TLS.identifier``, which is signed along, names the one.
        """
        if self.account == user_id.encode("utf-8", "surrogatepass"):
            return True
        return self.account == user_id.encode("utf-16-le", "surrogatepass")[::2]


def build_userbuf(userbuf: Userbuf) -> bytes:
    """The bytes of a userbuf. ``UserbufError`` for a value that its field cannot carry."""
    name = userbuf.room.encode("utf-8", "surrogatepass") if isinstance(userbuf.room, str) else None
    number = 0 if isinstance(userbuf.room, str) else userbuf.room
    try:
        head = _HEAD.pack(_NUMBER_ROOM if name is None else _TEXT_ROOM, len(userbuf.account))
        body = _BODY.pack(userbuf.sdk_app_id, number, userbuf.expires_at, userbuf.privileges, 0)
        tail = b"" if name is None else _LENGTH.pack(len(name)) + name
    except struct.error:
        raise UserbufError(
            "a field does not hold its value: app, room number and expiry are unsigned numbers of 32 bits"
        ) from None
    data = head + userbuf.account + body + tail
    if len(data) > MAX_USERBUF_BYTES:
        raise UserbufError(f"it would have {len(data)} bytes, more than {MAX_USERBUF_BYTES}: user or room is too long")
    return data


def parse_userbuf(data: bytes) -> Userbuf:
    """The fields in the bytes. ``UserbufError`` for what is cut short, too long, or followed by anything."""
    if len(data) > MAX_USERBUF_BYTES:
        raise UserbufError(f"it has {len(data)} bytes, more than {MAX_USERBUF_BYTES}")
    try:
        version, account_length = _HEAD.unpack_from(data)
        body_at = _HEAD.size + account_length
        sdk_app_id, number, expires_at, privileges, _account_type = _BODY.unpack_from(data, body_at)
        end = body_at + _BODY.size
        room: int | str = number
        if version == _TEXT_ROOM:
            (name_length,) = _LENGTH.unpack_from(data, end)
            name_at, end = end + _LENGTH.size, end + _LENGTH.size + name_length
            room = data[name_at:end].decode("utf-8")
        elif version != _NUMBER_ROOM:
            raise UserbufError(f"its version is {version}, not 0 (a room with a number) or 1 (one with a name)")
    except struct.error:
        raise UserbufError(f"its {len(data)} bytes end before its fields do") from None
    except UnicodeDecodeError:
        raise UserbufError("the name of its room is not UTF-8") from None
    if len(data) < end:
        raise UserbufError(f"its {len(data)} bytes end before its fields do")
    if len(data) > end:
        raise UserbufError(f"{len(data) - end} bytes follow its fields")
    account = data[_HEAD.size : body_at]
    return Userbuf(account, sdk_app_id, room, expires_at, Privilege(privileges & Privilege.ALL))
