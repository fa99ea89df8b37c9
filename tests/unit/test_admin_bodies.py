"""Bodies and URLs of the account REST: what is read, and the code of what is not. No server needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parlour.accounts.refusal import AccountRefusedError
from parlour.admin import wire
from parlour.admin.bodies import read_object, read_shape
from parlour.admin.commands import COMMANDS
from parlour.admin.exchange import read_parameters

from tests.fuzzing import FACTOR, examples

ROOT = Path(__file__).parents[2]


def refused(raw: bytes) -> tuple[int, str]:
    with pytest.raises(AccountRefusedError) as caught:
        read_object(raw)
    return int(caught.value.code), caught.value.detail


NOT_JSON = {
    "a-member-twice": (b'{"UserID":"ann","UserID":"bob"}', 'the member "UserID" comes twice'),
    "a-member-twice-deep-inside": (b'{"CheckItem":[{"UserID":"a","UserID":"b"}]}', "comes twice"),
    "a-member-twice-by-an-escape": (b'{"UserID":"ann","\\u0055serID":"bob"}', "comes twice"),
    "a-word": (b"hello", "line 1 column 1"),
    "a-trailing-comma": (b'{"UserID":"ann",}', "column"),
    "single-quotes": (b"{'UserID':'ann'}", "column"),
    "two-objects": (b"{}{}", "Extra data"),
    "form-data": (b"UserID=ann", "column"),
    "a-byte-order-mark": (b"\xef\xbb\xbf{}", "column 1"),
    "utf-16": ('{"UserID":"ann"}'.encode("utf-16"), "not UTF-8"),
    "half-a-character": (b'{"UserID":"\xc3"}', "byte 11 is not UTF-8"),
    "overlong-utf-8": (b'{"UserID":"\xc0\x80"}', "not UTF-8"),
    "a-surrogate-in-utf-8": (b'{"UserID":"\xed\xa0\x80"}', "not UTF-8"),
    "a-bare-nul": (b'{"UserID":"a\x00b"}', "column"),
    "only-space": (b"  ", "column"),
    "not-a-number": (b'{"IsNeedDetail":NaN}', "NaN is no JSON number"),
    "infinity": (b'{"IsNeedDetail":-Infinity}', "-Infinity is no JSON number"),
    "a-number-of-100000-digits": (b'{"Uin":' + b"9" * 100_000 + b"}", "too many digits"),
    "an-array": (b'["ann"]', "it is an array"),
    "a-text": (b'"ann"', "it is a text"),
    "a-number": (b"7", "it is a number"),
    "null": (b"null", "it is null"),
    "arrays-in-arrays": (b"[" * 500_000, "nested too deeply"),
    "objects-in-objects": (b'{"a":' * 150_000, "nested too deeply"),
}


@pytest.mark.parametrize(("raw", "reason"), NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_not_one_json_object_is_60003_and_the_sentence_says_where(raw: bytes, reason: str) -> None:
    started = time.process_time()
    code, sentence = refused(raw)
    assert time.process_time() - started < 1
    assert code == 60003
    assert reason in sentence
    assert len(sentence) < 200


def test_an_empty_body_is_70101() -> None:
    assert refused(b"")[0] == 70101


A = "im_open_login_svc/account_import"
FIELDS: dict[str, tuple[str, object, int, str]] = {
    "nobody": (A, {}, 70402, "Object missing required field `UserID`"),
    "a-number": (A, {"UserID": 7}, 70402, "UserID: Expected `str`, got `int`"),
    "null": (A, {"UserID": None}, 70402, "UserID"),
    "the-wrong-case": (A, {"userid": "ann"}, 70402, "The body may hold AccountType, UserID, Nick, FaceUrl"),
    "nothing": (A, {"UserID": ""}, 70402, "UserID"),
    "33-bytes": (A, {"UserID": "a" * 33}, 70402, "has 33 bytes"),
    "33-bytes-of-17-letters": (A, {"UserID": "é" * 16 + "a"}, 70402, "has 33 bytes"),
    "a-nul": (A, {"UserID": "ann\0"}, 70402, "NUL"),
    "half-a-surrogate-pair": (A, {"UserID": "\ud800"}, 70402, "Unicode"),
    "a-member-named-by-a-half": (A, {"\ud800": 1, "UserID": "ann"}, 70402, "half of a surrogate pair"),
    "a-nick-of-501-bytes": (A, {"UserID": "ann", "Nick": "x" * 501}, 40601, "Nick has 501 bytes"),
    "a-face-url-of-501-bytes": (A, {"UserID": "ann", "FaceUrl": "é" * 250 + "x"}, 40601, "FaceUrl has 501 bytes"),
    "a-face-url-that-is-a-list": (A, {"UserID": "ann", "FaceUrl": []}, 70402, "FaceUrl"),
    "a-nick-with-a-nul": (A, {"UserID": "ann", "Nick": "\0"}, 70402, "NUL"),
    "accounts-no-list": ("im_open_login_svc/multiaccount_import", {"Accounts": "ann"}, 70402, "Accounts"),
    "accounts-empty": ("im_open_login_svc/multiaccount_import", {"Accounts": []}, 70206, "holds 0 items"),
    "accounts-101": ("im_open_login_svc/multiaccount_import", {"Accounts": ["a"] * 101}, 70206, "holds 101 items"),
    "accounts-a-number": ("im_open_login_svc/multiaccount_import", {"Accounts": ["a", 7]}, 70402, "Accounts[1]"),
    "accounts-a-long-one": ("im_open_login_svc/multiaccount_import", {"Accounts": ["a", "b" * 33]}, 70402, "33 bytes"),
    "deletes-none": ("im_open_login_svc/account_delete", {"DeleteItem": []}, 70206, "DeleteItem holds 0"),
    "deletes-texts": ("im_open_login_svc/account_delete", {"DeleteItem": ["ann"]}, 70402, "DeleteItem[0]"),
    "deletes-an-empty-one": ("im_open_login_svc/account_delete", {"DeleteItem": [{"UserID": ""}]}, 70402, "DeleteItem"),
    "checks-101": ("im_open_login_svc/account_check", {"CheckItem": [{"UserID": "a"}] * 101}, 70206, "CheckItem"),
    "checks-500000": ("im_open_login_svc/account_check", {"CheckItem": [0] * 500_000}, 70206, "CheckItem"),
    "kicks-a-list": ("im_open_login_svc/kick", {"UserID": ["ann"]}, 70402, "UserID"),
    "asks-for-nobody": ("openim/query_online_status", {"To_Account": []}, 90001, "nobody"),
    "asks-without-a-list": ("openim/query_online_status", {}, 90001, "nobody"),
    "asks-for-a-text": ("openim/query_online_status", {"To_Account": "ann"}, 90003, "list"),
    "asks-for-a-number": ("openim/querystate", {"To_Account": ["ann", 7]}, 90003, "To_Account[1]"),
    "asks-for-501": ("openim/query_online_status", {"To_Account": ["a"] * 501}, 90011, "501"),
    "asks-for-detail-2": (
        "openim/query_online_status",
        {"To_Account": ["a"], "IsNeedDetail": 2},
        70402,
        "IsNeedDetail",
    ),
    "registers-no-kind": ("parlour_account/register", {"UserID": "ann", "Kind": 1}, 70402, "Kind"),
    "registers-none": ("parlour_account/multi_register", {"Accounts": []}, 70113, "holds 0 items"),
    "registers-101": ("parlour_account/multi_register", {"Accounts": [{"UserID": "a"}] * 101}, 70113, "101"),
    "a-page-of-501": ("parlour_account/blacklist_get", {"Limit": 501}, 70402, "Limit"),
    "a-page-of-true": ("parlour_account/blacklist_get", {"Limit": True}, 70402, "Limit"),
    "a-reason-of-501-bytes": ("parlour_account/blacklist_add", {"UserID": "a", "Reason": "x" * 501}, 70402, "Reason"),
    "an-unknown-kind": ("parlour_app/set", {"Uin": 1, "Kinds": ["fax"]}, 70402, "Kinds"),
    "no-kinds": ("parlour_app/set", {"Uin": 1, "Kinds": []}, 70402, "Kinds"),
    "a-limit-below-zero": ("parlour_app/set", {"Uin": 1, "MaxAccounts": -1}, 70402, "MaxAccounts"),
    "a-limit-beyond-all": ("parlour_app/set", {"Uin": 1, "MaxAccounts": 10**400}, 70402, "MaxAccounts"),
}


@pytest.mark.parametrize(("command", "body", "code", "words"), FIELDS.values(), ids=FIELDS.keys())
def test_a_field_that_does_not_fit_has_its_code_and_is_named(command: str, body: Any, code: int, words: str) -> None:
    with pytest.raises(AccountRefusedError) as caught:
        COMMANDS[command].read(body)
    assert (int(caught.value.code), words in caught.value.detail) == (code, True), caught.value.detail
    assert caught.value.detail.endswith(".")
    assert len(caught.value.detail) < 300


def test_lengths_are_counted_in_bytes_and_their_bounds_belong_to_them() -> None:
    longest: Any = COMMANDS[A].read({"UserID": "é" * 16, "Nick": "x" * 500, "FaceUrl": "y" * 500})
    assert (longest.user_id, len(longest.nick)) == ("é" * 16, 500)
    batch: Any = COMMANDS["im_open_login_svc/multiaccount_import"].read({"Accounts": ["a"] * 100})
    assert len(batch.accounts) == 100
    query: Any = COMMANDS["openim/query_online_status"].read({"To_Account": ["a"] * 500})
    assert len(query.to_account) == 500


def test_letters_that_only_look_alike_stay_what_they_are() -> None:
    for one, other in (("paul", "pаul"), ("é", "e\u0301"), ("ann", "Ann"), ("a", "a\u200b"), ("ﬁ", "fi")):
        first: Any = COMMANDS[A].read({"UserID": one})
        second: Any = COMMANDS[A].read({"UserID": other})
        assert first.user_id == one
        assert second.user_id == other != one


def test_the_format_of_a_tls_account_is_left_to_the_account_system_which_has_a_code_for_it() -> None:
    for user_id in ("", "a" * 33, "\0"):
        body: Any = COMMANDS["parlour_account/register"].read({"UserID": user_id, "Kind": "tls"})
        assert body.user_id == user_id


def test_members_that_a_command_does_not_know_are_ignored() -> None:
    body: Any = COMMANDS[A].read({"UserID": "ann", "Type": 0, "Extra": [{"deep": {}}]})
    assert body == wire.AccountImport(user_id="ann")


BAD_URLS = {
    "a-parameter-twice": (b"sdkappid=1&sdkappid=2", '"sdkappid" twice'),
    "a-parameter-twice-by-an-escape": (b"sdkappid=1&%73dkappid=2", '"sdkappid" twice'),
    "a-parameter-twice-that-nobody-reads": (b"a=1&a=1", '"a" twice'),
    "half-an-escape": (b"identifier=%4", "two hexadecimal digits"),
    "an-escape-of-no-hex": (b"identifier=%zz", "two hexadecimal digits"),
    "not-utf-8": (b"identifier=%ff", "not UTF-8"),
    "a-surrogate": (b"identifier=%ed%a0%80", "not UTF-8"),
    "a-byte-that-is-not-ascii": (b"identifier=\xff", "not UTF-8"),
    "33-parameters": (b"&".join(b"p%d=1" % number for number in range(33)), "more than 32"),
}


@pytest.mark.parametrize(("query", "reason"), BAD_URLS.values(), ids=BAD_URLS.keys())
def test_a_url_that_could_be_read_in_two_ways_is_60002(query: bytes, reason: str) -> None:
    with pytest.raises(AccountRefusedError) as caught:
        read_parameters(query)
    assert caught.value.code == 60002
    assert reason in caught.value.detail


def test_the_parameters_of_a_url_are_decoded_as_forms_are() -> None:
    assert read_parameters(b"") == {}
    assert read_parameters(b"&identifier=a%2Bb+c%C3%A9&usersig=&flag") == {
        "identifier": "a+b cé",
        "usersig": "",
        "flag": "",
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.sampled_from(["ann", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["UserID", "Kind", "x"]), inner),
    max_leaves=8,
)
NAMES = sorted({member.encode_name for command in COMMANDS.values() for member in msgspec.structs.fields(command.body)})
BODIES = st.dictionaries(st.sampled_from(NAMES) | st.text(), VALUES, max_size=5)
CODES = {40601, 60003, 70101, 70113, 70206, 70402, 90001, 90003, 90011}


@settings(max_examples=examples(300), deadline=None)
@given(st.sampled_from(sorted(COMMANDS)), BODIES)
def test_any_body_is_read_or_refused_with_a_code_and_a_sentence(command: str, body: dict[str, object]) -> None:
    raw = json.dumps(body).encode()
    try:
        read = COMMANDS[command].read(read_object(raw))
    except AccountRefusedError as caught:
        assert int(caught.code) in CODES
        assert caught.detail
    else:
        assert isinstance(read, COMMANDS[command].body)


@settings(max_examples=examples(300), deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for read in (read_object, read_parameters):
        try:
            assert isinstance(read(raw), dict)
        except AccountRefusedError as caught:
            assert int(caught.code) in {60002, 60003, 70101}


@settings(max_examples=examples(200), deadline=None)
@given(BODIES)
def test_what_is_read_says_the_same_as_another_reader_of_json(body: dict[str, object]) -> None:
    raw = json.dumps(body, allow_nan=True, ensure_ascii=False).encode(errors="surrogatepass")
    try:
        read = read_object(raw)
    except AccountRefusedError:
        return
    assert read == json.loads(raw)


def test_a_usersig_is_not_part_of_the_text_that_an_answer_is_logged_as() -> None:
    issued = wire.UserSigIssued(user_sig="eJwSECRET", sdk_app_id=1, user_id="ann", issued_at=1, expires_at=2)
    assert "SECRET" not in repr(issued)
    assert b"eJwSECRET" in wire.encode(issued)


def test_the_usersig_request_has_its_bounds() -> None:
    good = {"sdkAppId": 1400000001, "userId": "ann"}
    assert read_shape(good, wire.UserSigRequest).expire == 604_800
    for more in (
        {"expire": 0},
        {"expire": 31_536_001},
        {"expire": "60"},
        {"expire": True},
        {"userId": ""},
        {"sdkAppId": 0},
    ):
        with pytest.raises(AccountRefusedError) as caught:
            read_shape(good | more, wire.UserSigRequest)
        assert caught.value.code == 70402


def test_coverage_guided_fuzzing_of_urls_and_bodies_finds_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "fuzz/python/rest_bodies.py", f"-runs={20_000 * FACTOR}", "-seed=1", "-max_len=600"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "python"), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60 * FACTOR,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"Done {20_000 * FACTOR} runs" in done.stderr
