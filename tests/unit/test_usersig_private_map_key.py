"""privateMapKey: the vectors to the byte, whom and where it admits, and what each broken one is told."""

from __future__ import annotations

import base64
import json
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parlour.errors import ErrorCode
from parlour.usersig import (
    AppKeys,
    PrivateMapKeyError,
    Privilege,
    Userbuf,
    UserbufError,
    UserSigError,
    build_userbuf,
    parse_userbuf,
    sign_private_map_key,
    sign_v1,
    sign_v2,
    verify,
    verify_private_map_key,
)
from parlour.usersig.encoding import decode_base64

from tests.unit.usersigs import APP, KEY, KEYS, TIME, USER, alphabet, ec_keys, pack

NUMBER = bytes.fromhex("0000077869616f6a756e53724e000000271065554280000000ff00000000")
TEXT = bytes.fromhex("0100077869616f6a756e53724e000000000065554280000000ff000000000006726f6f6d2d41")
VECTORS = {
    "a room with a number": (10000, NUMBER, "m5WPLBP4ZpMhjE/+GSzmHQEKbLMxsvWih1uhJTQ0sPw="),
    "a room with a name": ("room-A", TEXT, "evbd7qQbvdW/JXAe7J/FF+0Iwb/Wche8Cya5bJo0JHk="),
}


def signed(room: int | str = 10000, **changes: object) -> str:
    values = {"room": room, "now": TIME, "expire": 86400} | changes
    return sign_private_map_key(APP, USER, KEY, **values)  # type: ignore[arg-type]


def admitted(ticket: str | None, **changes: object) -> Privilege:
    values = {"sdk_app_id": APP, "user_id": USER, "room": 10000, "room_exists": True, "keys": KEYS, "now": TIME}
    return verify_private_map_key(ticket, **(values | changes))  # type: ignore[arg-type]


def with_userbuf(userbuf: bytes, user: str = USER) -> str:
    return sign_v2(APP, user, KEY, now=TIME, expire=86400, userbuf=userbuf)


@pytest.mark.parametrize(("room", "userbuf", "sig"), VECTORS.values(), ids=VECTORS.keys())
def test_the_vectors_are_met_to_the_byte_and_admit(room: int | str, userbuf: bytes, sig: str) -> None:
    ticket = signed(room)
    members = json.loads(zlib.decompress(decode_base64(ticket)))
    assert base64.b64decode(members["TLS.userbuf"]) == userbuf
    assert members["TLS.sig"] == sig
    assert parse_userbuf(userbuf) == Userbuf(b"xiaojun", APP, room, TIME + 86400, Privilege.ALL)
    assert build_userbuf(parse_userbuf(userbuf)) == userbuf
    for now in (TIME, TIME + 86400):
        assert admitted(ticket, room=room, room_exists=False, now=now) == Privilege.ALL


def test_what_a_ticket_carries_comes_with_what_it_proves() -> None:
    proven = verify(signed(), sdk_app_id=APP, user_id=USER, keys=KEYS, now=TIME, with_userbuf=True)
    assert proven.userbuf == NUMBER


def test_the_bits_have_their_documented_values() -> None:
    assert [(one.name, int(one)) for one in Privilege] == [
        ("CREATE", 1),
        ("ENTER", 2),
        ("SEND_AUDIO", 4),
        ("RECEIVE_AUDIO", 8),
        ("SEND_VIDEO", 16),
        ("RECEIVE_VIDEO", 32),
        ("SEND_AUXILIARY", 64),
        ("RECEIVE_AUXILIARY", 128),
    ]
    assert Privilege(42).names == ("enter", "receive-audio", "receive-video")


@pytest.mark.parametrize("privileges", [2, 42, 255, 254])
def test_the_privileges_are_what_was_signed(privileges: int) -> None:
    assert admitted(signed(privileges=privileges)) == privileges


def test_bits_beyond_the_eighth_mean_nothing() -> None:
    userbuf = NUMBER.replace(struct.pack(">I", 255), struct.pack(">I", 0xFFFFFF02))
    assert admitted(with_userbuf(userbuf)) == Privilege.ENTER


def test_it_may_end_at_a_given_moment() -> None:
    ticket = signed(expire_at=TIME + 7)
    assert admitted(ticket, now=TIME + 7) == Privilege.ALL
    with pytest.raises(PrivateMapKeyError, match="expired 1 s ago"):
        admitted(ticket, now=TIME + 8)


@pytest.mark.parametrize("ticket", [None, ""])
def test_none_at_all_has_a_code_of_its_own(ticket: str | None) -> None:
    with pytest.raises(PrivateMapKeyError) as refused:
        admitted(ticket)
    assert refused.value.code is ErrorCode.PRIVATE_MAP_KEY_MISSING


OTHER_ROOMS = {
    "another number": ({"room": 10001}, "for room number 10000, not room number 10001"),
    "a name of the same digits": ({"room": "10000"}, "for room number 10000, not the room named 10000"),
    "another user": ({"user_id": "bob"}, "made for user xiaojun, not bob"),
    "another app": ({"sdk_app_id": 5}, "made for app 1400000000, not 5"),
    "another key": ({"keys": AppKeys(("0" * 64,))}, "signature does not match the key of app 1400000000"),
    "no key": ({"keys": AppKeys()}, "has no secret key"),
    "too late": ({"now": TIME + 86401}, "expired 1 s ago"),
    "too early": ({"now": TIME - 301}, "ahead of now"),
}


@pytest.mark.parametrize(("changes", "said"), OTHER_ROOMS.values(), ids=OTHER_ROOMS.keys())
def test_a_ticket_for_something_else_does_not_admit(changes: dict[str, object], said: str) -> None:
    with pytest.raises(PrivateMapKeyError) as refused:
        admitted(signed(), **changes)
    assert refused.value.code is ErrorCode.PRIVATE_MAP_KEY_INVALID
    assert said in refused.value.detail


BROKEN = {
    "no UserSig at all": ("garbage!", "base64 cannot be decoded"),
    "white space": (" ", "base64 cannot be decoded"),
    "not packed": (alphabet(b"{}"), "cannot be unpacked"),
    "no object": (pack([1]), "not an object"),
    "a UserSig": (sign_v2(APP, USER, KEY, now=TIME), "it has no TLS.userbuf: this is a UserSig"),
    "version 1": (sign_v1(APP, USER, ec_keys()[0], now=TIME), "version 1 (ECDSA)"),
    "an empty userbuf": (with_userbuf(b""), "end before its fields do"),
    "no privileges": (signed(privileges=0), "privilege to enter a room (2)"),
    "all but to enter": (signed(privileges=253), "privilege to enter a room (2)"),
    "a name for a number": (signed("10000"), "for the room named 10000, not room number 10000"),
    "userbuf of another user": (with_userbuf(NUMBER.replace(b"xiaojun", b"xiaojuN")), "is for user xiaojuN"),
    "userbuf of another app": (with_userbuf(NUMBER.replace(b"SrN\0", b"SrN\1")), "is for app 1400000001, not"),
    "userbuf over": (with_userbuf(NUMBER.replace(b"eUB\x80", b"eS\xf0\xff")), "its userbuf expired"),
    "userbuf with a lifetime": (with_userbuf(NUMBER.replace(b"eUB\x80", b"\0\0\x01\x2c")), "its userbuf expired"),
    "userbuf cut": (with_userbuf(NUMBER[:-1]), "29 bytes end before its fields do"),
    "userbuf longer": (with_userbuf(NUMBER + b"\0"), "1 bytes follow its fields"),
    "userbuf of version 2": (with_userbuf(b"\2" + NUMBER[1:]), "its version is 2"),
    "name cut": (with_userbuf(TEXT[:-1]), "end before its fields do"),
    "name without its length": (with_userbuf(TEXT[:-8]), "end before its fields do"),
    "name not UTF-8": (with_userbuf(TEXT[:-1] + b"\xff"), "not UTF-8"),
    "bytes after the name": (with_userbuf(TEXT + b"x"), "1 bytes follow"),
    "an account longer than all": (with_userbuf(NUMBER[:1] + b"\xff\xff" + NUMBER[3:]), "end before its fields do"),
    "a userbuf beyond bounds": (with_userbuf(NUMBER + bytes(2000)), "more than 1024"),
}


@pytest.mark.parametrize(("ticket", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_ticket_does_not_admit_and_says_why(ticket: str, said: str) -> None:
    with pytest.raises(PrivateMapKeyError) as refused:
        admitted(ticket)
    assert refused.value.code is ErrorCode.PRIVATE_MAP_KEY_INVALID
    assert said in refused.value.detail
    assert refused.value.detail.startswith("the privateMapKey does not admit: ")
    assert KEY not in refused.value.detail


def test_to_create_a_room_takes_its_own_privilege() -> None:
    guest = signed(privileges=Privilege.ALL & ~Privilege.CREATE)
    assert admitted(guest, room_exists=True)
    with pytest.raises(PrivateMapKeyError, match=r"does not exist yet.*privilege to create a room \(1\)"):
        admitted(guest, room_exists=False)


def test_a_ticket_logs_nobody_in_and_a_changed_userbuf_is_noticed() -> None:
    with pytest.raises(UserSigError) as refused:
        verify(signed(), sdk_app_id=APP, user_id=USER, keys=KEYS, now=TIME)
    assert refused.value.code == 70009
    members = json.loads(zlib.decompress(decode_base64(signed(privileges=2))))
    members["TLS.userbuf"] = base64.b64encode(NUMBER).decode()
    with pytest.raises(PrivateMapKeyError, match="signature does not match"):
        admitted(pack(members))
    for value in (None, 7, "not base64", "AAA"):
        with pytest.raises(PrivateMapKeyError, match=r"TLS\.userbuf"):
            admitted(pack(members | {"TLS.userbuf": value}))


def test_an_account_in_low_bytes_of_utf_16_is_taken_because_the_identifier_is_signed_too() -> None:
    # What the signers for Node and Java write for a userId beyond ASCII.
    user = "é用"
    low = bytes(ord(letter) & 0xFF for letter in user)
    userbuf = b"\0" + struct.pack(">H", len(user)) + low + NUMBER[10:]
    assert admitted(with_userbuf(userbuf, user), user_id=user) == Privilege.ALL
    assert admitted(sign_private_map_key(APP, user, KEY, room=10000, now=TIME), user_id=user) == Privilege.ALL
    # The same bytes for another user, whose low bytes are the same: the identifier tells them apart.
    twin = "é" + chr(ord("用") + 0x100)
    with pytest.raises(PrivateMapKeyError, match="made for user"):
        admitted(with_userbuf(userbuf, user), user_id=twin)
    # A room's name has no second witness: only UTF-8 names it.
    name = b"\1" + NUMBER[1:] + struct.pack(">H", 2) + low
    with pytest.raises(PrivateMapKeyError, match="UTF-8"):
        admitted(with_userbuf(name), room=user)


@pytest.mark.parametrize(
    ("app", "room", "expire_at"), [(2**32, 1, 1), (-1, 1, 1), (1, 2**32, 1), (1, -1, 1), (1, 1, 2**32)]
)
def test_a_value_beyond_its_field_is_refused_when_signing(app: int, room: int, expire_at: int) -> None:
    with pytest.raises(UserbufError, match="32 bits"):
        sign_private_map_key(app, USER, KEY, room=room, now=0, expire_at=expire_at)


@pytest.mark.parametrize("room", ["x" * 1100, "x" * 70_000])
def test_a_name_beyond_bounds_is_refused_when_signing(room: str) -> None:
    with pytest.raises(UserbufError):
        signed(room)


@settings(deadline=None)
@given(
    st.text(st.characters(codec="utf-8"), max_size=32),
    st.integers(1, 2**32 - 1),
    st.integers(0, 2**32 - 1) | st.text(st.characters(codec="utf-8"), max_size=64),
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
)
def test_the_userbuf_goes_both_ways(user: str, app: int, room: int | str, expires_at: int, privileges: int) -> None:
    userbuf = Userbuf(user.encode(), app, room, expires_at, Privilege(privileges))
    data = build_userbuf(userbuf)
    assert parse_userbuf(data) == userbuf
    for end in range(len(data)):
        with pytest.raises(UserbufError):
            parse_userbuf(data[:end])


@settings(deadline=None)
@given(st.binary(max_size=1200))
def test_any_bytes_are_a_userbuf_or_refused(data: bytes) -> None:
    try:
        found = parse_userbuf(data)
    except UserbufError as error:
        assert str(error)
    else:
        assert len(build_userbuf(found)) == len(data)
