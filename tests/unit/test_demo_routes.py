"""The demo's own routes: signatures for the holder of the link, nothing for others."""

import time

import pytest
from parlour.cli.demo_routes import BURST, demo_routes
from parlour.usersig import AppKeys, verify
from starlette.applications import Starlette
from starlette.testclient import TestClient

APP, KEY, TOKEN = 1_400_000_000, "k" * 64, "the-token"


@pytest.fixture
def http(tmp_path):
    (tmp_path / "index.html").write_text("<title>call</title>")
    return TestClient(Starlette(routes=demo_routes(token=TOKEN, sdk_app_id=APP, key=KEY, pages=tmp_path)))


def test_the_token_gives_a_signature_that_verifies_and_no_key(http):
    answer = http.post("/demo/usersig", json={"token": TOKEN, "userId": "ann"})
    assert answer.status_code == 200
    assert answer.json()["sdkAppId"] == APP
    assert answer.headers["cache-control"] == "no-store"
    assert KEY not in answer.text
    keys = AppKeys((KEY,), ())
    verify(answer.json()["userSig"], sdk_app_id=APP, user_id="ann", keys=keys, now=int(time.time()))


@pytest.mark.parametrize(
    "body",
    [
        '{"token": "the-tokem", "userId": "ann"}',
        '{"userId": "ann"}',
        '{"token": null, "userId": "ann"}',
        r'{"token": "\ud800", "userId": "ann"}',
        "[]",
        "not json",
        "[" * 3000,
        '{"token": "the-token", "userId": "' + "a" * 5000 + '"}',
    ],
)
def test_anything_but_the_token_is_forbidden(http, body):
    answer = http.post("/demo/usersig", content=body)
    assert answer.status_code == 403
    assert "userSig" not in answer.text


@pytest.mark.parametrize("user_id", ["", None, 7])
def test_a_user_id_is_needed(http, user_id):
    assert http.post("/demo/usersig", json={"token": TOKEN, "userId": user_id}).status_code == 400


def test_guessing_is_slow(http):
    codes = [
        http.post("/demo/usersig", json={"token": str(n), "userId": "x"}).status_code for n in range(int(BURST) * 3)
    ]
    assert codes[0] == 403
    assert codes.count(403) < BURST * 2
    assert codes[-1] == 429


def test_the_page_is_served(http, tmp_path):
    assert "<title>call</title>" in http.get("/demo/").text
    assert http.get("/demo/nothing").status_code == 404
    assert http.get("/demo/usersig").status_code in (404, 405)


def test_a_page_that_is_not_built_says_so(tmp_path):
    routes = demo_routes(token=TOKEN, sdk_app_id=APP, key=KEY, pages=tmp_path / "none")
    answer = TestClient(Starlette(routes=routes)).get("/demo/")
    assert answer.status_code == 503
    assert "make build" in answer.text
