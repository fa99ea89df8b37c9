"""Writes libsrtp.txt: packets protected by libsrtp, which our own SRTP must open and must produce byte for byte.

Run it with pylibsrtp installed: ``python crates/media/vectors/make_libsrtp.py``. Its output is committed, so that the
tests need neither Python nor libsrtp. Keys and packets come from a fixed seed.
"""

import random
import struct
from pathlib import Path

from pylibsrtp import Policy, Session

PROFILES = [
    ("cm-sha1", Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
    ("gcm-128", Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    ("gcm-256", Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
]
SSRCS = (0x12345678, 0xFFFFFFFE)
SEQUENCE = (65533, 65534, 65535, 0, 1)  # over the wrap: the rollover counter becomes 1


def rtp(rng: random.Random, sequence: int, ssrc: int) -> bytes:
    """A packet with a contributing source, a header extension and a payload of 0 to 59 bytes."""
    header = struct.pack("!BBHII", 0x91, 0x80 | 96, sequence, rng.getrandbits(32), ssrc)
    return header + rng.randbytes(4) + b"\xbe\xde\x00\x01\x10\x07\x00\x00" + rng.randbytes(rng.randrange(60))


def rtcp(rng: random.Random, ssrc: int) -> bytes:
    """A sender report without report blocks."""
    return struct.pack("!BBHI", 0x80, 200, 6, ssrc) + rng.randbytes(20)


def main() -> None:
    rng = random.Random(3711)
    lines = []
    for name, profile, key_len, salt_len in PROFILES:
        key = rng.randbytes(key_len + salt_len)
        lines.append(f"key {name} {key[:key_len].hex()} {key[key_len:].hex()}")
        session = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
        for sequence in SEQUENCE:
            for ssrc in SSRCS:
                plain = rtp(rng, sequence, ssrc)
                roc = 1 if sequence < 1000 else 0
                lines.append(f"rtp {roc} {plain.hex()} {session.protect(plain).hex()}")
        for _ in range(2):
            for ssrc in SSRCS:
                plain = rtcp(rng, ssrc)
                lines.append(f"rtcp 0 {plain.hex()} {session.protect_rtcp(plain).hex()}")
    Path(__file__).with_name("libsrtp.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
