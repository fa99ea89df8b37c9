"""UserSigs to the byte, as computed independently and as published libraries make them."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
from parlour.usersig import AppKeys, UserSigError, Version, sign_v1, sign_v2, verify
from parlour.usersig.encoding import decode_base64
from parlour.usersig.sign import content_v2, hmac_sha256

from tests.unit.usersigs import APP, KEY, KEYS, TIME, USER, alphabet, ec_keys, members_v2, pack

LEVEL_6 = (
    "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkKjIT87NK82CSxSnZiQUFmSlAKUMTAyiAyqVWFGQWpQJlLMxM4IIlmbkgIUNzNMXF"
    "mekg44P93EzccsOcA0qT8yOKnfwLksLcjNPcnNNMzb0Ccg1Sq6IMs1LDPH1ywpJtlWoBk68y0A__"
)
LEVEL_0 = (
    "eAEBswBM-3siVExTLnZlciI6ICIyLjAiLCAiVExTLmlkZW50aWZpZXIiOiAieGlhb2p1biIsICJUTFMuc2RrYXBwaWQiOiAxNDAwMDAwMDAwLCAi"
    "VExTLmV4cGlyZSI6IDg2NDAwLCAiVExTLnRpbWUiOiAxNzAwMDAwMDAwLCAiVExTLnNpZyI6ICJTTkY0Rm1WQ1B1Y29Yc0JPcGJWRjNmRkNmNTdK"
    "UG0wZXpaMWplVklMbFZjPSJ9k68y0A__"
)
NUMBER_ROOM = "0000077869616f6a756e53724e000000271065554280000000ff00000000"
TEXT_ROOM = "0100077869616f6a756e53724e000000000065554280000000ff000000000006726f6f6d2d41"


def check(sig: str, now: int = TIME, **changes: object) -> None:
    proven = verify(sig, **({"sdk_app_id": APP, "user_id": USER, "keys": KEYS, "now": now} | changes))  # type: ignore[arg-type]
    assert (proven.sdk_app_id, proven.user_id, proven.version) == (APP, USER, Version.V2)


@pytest.mark.parametrize(("level", "expected"), [(-1, LEVEL_6), (6, LEVEL_6), (0, LEVEL_0)])
def test_ours_is_the_vector_to_the_byte(level: int, expected: str) -> None:
    assert sign_v2(APP, USER, KEY, now=TIME, expire=86400, level=level) == expected


@pytest.mark.parametrize("vector", [LEVEL_6, LEVEL_0])
def test_the_vectors_verify_until_the_last_second(vector: str) -> None:
    check(vector, TIME)
    check(vector, TIME + 86400)
    with pytest.raises(UserSigError) as refused:
        check(vector, TIME + 86401)
    assert refused.value.code == 70001


def test_the_signature_inside_is_the_vector() -> None:
    assert members_v2()["TLS.sig"] == "SNF4FmVCPucoXsBOpbVF3fFCf57JPm0ezZ1jeVILlVc="


@pytest.mark.parametrize(
    ("userbuf", "packed", "sig"),
    [
        (NUMBER_ROOM, "AAAHeGlhb2p1blNyTgAAACcQZVVCgAAAAP8AAAAA", "m5WPLBP4ZpMhjE/+GSzmHQEKbLMxsvWih1uhJTQ0sPw="),
        (
            TEXT_ROOM,
            "AQAHeGlhb2p1blNyTgAAAAAAZVVCgAAAAP8AAAAAAAZyb29tLUE=",
            "evbd7qQbvdW/JXAe7J/FF+0Iwb/Wche8Cya5bJo0JHk=",
        ),
    ],
)
def test_room_tickets_are_the_vectors_and_do_not_log_in(userbuf: str, packed: str, sig: str) -> None:
    signed = sign_v2(APP, USER, KEY, now=TIME, expire=86400, userbuf=bytes.fromhex(userbuf))
    members = json.loads(zlib.decompress(decode_base64(signed)))
    assert (members["TLS.userbuf"], members["TLS.sig"]) == (packed, sig)
    assert list(members)[-2:] == ["TLS.userbuf", "TLS.sig"]
    check(signed, with_userbuf=True)
    with pytest.raises(UserSigError) as refused:
        check(signed)
    assert refused.value.code == 70009


@pytest.mark.parametrize("level", range(-1, 10))
def test_every_zlib_level_verifies(level: int) -> None:
    check(sign_v2(APP, USER, KEY, now=TIME, level=level))


@pytest.mark.parametrize("after", [b"\n", b" \r\n\t"])
def test_white_space_after_the_json_is_harmless(after: bytes) -> None:
    check(pack(json.dumps(members_v2()).encode() + after))


def test_the_order_of_members_does_not_matter() -> None:
    check(pack(dict(reversed(members_v2().items()))))


@pytest.mark.parametrize("user", ["a", "用户", "ann-1_2", "x" * 32, "é" * 16, "a\tb"])
def test_ids_beyond_ascii_are_signed_as_utf8(user: str) -> None:
    signed = sign_v2(APP, user, KEY, now=TIME)
    check_user = verify(signed, sdk_app_id=APP, user_id=user, keys=KEYS, now=TIME)
    assert check_user.user_id == user
    assert f"TLS.identifier:{user}\n".encode() in content_v2(user, APP, TIME, 1)


def test_any_key_of_the_app_is_enough() -> None:
    check(LEVEL_6, keys=AppKeys(("0" * 64, KEY, "1" * 64)))


def test_the_key_is_text_not_hex() -> None:
    content = content_v2(USER, APP, TIME, 86400)
    assert base64.b64encode(hmac_sha256(KEY, content)).decode() == members_v2()["TLS.sig"]
    assert hmac_sha256(KEY.upper(), content) != hmac_sha256(KEY, content)


def test_the_alphabet_has_a_star_a_dash_and_underscores() -> None:
    assert alphabet(b"\xfb\xff\xbf\xfe") == "*-*--g__"
    assert decode_base64("*w__") == b"\xfb"
    assert decode_base64("-w__") == b"\xff"


@pytest.mark.parametrize("curve", ["secp256r1", "secp256k1"])
@pytest.mark.parametrize("appid_at_3rd", ["", "0", None])
def test_version_1_verifies_with_both_curves_and_all_forms_of_the_third_party_id(
    curve: str, appid_at_3rd: str | None
) -> None:
    private, public = ec_keys(curve)
    signed = sign_v1(APP, USER, private, now=TIME, expire=60, appid_at_3rd=appid_at_3rd)
    proven = verify(signed, sdk_app_id=APP, user_id=USER, keys=AppKeys((), (public,)), now=TIME + 60)
    assert (proven.version, proven.issued_at, proven.expires_at) == (Version.V1, TIME, TIME + 60)
    assert signed == sign_v1(APP, USER, private, now=TIME, expire=60, appid_at_3rd=appid_at_3rd)


def test_the_oldest_form_is_bare_json_with_a_date() -> None:
    from tests.unit.usersigs import members_v1

    # 2023-11-14T14:13:20-08:00 is 1700000000.
    bare = json.dumps(members_v1(time="2023-11-14T14:13:20-08:00"))
    keys = AppKeys((), (ec_keys()[1],))
    proven = verify(bare, sdk_app_id=APP, user_id=USER, keys=keys, now=TIME + 86400)
    assert proven.issued_at == TIME
    with pytest.raises(UserSigError) as refused:
        verify(bare, sdk_app_id=APP, user_id=USER, keys=keys, now=TIME + 86401)
    assert refused.value.code == 70001
