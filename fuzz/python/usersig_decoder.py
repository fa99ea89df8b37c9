"""Coverage-guided fuzzing of what reads UserSigs and tickets: `python fuzz/python/usersig_decoder.py SECONDS`.

Whatever comes in, the answer is a verdict or a UserSigError, within bounded time; `inspect` agrees with `verify`, and
what opens an envelope never raises. The first byte of an input says in which layer the rest is put, the outer layers
being made around it, so that the fuzzer reaches the inner ones. What is found grows in fuzz/corpus/usersig; an input
that fails lies in fuzz/artifacts/usersig, is given to this program instead of SECONDS to try it again, and the exit
status is not 0.
"""

from __future__ import annotations

import base64
import sys
import zlib
from pathlib import Path

import atheris
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

with atheris.instrument_imports(include=["parlour.usersig"]):
    from parlour.usersig import (
        AppKeys,
        PrivateMapKeyError,
        UserbufError,
        UserSigError,
        build_userbuf,
        inspect,
        open_envelope,
        parse_userbuf,
        sign_private_map_key,
        sign_v1,
        sign_v2,
        verify,
        verify_private_map_key,
    )
    from parlour.usersig.encoding import decode_base64, encode_base64, inflate


def ec_keys() -> tuple[str, str]:
    """A private and a public key as PEM, the same in every run: what is found stays found."""
    private = ec.derive_private_key(0x5EED, ec.SECP256R1())
    plain = serialization.NoEncryption()
    return (
        private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode(),
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    )


ROOT = Path(__file__).resolve().parents[2]
APP, USER, NOW, ROOM = 1400000000, "xiaojun", 1_700_000_000, 7
KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
PRIVATE, PUBLIC = ec_keys()
KEYS = AppKeys((KEY,), (PUBLIC,))
TEXT, BYTES, JSON, USERBUF = range(4)
"""Where the rest of an input goes: it is the text, what its base64 holds, the JSON, or a signed ticket's userbuf."""


def try_one(data: bytes) -> None:
    """Give one input to everything that takes what clients send."""
    layer, rest = data[0] % 4 if data else TEXT, data[1:]
    if layer == TEXT:
        judge(rest.decode("utf-8", "surrogateescape"))
    elif layer == BYTES:
        judge(encode_base64(rest))
    elif layer == JSON:
        judge(encode_base64(zlib.compress(rest, 1)))
        judge(rest.decode("utf-8", "surrogateescape"))
    else:
        read_userbuf(rest)
        judge(sign_v2(APP, USER, KEY, now=NOW, userbuf=rest))


def judge(text: str) -> None:
    """The verdicts on one text: of a login, of a join, and of the inspection of both."""
    envelope = open_envelope(text)
    code = 0
    try:
        verify(envelope, sdk_app_id=APP, user_id=USER, keys=KEYS, now=NOW)
    except UserSigError as refused:
        code = refused.code
    found = inspect(text, sdk_app_id=APP, user_id=USER, keys=KEYS, now=NOW, other_apps={5: KEYS})
    if (found.code or 0) != code:
        raise AssertionError(f"verify says {code}, inspect says {found.code}")
    code = 0
    try:
        verify_private_map_key(text, sdk_app_id=APP, user_id=USER, room=ROOM, room_exists=False, keys=KEYS, now=NOW)
    except PrivateMapKeyError as refused:
        code = refused.code
    found = inspect(text, sdk_app_id=APP, user_id=USER, keys=KEYS, now=NOW, ticket=True, room=ROOM, room_exists=False)
    if (found.code or 0) != code:
        raise AssertionError(f"as a ticket: verify says {code}, inspect says {found.code}")


def read_userbuf(data: bytes) -> None:
    """Bytes are a userbuf, which is written again with the same length, or they are refused."""
    try:
        found = parse_userbuf(data)
    except UserbufError:
        return
    if len(build_userbuf(found)) != len(data):
        raise AssertionError("a userbuf has another length when it is written again")


def seeds() -> dict[str, bytes]:
    """Good ones, in every layer: what mutations start from."""
    v2 = sign_v2(APP, USER, KEY, now=NOW)
    v1 = sign_v1(APP, USER, PRIVATE, now=NOW)
    found = {"empty": b""}
    tickets = {f"ticket-{room}": sign_private_map_key(APP, USER, KEY, room=room, now=NOW) for room in (ROOM, "room-A")}
    for name, sig in ({"v2": v2, "v1": v1} | tickets).items():
        packed = decode_base64(sig)
        found |= {
            f"{name}-text": bytes([TEXT]) + sig.encode(),
            f"{name}-bytes": bytes([BYTES]) + packed,
            f"{name}-json": bytes([JSON]) + inflate(packed),
        }
    for name, ticket in tickets.items():
        userbuf = open_envelope(ticket).members["TLS.userbuf"]
        found[f"{name}-userbuf"] = bytes([USERBUF]) + base64.b64decode(str(userbuf))
    return found


def main() -> None:
    """Fuzz for the seconds given, or try the file given."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: usersig_decoder.py SECONDS | FILE")
    corpus, artifacts = ROOT / "fuzz" / "corpus" / "usersig", ROOT / "fuzz" / "artifacts" / "usersig"
    for folder in (corpus, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds().items():
        (corpus / name).write_bytes(data)
        try_one(data)
    bounds = ["-timeout=5", "-rss_limit_mb=1024", "-max_len=4096", f"-artifact_prefix={artifacts}/"]
    seconds = sys.argv[1]
    what = [f"-max_total_time={seconds}", "-print_final_stats=1", str(corpus)] if seconds.isdecimal() else [seconds]
    atheris.Setup([sys.argv[0], *bounds, *what], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
