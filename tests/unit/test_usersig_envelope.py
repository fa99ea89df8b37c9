"""Opening before judging: what is inside is told without being believed, and every form of the envelope is taken."""

from __future__ import annotations

import base64
import hmac
import json
import re
import zlib
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parlour.usersig import (
    AppKeys,
    Envelope,
    UserSigError,
    fingerprint,
    open_envelope,
    sign_v1,
    sign_v2,
    verify,
)
from parlour.usersig.encoding import MAX_JSON_BYTES, EncodingError, parse_json

from tests.unit.usersigs import APP, KEY, KEYS, TIME, USER, alphabet, ec_keys, members_v1, members_v2, pack

PUBLIC = ec_keys()[1]
V1_KEYS = AppKeys((), (PUBLIC,))
DATE = "2023-11-14T14:13:20-08:00"  # is TIME


def code_of(sig: str | Envelope, **changes: object) -> int:
    values = {"sdk_app_id": APP, "user_id": USER, "keys": AppKeys((KEY,), (PUBLIC,)), "now": TIME} | changes
    try:
        verify(sig, **values)  # type: ignore[arg-type]
    except UserSigError as refused:
        return int(refused.code)
    return 0


# --- open once, judge later -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sig", ["", "x", "\ud800", "e_JyrVgr", alphabet(b"{}"), pack(b"x"), pack([1]), pack({"TLS.ver": "3"}), "{" * 9]
)
def test_what_cannot_be_opened_is_an_answer_and_raises_only_when_it_is_judged(sig: str) -> None:
    envelope = open_envelope(sig)
    assert envelope.version is None
    assert envelope.account_type is None
    assert envelope.error is not None
    for _ in range(2):
        with pytest.raises(UserSigError) as refused:
            verify(envelope, sdk_app_id=APP, user_id=USER, keys=KEYS, now=TIME)
        assert refused.value.code == envelope.error.code
    assert code_of(sig) == envelope.error.code


def test_an_opened_one_is_judged_like_its_text() -> None:
    for sig in (pack(members_v2()), pack(members_v1()), pack(members_v2(identifier="bob")), json.dumps(members_v1())):
        assert code_of(open_envelope(sig)) == code_of(sig)


@pytest.mark.parametrize(
    ("said", "seen"), [("0", "0"), ("7", "7"), ("", ""), ("x", "x"), (7, 7), (True, None), ([], None)]
)
def test_the_account_type_of_version_1_is_seen_as_it_stands(said: object, seen: object) -> None:
    assert open_envelope(pack(members_v1() | {"TLS.account_type": said})).account_type == seen
    assert open_envelope(json.dumps(members_v1() | {"TLS.account_type": said})).account_type == seen


def test_version_2_has_no_account_type_and_version_1_may_lack_it() -> None:
    assert open_envelope(pack(members_v2() | {"TLS.account_type": "7"})).account_type is None
    assert open_envelope(pack(members_v1(drop=("TLS.account_type",)))).account_type is None


def test_an_envelope_never_shows_what_is_in_it() -> None:
    sig = pack(members_v2())
    shown = repr(open_envelope(sig))
    assert sig not in shown
    assert str(members_v2()["TLS.sig"]) not in shown


# --- which key, which method ------------------------------------------------------------------------------------------


def test_the_key_that_verified_is_named_by_its_fingerprint() -> None:
    proven = verify(pack(members_v2()), sdk_app_id=APP, user_id=USER, keys=AppKeys(("0" * 64, KEY)), now=TIME)
    assert proven.key == fingerprint(KEY) == "0345c13c214c9e35"
    assert proven.userbuf is None
    proven = verify(pack(members_v1()), sdk_app_id=APP, user_id=USER, keys=V1_KEYS, now=TIME)
    assert proven.key == fingerprint(PUBLIC)


def test_every_key_is_compared_in_constant_time_wherever_the_match_is(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    for keys in ((KEY, "a" * 64, "b" * 64), ("a" * 64, "b" * 64, KEY)):
        compared.clear()
        assert code_of(pack(members_v2()), keys=AppKeys(keys)) == 0
        assert compared == [(44, 44)] * 3


METHODS = {
    "version 2, both methods": (pack(members_v2()), {"hmac", "ecdsa"}, AppKeys((KEY,)), 0),
    "version 2, hmac alone": (pack(members_v2()), {"hmac"}, AppKeys((KEY,)), 0),
    "version 2, ecdsa alone": (pack(members_v2()), {"ecdsa"}, AppKeys((KEY,)), 70015),
    "version 2, no method": (pack(members_v2()), set[str](), AppKeys((KEY,)), 70015),
    "version 2, no secret key": (pack(members_v2()), {"hmac"}, V1_KEYS, 70015),
    "version 2, identity comes first": (pack(members_v2(identifier="bob")), set[str](), AppKeys(), 70013),
    "version 1, ecdsa alone": (pack(members_v1()), {"ecdsa"}, V1_KEYS, 0),
    "version 1, hmac alone": (pack(members_v1()), {"hmac"}, V1_KEYS, 70015),
    "version 1, no public key comes first": (pack(members_v1()), {"hmac"}, AppKeys((KEY,)), 70016),
    "version 1, no public key": (pack(members_v1()), {"ecdsa"}, AppKeys((KEY,)), 70016),
    "version 1, the method comes before the signature": (
        sign_v1(APP, USER, ec_keys("secp256k1")[0], now=TIME),
        {"hmac"},
        V1_KEYS,
        70015,
    ),
}


@pytest.mark.parametrize(("sig", "methods", "keys", "code"), METHODS.values(), ids=METHODS.keys())
def test_the_account_type_decides_which_versions_are_taken(
    sig: str, methods: set[str], keys: AppKeys, code: int
) -> None:
    assert code_of(sig, methods=methods, keys=keys) == code


# --- the forms of the envelope ----------------------------------------------------------------------------------------


def bare(**changes: object) -> str:
    return json.dumps(members_v1(time=DATE) | {f"TLS.{name}": value for name, value in changes.items()})


OLDEST = {
    "as it was written": (bare(), 0),
    "white space around it": (f"\r\n\t {bare()} \n", 0),
    "indented": (json.dumps(members_v1(time=DATE), indent=2), 0),
    "its time as digits": (json.dumps(members_v1()), 0),
    "whatever TLS.ver says": (bare(ver="2.0"), 0),
    "another offset": (json.dumps(members_v1(time="2023-11-14T14:13:20+08:00")), 70010),
    "no such day": (json.dumps(members_v1(time="2023-02-29T14:13:20-08:00")), 70010),
    "no such hour": (json.dumps(members_v1(time="2023-02-28T24:00:00-08:00")), 70010),
    "another user": (json.dumps(members_v1(time=DATE, identifier="bob")), 70013),
    "another app": (json.dumps(members_v1(time=DATE, sdk_appid="5")), 70014),
    "changed after signing": (bare(identifier="bob"), 70009),
    "no signature": (json.dumps({k: v for k, v in members_v1(time=DATE).items() if k != "TLS.sig"}), 70008),
    "no members": ("{}", 70005),
    "a member twice": (bare()[:-1] + ', "TLS.time": "1"}', 70005),
    "a list": ("[1]", 70003),
    "cut": (bare()[:-1], 70003),
    "text after it": (bare() + "x", 70003),
    "beyond 64 KiB": (bare(padding="x" * MAX_JSON_BYTES), 70003),
}


@pytest.mark.parametrize(("sig", "code"), OLDEST.values(), ids=OLDEST.keys())
def test_the_oldest_form_is_bare_json_and_is_judged_as_version_1(sig: str, code: int) -> None:
    assert code_of(sig) == code


@pytest.mark.parametrize("level", range(-1, 10))
def test_any_zlib_level_and_white_space_after_the_json_and_around_the_text(level: int) -> None:
    raw = json.dumps(members_v2()).encode() + b"\r\n\t \n"
    assert code_of(f" \r\n\t{pack(raw, level=level)}\n ") == 0
    sig = pack(raw, level=level)
    assert code_of("\n".join(sig[at : at + 76] for at in range(0, len(sig), 76))) == 0  # as mail breaks lines


def test_a_bomb_is_refused_without_being_unpacked() -> None:
    bomb = alphabet(zlib.compress(bytes(1 << 28), 9))
    assert len(bomb) < 400_000
    assert code_of(bomb) == 70004


# --- the document -----------------------------------------------------------------------------------------------------


def test_the_document_has_every_step_in_its_order() -> None:
    from parlour.usersig import version1, version2
    from parlour.usersig.envelope import STEPS
    from parlour.usersig.private_map_key import TICKET

    page = (Path(__file__).resolve().parents[2] / "docs" / "usersig.md").read_text()
    tables = re.findall(r"^\| Step .*?\n\n", page, re.MULTILINE | re.DOTALL)
    cells = [cell for table in tables for cell in re.findall(r"^\| ([0-9][^|]*) \|", table, re.MULTILINE)]
    documented = [step for cell in cells for step in cell.split(", ")]
    in_code = [step.step for step in STEPS]
    in_code += [check.step.rstrip("'") for check in (*version2.LOGIN, *version1.LOGIN, *TICKET)]
    # 1 and 2 come before the UserSig is looked at, 4 only says where the oldest form goes on.
    assert [step for step in documented if step not in ("1", "2", "4")] == [step for step, _ in groupby(in_code)]


# --- what JSON can say ------------------------------------------------------------------------------------------------

ODD = {
    "sdkappid beyond 64 bits": ({"TLS.sdkappid": 10**40}, 70008),
    "sdkappid of 63 bits": ({"TLS.sdkappid": 2**63 - 1}, 70014),
    "expire beyond 64 bits": ({"TLS.expire": 2**64}, 70008),
    "expire a whole number with a fraction": ({"TLS.expire": 86400.0}, 70008),
    "expire false": ({"TLS.expire": False}, 70008),
    "time -0.5": ({"TLS.time": -0.5}, 70010),
    "time a list": ({"TLS.time": [TIME]}, 70010),
    "identifier false": ({"TLS.identifier": False}, 70008),
    "identifier with NUL": ({"TLS.identifier": "xiao\0jun"}, 70013),
    "identifier with NUL at its end": ({"TLS.identifier": "xiaojun\0"}, 70013),
    "identifier with half a surrogate pair": ({"TLS.identifier": "\ud800"}, 70013),
    "identifier with a letter that looks alike": ({"TLS.identifier": "xіaojun"}, 70013),
    "sig with a letter beyond ASCII": ({"TLS.sig": "é"}, 70007),
    "sig with half a surrogate pair": ({"TLS.sig": "\udfff"}, 70007),
}


@pytest.mark.parametrize(("changes", "code"), ODD.values(), ids=ODD.keys())
def test_values_of_the_wrong_kind_or_size_are_refused_with_their_code(changes: dict[str, object], code: int) -> None:
    assert code_of(pack(members_v2() | changes)) == code


def test_minus_zero_and_numbers_of_thousands_of_digits() -> None:
    raw = json.dumps(members_v2()).replace(str(TIME), "-0")
    assert code_of(pack(raw.encode())) == 70001
    assert code_of(pack(json.dumps(members_v2()).replace(str(TIME), "9" * 4000).encode())) == 70010
    with pytest.raises(UserSigError, match="a number of thousands of digits"):
        verify(pack(b'{"TLS.time": ' + b"9" * 5000 + b"}"), sdk_app_id=APP, user_id=USER, keys=KEYS, now=TIME)


@pytest.mark.parametrize("user", ["a\0b", "a\nTLS.sdkappid:1", "\ud800", "\U0010ffff", "a\u202eb"])
def test_an_identifier_of_odd_letters_verifies_for_exactly_itself(user: str) -> None:
    sig = sign_v2(APP, user, KEY, now=TIME)
    assert code_of(sig, user_id=user) == 0
    assert code_of(sig, user_id=user + " ") == 70013


def test_a_line_feed_cannot_move_the_line_between_two_members_of_version_1() -> None:
    private = ec_keys()[0]
    evil = "x\nTLS.identifier:bob"
    signed = json.loads(zlib.decompress(base64.b64decode(sign_v1(APP, evil, private, now=TIME).translate(STANDARD))))
    assert code_of(pack(signed), user_id=evil) == 0
    moved = signed | {"TLS.account_type": "0\nTLS.identifier:x", "TLS.identifier": "bob"}
    assert code_of(pack(moved), user_id="bob") == 70009


STANDARD = str.maketrans("*-_", "+/=")


# --- the fast reading of JSON is the careful one ---------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8"), max_size=5) | st.sampled_from(
    ["TLS.ver", "TLS.sig", '"', "\\", "\x7f", "é"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2), max_leaves=4
)


def outcome(content: bytes) -> object:
    try:
        return parse_json(content)
    except EncodingError:
        return EncodingError


def careful(content: bytes) -> object:
    """Python's own decoder, told to look at every object."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)

    def constant(name: str) -> object:
        raise ValueError(name)

    try:
        text = content.decode("utf-8")
        return json.JSONDecoder(object_pairs_hook=unique, parse_constant=constant).decode(text)
    except (ValueError, RecursionError):
        return EncodingError


@settings(deadline=None, max_examples=400)
@given(st.lists(st.tuples(TEXTS, VALUES), max_size=4), st.booleans(), st.sampled_from([b"", b" \n", b"\0", b"x", b","]))
def test_any_object_is_read_as_the_careful_decoder_reads_it(
    pairs: list[tuple[str, object]], ascii_only: bool, after: bytes
) -> None:
    members = ", ".join(
        f"{json.dumps(n, ensure_ascii=ascii_only)}: {json.dumps(v, ensure_ascii=ascii_only)}" for n, v in pairs
    )
    content = f"{{{members}}}".encode("utf-8", "surrogatepass") + after
    assert outcome(content) == careful(content)


@settings(deadline=None, max_examples=400)
@given(st.text('{}[]":,\\ 0123aebtrufnls.-+\x01\x7fé', max_size=24).map(str.encode) | st.binary(max_size=12))
def test_any_bytes_are_read_as_the_careful_decoder_reads_them(content: bytes) -> None:
    assert outcome(content) == careful(content)
