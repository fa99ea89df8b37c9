"""From plain data to text: what answers and offers of ours have in common."""

from __future__ import annotations

from typing import Any

import sdp_transform

from parlour.sdp.model import LocalTransport, MediaProtocol, TrackSpec

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
TWCC_URI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
RID_URI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID_URI = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
DEPENDENCY_DESCRIPTOR_URI = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"

NOWHERE = {"version": 4, "ip": "0.0.0.0"}  # noqa: S104 - what SDP writes for "see the candidates"

# RFC 6544 §4.2: less than any UDP candidate that is not relayed; the direction is in the local preference.
_TCP_PREFERENCE = 90
_PASSIVE = 4

_RTPMAP: dict[str, dict[str, object]] = {
    "opus": {"codec": "opus", "rate": 48000, "encoding": 2},
    "vp8": {"codec": "VP8", "rate": 90000},
    "h264": {"codec": "H264", "rate": 90000},
    "vp9": {"codec": "VP9", "rate": 90000},
    "av1": {"codec": "AV1", "rate": 90000},
}


def write_description(session_id: int, version: int, bundle: list[str], media: list[dict[str, Any]]) -> str:
    """The whole text (RFC 8866 §5), of an ICE-lite agent (RFC 8839 §5.3)."""
    session: dict[str, Any] = {
        "version": 0,
        "origin": {
            "username": "-",
            "sessionId": session_id,
            "sessionVersion": version,
            "netType": "IN",
            "ipVer": 4,
            "address": "127.0.0.1",
        },
        "name": "-",
        "timing": {"start": 0, "stop": 0},
        "icelite": "ice-lite",
        "msidSemantic": {"semantic": "WMS", "token": "*"},
        "media": media,
    }
    if bundle:
        session["groups"] = [{"type": "BUNDLE", "mids": " ".join(bundle)}]
    return str(sdp_transform.write(session))


def transport_lines(local: LocalTransport, *, setup: str, candidates: bool) -> dict[str, Any]:
    """ICE and DTLS of a section; all candidates at once, so that nothing trickles (RFC 8838 §8.2)."""
    lines: dict[str, Any] = {
        "connection": NOWHERE,
        "iceUfrag": local.ufrag,
        "icePwd": local.pwd,
        "fingerprint": {"type": "sha-256", "hash": local.fingerprint},
        "setup": setup,
    }
    if candidates:
        lines["candidates"] = [
            {
                "foundation": place + 1,
                "component": 1,
                "protocol": candidate.protocol,
                "priority": host_priority(place, candidate.protocol),
                "ip": candidate.ip,
                "port": candidate.port,
                # The library's own word for the attribute (RFC 6544 §4.5) is misspelt.
                "type": "host" if candidate.protocol == "udp" else "host tcptype passive",
            }
            for place, candidate in enumerate(local.candidates)
        ]
        lines["endOfCandidates"] = "end-of-candidates"
    return lines


def host_priority(place: int, protocol: MediaProtocol = "udp") -> int:
    """Priority of a host candidate (RFC 8445 §5.1.2.1), earlier ones preferred and UDP before TCP (RFC 6544 §4.2)."""
    if protocol == "tcp":
        return (_TCP_PREFERENCE << 24) | (_PASSIVE << 21) | ((8191 - place) << 8) | 255
    return (126 << 24) | ((65535 - place) << 8) | 255


def rejected_lines(mid: str, kind: str, protocol: str, payloads: str) -> dict[str, Any]:
    """A rejected m-line (RFC 3264 §6)."""
    lines = {"type": kind, "port": 0, "protocol": protocol, "payloads": payloads, "direction": "inactive"}
    # Firefox wants a c= line here too, though RFC 8866 §5.7 lets the session's stand for all.
    return lines | {"connection": NOWHERE, "rtp": [], "fmtp": []} | ({"mid": mid} if mid else {})


def codec_lines(track: TrackSpec, *, transport_cc: bool) -> dict[str, Any]:
    """rtpmap, fmtp, feedback and header extensions of one negotiated track, with its RTX (RFC 4588 §8)."""
    payload_type, rtx = track.payload_type, track.rtx_payload_type
    wanted = ["transport-cc"] if transport_cc else []
    wanted += ["goog-remb"] if track.remb else []
    wanted += ["nack"] if track.nack else []
    wanted += ["nack pli", "ccm fir"] if track.pli else []
    feedback = [
        dict(zip(("payload", "type", "subtype"), (payload_type, *text.split()), strict=False)) for text in wanted
    ]
    rtp: list[dict[str, object]] = [{"payload": payload_type, **_RTPMAP[track.codec]}]
    formats: list[dict[str, object]] = [{"payload": payload_type, "config": track.fmtp}] if track.fmtp else []
    if rtx is not None:
        rtp.append({"payload": rtx, "codec": "rtx", "rate": 90000})
        formats.append({"payload": rtx, "config": f"apt={payload_type}"})
    payloads = [payload_type] if rtx is None else [payload_type, rtx]
    if (red := track.red_payload_type) is not None:
        rtp.append({"payload": red, "codec": "red", "rate": 48000, "encoding": 2})
        formats.append({"payload": red, "config": f"{payload_type}/{payload_type}"})
        payloads.insert(0 if track.red_first else 1, red)
    extensions = [
        (track.mid_extension, MID_URI),
        (track.twcc_extension, TWCC_URI),
        (track.rid_extension, RID_URI),
        (track.repaired_rid_extension, REPAIRED_RID_URI),
        (track.dependency_descriptor_extension, DEPENDENCY_DESCRIPTOR_URI),
        (track.level_extension, LEVEL_URI),
    ]
    # A descriptor with a structure is too long for the one-byte form, in which everything else is (RFC 8285 §6).
    mixed = {"extmapAllowMixed": "extmap-allow-mixed"} if track.dependency_descriptor_extension is not None else {}
    simulcast: dict[str, Any] = {}
    if track.rids:
        simulcast = {
            "rids": [{"id": rid, "direction": "recv"} for rid in track.rids],
            "simulcast": {"dir1": "recv", "list1": ";".join(track.rids)},
        }
    return {
        "type": track.kind,
        "port": 9,
        "protocol": "UDP/TLS/RTP/SAVPF",
        "payloads": " ".join(map(str, payloads)),
        "mid": track.mid,
        "rtcpMux": "rtcp-mux",
        "rtcpRsize": "rtcp-rsize",
        "rtp": rtp,
        "fmtp": formats,
        "rtcpFb": feedback,
        "ext": [{"value": number, "uri": uri} for number, uri in extensions if number is not None],
        **mixed,
        **simulcast,
    }
