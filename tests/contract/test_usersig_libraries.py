"""Published signers and ours understand each other: tls-sig-api-v2 of PyPI and npm, and tls-sig-api for version 1.

The packages of version 2 sign only, so for the way back what they make of the same input is compared with ours. The
package of version 1 verifies too; it runs in an environment of its own, because it needs an old pyOpenSSL.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import time
import venv
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import TLSSigAPIv2
from parlour.usersig import (
    AppKeys,
    Privilege,
    Userbuf,
    UserSigError,
    build_userbuf,
    parse_userbuf,
    sign_v1,
    sign_v2,
    verify,
    verify_private_map_key,
)
from parlour.usersig.encoding import decode_base64

from tests.unit.usersigs import ec_keys, pack

KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
APP = 1400000000
ROOT = Path(__file__).resolve().parents[2]
NODE_PROJECT = ROOT / "tests" / "node"
V1_REQUIREMENTS = ROOT / "requirements" / "tls-sig-api-v1.txt"
V1_PEER = Path(__file__).with_name("usersig_v1_peer.py")
USERS = ["xiaojun", "用户-1", "a b"]


def inside(sig: str) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(zlib.decompress(decode_base64(sig)))
    return members


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
        pytest.fail("the node packages of the tests are not installed: npm --prefix tests/node ci")
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


def test_room_tickets_by_the_npm_package_admit_to_their_room_alone(npm_signatures: dict[str, str]) -> None:
    def admitted(name: str, room: int | str, user: str = "xiaojun") -> Privilege:
        return verify_private_map_key(
            npm_signatures[name],
            sdk_app_id=APP,
            user_id=user,
            room=room,
            room_exists=False,
            keys=AppKeys((KEY,)),
            now=int(time.time()),
        )

    assert admitted("number room", 10000) == Privilege.ALL
    assert admitted("text room", "room-A") == Privilege.ALL
    # It writes the low byte of each letter into the userbuf; the identifier beside it is whole.
    assert admitted("number room, a user beyond ASCII", 10000, USERS[1]) == Privilege.ALL
    for name, room in (("number room", 10001), ("number room", "10000"), ("text room", "room-B")):
        with pytest.raises(UserSigError) as refused:
            admitted(name, room)
        assert refused.value.code == -10019


def test_ours_holds_what_the_npm_package_signs(npm_signatures: dict[str, str]) -> None:
    for user in USERS:
        theirs = inside(npm_signatures[user])
        assert inside(sign_v2(APP, user, KEY, now=theirs["TLS.time"], expire=3600)) == theirs
    for name, room in (("number room", 10000), ("text room", "room-A")):
        theirs = inside(npm_signatures[name])
        userbuf = parse_userbuf(base64.b64decode(theirs["TLS.userbuf"]))
        assert userbuf == Userbuf(b"xiaojun", APP, room, userbuf.expires_at, Privilege.ALL)
        ours = sign_v2(APP, "xiaojun", KEY, now=theirs["TLS.time"], expire=300, userbuf=build_userbuf(userbuf))
        assert inside(ours) == theirs


def test_a_signature_of_another_key_is_refused(npm_signatures: dict[str, str]) -> None:
    assert outcome(npm_signatures["wrong key"], "xiaojun") == 70009


# --- version 1 --------------------------------------------------------------------------------------------------------

Peer = Callable[..., Any]


@pytest.fixture(scope="module")
def v1_package() -> Peer:
    """Calls tls-sig-api in its own environment, which is made once from its locked requirements and kept."""
    wanted = hashlib.sha256(V1_REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = ROOT / ".cache" / "tls-sig-api-v1"
    python, stamp = home / "bin" / "python", home / "made-from"
    home.parent.mkdir(exist_ok=True)
    with (home.parent / "tls-sig-api-v1.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test run may be making it
        if not stamp.exists() or stamp.read_text() != wanted:
            venv.create(home, clear=True, with_pip=True)
            install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
            subprocess.run([*install, "-r", V1_REQUIREMENTS], check=True)
            stamp.write_text(wanted)

    def call(action: str, **values: object) -> Any:
        private, public = ec_keys()
        given = json.dumps({"app": APP, "private": private, "public": public} | values)
        done = subprocess.run([python, V1_PEER, action], input=given, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    return call


def outcome_v1(sig: str, user: str) -> int:
    keys = AppKeys((KEY,), (ec_keys()[1],))
    try:
        verify(sig, sdk_app_id=APP, user_id=user, keys=keys, now=int(time.time()))
    except UserSigError as refused:
        return int(refused.code)
    return 0


def test_signatures_by_the_version_1_package_verify(v1_package: Peer) -> None:
    signatures = v1_package("sign", users=USERS, expire=3600)
    for user in USERS:
        assert outcome_v1(signatures[user], user) == 0
        assert outcome_v1(signatures[user], "somebody-else") == 70013
    assert outcome_v1(v1_package("sign", users=["a"], expire=0)["a"], "a") == 70001
    assert outcome_v1(v1_package("sign", users=["a"], expire=60, app=APP + 1)["a"], "a") == 70014
    other_private, other_public = ec_keys("secp256k1")
    foreign = v1_package("sign", users=["a"], expire=60, private=other_private, public=other_public)
    assert outcome_v1(foreign["a"], "a") == 70009


def test_the_version_1_package_verifies_ours(v1_package: Peer) -> None:
    now = int(time.time())
    ours = {user: sign_v1(APP, user, ec_keys()[0], now=now) for user in USERS}
    assert v1_package("verify", signatures=ours) == dict.fromkeys(USERS, True)
    zero = {"zero": sign_v1(APP, "zero", ec_keys()[0], now=now, appid_at_3rd="0")}
    assert v1_package("verify", signatures=zero) == {"zero": True}
    changed = {"changed": pack(inside(ours["xiaojun"]) | {"TLS.identifier": "bob"})}
    assert v1_package("verify", signatures=changed) == {"changed": False}


def test_openssl_verifies_our_version_1_over_the_documented_text(tmp_path: Path) -> None:
    """A verifier that shares no line with ours: the text is put together here, from the document."""
    openssl = shutil.which("openssl")
    assert openssl is not None, "the openssl command is needed"
    for curve in ("secp256r1", "secp256k1"):
        private, public = ec_keys(curve)
        members = inside(sign_v1(APP, "xiaojun", private, now=1_700_000_000))
        names = ("appid_at_3rd", "account_type", "identifier", "sdk_appid", "time", "expire_after")
        (tmp_path / "text").write_text("".join(f"TLS.{name}:{members[f'TLS.{name}']}\n" for name in names))
        (tmp_path / "sig").write_bytes(base64.b64decode(members["TLS.sig"]))
        (tmp_path / "key").write_text(public)
        files = ["-verify", tmp_path / "key", "-signature", tmp_path / "sig", tmp_path / "text"]
        done = subprocess.run([openssl, "dgst", "-sha256", *files], check=False, capture_output=True, text=True)
        assert done.stdout.strip() == "Verified OK"
