"""Third-party verification by ID tokens: a real issuer on loopback, and tokens good, bad and forged."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parlour.accounts.verification import VerificationSettings
from parlour.accounts.verification.client import HttpsClient
from parlour.accounts.verification.failure import CallFailedError, NotVerifiedError
from parlour.accounts.verification.idtoken import check_claims, read_header
from parlour.accounts.verification.issuers import MAX_ISSUERS, Issuers
from parlour.accounts.verification.keys import KeySet
from parlour.storage.model import OidcVerification

from tests.fuzzing import examples
from tests.peers.https_peer import Issuer, private_key, public_jwk, reply
from tests.peers.third_parties import APP, CREDENTIAL, FAILED, LATE, NOW, Parties, refusal, until


@pytest.fixture
async def parties(tmp_path: Path) -> AsyncIterator[Parties]:
    async with AsyncExitStack() as stack:
        yield Parties(stack, tmp_path)


def claims(issuer: Issuer, **changes: Any) -> dict[str, Any]:
    """Good claims; a change to None takes the claim away."""
    all_claims = {"iss": issuer.url, "aud": "web", "sub": "ann", "exp": NOW + 300, "iat": NOW} | changes
    return {name: value for name, value in all_claims.items() if value is not None}


def oidc(issuer: Issuer, claim: str = "sub") -> OidcVerification:
    return OidcVerification(issuer.url, "web", claim)


ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_good_token_logs_its_user_in(parties: Parties, algorithm: str) -> None:
    issuer = await parties.issuer(algorithm)
    await parties.judge().judge(APP, "ann", issuer.token(claims(issuer)), oidc(issuer))


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        ("sub", {"aud": ["mobile", "web"]}),
        ("sub", {"exp": NOW + 0.5, "nbf": NOW + 60, "iat": NOW + 59}),
        ("sub", {"iat": None}),
        ("preferred_username", {"sub": "12345", "preferred_username": "ann"}),
        ("email", {"email": "ann", "email_verified": True}),
    ],
)
async def test_other_good_tokens(parties: Parties, claim: str, changes: dict[str, Any]) -> None:
    issuer = await parties.issuer()
    await parties.judge().judge(APP, "ann", issuer.token(claims(issuer, **changes)), oidc(issuer, claim))


BAD_CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": NOW - 12}, "expired 12 s ago"),
    "expired this second": ({"exp": NOW}, "expired 0 s ago"),
    "no expiry": ({"exp": None}, "does not say when it expires"),
    "an expiry in a text": ({"exp": str(NOW + 300)}, "'exp' is not a time"),
    "an expiry that is true": ({"exp": True}, "'exp' is not a time"),
    "an expiry without end": ({"exp": 10**400}, "'exp' is not a time"),
    "not yet valid": ({"nbf": NOW + 61}, "is not valid before a time 61 s ahead"),
    "issued later": ({"iat": NOW + 3600}, "was issued a time 3600 s ahead"),
    "issued at a word": ({"iat": "now"}, "'iat' is not a time"),
    "another audience": ({"aud": "mobile"}, "is for the audience 'mobile', not for this app's"),
    "other audiences": ({"aud": ["mobile", "tv"]}, "is for the audience 'mobile', 'tv', not"),
    "an audience that begins alike": ({"aud": "web2"}, "is for the audience 'web2'"),
    "no audience": ({"aud": None}, "is for the audience nobody"),
    "an audience in an object": ({"aud": {"web": 1}}, "is for the audience something that is not a text"),
    "another issuer": ({"iss": "https://evil.example"}, "was issued by 'https://evil.example', not by the issuer"),
    "no issuer": ({"iss": None}, "was issued by nobody"),
    "another user": ({"sub": "bob"}, "is for the user 'bob', not for 'ann'"),
    "a user in other letters": ({"sub": "Ann"}, "is for the user 'Ann', not for 'ann'"),
    "a user in a list": ({"sub": ["ann"]}, "is for the user 'ann', not for 'ann'"),
    "a user in a number": ({"sub": 7}, "is for the user something that is not a text"),
    "no user": ({"sub": None}, "has no claim 'sub'"),
}


@pytest.mark.parametrize("case", BAD_CLAIMS)
async def test_a_token_with_a_bad_claim_is_70018_and_says_which(parties: Parties, case: str) -> None:
    changes, phrase = BAD_CLAIMS[case]
    issuer = await parties.issuer()
    refused = await refusal(parties.judge(), oidc(issuer), issuer.token(claims(issuer, **changes)))
    assert refused.code == FAILED
    assert phrase in refused.detail


@pytest.mark.parametrize("verified", [None, False, "true", 1])
async def test_an_address_that_the_issuer_did_not_verify_logs_nobody_in(parties: Parties, verified: object) -> None:
    issuer = await parties.issuer()
    token = issuer.token(claims(issuer, email="ann", email_verified=verified))
    refused = await refusal(parties.judge(), oidc(issuer, "email"), token)
    assert refused.code == FAILED
    assert "email_verified" in refused.detail


def unsigned(header: dict[str, Any], content: dict[str, Any], tail: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(content).encode(), tail)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def forged(case: str, issuer: Issuer) -> str:
    """A token whose signature is no good."""
    good = claims(issuer)
    token = issuer.token(good)
    header, payload, tail = token.split(".")
    match case:
        case "none" | "None" | "nOnE":
            return unsigned({"alg": case, "kid": "first"}, good)
        case "no algorithm":
            return unsigned({"kid": "first"}, good, b"x")
        case "the public key as a secret":
            public = json.dumps(public_jwk(*issuer.keys["first"])).encode()
            return jwt.PyJWS().encode(json.dumps(good).encode(), base64.b64encode(public), "HS256", {"kid": "first"})
        case "another key of that name":
            return jwt.PyJWS().encode(json.dumps(good).encode(), private_key("ES256"), "ES256", {"kid": "first"})
        case "another algorithm than the key's":
            return jwt.PyJWS().encode(json.dumps(good).encode(), private_key("RS256"), "RS256", {"kid": "first"})
        case "other claims":
            other = base64.urlsafe_b64encode(json.dumps(good | {"admin": True}).encode()).rstrip(b"=").decode()
            return f"{header}.{other}.{tail}"
        case "no signature":
            return f"{header}.{payload}."
        case "the key in the token":
            key = private_key("ES256")
            jwk = public_jwk("ES256", key)
            return jwt.PyJWS().encode(json.dumps(good).encode(), key, "ES256", {"kid": "first", "jwk": jwk})
        case "an extension that must be understood":
            return issuer.token(good, crit=["ours"], ours=1)
        case "the payload elsewhere":
            return issuer.token(good, b64=False, crit=["b64"])
        case "not a token":
            return CREDENTIAL
        case "letters that no token has":
            return token[:-1] + "é"
        case "an encrypted token":
            return "e30.e30.e30.e30.e30"
        case "a header that is a list":
            return unsigned([], good, b"x")  # type: ignore[arg-type]
        case "a name that is a number":
            return unsigned({"alg": "ES256", "kid": 7}, good, b"x")
        case "content that is a list":
            return jwt.PyJWS().encode(b"[]", issuer.keys["first"][1], "ES256", {"kid": "first"})
        case "a claim twice":
            twice = json.dumps(good)[:-1].encode() + b', "sub": "ann"}'
            return jwt.PyJWS().encode(twice, issuer.keys["first"][1], "ES256", {"kid": "first"})
        case "not JSON":
            return jwt.PyJWS().encode(b"sub=ann", issuer.keys["first"][1], "ES256", {"kid": "first"})
    raise AssertionError(case)


FORGED = {
    "none": "'alg' says 'none'; taken are RS256,",
    "None": "'alg' says 'None'",
    "nOnE": "'alg' says 'nOnE'",
    "no algorithm": "'alg' says nothing",
    "the public key as a secret": "'alg' says 'HS256'",
    "another key of that name": "signature does not match its issuer's key",
    "another algorithm than the key's": "the key 'first' for RS256, which its issuer does not publish",
    "other claims": "signature does not match its issuer's key",
    "no signature": "signature does not match its issuer's key",
    "the key in the token": "signature does not match its issuer's key",
    "an extension that must be understood": "not a signed JWT",
    "the payload elsewhere": "signature cannot be checked",
    "not a token": "not a signed JWT",
    "letters that no token has": "holds letters that none has",
    "an encrypted token": "not a signed JWT",
    "a header that is a list": "not a signed JWT",
    "a name that is a number": "not a signed JWT",
    "content that is a list": "content is JSON but not an object",
    "a claim twice": "content names the member 'sub' twice",
    "not JSON": "content is not JSON",
}


@pytest.mark.parametrize("case", FORGED)
async def test_a_forged_or_broken_token_is_70018(parties: Parties, case: str) -> None:
    issuer = await parties.issuer()
    refused = await refusal(parties.judge(), oidc(issuer), forged(case, issuer))
    assert refused.code == FAILED
    assert FORGED[case] in refused.detail


async def test_keys_are_fetched_once_and_again_after_ten_minutes(parties: Parties) -> None:
    issuer = await parties.issuer()
    judge = parties.judge()
    for _ in range(3):
        await judge.judge(APP, "ann", issuer.token(claims(issuer)), oidc(issuer))
    assert issuer.asked == {"/.well-known/openid-configuration": 1, "/keys": 1}
    old = issuer.token(claims(issuer))
    del issuer.keys["first"]
    issuer.add_key("second")
    parties.uptime += 599
    await judge.judge(APP, "ann", old, oidc(issuer))
    parties.uptime += 2
    refused = await refusal(judge, oidc(issuer), old)
    assert "the key 'first' for ES256, which its issuer does not publish" in refused.detail
    assert issuer.asked["/keys"] == 2


async def test_a_new_key_is_taken_up_but_unknown_names_do_not_flood_the_issuer(parties: Parties) -> None:
    issuer = await parties.issuer()
    judge = parties.judge()
    await judge.judge(APP, "ann", issuer.token(claims(issuer)), oidc(issuer))
    issuer.add_key("second")
    rotated = issuer.token(claims(issuer), "second")
    for _ in range(20):
        assert "'second'" in (await refusal(judge, oidc(issuer), rotated)).detail
    assert issuer.asked["/keys"] == 1
    parties.uptime += 10
    await judge.judge(APP, "ann", rotated, oidc(issuer))
    assert issuer.asked["/keys"] == 2
    for n in range(20):
        await refusal(judge, oidc(issuer), unsigned({"alg": "ES256", "kid": f"made-up-{n}"}, claims(issuer), b"x"))
    assert issuer.asked["/keys"] == 2


async def test_logins_at_the_same_time_share_one_fetch_and_one_that_gives_up_takes_it_from_nobody(
    parties: Parties,
) -> None:
    issuer = await parties.issuer()
    issuer.hold = asyncio.Event()
    judge = parties.judge(timeout=20)
    logins = [
        asyncio.create_task(judge.judge(APP + n, "ann", issuer.token(claims(issuer)), oidc(issuer))) for n in range(30)
    ]
    await until(lambda: issuer.asked.total() == 1)
    logins[0].cancel()
    await asyncio.wait(logins[:1])
    issuer.hold.set()
    await asyncio.gather(*logins[1:])
    assert logins[0].cancelled()
    assert issuer.asked == {"/.well-known/openid-configuration": 1, "/keys": 1}


async def test_a_slow_issuer_is_70017_and_is_left_alone_for_a_second(parties: Parties) -> None:
    issuer = await parties.issuer()
    issuer.hold = asyncio.Event()
    judge = parties.judge(timeout=0.4)
    token = issuer.token(claims(issuer))
    refused = await refusal(judge, oidc(issuer), token)
    assert refused.code == LATE
    assert refused.detail == "the issuer did not answer within 0.4 s: try again"
    for _ in range(10):
        assert (await refusal(judge, oidc(issuer), token)).code == LATE
    assert issuer.asked.total() == 1
    issuer.hold = None
    parties.uptime += 1
    await judge.judge(APP, "ann", token, oidc(issuer))


async def test_keys_too_old_to_be_used_are_not_used_because_the_issuer_is_away(parties: Parties) -> None:
    issuer = await parties.issuer()
    judge = parties.judge()
    token = issuer.token(claims(issuer))
    await judge.judge(APP, "ann", token, oidc(issuer))
    issuer.peer.answer = reply({}, 503)
    for later in (600, 2, 2):
        parties.uptime += later
        refused = await refusal(judge, oidc(issuer), token)
        assert refused.detail == "the issuer answered with status 503 instead of 200"


@pytest.mark.parametrize(
    ("configuration", "phrase"),
    [
        ({"issuer": "https://evil.example"}, "names another issuer"),
        ({"issuer": None}, "names another issuer"),
        ({"jwks_uri": None}, "without 'jwks_uri'"),
        ({"jwks_uri": "http://localhost/keys"}, "whose 'jwks_uri' is not used"),
        ({"jwks_uri": "file:///etc/passwd"}, "whose 'jwks_uri' is not used"),
        ({"jwks_uri": "https://169.254.169.254/keys"}, "has no address that this server may connect to"),
        ({"filler": "x" * 70000}, "more than 65536 bytes"),
    ],
)
async def test_an_issuer_with_a_wrong_configuration_is_70018(
    parties: Parties, configuration: dict[str, object], phrase: str
) -> None:
    issuer = await parties.issuer()
    issuer.configuration = configuration
    refused = await refusal(parties.judge(), oidc(issuer), issuer.token(claims(issuer)))
    assert refused.code == FAILED
    assert refused.detail.startswith("the issuer ")
    assert phrase in refused.detail


async def test_an_issuer_in_a_place_of_our_own_is_70018(parties: Parties) -> None:
    issuer = await parties.issuer()
    refused = await refusal(parties.judge(allow_private=False), oidc(issuer), issuer.token(claims(issuer)))
    assert refused.detail == "the issuer has no address that this server may connect to"
    assert issuer.peer.connections == 0


async def test_an_issuer_whose_name_ends_in_a_slash_is_found_and_compared_with_it(parties: Parties) -> None:
    issuer = await parties.issuer()
    named = issuer.url + "/"
    issuer.configuration = {"issuer": named}
    judge = parties.judge()
    how = OidcVerification(named, "web")
    await judge.judge(APP, "ann", issuer.token(claims(issuer, iss=named)), how)
    refused = await refusal(judge, how, issuer.token(claims(issuer)))
    assert "not by the issuer of this app" in refused.detail


async def test_a_token_that_names_no_key_is_taken_when_just_one_fits(parties: Parties) -> None:
    issuer = await parties.issuer()
    issuer.add_key("rsa", "RS256")
    judge = parties.judge()
    nameless = jwt.PyJWS().encode(json.dumps(claims(issuer)).encode(), issuer.keys["first"][1], "ES256")
    await judge.judge(APP, "ann", nameless, oidc(issuer))
    issuer.add_key("second")
    parties.uptime += 601
    refused = await refusal(judge, oidc(issuer), nameless)
    assert "does not name its key ('kid'), and its issuer publishes several" in refused.detail


async def test_keys_of_no_use_stand_in_nobodys_way(parties: Parties) -> None:
    issuer = await parties.issuer()
    key = private_key("ES256")
    issuer.extra_jwks = [
        None, 7, "key", [], {}, {"kty": "oct", "k": "c2VjcmV0", "kid": "first"}, {"kty": ["EC"]},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "first"}, {"kty": "RSA", "n": "", "e": "AQAB"},
        {"kty": "RSA", "n": "!", "e": 3}, {"kty": "OKP", "crv": "X25519", "x": "A" * 43}, {"kty": "quantum"},
        public_jwk("ES256", key, kid="first", use="enc"), public_jwk("ES256", key, kid="first", key_ops=["sign"]),
        public_jwk("ES256", key, kid=9), public_jwk("RS256", private_key("RS256", 1024), kid="short"),
    ]  # fmt: skip
    judge = parties.judge()
    await judge.judge(APP, "ann", issuer.token(claims(issuer)), oidc(issuer))
    short = unsigned({"alg": "RS256", "kid": "short"}, claims(issuer), b"x")
    assert "the key 'short' for RS256, which" in (await refusal(judge, oidc(issuer), short)).detail


@pytest.mark.parametrize("document", [b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [{"kty": "oct"}]}'])
def test_a_key_set_without_a_key_is_a_problem_with_a_name(document: bytes) -> None:
    with pytest.raises(CallFailedError, match="published a key set"):
        KeySet.parse(document)


def test_a_key_serves_its_own_algorithm_and_curve_only() -> None:
    bound = public_jwk("RS256", private_key("RS256"), kid="bound")
    free = {name: value for name, value in bound.items() if name != "alg"} | {"kid": "free"}
    curve = public_jwk("ES384", private_key("ES384"), kid="curve", alg=None)
    keys = KeySet.parse(json.dumps({"keys": [bound, free, curve]}).encode())
    found = {kid: {name for name in ALGORITHMS if keys.find(name, kid)} for kid in ("bound", "free", "curve")}
    assert found == {"bound": {"RS256"}, "free": set(ALGORITHMS[:6]), "curve": {"ES384"}}


async def test_only_so_many_issuers_are_remembered() -> None:
    client = HttpsClient(VerificationSettings())
    issuers = Issuers(client, timeout=5, monotonic=time.monotonic)
    for n in range(MAX_ISSUERS + 20):
        with pytest.raises(NotVerifiedError, match="no address that this server may connect to"):
            await issuers.key(f"https://127.0.0.1/{n}", "ES256", "first")
    assert len(issuers._known) == MAX_ISSUERS
    await issuers.close()
    await client.close()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=examples(200))
@given(
    st.dictionaries(st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat"]), JSON_VALUES),
    st.sampled_from(["sub", "other"]),
)
def test_whatever_claims_say_they_hold_for_the_right_user_or_are_refused_on_one_line(
    changes: dict[str, Any], claim: str
) -> None:
    said: dict[str, Any] = {"iss": "https://id.example", "aud": "web", "sub": "ann", "exp": NOW + 1} | changes
    try:
        check_claims(said, issuer="https://id.example", audience="web", claim=claim, user_id="ann", now=NOW)
    except NotVerifiedError as refused:
        assert refused.detail.isprintable()
        assert len(refused.detail) < 600
    else:
        assert (said["iss"], said[claim]) == ("https://id.example", "ann")
        assert said["exp"] > NOW


JWK_MEMBERS = ["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops"]
JWK_WORDS = ["RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "X25519", "ES256", "sig", "AQAB", "", "A" * 43]


@settings(max_examples=examples(200))
@given(
    st.lists(st.dictionaries(st.sampled_from(JWK_MEMBERS), st.sampled_from(JWK_WORDS) | JSON_VALUES), max_size=4),
    st.text(max_size=60) | st.binary(max_size=60).map(lambda data: unsigned({"alg": "ES256"}, {}, data)),
)
def test_whatever_an_issuer_publishes_and_a_client_sends_nothing_else_is_raised(keys: list[Any], token: str) -> None:
    for attempt in (lambda: KeySet.parse(json.dumps({"keys": keys}).encode()), lambda: read_header(token)):
        try:
            attempt()
        except (CallFailedError, NotVerifiedError) as error:
            assert str(error).isprintable()
