"""Tickets and resume tokens: they survive a restart, end in time, and cannot be bent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parlour.accounts import Identity, TokenSigner
from parlour.errors import RtcError

NOW = 1_700_000_000.25
ANN = Identity(1400000001, "ann")
SIGNER = TokenSigner(b"s" * 32, ticket_lifetime=600)


def refusal(token: str, now: float = NOW, *, resume: bool = False, signer: TokenSigner = SIGNER) -> tuple[int, int]:
    with pytest.raises(RtcError) as refused:
        signer.read_resume(token, now) if resume else signer.read_ticket(token, now)
    return refused.value.code, refused.value.extra_code


def test_a_ticket_names_its_user_until_it_expires() -> None:
    token, expires_at = SIGNER.issue_ticket(ANN, NOW)
    assert expires_at == int(NOW) + 600
    assert SIGNER.read_ticket(token, expires_at) == ANN
    assert refusal(token, expires_at + 1) == (0x4004, 70347)


def test_a_resume_token_names_its_session_until_it_expires() -> None:
    token = SIGNER.issue_resume("session-1", ANN, expires_at=NOW + 90)
    assert SIGNER.read_resume(token, NOW + 89) == ("session-1", ANN)
    assert refusal(token, NOW + 91, resume=True) == (0x4001, 70221)


def test_another_instance_with_the_same_secret_reads_them() -> None:
    token, _ = SIGNER.issue_ticket(ANN, NOW)
    assert TokenSigner(b"s" * 32).read_ticket(token, NOW) == ANN
    assert refusal(token, signer=TokenSigner(b"t" * 32)) == (0x4004, 70346)


def test_one_kind_never_passes_as_the_other() -> None:
    ticket, _ = SIGNER.issue_ticket(ANN, NOW)
    resume = SIGNER.issue_resume("session-1", ANN, expires_at=NOW + 90)
    assert refusal(ticket, resume=True) == (0x4001, 70236)
    assert refusal(resume) == (0x4004, 70346)


@pytest.mark.parametrize("token", ["", ".", "...", "v1.ticket.e30.", "é", "x" * 5000, "v1.ticket.e30." + "0" * 64])
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refusal(token) == (0x4004, 70346)
    assert refusal(token, resume=True) == (0x4001, 70236)


@given(st.data())
def test_no_changed_token_passes(data: st.DataObject) -> None:
    token, _ = SIGNER.issue_ticket(ANN, NOW)
    at = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters(codec="utf-8").filter(lambda drawn: drawn.lower() != token[at].lower()))
    assert refusal(token[:at] + character + token[at + 1 :]) == (0x4004, 70346)


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    assert refusal(text) == (0x4004, 70346)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=32))
def test_any_user_id_goes_through(user_id: str) -> None:
    token, _ = SIGNER.issue_ticket(Identity(1, user_id), NOW)
    assert SIGNER.read_ticket(token, NOW).user_id == user_id


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        TokenSigner(b"short")
