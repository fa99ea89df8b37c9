"""privateMapKey: the signed ticket that admits one user to one room, with privileges.

It is a UserSig of version 2 that carries a userbuf, which is signed along. It does not log anybody in.
"""

from __future__ import annotations

from parlour.errors import ErrorCode
from parlour.usersig.checks import Check, NotCheckedError, Subject, app_of
from parlour.usersig.envelope import open_envelope
from parlour.usersig.messages import duration, name_shown
from parlour.usersig.model import AppKeys, PrivateMapKeyError, UserSigError, Version
from parlour.usersig.sign import sign_v2
from parlour.usersig.userbuf import Privilege, Userbuf, UserbufError, build_userbuf, parse_userbuf
from parlour.usersig.version2 import WITH_USERBUF

DEFAULT_TICKET_EXPIRE = 300
"""Five minutes, in seconds: a ticket is made for the join that follows."""


def sign_private_map_key(
    sdk_app_id: int,
    user_id: str,
    key: str,
    *,
    room: int | str,
    now: int,
    expire: int = DEFAULT_TICKET_EXPIRE,
    expire_at: int | None = None,
    privileges: int = Privilege.ALL,
) -> str:
    """A ticket for ``room``, a number or a name (1 and "1" are two rooms).

    ``now`` and ``expire_at`` in unix seconds; ``expire`` in seconds from now, for which ``expire_at`` can stand.
    ``UserbufError`` for values that a ticket cannot carry.
    """
    end = now + expire if expire_at is None else expire_at
    account = user_id.encode("utf-8", "surrogatepass")
    userbuf = build_userbuf(Userbuf(account, sdk_app_id, room, end, Privilege(privileges & Privilege.ALL)))
    return sign_v2(sdk_app_id, user_id, key, now=now, expire=max(0, end - now), userbuf=userbuf)


def verify_private_map_key(
    ticket: str | None,
    *,
    sdk_app_id: int,
    user_id: str,
    room: int | str,
    room_exists: bool,
    keys: AppKeys,
    now: int,
) -> Privilege:
    """What the ticket allows in ``room``, a number or a name; ``now`` in unix seconds.

    ``PrivateMapKeyError`` -10018 for None and "", -10019 for whatever else is wrong. To create the room takes one more
    privilege than to enter it, which is asked for when ``room_exists`` is false.
    """
    if not ticket:
        raise PrivateMapKeyError(
            ErrorCode.PRIVATE_MAP_KEY_MISSING, "this app admits to rooms with a privateMapKey only, and none was given"
        )
    envelope = open_envelope(ticket)
    subject = Subject(envelope, sdk_app_id, user_id, keys, now, with_userbuf=True, room=room, room_exists=room_exists)
    try:
        if envelope.opened() is not Version.V2:
            raise refused("it is of version 1 (ECDSA); a ticket is of version 2")
        for check in (*WITH_USERBUF, *TICKET):
            check.run(subject)
    except UserSigError as error:
        raise refused(f"the privateMapKey does not admit: {error.detail}") from None
    return _userbuf(subject).privileges


def refused(detail: str) -> PrivateMapKeyError:
    """The ticket does not admit."""
    return PrivateMapKeyError(ErrorCode.PRIVATE_MAP_KEY_INVALID, detail)


def _parsed(subject: Subject) -> None:
    try:
        subject.userbuf = parse_userbuf(subject.userbuf_bytes or b"")
    except UserbufError as error:
        raise refused(f"its userbuf cannot be read: {error}") from None


def _userbuf(subject: Subject) -> Userbuf:
    if subject.userbuf is None:
        raise NotCheckedError("its userbuf was not read")
    return subject.userbuf


def _for_app(subject: Subject) -> None:
    said = _userbuf(subject).sdk_app_id
    if subject.sdk_app_id is None:
        raise NotCheckedError("no app was given to compare with")
    if said != subject.sdk_app_id:
        raise refused(f"its userbuf is for app {said}, not {subject.sdk_app_id}")


def _for_user(subject: Subject) -> None:
    userbuf = _userbuf(subject)
    if subject.user_id is None:
        raise NotCheckedError("no user was given to compare with")
    if not userbuf.is_for(subject.user_id):
        said = userbuf.account.decode("utf-8", "backslashreplace")
        raise refused(f"its userbuf is for user {name_shown(said)}, not {name_shown(subject.user_id)}")


def _for_room(subject: Subject) -> None:
    said = _userbuf(subject).room
    if subject.room is None:
        raise NotCheckedError("no room was given to compare with")
    if type(said) is not type(subject.room) or said != subject.room:
        raise refused(f"it is for {room_shown(said)}, not {room_shown(subject.room)}")


def _still_valid(subject: Subject) -> None:
    expires_at = _userbuf(subject).expires_at
    if subject.now is None:
        raise NotCheckedError("no time was given to compare with")
    if expires_at < subject.now:
        raise refused(f"its userbuf expired {duration(subject.now - expires_at)} ago")


def _may_enter(subject: Subject) -> None:
    if Privilege.ENTER not in _userbuf(subject).privileges:
        raise refused("it does not hold the privilege to enter a room (2)")


def _may_create(subject: Subject) -> None:
    held = Privilege.CREATE in _userbuf(subject).privileges
    if subject.room_exists is None and not held:
        raise NotCheckedError("whether the room exists is not known here")
    if not subject.room_exists and not held:
        raise refused(
            f"{room_shown(_userbuf(subject).room)} of {app_of(subject)} does not exist yet,"
            " and it does not hold the privilege to create a room (1)"
        )


def room_shown(room: int | str) -> str:
    """A room, with its kind: 1 and "1" are two rooms."""
    return f"room number {room}" if isinstance(room, int) else f"the room named {name_shown(room)}"


TICKET = (
    Check("9a", "its userbuf can be read", _parsed, ("8g",)),
    Check("9b", "the userbuf is for this app", _for_app, ("9a",)),
    Check("9c", "the userbuf is for this user", _for_user, ("9a",)),
    Check("9d", "the userbuf is for this room", _for_room, ("9a",)),
    Check("9e", "the userbuf has not expired", _still_valid, ("9a",)),
    Check("9f", "it allows to enter", _may_enter, ("9a",)),
    Check("9g", "it allows to create the room, if need be", _may_create, ("9a",)),
)
"""What a room checks after the steps of ``WITH_USERBUF``."""
