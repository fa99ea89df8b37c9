"""Whatever comes in, the verifier answers with a code; and what we sign, it accepts."""

from __future__ import annotations

import json
import re
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parlour.usersig import AppKeys, UserSigError, inspect, sign_v2, verify
from parlour.usersig.encoding import EncodingError, decode_base64, encode_base64

from tests.fuzzing import FACTOR, examples
from tests.unit.usersigs import APP, KEY, KEYS, TIME, USER, alphabet, ec_keys, members_v2, pack

# A busy machine is slow now and then; what is slow here is the machine.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

FUZZER = Path(__file__).resolve().parents[2] / "fuzz" / "python" / "usersig_decoder.py"
GOOD = pack(members_v2())
CODES = {70001, 70002, 70003, 70004, 70005, 70006, 70007, 70008, 70009, 70010, 70013, 70014, 70015, 70016}
ALL_KEYS = AppKeys((KEY,), (ec_keys()[1],))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from([*members_v2(), "TLS.sdk_appid", "TLS.expire_after", "TLS.account_type", "TLS.userbuf"])


def answered(sig: str) -> int:
    """The code of a UserSig; verify and inspect agree on it."""
    try:
        verify(sig, sdk_app_id=APP, user_id=USER, keys=ALL_KEYS, now=TIME)
        code = 0
    except UserSigError as refused:
        code = int(refused.code)
        assert code in CODES
    found = inspect(sig, sdk_app_id=APP, user_id=USER, keys=ALL_KEYS, now=TIME, other_apps={5: KEYS})
    assert (0 if found.code is None else int(found.code)) == code
    return code


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    assert answered(text) != 0


@given(st.binary(max_size=400))
def test_any_bytes_in_the_alphabet_are_answered(raw: bytes) -> None:
    assert answered(alphabet(raw)) != 0


@given(st.binary(max_size=400))
def test_any_packed_bytes_are_answered(raw: bytes) -> None:
    assert answered(pack(raw)) != 0


@given(VALUES)
def test_any_packed_json_is_answered(value: object) -> None:
    assert answered(pack(value)) != 0


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_change_of_members_is_answered(changes: dict[str, object]) -> None:
    answered(pack(members_v2() | changes))


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_any_bare_json_is_answered(members: dict[str, object]) -> None:
    assert answered(json.dumps(members)) != 0


@settings(max_examples=examples(300))
@given(st.integers(0, len(GOOD) - 1), st.sampled_from(string.printable + "é\x00"))
def test_no_single_changed_character_passes_unless_it_means_the_same(at: int, character: str) -> None:
    changed = GOOD[:at] + character + GOOD[at + 1 :]
    if answered(changed) == 0:
        assert decode_base64(changed) == decode_base64(GOOD)


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_no_beginning_of_a_good_one_passes(length: int) -> None:
    assert answered(GOOD[:length]) in {70002, 70003, 70004}


@given(
    st.integers(1, 2**32 - 1),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    st.text(string.hexdigits, min_size=1, max_size=64),
    st.integers(0, 2**40),
    st.integers(1, 2**31),
    st.integers(-1, 9),
)
def test_what_is_signed_verifies(app: int, user: str, key: str, now: int, expire: int, level: int) -> None:
    sig = sign_v2(app, user, key, now=now, expire=expire, level=level)
    proven = verify(sig, sdk_app_id=app, user_id=user, keys=AppKeys((key,)), now=now + expire)
    assert (proven.issued_at, proven.expires_at) == (now, now + expire)


@given(st.binary(max_size=100))
def test_the_alphabet_goes_both_ways(raw: bytes) -> None:
    assert decode_base64(encode_base64(raw)) == raw if raw else True
    assert encode_base64(raw) == alphabet(raw)


@given(st.text())
def test_the_decoder_answers_any_text(text: str) -> None:
    try:
        decode_base64(text)
    except EncodingError as error:
        assert str(error)


def test_the_coverage_guided_fuzzer_finds_nothing() -> None:
    """For some seconds; `make fuzz` gives it longer."""
    seconds = 4 * FACTOR
    done = subprocess.run(
        [sys.executable, FUZZER, str(seconds)], check=False, capture_output=True, text=True, timeout=60 + 2 * seconds
    )
    assert done.returncode == 0, done.stderr[-4000:]
    tried = re.search(r"number_of_executed_units: *([0-9]+)", done.stderr)
    assert tried is not None and int(tried[1]) > 100
