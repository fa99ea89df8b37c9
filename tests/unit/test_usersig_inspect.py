"""Inspection shows everything and names the usual mistakes."""

from __future__ import annotations

import base64
import hmac
import json
import urllib.parse
import zlib
from dataclasses import dataclass, field

import pytest
from parlour.usersig import (
    AppKeys,
    Inspection,
    Privilege,
    Version,
    duration,
    inspect,
    sign_private_map_key,
    sign_v1,
    sign_v2,
)
from parlour.usersig.sign import content_v2

from tests.unit.usersigs import APP, KEY, KEYS, TIME, USER, alphabet, ec_keys, gzipped, members_v1, members_v2, pack

GOOD = pack(members_v2())
OTHER_KEY = "ab" * 32
OLD_KEY = "cd" * 32
PRIVATE, PUBLIC = ec_keys()
OTHER_PRIVATE, OTHER_PUBLIC = ec_keys("secp256k1")
OTHER_APPS = {1400000002: AppKeys((OTHER_KEY,), (OTHER_PUBLIC,))}
FORMER = AppKeys((OLD_KEY,))
V1_KEYS = AppKeys((), (PUBLIC,))
CONTENT = content_v2(USER, APP, TIME, 86400)


def look(sig: str, **changes: object) -> Inspection:
    return inspect(sig, **({"sdk_app_id": APP, "user_id": USER, "keys": KEYS, "now": TIME} | changes))  # type: ignore[arg-type]


def with_sig(signature: bytes) -> str:
    return pack(members_v2() | {"TLS.sig": base64.b64encode(signature).decode()})


def signed_with(key: bytes, content: bytes = CONTENT, name: str = "sha256") -> str:
    return with_sig(hmac.digest(key, content, name))


def url_safe(text: str) -> str:
    """The same bytes in the base64 of RFC 4648 section 5, without padding, as many libraries write it."""
    return text.translate(str.maketrans("*-_", "-_=")).rstrip("=")


def ticket(room: int | str = 7, **changes: object) -> str:
    return sign_private_map_key(APP, USER, KEY, room=room, **({"now": TIME} | changes))  # type: ignore[arg-type]


WITH_STAR_AND_SLASH = next(
    sig for at in range(10_000) if {"*", "-"} <= set(sig := pack(members_v2(time=TIME - at))) and "_" not in sig[:-2]
)


@dataclass(frozen=True)
class Broken:
    sig: str
    code: int
    mistake: str
    against: dict[str, object] = field(default_factory=dict)


MISTAKES = {
    # the envelope
    "empty": Broken("", 70002, "asked for no UserSig"),
    "white space": Broken(" ", 70003, "white space"),
    "cut": Broken(GOOD[:-3], 70003, "cut off"),
    "cut in the stream": Broken(GOOD[:80], 70004, "cut off"),
    "without its padding": Broken(GOOD.rstrip("_"), 70003, "keep every _"),
    "percent-encoded": Broken(urllib.parse.quote(GOOD + " ").replace("_", "%5F"), 70003, "percent-encoded:"),
    "percent-encoded twice": Broken(urllib.parse.quote(GOOD.replace("_", "%5F")), 70003, "percent-encoded twice"),
    "base64 twice": Broken(base64.b64encode(GOOD.encode()).decode(), 70003, "encoded twice"),
    "base64 twice, in the alphabet": Broken(alphabet(GOOD.encode()), 70004, "encoded twice"),
    "quoted": Broken(f'"{GOOD}"', 70003, "quotation marks"),
    "JSON Web Token": Broken("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", 70003, "JSON Web Token"),
    "the key in its place": Broken(KEY, 70004, "looks like a secret key"),
    "a PEM key in its place": Broken(PUBLIC, 70003, "a PEM key"),
    "standard base64": Broken(GOOD.replace("_", "="), 70003, "standard base64"),
    "url-safe base64": Broken(url_safe(WITH_STAR_AND_SLASH), 70003, "url-safe base64 of RFC 4648"),
    "a * that became a space": Broken(WITH_STAR_AND_SLASH.replace("*", " "), 70003, "White space stands where"),
    "shortened": Broken(GOOD[:30] + "…", 70003, "shortened"),
    "gzip": Broken(gzipped(members_v2()), 70004, "gzip"),
    "raw deflate": Broken(alphabet(zlib.compress(json.dumps(members_v2()).encode())[2:-4]), 70004, "raw deflate"),
    "not packed": Broken(alphabet(json.dumps(members_v2()).encode()), 70004, "not packed"),
    "one letter changed": Broken(
        GOOD[:60] + ("a" if GOOD[60] != "a" else "b") + GOOD[61:], 70004, "changed on the way"
    ),
    "bomb": Broken(alphabet(zlib.compress(b" " * 100_000)), 70004, "fill the verifier's memory"),
    "another kind of token": Broken(alphabet(b"\x00\x11\x22\x33"), 70004, "another kind of token"),
    "UTF-16": Broken(pack(json.dumps(members_v2()).encode("utf-16")), 70005, "UTF-16"),
    "byte order mark": Broken(pack(b"\xef\xbb\xbf" + json.dumps(members_v2()).encode()), 70005, "byte order mark"),
    "printed, not encoded": Broken(pack(repr(members_v2()).encode()), 70005, "apostrophes"),
    "the zero byte of a C string": Broken(pack(json.dumps(members_v2()).encode() + b"\0"), 70005, "zero byte"),
    "v2 without its version": Broken(pack(members_v2(drop=("TLS.ver",))), 70005, "no TLS.ver"),
    "v1 without a member": Broken(pack(members_v1(drop=("TLS.time",))), 70005, "leaves out a member"),
    "JSON in JSON": Broken(pack(json.dumps(members_v2())), 70006, "encoded twice"),
    # the members
    "sig in the outer alphabet": Broken(pack(members_v2() | {"TLS.sig": "*-*--g__"}), 70007, "another base64 alphabet"),
    "sig without padding": Broken(pack(members_v2() | {"TLS.sig": "AAAAAAA"}), 70007, "padding at the end of TLS.sig"),
    "sig on two lines": Broken(pack(members_v2() | {"TLS.sig": "AAAA\nAAAA"}), 70007, "breaks lines"),
    "number as text": Broken(pack(members_v2() | {"TLS.sdkappid": str(APP)}), 70008, "TLS.sdkappid is a text"),
    "user as number": Broken(pack(members_v2() | {"TLS.identifier": 7}), 70008, "TLS.identifier is a number"),
    "fraction": Broken(pack(members_v2() | {"TLS.expire": 86400.5}), 70008, "TLS.expire has a fraction"),
    "v1 names": Broken(
        pack(members_v2(drop=("TLS.sdkappid",)) | {"TLS.sdk_appid": str(APP)}), 70008, "members of version 1"
    ),
    "spelling": Broken(
        pack(members_v2(drop=("TLS.sdkappid",)) | {"TLS.sdkAppId": APP}), 70008, "is spelled TLS.sdkAppId"
    ),
    "user null": Broken(pack(members_v2() | {"TLS.identifier": None}), 70008, "TLS.identifier has to be a text"),
    "app true": Broken(pack(members_v2() | {"TLS.sdkappid": True}), 70008, "TLS.sdkappid has to be the number of"),
    "lifetime below 0": Broken(pack(members_v2() | {"TLS.expire": -5}), 70008, "TLS.expire has to be a whole number"),
    "lifetime true": Broken(pack(members_v2() | {"TLS.expire": True}), 70008, "TLS.expire has to be a whole number"),
    "sig as number": Broken(pack(members_v2() | {"TLS.sig": 123}), 70008, "TLS.sig has to be a text"),
    "no lifetime": Broken(pack(members_v2(drop=("TLS.expire",))), 70008, "leaves TLS.expire out"),
    "no sig": Broken(pack(members_v2(drop=("TLS.sig",))), 70008, "leaves TLS.sig out"),
    "v1 without sig": Broken(pack(members_v1(drop=("TLS.sig",))), 70008, "leaves TLS.sig out", {"keys": V1_KEYS}),
    "first of two slips": Broken(
        pack(members_v2() | {"TLS.identifier": None, "TLS.sdkappid": str(APP)}), 70008, "TLS.identifier has to be"
    ),
    "v1 member null": Broken(
        pack(members_v1() | {"TLS.identifier": None}), 70005, "TLS.identifier has to be a text", {"keys": V1_KEYS}
    ),
    "v1 third party null": Broken(
        pack(members_v1() | {"TLS.appid_at_3rd": None}), 70005, "TLS.appid_at_3rd has to be a text", {"keys": V1_KEYS}
    ),
    "version 2 in short": Broken(pack(members_v2() | {"TLS.ver": "2"}), 70010, 'has to be the text "2.0"'),
    "version with a v": Broken(pack(members_v2() | {"TLS.ver": "v1.0"}), 70010, 'has to be the text "1.0"'),
    "date in another zone": Broken(
        json.dumps(members_v1(time="2023-11-15T06:13:20+08:00")),
        70010,
        "has the form 2015-04-13T11:43:04-08:00",
        {"keys": V1_KEYS},
    ),
    "bare JSON with a lifetime in words": Broken(
        json.dumps(members_v1(expire_after="a day")), 70010, "texts of digits", {"keys": V1_KEYS}
    ),
    "milliseconds": Broken(pack(members_v2(time=TIME * 1000)), 70010, "milliseconds"),
    "clock ahead": Broken(pack(members_v2(time=TIME + 3900)), 70010, "1 h 5 min ahead of ours"),
    "local time": Broken(pack(members_v2(time=TIME + 8 * 3600)), 70010, "local time may have been taken"),
    "time as text": Broken(pack(members_v2() | {"TLS.time": str(TIME)}), 70010, "TLS.time is a text"),
    "version number": Broken(pack(members_v2() | {"TLS.ver": 2}), 70010, 'has to be the text "2.0"'),
    "version as a fraction": Broken(pack(members_v2() | {"TLS.ver": 2.0}), 70010, 'has to be the text "2.0"'),
    "v1 with a date": Broken(
        pack(members_v1(time="2023-11-14T14:13:20-08:00")), 70010, "texts of digits", {"keys": V1_KEYS}
    ),
    "expired": Broken(pack(members_v2(time=TIME - 86400 - 11520)), 70001, "expired 3 h 12 min ago"),
    "clock not set": Broken(pack(members_v2(time=4000)), 70001, "clock of the signing machine is not set"),
    "lifetime 0": Broken(pack(members_v2(expire=0)), 70001, "lifetime of 0"),
    "lifetime in days": Broken(pack(members_v2(expire=7, time=TIME - 60)), 70001, "only 7 s"),
    "case of the user": Broken(
        pack(members_v2(identifier="Bob")), 70013, "made for user Bob, not bob", {"user_id": "bob"}
    ),
    "space in the user": Broken(pack(members_v2(identifier="xiaojun ")), 70013, "white space"),
    "user in another form": Broken(pack(members_v2(identifier="e\u0301")), 70013, "look alike", {"user_id": "\xe9"}),
    "another user": Broken(pack(members_v2(identifier="bob")), 70013, "made for user bob, not xiaojun."),
    "another app": Broken(pack(members_v2(sdkappid=5)), 70014, "app 5; the page or the server uses 1400000000"),
    # the key
    "key of another app": Broken(pack(members_v2(key=OTHER_KEY)), 70009, "this key belongs to app 1400000002"),
    "removed key": Broken(pack(members_v2(key=OLD_KEY)), 70009, "older key of the app, which has been removed"),
    "key with a line end": Broken(pack(members_v2(key=KEY + "\n")), 70009, "line end"),
    "key in quotation marks": Broken(pack(members_v2(key=f'"{KEY}"')), 70009, "quotation marks around it"),
    "key in upper case": Broken(pack(members_v2(key=KEY.upper())), 70009, "another case"),
    "key hex-decoded": Broken(signed_with(bytes.fromhex(KEY)), 70009, "hex-decoded"),
    "no last line feed": Broken(signed_with(KEY.encode(), CONTENT[:-1]), 70009, "lacks the line feed"),
    "CR LF": Broken(signed_with(KEY.encode(), CONTENT.replace(b"\n", b"\r\n")), 70009, "CR LF"),
    "another order": Broken(
        signed_with(KEY.encode(), b"".join(reversed(CONTENT.splitlines(keepends=True)))), 70009, "another order"
    ),
    "another hash": Broken(signed_with(KEY.encode(), name="sha1"), 70009, "HMAC-SHA1"),
    "sig in hex": Broken(
        pack(members_v2() | {"TLS.sig": hmac.digest(KEY.encode(), CONTENT, "sha256").hex()}), 70009, "hex digits"
    ),
    "sig of another size": Broken(with_sig(bytes(16)), 70009, "has 16 bytes"),
    "unknown key": Broken(pack(members_v2(key="?" * 64)), 70009, "does not know"),
    "the public key's text": Broken(
        signed_with(PUBLIC.encode()), 70009, "text of the public key", {"keys": AppKeys((KEY,), (PUBLIC,))}
    ),
    "a public key for v2": Broken(GOOD, 70009, "A PEM key was given", {"keys": AppKeys((PUBLIC,))}),
    "v2 for an app of v1": Broken(GOOD, 70015, "public keys only", {"keys": V1_KEYS}),
    "v2 for an account type of v1": Broken(GOOD, 70015, "account type does not take", {"methods": {"ecdsa"}}),
    "v1 for an app of v2": Broken(pack(members_v1()), 70016, "secret keys only"),
    "v1 signature in v2": Broken(
        pack(members_v2() | {"TLS.sig": members_v1()["TLS.sig"]}), 70009, "an ECDSA signature, as version 1"
    ),
    "v2 signature in v1": Broken(
        pack(members_v1() | {"TLS.sig": members_v2()["TLS.sig"]}), 70009, "an HMAC, as version 2", {"keys": V1_KEYS}
    ),
    "v1 key of another app": Broken(
        sign_v1(APP, USER, OTHER_PRIVATE, now=TIME), 70009, "this key belongs to app 1400000002", {"keys": V1_KEYS}
    ),
    "v1 with another third-party id": Broken(
        pack(members_v1() | {"TLS.appid_at_3rd": "x"}),
        70009,
        "TLS.appid_at_3rd is not what was signed",
        {"keys": V1_KEYS},
    ),
    "v1 signature not in DER": Broken(pack(members_v1() | {"TLS.sig": "A" * 88}), 70009, "DER form", {"keys": V1_KEYS}),
    # tickets for rooms
    "ticket as UserSig": Broken(ticket(), 70009, "This is a privateMapKey"),
    "UserSig as ticket": Broken(GOOD, -10019, "This is a UserSig, which logs in", {"ticket": True}),
    "no ticket": Broken("", -10018, "no privateMapKey", {"ticket": True}),
    "v1 as ticket": Broken(pack(members_v1()), -10019, "Tickets are of version 2", {"ticket": True}),
    "ticket of another user": Broken(
        ticket(), -10019, "made for user xiaojun, not bob", {"ticket": True, "user_id": "bob"}
    ),
    "ticket to another room": Broken(ticket(), -10019, "ticket to 7 and enters 8", {"ticket": True, "room": 8}),
    "ticket to a named room": Broken(ticket(), -10019, "two rooms", {"ticket": True, "room": "7"}),
    "ticket with a bare lifetime": Broken(
        sign_v2(
            APP,
            USER,
            KEY,
            now=TIME,
            userbuf=bytes.fromhex("0000077869616f6a756e53724e00000027100000012c000000ff00000000"),
        ),
        -10019,
        "a lifetime and not a moment",
        {"ticket": True},
    ),
    "ticket over": Broken(ticket(), -10019, "expired 5 min ago", {"ticket": True, "now": TIME + 600}),
    "ticket that does not admit": Broken(ticket(privileges=1), -10019, "do not include 2", {"ticket": True}),
    "ticket that creates nothing": Broken(
        ticket(privileges=2), -10019, "do not include 1", {"ticket": True, "room": 7, "room_exists": False}
    ),
    "ticket of another app's key": Broken(
        sign_private_map_key(APP, USER, OTHER_KEY, room=7, now=TIME),
        -10019,
        "this key belongs to app 1400000002",
        {"ticket": True},
    ),
    "ticket signed without its userbuf": Broken(
        pack(members_v2() | {"TLS.userbuf": "AAAA"}), -10019, "TLS.userbuf was left out", {"ticket": True}
    ),
    "ticket with a number as its userbuf": Broken(
        pack(members_v2() | {"TLS.userbuf": 5}), -10019, "TLS.userbuf has to be standard base64", {"ticket": True}
    ),
    "ticket whose userbuf is no base64": Broken(
        pack(members_v2() | {"TLS.userbuf": "***"}),
        -10019,
        "not in the alphabet of the UserSig itself",
        {"ticket": True},
    ),
    "ticket of another form": Broken(
        sign_v2(APP, USER, KEY, now=TIME, userbuf=b"room 7"), -10019, "in another form", {"ticket": True}
    ),
}


@pytest.mark.parametrize("broken", MISTAKES.values(), ids=MISTAKES.keys())
def test_the_likely_mistake_is_named(broken: Broken) -> None:
    found = look(broken.sig, **({"other_apps": OTHER_APPS, "former_keys": FORMER} | broken.against))
    assert found.code == broken.code
    assert broken.mistake in found.mistake
    assert found.remedy
    assert found.detail


def test_no_message_shows_a_key() -> None:
    for broken in MISTAKES.values():
        found = look(broken.sig, **({"other_apps": OTHER_APPS, "former_keys": FORMER} | broken.against))
        said = " ".join((found.mistake, found.detail, found.remedy, *(check.detail for check in found.checks)))
        for secret in (KEY, OTHER_KEY, OLD_KEY):
            assert secret.casefold() not in said.casefold()


def test_a_good_one_passes_every_check() -> None:
    found = look(GOOD)
    assert found.code is None
    assert found.complete
    assert {check.outcome for check in found.checks} == {"passed"}
    assert dict(found.fields) == members_v2()
    assert (found.version, found.issued_at, found.expires_at) == (Version.V2, TIME, TIME + 86400)
    assert found.mistake == found.remedy == found.detail == ""


def test_nothing_to_compare_with_is_said_and_not_guessed() -> None:
    found = inspect(GOOD)
    assert found.code is None
    assert not found.complete
    open_checks = {check.title for check in found.checks if check.outcome == "not checked"}
    assert "it was made for this user" in open_checks
    assert "the signature matches the key" in open_checks
    assert "it has not expired" in open_checks


def test_checks_after_the_first_failure_are_shown_too() -> None:
    found = look(pack(members_v2(identifier="bob", time=TIME - 999_999)), keys=AppKeys(("x" * 64,)))
    failed = [(check.step, check.code) for check in found.checks if check.outcome == "failed"]
    assert failed == [("8a", 70013), ("8d", 70001), ("8g", 70009)]
    assert found.code == 70013


def test_version_1_is_inspected_by_its_own_checks() -> None:
    found = look(pack(members_v1()), keys=V1_KEYS)
    assert (found.version, found.code, found.complete) == (Version.V1, None, True)
    assert (found.issued_at, found.expires_at) == (TIME, TIME + 86400)


def test_a_ticket_is_taken_apart_and_judged_by_the_checks_of_a_join() -> None:
    found = look(ticket("room-A", privileges=42), ticket=True, room="room-A", room_exists=True)
    assert (found.code, found.complete, found.ticket) == (None, True, True)
    assert found.userbuf is not None
    assert (found.userbuf.room, found.userbuf.expires_at) == ("room-A", TIME + 300)
    assert found.userbuf.privileges == Privilege(42)
    assert [check.step for check in found.checks[-7:]] == ["9a", "9b", "9c", "9d", "9e", "9f", "9g"]
    open_question = look(ticket(privileges=2), ticket=True, room=7)
    assert (open_question.code, open_question.complete) == (None, False)


def test_a_version_that_is_no_version_has_no_likely_mistake() -> None:
    for said in (True, None, "3.0", [2], 7):
        found = look(pack(members_v2() | {"TLS.ver": said}))
        assert (found.code, found.mistake) == (70010, "")


def test_the_key_that_matched_is_named() -> None:
    assert look(GOOD).key == "0345c13c214c9e35"
    assert look(pack(members_v2(key=OTHER_KEY))).key == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (11_520, "3 h 12 min"),
        (86_400 * 2 + 7200, "2 d 2 h"),
    ],
)
def test_durations_have_two_units(seconds: int, text: str) -> None:
    assert duration(seconds) == text
