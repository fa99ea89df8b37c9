"""Each broken UserSig gets the documented code, and the first failure in the documented order wins."""

from __future__ import annotations

import json
import zlib

import pytest
from parlour.usersig import AppKeys, UserSigError, sign_v1, sign_v2, verify
from parlour.usersig.encoding import MAX_JSON_BYTES

from tests.unit.usersigs import APP, KEY, KEYS, TIME, USER, alphabet, ec_keys, gzipped, members_v1, members_v2, pack

GOOD = pack(members_v2())
V1_KEYS = AppKeys((KEY,), (ec_keys()[1],))


def code_of(sig: str, *, keys: AppKeys = KEYS, now: int = TIME, user_id: str = USER, app: int = APP) -> int:
    try:
        verify(sig, sdk_app_id=app, user_id=user_id, keys=keys, now=now)
    except UserSigError as refused:
        assert refused.detail
        return int(refused.code)
    return 0


def with_members(**changes: object) -> str:
    """A signed UserSig whose members are changed after signing; None takes one away."""
    members = members_v2() | {name.replace("_", ".", 1): value for name, value in changes.items()}
    return pack({name: value for name, value in members.items() if value is not None})


GOOD_BY_ITSELF = next(sig for level in range(10) if (sig := pack(members_v2(), level=level)).endswith("A__"))

ENVELOPE = {
    "empty": ("", 70002),
    "cut by one character": (GOOD[:-1], 70003),
    "cut to one character": ("e", 70003),
    "standard base64": (GOOD.replace("*", "+").replace("-", "/").replace("_", "="), 70003),
    "a character that no alphabet has": ("!" + GOOD[1:], 70003),
    "a letter beyond ASCII": ("é" + GOOD[1:], 70003),
    "NUL": ("\x00" + GOOD[1:], 70003),
    "padding in the middle": ("e_JyrVgr", 70003),
    "too much padding": (GOOD + "____", 70003),
    "unused last bits set": (GOOD_BY_ITSELF[:-3] + "B__", 70003),
    "white space alone": ("  \n", 70003),
    "half a surrogate pair": ("\ud800" + GOOD[1:], 70003),
    "JSON that cannot be read": ("{" + GOOD[1:], 70003),
    "cut at a multiple of four": (GOOD[:80], 70004),
    "gzip": (gzipped(members_v2()), 70004),
    "raw deflate": (alphabet(zlib.compress(b"{}")[2:-4]), 70004),
    "not packed": (alphabet(json.dumps(members_v2()).encode()), 70004),
    "wrong check sum": (alphabet(zlib.compress(b"{}")[:-1] + b"\x00"), 70004),
    "bytes after the stream": (alphabet(zlib.compress(json.dumps(members_v2()).encode()) + b"x"), 70004),
    "a bomb of 64 MiB": (alphabet(zlib.compress(b" " * (1 << 26), 9)), 70004),
    "one byte over the limit": (pack(b" " * (MAX_JSON_BYTES - 1) + b"{}"), 70004),
    "at the limit": (pack(b" " * (MAX_JSON_BYTES - 2) + b"[]"), 70006),
    "text": (pack(b"hello"), 70005),
    "nothing": (pack(b""), 70005),
    "cut JSON": (pack(json.dumps(members_v2()).encode()[:-1]), 70005),
    "not UTF-8": (pack(b'{"TLS.ver": "\xff"}'), 70005),
    "UTF-16": (pack(json.dumps(members_v2()).encode("utf-16")), 70005),
    "byte order mark": (pack(b"\xef\xbb\xbf" + json.dumps(members_v2()).encode()), 70005),
    "NaN": (pack(b'{"TLS.time": NaN}'), 70005),
    "a number of 5,000 digits": (pack(b'{"TLS.time": ' + b"9" * 5000 + b"}"), 70005),
    "nested deeply": (pack(b"[" * 60000), 70005),
    "a member twice": (pack(b'{"TLS.ver": "2.0", "TLS.ver": "2.0"}'), 70005),
    "a member twice, further in": (pack(b'{"x": [{"a": 1, "a": 1}]}'), 70005),
    "bare JSON, a member twice": ('{"TLS.ver": "1.0", "TLS.ver": "1.0"}', 70005),
    "list": (pack([1, 2]), 70006),
    "number": (pack(7), 70006),
    "string": (pack("x"), 70006),
    "null": (pack(None), 70006),
}


@pytest.mark.parametrize(("sig", "code"), ENVELOPE.values(), ids=ENVELOPE.keys())
def test_a_broken_envelope_gets_its_code(sig: str, code: int) -> None:
    assert code_of(sig) == code


SIG = str(members_v2()["TLS.sig"])

VERSION_2 = {
    "good": (GOOD, 0),
    "white space around it": (f" {GOOD}\n", 0),
    "version 3.0": (with_members(TLS_ver="3.0"), 70010),
    "version as a number": (with_members(TLS_ver=2.0), 70010),
    "version null": (pack(members_v2() | {"TLS.ver": None}), 70010),
    "no identifier": (with_members(TLS_identifier=None), 70008),
    "identifier a number": (with_members(TLS_identifier=7), 70008),
    "identifier of somebody else": (with_members(TLS_identifier="bob"), 70013),
    "identifier in another case": (with_members(TLS_identifier="Xiaojun"), 70013),
    "no sdkappid": (with_members(TLS_sdkappid=None), 70008),
    "sdkappid a text": (with_members(TLS_sdkappid=str(APP)), 70008),
    "sdkappid true": (with_members(TLS_sdkappid=True), 70008),
    "sdkappid with a fraction": (with_members(TLS_sdkappid=1400000000.5), 70008),
    "sdkappid negative": (with_members(TLS_sdkappid=-APP), 70008),
    "another sdkappid": (with_members(TLS_sdkappid=APP + 1), 70014),
    "no expire": (with_members(TLS_expire=None), 70008),
    "expire a text": (with_members(TLS_expire="86400"), 70008),
    "expire negative": (with_members(TLS_expire=-1), 70008),
    "no time": (with_members(TLS_time=None), 70008),
    "time a text": (with_members(TLS_time=str(TIME)), 70010),
    "time negative": (with_members(TLS_time=-1), 70010),
    "time with a fraction": (with_members(TLS_time=TIME + 0.5), 70010),
    "time in milliseconds": (pack(members_v2(time=TIME * 1000)), 70010),
    "time 5 minutes ahead": (pack(members_v2(time=TIME + 300)), 0),
    "time 5 minutes and a second ahead": (pack(members_v2(time=TIME + 301)), 70010),
    "expire 0": (pack(members_v2(expire=0)), 70001),
    "expire 0 and time ahead": (pack(members_v2(expire=0, time=TIME + 10)), 70001),
    "at its last second": (pack(members_v2(time=TIME - 86400)), 0),
    "expired": (pack(members_v2(time=TIME - 86401)), 70001),
    "no sig": (with_members(TLS_sig=None), 70008),
    "sig a number": (with_members(TLS_sig=1), 70008),
    "sig not base64": (with_members(TLS_sig="not base64!"), 70007),
    "sig in the outer alphabet": (with_members(TLS_sig="*-*--g__"), 70007),
    "sig without its padding": (with_members(TLS_sig=str(members_v2()["TLS.sig"]).rstrip("=")), 70007),
    "sig with white space inside": (with_members(TLS_sig=f"{SIG[:20]}\n{SIG[20:]}"), 70007),
    "sig with unused last bits set": (with_members(TLS_sig=SIG.replace("Vc=", "Vd=")), 70009),
    "sdkappid a whole number written as a float": (with_members(TLS_sdkappid=float(APP)), 70008),
    "sdkappid of another app, too big for any": (with_members(TLS_sdkappid=2**32 + APP), 70014),
    "expire true": (with_members(TLS_expire=True), 70008),
    "time true": (with_members(TLS_time=True), 70010),
    "time null": (pack(members_v2() | {"TLS.time": None}), 70010),
    "time beyond 64 bits": (with_members(TLS_time=10**30), 70010),
    "sig empty": (with_members(TLS_sig=""), 70009),
    "sig cut": (with_members(TLS_sig="SNF4FmVC"), 70009),
    "another key": (pack(members_v2(key="0" * 64)), 70009),
    "expire changed after signing": (with_members(TLS_expire=86401), 70009),
    "time changed after signing": (with_members(TLS_time=TIME - 1), 70009),
    "room ticket": (sign_v2(APP, USER, KEY, now=TIME, userbuf=b"abc"), 70009),
    "an unsigned member more": (with_members(TLS_extra="x"), 0),
}


@pytest.mark.parametrize(("sig", "code"), VERSION_2.values(), ids=VERSION_2.keys())
def test_a_version_2_signature_gets_its_code(sig: str, code: int) -> None:
    assert code_of(sig) == code


@pytest.mark.parametrize("keys", [AppKeys(), AppKeys((), (ec_keys()[1],))])
def test_version_2_needs_a_secret_key(keys: AppKeys) -> None:
    assert code_of(GOOD, keys=keys) == 70015


def changed_v1(**changes: object) -> str:
    members = members_v1() | {f"TLS.{name}": value for name, value in changes.items()}
    return pack({name: value for name, value in members.items() if value is not None})


VERSION_1 = {
    "good": (pack(members_v1()), 0),
    "version said": (pack(members_v1() | {"TLS.ver": "1.0"}), 0),
    "no third-party id": (pack(members_v1(drop=("TLS.appid_at_3rd",))), 0),
    "no account type": (changed_v1(account_type=None), 70005),
    "no identifier": (changed_v1(identifier=None), 70005),
    "no sdk_appid": (changed_v1(sdk_appid=None), 70005),
    "no time": (changed_v1(time=None), 70005),
    "no expire_after": (changed_v1(expire_after=None), 70005),
    "identifier a list": (changed_v1(identifier=["x"]), 70005),
    "no sig": (changed_v1(sig=None), 70008),
    "sig not base64": (changed_v1(sig="%"), 70007),
    "sig no DER": (changed_v1(sig="AAAA"), 70009),
    "identifier changed": (changed_v1(identifier="bob"), 70009),
    "third-party id taken away": (changed_v1(appid_at_3rd=None), 70009),
    "of another user": (pack(members_v1(identifier="bob")), 70013),
    "identifier a number": (pack(members_v1(identifier="7") | {"TLS.identifier": 7}), 70013),
    "time a number, signed as one": (pack(members_v1() | {"TLS.time": TIME}), 70010),
    "expire_after a number, signed as one": (pack(members_v1() | {"TLS.expire_after": 86400}), 70010),
    "its members in the reverse order": (pack(dict(reversed(members_v1().items()))), 0),
    "of another app": (pack(members_v1(sdk_appid="5")), 70014),
    "time with letters": (pack(members_v1(time="soon")), 70010),
    "time a date, but packed": (pack(members_v1(time="2023-11-14T14:13:20-08:00")), 70010),
    "expire_after negative": (pack(members_v1(expire_after="-1")), 70010),
    "expire_after with other digits": (pack(members_v1(expire_after="٨")), 70010),
    "expired": (pack(members_v1(time=str(TIME - 86401))), 70001),
    "at its last second": (pack(members_v1(time=str(TIME - 86400))), 0),
    "expire 0": (pack(members_v1(expire_after="0")), 70001),
    "userbuf is no part of it": (pack(members_v1() | {"TLS.userbuf": "AAAA"}), 0),
}


@pytest.mark.parametrize(("sig", "code"), VERSION_1.values(), ids=VERSION_1.keys())
def test_a_version_1_signature_gets_its_code(sig: str, code: int) -> None:
    assert code_of(sig, keys=V1_KEYS) == code


def test_version_1_needs_a_public_key() -> None:
    assert code_of(pack(members_v1()), keys=KEYS) == 70016


def test_version_1_by_another_private_key() -> None:
    other = sign_v1(APP, USER, ec_keys("secp256k1")[0], now=TIME)
    assert code_of(other, keys=V1_KEYS) == 70009
    assert code_of(other, keys=AppKeys((), (ec_keys()[1], ec_keys("secp256k1")[1]))) == 0


def test_version_1_judges_the_signature_before_identity_and_expiry() -> None:
    forged = changed_v1(identifier="bob", time=str(TIME - 999999))
    assert code_of(forged, keys=V1_KEYS) == 70009


def test_version_2_judges_identity_before_expiry_before_the_signature() -> None:
    worst = members_v2(key="0" * 64, identifier="bob", sdkappid=5, time=1)
    assert code_of(pack(worst)) == 70013
    assert code_of(pack(worst), user_id="bob") == 70014
    assert code_of(pack(worst), user_id="bob", app=5) == 70001
    assert code_of(pack(worst), user_id="bob", app=5, now=2) == 70009


def test_messages_show_control_characters_and_stay_short() -> None:
    with pytest.raises(UserSigError) as refused:
        verify(pack(members_v2(identifier="\x1b[31m" + "x" * 5000)), sdk_app_id=APP, user_id=USER, keys=KEYS, now=TIME)
    assert "\x1b" not in refused.value.detail
    assert len(refused.value.detail) < 200


def test_a_long_name_that_appears_twice_is_shown_short() -> None:
    twice = b'{"%b": 1, "%b": 2}' % (b"x" * 9000, b"x" * 9000)
    with pytest.raises(UserSigError, match="appears twice") as refused:
        verify(pack(twice), sdk_app_id=APP, user_id=USER, keys=KEYS, now=TIME)
    assert len(refused.value.detail) < 200


def test_keys_never_show_in_a_representation() -> None:
    assert KEY not in repr(KEYS)
