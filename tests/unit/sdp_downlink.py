"""Downlink offers of one connection's life: real stacks answer them for ``tests/record_sdp.py``."""

from __future__ import annotations

from dataclasses import replace

from parlour.sdp import Candidate, DownlinkLine, LocalTransport, TrackSpec, write_downlink_offer

LOCAL = LocalTransport(
    "abcdefgh",
    "p" * 24,
    ":".join(["AB"] * 32),
    (Candidate("127.0.0.1", 8081), Candidate("::1", 8081)),
)
AUDIO = DownlinkLine(
    TrackSpec(
        "0",
        "audio",
        "opus",
        96,
        ssrc=1001,
        mid_extension=1,
        twcc_extension=2,
        fmtp="minptime=10;useinbandfec=1",
        red_payload_type=101,
    ),
    True,
    False,
    "s1",
    "c1",
)
VIDEO = DownlinkLine(
    TrackSpec("1", "video", "vp8", 97, 98, 1002, 1003, 1, 2, True, True, remb=True), True, False, "s1", "c1"
)
H264 = DownlinkLine(
    TrackSpec(
        "2", "video", "h264", 99, 100, 1004, 1005, 1, 2, True, True,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", remb=True,
    ),
    True, False, "s2", "c2",
)  # fmt: skip


def lines() -> list[list[DownlinkLine]]:
    """Successive revisions.

    Two tracks; a third; the first video away; its m-line used again by H264; the last m-line dead, as if it had been
    refused; another after the dead one.
    """
    reused = DownlinkLine(replace(H264.track, mid="1", ssrc=1006, rtx_ssrc=1007), True, False, "s3", "c3")
    dead = replace(H264, active=False, rejected=True)
    later = DownlinkLine(replace(VIDEO.track, mid="3", ssrc=1008, rtx_ssrc=1009), True, False, "s4", "c4")
    return [
        [AUDIO, VIDEO],
        [AUDIO, VIDEO, H264],
        [AUDIO, replace(VIDEO, active=False), H264],
        [AUDIO, reused, H264],
        [AUDIO, reused, dead],
        [AUDIO, reused, dead, later],
    ]


def revisions() -> list[str]:
    """The offers' texts."""
    return [write_downlink_offer(LOCAL, each, session_id=42, version=n) for n, each in enumerate(lines(), 1)]
