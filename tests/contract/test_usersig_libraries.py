"""Published signers and ours understand each other: tls-sig-api-v2 from PyPI and from npm."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import TLSSigAPIv2
from parlour.usersig import AppKeys, UserSigError, verify

KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
APP = 1400000000
NODE_PROJECT = Path(__file__).resolve().parents[1] / "node"
USERS = ["xiaojun", "用户-1", "a b"]


def outcome(sig: str, user: str, **options: bool) -> int:
    try:
        verify(sig, sdk_app_id=APP, user_id=user, keys=AppKeys((KEY,)), now=int(time.time()), **options)
    except UserSigError as refused:
        return int(refused.code)
    return 0


@pytest.mark.parametrize("user", USERS)
def test_signatures_by_the_python_package_verify(user: str) -> None:
    assert outcome(TLSSigAPIv2.TLSSigAPIv2(APP, KEY).gen_sig(user), user) == 0


def test_room_tickets_by_the_python_package_verify_as_tickets_only() -> None:
    sig = TLSSigAPIv2.TLSSigAPIv2(APP, KEY).gen_sig_with_userbuf("xiaojun", 300, b"\x00\x01binary")
    assert outcome(sig, "xiaojun", with_userbuf=True) == 0
    assert outcome(sig, "xiaojun") == 70009


def test_ours_is_what_the_python_package_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    from parlour.usersig import sign_v2

    monkeypatch.setattr(TLSSigAPIv2.time, "time", lambda: 1_700_000_000.5)
    theirs = TLSSigAPIv2.TLSSigAPIv2(APP, KEY)
    for user in USERS:
        assert sign_v2(APP, user, KEY, now=1_700_000_000, expire=4242) == theirs.gen_sig(user, 4242)
        ticket = sign_v2(APP, user, KEY, now=1_700_000_000, expire=4242, userbuf=b"\xff\x00")
        assert ticket == theirs.gen_sig_with_userbuf(user, 4242, b"\xff\x00")


@pytest.fixture(scope="module")
def npm_signatures() -> dict[str, str]:
    """Signatures by the npm package, made by a real node."""
    node = shutil.which("node")
    if node is None or not (NODE_PROJECT / "node_modules" / "tls-sig-api-v2").is_dir():
        pytest.skip("the node packages of the tests are not installed: npm --prefix tests/node ci")
    done = subprocess.run(
        [node, "sign.js", str(APP), KEY, *USERS], cwd=NODE_PROJECT, check=True, capture_output=True, text=True
    )
    signatures: dict[str, str] = json.loads(done.stdout)
    return signatures


def test_signatures_by_the_npm_package_verify(npm_signatures: dict[str, str]) -> None:
    for user in USERS:
        assert outcome(npm_signatures[user], user) == 0


def test_room_tickets_by_the_npm_package_verify_as_tickets_only(npm_signatures: dict[str, str]) -> None:
    for name in ("number room", "text room"):
        assert outcome(npm_signatures[name], "xiaojun", with_userbuf=True) == 0
        assert outcome(npm_signatures[name], "xiaojun") == 70009


def test_a_signature_of_another_key_is_refused(npm_signatures: dict[str, str]) -> None:
    assert outcome(npm_signatures["wrong key"], "xiaojun") == 70009
