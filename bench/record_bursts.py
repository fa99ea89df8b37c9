"""Records how Chromium sends video: ``python -m bench.record_bursts``, as root (it listens on the loopback interface).

Two peer connections of one page, VP8 of a film at 640 x 360 and at most 2.2 Mbit/s. Kept is when each packet left and
how long it was, frame by frame, and nothing of what was in them: ``python/parlour/load/bursts.json``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import socket
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import sync_playwright

FILE = Path(__file__).resolve().parent.parent / "python" / "parlour" / "load" / "bursts.json"
CHROMIUM = "/usr/bin/chromium"
BITRATE = 2_200_000
FILM, SIZE, RATE = "bigbuckbunny", (640, 360), 30
"""Small, so that the encoder keeps up on a slow machine; the bit rate decides about packets."""
WARM_UP = 12.0
"""Seconds that the congestion control has to find out that the loopback interface is wide."""
SECONDS = 2.0
PERIOD = 2_000_000
VIDEO_CLOCK = 90_000
ETHERNET, UDP, ALL = 14, 17, 3  # bytes of a header, protocol number, ETH_P_ALL
OUTGOING = 4  # PACKET_OUTGOING, linux/if_packet.h
SO_TIMESTAMPNS = 35
TAGS = {"AES_CM_128_HMAC_SHA1_80": 10, "SRTP_AES128_CM_HMAC_SHA1_80": 10}
GCM_TAG = 16

PAGE = """async ([bitrate]) => {
  const stream = await navigator.mediaDevices.getUserMedia({video: {width: 640, height: 360, frameRate: 30}});
  const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()];
  a.onicecandidate = ({candidate}) => candidate && b.addIceCandidate(candidate);
  b.onicecandidate = ({candidate}) => candidate && a.addIceCandidate(candidate);
  const sent = a.addTransceiver(stream.getVideoTracks()[0], {direction: 'sendonly'});
  const codecs = name => RTCRtpSender.getCapabilities('video').codecs.filter(one => one.mimeType === name);
  sent.setCodecPreferences([...codecs('video/VP8'), ...codecs('video/rtx')]);
  await a.setLocalDescription(); await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription(); await a.setRemoteDescription(b.localDescription);
  const parameters = sent.sender.getParameters();
  parameters.encodings[0].maxBitrate = bitrate;
  parameters.degradationPreference = 'maintain-resolution';
  await sent.sender.setParameters(parameters);
  window.facts = async () => {
    const stats = [...(await a.getStats()).values()];
    const video = stats.find(one => one.type === 'outbound-rtp');
    const transport = stats.find(one => one.type === 'transport');
    return {ssrc: video && video.ssrc, cipher: transport && transport.srtpCipher, width: video && video.frameWidth,
            fps: video && video.framesPerSecond};
  };
}"""


@dataclass(frozen=True)
class Packet:
    """One packet as it left: time in microseconds, RTP timestamp, bytes with its tag."""

    at: int
    timestamp: int
    size: int


def listen(ssrc: int, seconds: float) -> list[Packet]:
    """The packets of a stream that leave within a time."""
    found: list[Packet] = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as ear:
        ear.bind(("lo", 0))
        ear.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        ear.settimeout(1.0)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            datagram, control, _, address = ear.recvmsg(4_096, 64)
            rtp = _udp_payload(datagram) if address[2] == OUTGOING else b""
            if len(rtp) < 12 or rtp[0] >> 6 != 2 or struct.unpack_from("!I", rtp, 8)[0] != ssrc:
                continue
            second, nanosecond = struct.unpack("qq", control[0][2])
            at = second * 1_000_000 + nanosecond // 1_000
            found.append(Packet(at, struct.unpack_from("!I", rtp, 4)[0], len(rtp)))
    return found


def _udp_payload(datagram: bytes) -> bytes:
    """What a UDP datagram carries, over IPv4 or IPv6 without extension headers; nothing of anything else."""
    packet = datagram[ETHERNET:]
    match packet[0] >> 4 if len(packet) > 40 else 0:
        case 4 if packet[9] == UDP:
            return packet[4 * (packet[0] & 15) + 8 :]
        case 6 if packet[6] == UDP:
            return packet[48:]
    return b""


def frames(packets: list[Packet], tag: int) -> list[tuple[int, bool, list[tuple[int, int]]]]:
    """Whole frames of one period: when each began, and each packet's delay and bytes without the tag."""
    by_frame: dict[int, list[Packet]] = {}
    for packet in packets:
        by_frame.setdefault(packet.timestamp, []).append(packet)
    whole = list(by_frame.values())[1:-1]  # of the first and the last something may be missing
    begin = whole[0][0].at
    return [
        (frame[0].at - begin, False, [(packet.at - frame[0].at, packet.size - tag) for packet in frame])
        for frame in whole
        if frame[-1].at - begin < PERIOD
    ]


def main() -> int:
    """Record, and write the file."""
    argparse.ArgumentParser(prog="python -m bench.record_bursts", description=__doc__.partition("\n")[0]).parse_args()
    films = importlib.import_module("tests.browser.films")  # whose types are not checked, as all of tests
    camera = films.film(FILM, *SIZE, RATE).path
    arguments = [
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--allow-loopback-in-peer-connection",
        "--no-sandbox", f"--use-file-for-fake-video-capture={camera}",
    ]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page()
        page.route("https://page.test/", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        page.goto("https://page.test/")
        page.evaluate(PAGE, [BITRATE])
        page.wait_for_timeout(WARM_UP * 1_000)
        facts = page.evaluate("facts()")
        packets = listen(facts["ssrc"], SECONDS + 0.5)
        version = browser.version
        browser.close()
    recorded = frames(packets, TAGS.get(facts["cipher"], GCM_TAG))
    source = f"Chromium {version}, VP8, {facts['width']} wide, {facts['fps']} frames a second, at most {BITRATE} bit/s"
    lines = ",\n".join(json.dumps(frame, separators=(",", ":")) for frame in recorded)
    text = f'{{"source":{json.dumps(source)},\n"period":{PERIOD},\n"frames":[\n{lines}\n]}}\n'
    FILE.write_text(text, encoding="utf-8")
    count = sum(len(frame[2]) for frame in recorded)
    print(f"{FILE.name}: {len(recorded)} frames, {count} packets; {source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
