"""Tickets and resume tokens: they survive a restart, end in time, and cannot be bent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parlour.accounts import AcceptedLogin, AccountRefusedError, Identity, TokenSigner
from parlour.accounts.tokens import MAX_TOKEN_LENGTH, said_by

NOW = 1_700_000_000.25
ANN = AcceptedLogin(Identity(1400000001, "ann"), "login-1", int(NOW), int(NOW) + 3600, "0123abcd")
BY_THIRD_PARTY = AcceptedLogin(Identity(1400000001, "ann"), "login-2", int(NOW), None, "")
SIGNER = TokenSigner(b"s" * 32, ticket_lifetime=600)


def refused(token: str, now: float = NOW, *, resume: bool = False, signer: TokenSigner = SIGNER) -> tuple[int, str]:
    with pytest.raises(AccountRefusedError) as refusal:
        signer.read_resume(token, now) if resume else signer.read_ticket(token, now)
    return int(refusal.value.code), refusal.value.detail


def code(token: str, now: float = NOW, *, resume: bool = False, signer: TokenSigner = SIGNER) -> int:
    return refused(token, now, resume=resume, signer=signer)[0]


def user(user_id: str) -> AcceptedLogin:
    return AcceptedLogin(Identity(1, user_id), "login-1", 0, None, "")


@pytest.mark.parametrize("login", [ANN, BY_THIRD_PARTY])
def test_a_ticket_tells_the_whole_login_until_it_expires(login: AcceptedLogin) -> None:
    token, expires_at = SIGNER.issue_ticket(login, NOW)
    assert expires_at == int(NOW) + 600
    assert SIGNER.read_ticket(token, expires_at) == login
    assert refused(token, expires_at + 1) == (70347, "the ticket expired 1 s ago: log in again")


@pytest.mark.parametrize("login", [ANN, BY_THIRD_PARTY])
def test_a_resume_token_names_session_and_login_until_it_expires(login: AcceptedLogin) -> None:
    token = SIGNER.issue_resume("session-1", login, expires_at=NOW + 90)
    assert SIGNER.read_resume(token, NOW + 89) == ("session-1", "", login)
    placed = SIGNER.issue_resume("session-1", login, expires_at=NOW + 90, room='"lobby"')
    assert SIGNER.read_resume(placed, NOW + 89) == ("session-1", '"lobby"', login)
    assert refused(token, NOW + 91, resume=True) == (70221, "the session ended 1 s ago: log in again")


def test_another_instance_with_the_same_secret_reads_them() -> None:
    token, _ = SIGNER.issue_ticket(ANN, NOW)
    assert TokenSigner(b"s" * 32).read_ticket(token, NOW) == ANN
    assert refused(token, signer=TokenSigner(b"t" * 32)) == (70346, "the ticket is not one that this server signed")


def test_one_kind_never_passes_as_the_other() -> None:
    ticket, _ = SIGNER.issue_ticket(ANN, NOW)
    resume = SIGNER.issue_resume("session-1", ANN, expires_at=NOW + 90)
    assert refused(ticket, resume=True) == (70236, "the resume token is not one that this server signed")
    assert code(resume) == 70346
    renamed = ticket.replace("v1.ticket.", "v1.resume.", 1)
    assert code(renamed, resume=True) == 70236


@pytest.mark.parametrize("token", ["", ".", "...", "v1.ticket.e30.", "é", "x" * 5000, "v1.ticket.e30." + "0" * 64])
def test_what_is_no_token_is_refused(token: str) -> None:
    assert code(token) == 70346
    assert code(token, resume=True) == 70236
    assert said_by(token) is None


def test_whose_token_it_says_it_is_can_be_read_without_the_secret() -> None:
    for token in (SIGNER.issue_ticket(ANN, NOW)[0], SIGNER.issue_resume("session-1", ANN, expires_at=NOW)):
        assert said_by(token) == ANN.identity


def test_a_token_of_the_longest_user_id_stays_within_the_bound() -> None:
    token = SIGNER.issue_resume("s" * 32, user("\0" * 32), expires_at=NOW)  # each character as six in JSON
    assert len(token) < MAX_TOKEN_LENGTH


@given(st.data())
def test_no_changed_token_passes(data: st.DataObject) -> None:
    token, _ = SIGNER.issue_ticket(ANN, NOW)
    at = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters(codec="utf-8").filter(lambda drawn: drawn.lower() != token[at].lower()))
    assert code(token[:at] + character + token[at + 1 :]) == 70346


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    assert code(text) == 70346
    assert code(text, resume=True) == 70236
    said_by(text)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=32))
def test_any_user_id_goes_through(user_id: str) -> None:
    token, _ = SIGNER.issue_ticket(user(user_id), NOW)
    assert SIGNER.read_ticket(token, NOW).identity.user_id == user_id


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        TokenSigner(b"short")
