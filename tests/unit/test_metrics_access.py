"""Who may read the metrics: whoever has the token, else this machine alone, and nobody whom a proxy brings."""

from __future__ import annotations

import pytest
from parlour.metrics.access import FORWARDING, Gate

TOKEN = "a-token-of-some-length"
LOCAL = {"host": "127.0.0.1:8080"}


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:9"])
@pytest.mark.parametrize("token", ["", TOKEN])
def test_this_machine_may_without_a_token(client: str, host: str, token: str) -> None:
    assert Gate(token).refuses(client, {"host": host}) is None


@pytest.mark.parametrize("client", ["198.51.100.1", "10.0.0.1", "::ffff:198.51.100.1", "2001:db8::1", "fe80::1%e0", ""])
def test_nobody_else_may_without_one(client: str) -> None:
    refused = Gate("").refuses(client, LOCAL)
    assert refused is not None
    assert refused.status == 403
    assert "Set metrics.token" in refused.sentence
    challenged = Gate(TOKEN).refuses(client, LOCAL)
    assert challenged is not None
    assert challenged.status == 401
    assert TOKEN not in challenged.sentence


@pytest.mark.parametrize("client", ["198.51.100.1", "127.0.0.1", ""])
@pytest.mark.parametrize("more", [{}, {"x-forwarded-for": "198.51.100.1"}, {"host": "rooms.example.com"}])
def test_whoever_has_the_token_may_from_everywhere(client: str, more: dict[str, str]) -> None:
    gate = Gate(TOKEN, ["127.0.0.0/8"])
    assert gate.refuses(client, LOCAL | more | {"authorization": f"Bearer {TOKEN}"}) is None
    assert gate.refuses(client, LOCAL | more | {"authorization": f"bearer  {TOKEN} "}) is None


@pytest.mark.parametrize(
    "given", ["Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer tökén"]
)
@pytest.mark.parametrize("client", ["127.0.0.1", "198.51.100.1"])
def test_a_wrong_credential_is_told_even_on_this_machine(given: str, client: str) -> None:
    refused = Gate(TOKEN).refuses(client, LOCAL | {"authorization": given})
    assert refused is not None
    assert refused.status == 401


def test_without_a_token_in_the_settings_no_credential_is_right() -> None:
    for given in ("Bearer", "Bearer ", "Bearer x"):
        refused = Gate("").refuses("127.0.0.1", LOCAL | {"authorization": given})
        assert refused is not None
        assert refused.status == 401


@pytest.mark.parametrize("field", FORWARDING)
@pytest.mark.parametrize("value", ["198.51.100.1", "127.0.0.1", "", "localhost"])
def test_a_proxy_on_this_machine_does_not_make_the_world_local(field: str, value: str) -> None:
    refused = Gate("").refuses("127.0.0.1", LOCAL | {field: value})
    assert refused is not None
    assert (refused.status, field in refused.sentence) == (403, True)


def test_a_trusted_proxy_that_names_nobody_is_not_taken_for_this_machine() -> None:
    refused = Gate("", ["127.0.0.1"]).refuses("127.0.0.1", LOCAL)
    assert refused is not None
    assert "trusted_proxies" in refused.sentence
    assert Gate("", ["10.0.0.0/8"]).refuses("127.0.0.1", LOCAL) is None


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example", "[2001:db8::1]:80"])
def test_a_name_that_a_stranger_had_lead_here_is_no_name_of_this_machine(host: str) -> None:
    refused = Gate("").refuses("127.0.0.1", {"host": host})
    assert refused is not None
    assert refused.status == 403
