"""Inspection shows everything and names the usual mistakes."""

from __future__ import annotations

import json
import zlib

import pytest
from parlour.usersig import AppKeys, Inspection, Version, inspect, sign_v1, sign_v2
from parlour.usersig.mistakes import duration
from parlour.usersig.sign import content_v2

from tests.unit.usersigs import APP, KEY, KEYS, TIME, USER, alphabet, ec_keys, gzipped, members_v1, members_v2, pack

GOOD = pack(members_v2())
OTHER_KEY = "ab" * 32


def look(sig: str, **changes: object) -> Inspection:
    return inspect(sig, **({"sdk_app_id": APP, "user_id": USER, "keys": KEYS, "now": TIME} | changes))  # type: ignore[arg-type]


def signed_with(key: bytes, content: bytes) -> str:
    import base64
    import hmac

    return pack(members_v2() | {"TLS.sig": base64.b64encode(hmac.digest(key, content, "sha256")).decode()})


CONTENT = content_v2(USER, APP, TIME, 86400)
MISTAKES = {
    "empty": ("", 70002, "asked for no UserSig"),
    "white space": (" ", 70003, "white space"),
    "cut": (GOOD[:-2], 70003, "cut off"),
    "cut in the stream": (GOOD[:80], 70004, "cut off"),
    "percent-encoded": (GOOD.replace("_", "%5F"), 70003, "percent-encoded"),
    "quoted": (f'"{GOOD}"', 70003, "quotation marks"),
    "JSON Web Token": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", 70003, "JSON Web Token"),
    "standard base64": (GOOD.replace("_", "="), 70003, "standard base64"),
    "shortened": (GOOD[:30] + "…", 70003, "shortened"),
    "gzip": (gzipped(members_v2()), 70004, "gzip"),
    "raw deflate": (alphabet(zlib.compress(json.dumps(members_v2()).encode())[2:-4]), 70004, "raw deflate"),
    "not packed": (alphabet(json.dumps(members_v2()).encode()), 70004, "not packed"),
    "bomb": (alphabet(zlib.compress(b" " * 100_000)), 70004, "fill the verifier's memory"),
    "another kind of token": (alphabet(b"\x00\x11\x22\x33"), 70004, "another kind of token"),
    "v2 without its version": (pack(members_v2(drop=("TLS.ver",))), 70005, "no TLS.ver"),
    "number as text": (pack(members_v2() | {"TLS.sdkappid": str(APP)}), 70008, "TLS.sdkappid is a text"),
    "v1 names": (
        pack(members_v2(drop=("TLS.sdkappid",)) | {"TLS.sdk_appid": str(APP)}),
        70008,
        "members of version 1",
    ),
    "spelling": (pack(members_v2(drop=("TLS.sdkappid",)) | {"TLS.sdkAppId": APP}), 70008, "is spelled TLS.sdkAppId"),
    "milliseconds": (pack(members_v2(time=TIME * 1000)), 70010, "milliseconds"),
    "clock ahead": (pack(members_v2(time=TIME + 3720)), 70010, "1 h 2 min ahead"),
    "version number": (pack(members_v2() | {"TLS.ver": 2}), 70010, "has to be the text"),
    "expired": (pack(members_v2(time=TIME - 86400 - 11520)), 70001, "expired 3 h 12 min ago"),
    "lifetime 0": (pack(members_v2(expire=0)), 70001, "lifetime of 0"),
    "lifetime in days": (pack(members_v2(expire=7, time=TIME - 60)), 70001, "only 7 s"),
    "case of the user": (pack(members_v2(identifier="XiaoJun")), 70013, "upper and lower case"),
    "space in the user": (pack(members_v2(identifier="xiaojun ")), 70013, "white space"),
    "another user": (pack(members_v2(identifier="bob")), 70013, "'bob'"),
    "another app": (pack(members_v2(sdkappid=5)), 70014, "app 5"),
    "key of another app": (pack(members_v2(key=OTHER_KEY)), 70009, "key of app 1400000002"),
    "key with a line end": (pack(members_v2(key=KEY + "\n")), 70009, "line end"),
    "key in upper case": (pack(members_v2(key=KEY.upper())), 70009, "another case"),
    "key hex-decoded": (signed_with(bytes.fromhex(KEY), CONTENT), 70009, "hex-decoded"),
    "no last line feed": (signed_with(KEY.encode(), CONTENT[:-1]), 70009, "lacks the line feed"),
    "CR LF": (signed_with(KEY.encode(), CONTENT.replace(b"\n", b"\r\n")), 70009, "CR LF"),
    "room ticket": (sign_v2(APP, USER, KEY, now=TIME, userbuf=b"x"), 70009, "privateMapKey"),
    "unknown key": (pack(members_v2(key="?" * 64)), 70009, "does not know"),
}


@pytest.mark.parametrize(("sig", "code", "mistake"), MISTAKES.values(), ids=MISTAKES.keys())
def test_the_likely_mistake_is_named(sig: str, code: int, mistake: str) -> None:
    found = look(sig, other_apps={1400000002: AppKeys((OTHER_KEY,))})
    assert found.code == code
    assert mistake in found.mistake
    assert found.remedy
    assert found.detail


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
    private, public = ec_keys()
    found = look(pack(members_v1()), keys=AppKeys((), (public,)))
    assert (found.version, found.code, found.complete) == (Version.V1, None, True)
    assert (found.issued_at, found.expires_at) == (TIME, TIME + 86400)
    foreign = look(
        sign_v1(APP, USER, private, now=TIME),
        keys=AppKeys((), (ec_keys("secp256k1")[1],)),
        other_apps={7: AppKeys((), (public,))},
    )
    assert foreign.code == 70009
    assert "private key of app 7" in foreign.mistake


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
