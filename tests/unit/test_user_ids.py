"""What a userId may be, in general and by kind, with the code and the sentence of each refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parlour.accounts import AccountRefusedError
from parlour.accounts.user_ids import checked_format, checked_kind, checked_user_id
from parlour.storage import App
from parlour.storage.model import KINDS, Kind
from parlour.usersig import AppKeys


def app(*kinds: Kind) -> App:
    return App(5, "", "active", 0, AppKeys(), kinds=kinds)


def refusal(check: object, *arguments: object) -> tuple[int, str]:
    with pytest.raises(AccountRefusedError) as refused:
        check(*arguments)  # type: ignore[operator]
    return int(refused.value.code), refused.value.detail


@pytest.mark.parametrize(
    "user_id", ["a", " ", "x" * 32, "é" * 16, "张三", "🦀" * 8, "a b", "'; --", "../..", "\u202eabc", "a\nb", "\x7f"]
)
def test_any_text_of_1_to_32_bytes_is_a_user_id_and_stays_as_it_is(user_id: str) -> None:
    assert checked_user_id(user_id) == user_id
    assert checked_format("plain", user_id) == user_id


@pytest.mark.parametrize(
    ("user_id", "sentence"),
    [
        ("", "userId is empty"),
        ("x" * 33, "userId has 33 bytes; 32 are allowed"),
        ("é" * 17, "userId has 34 bytes; 32 are allowed"),
        ("x" * 10_000_000, "userId has 10000000 bytes; 32 are allowed"),
        ("a\0", "userId holds a NUL character"),
        ("\ud800", "userId is not valid Unicode"),
        (None, "userId is not a text"),
        (7, "userId is not a text"),
        (b"ann", "userId is not a text"),
        (["ann"], "userId is not a text"),
        ({"a": 1}, "userId is not a text"),
    ],
)
def test_anything_else_is_no_user_id(user_id: object, sentence: str) -> None:
    assert refusal(checked_user_id, user_id) == (70402, sentence)
    for kind in KINDS:
        code = refusal(checked_format, kind, user_id)[0]
        assert code == 70402 or (kind == "tls" and isinstance(user_id, str) and code == 70105)


@given(st.text(max_size=40))
def test_what_is_accepted_can_be_stored_and_signed(user_id: str) -> None:
    try:
        accepted = checked_user_id(user_id)
    except AccountRefusedError as refused:
        assert refused.code == 70402
        return
    assert accepted == user_id
    assert 1 <= len(accepted.encode()) <= 32


# --- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_app_takes_the_kinds_that_it_allows(kind: Kind) -> None:
    assert checked_kind(app(*KINDS), kind) == kind
    assert checked_kind(app(kind), kind) == kind


def test_a_kind_that_the_app_does_not_take_is_70102() -> None:
    sentence = "app 5 takes no accounts of kind phone, only plain, email"
    assert refusal(checked_kind, app("plain", "email"), "phone") == (70102, sentence)


@pytest.mark.parametrize("kind", ["", "Phone", "banana", "plain ", 1, True, None, ["phone"], {}, "x" * 1000])
def test_a_kind_that_does_not_exist_is_70106_even_where_the_app_takes_few(kind: object) -> None:
    for takes in (KINDS, ("plain",)):
        code, sentence = refusal(checked_kind, app(*takes), kind)
        assert code == 70106
        assert sentence == f"{repr(kind)[:40]} is no kind of account; there are plain, phone, email, tls"


# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["+8613800138000", "+14155552671", "+442071838750", "+4930901820", "+33142685300"])
def test_a_phone_number_has_international_form(number: str) -> None:
    assert checked_format("phone", number) == number


@pytest.mark.parametrize(
    "number",
    [
        "13800138000", "8613800138000", "+86 138 0013 8000", "+86-13800138000", "+8613800138000 ", " +8613800138000",
        "+861", "+86138001380001234", "+999123456789", "+", "++8613800138000", "phone", "+86１3800138000",
        "tel:+8613800138000", "+8613800138000;ext=1", "008613800138000", "+1415555267x",
    ],
)  # fmt: skip
def test_another_phone_number_is_70103(number: str) -> None:
    assert refusal(checked_format, "phone", number) == (
        70103,
        f"{number!r} is no phone number in international form, like +8613800138000",
    )


@pytest.mark.parametrize("address", ["ann@example.org", "a.b+c@mail.example.co.uk", "x_y-z@example.museum"])
def test_an_email_address_is_one(address: str) -> None:
    assert checked_format("email", address) == address


@pytest.mark.parametrize(
    "address",
    [
        "ann", "@example.org", "ann@", "ann@@example.org", "ann@example", "ann example@a.org", "ann@exa mple.org",
        ".ann@example.org", "ann.@example.org", "a..b@example.org", "ann@-example.org", "ann@example..org",
        "Ann <ann@example.org>", "ann@example.org\n", "mailto:ann@example.org ", "a@b.c,d@e.org",
    ],
)  # fmt: skip
def test_another_address_is_70104_with_the_reason(address: str) -> None:
    code, sentence = refusal(checked_format, "email", address)
    assert code == 70104
    prefix = f"{address!r} is no e-mail address: "
    assert sentence.startswith(prefix)
    assert len(sentence) > len(prefix)
    assert not sentence.endswith(".")


@pytest.mark.parametrize("user_id", ["a", "A-Z_a.z 09", "~", " ", "x" * 32, "'; DROP TABLE accounts"])
def test_an_account_of_kind_tls_is_printable_ascii(user_id: str) -> None:
    assert checked_format("tls", user_id) == user_id


@pytest.mark.parametrize(
    ("user_id", "end"),
    [
        ("", "0 characters"),
        ("x" * 33, "33 characters"),
        ("a\tb", "3 characters"),
        ("a\0", "2 characters"),
        ("\x7f", "1 characters"),
        ("é", "1 characters, not all of them ASCII"),
        ("\ud800", "1 characters, not all of them ASCII"),
    ],
)
def test_another_tls_account_is_70105(user_id: str, end: str) -> None:
    assert refusal(checked_format, "tls", user_id) == (
        70105,
        f"an account of kind tls has 1 to 32 printable ASCII characters; this has {end}",
    )


@given(st.sampled_from(KINDS), st.text(max_size=40))
def test_any_text_is_taken_as_it_is_or_refused_with_the_code_of_its_kind(kind: Kind, user_id: str) -> None:
    codes = {"plain": {70402}, "phone": {70402, 70103}, "email": {70402, 70104}, "tls": {70105}}
    try:
        assert checked_format(kind, user_id) == user_id
    except AccountRefusedError as refused:
        assert int(refused.code) in codes[kind]
