"""Record dependency descriptors of a real encoder: ``python tests/record_descriptors.py`` as root.

Chromium sends itself AV1 and VP9 in three temporal layers; RTP's headers are in the clear, so the descriptors are read
off the loopback interface. They are printed as they are in ``crates/media/src/wire/dependency_descriptor/tests.rs``.
"""

from __future__ import annotations

import http.server
import json
import queue
import socket
import struct
import subprocess
import tempfile
import threading

URI = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
FRAMES = 24
EVERYTHING = 3  # ETH_P_ALL
IP_HEADERS = {0x0800: 20, 0x86DD: 40}
PAGE = """<!doctype html><title>descriptors</title><script>
const post = (name, body) => fetch(name, {method: "POST", body});
async function send(codec) {
  const media = await navigator.mediaDevices.getUserMedia({video: {width: 320, height: 180, frameRate: 30}});
  const [here, there] = [new RTCPeerConnection(), new RTCPeerConnection()];
  here.onicecandidate = ({candidate}) => there.addIceCandidate(candidate);
  there.onicecandidate = ({candidate}) => here.addIceCandidate(candidate);
  const sendEncodings = [{scalabilityMode: "L1T3"}];
  const one = here.addTransceiver(media.getTracks()[0], {direction: "sendonly", sendEncodings});
  const {codecs} = RTCRtpSender.getCapabilities("video");
  one.setCodecPreferences(codecs.filter((it) => it.mimeType.toLowerCase() === `video/${codec}`));
  const known = one.getHeaderExtensionsToNegotiate();
  for (const it of known) if (it.uri === "URI") it.direction = "sendrecv";
  one.setHeaderExtensionsToNegotiate(known);
  await here.setLocalDescription(await here.createOffer());
  await there.setRemoteDescription(here.localDescription);
  await there.setLocalDescription(await there.createAnswer());
  await here.setRemoteDescription(there.localDescription);
  const mapped = new RegExp("a=extmap:(\\\\d+)(?:/\\\\w+)? URI").exec(there.localDescription.sdp);
  const payloadType = /a=rtpmap:(\\d+) /.exec(there.localDescription.sdp);
  await post("sends", JSON.stringify([codec, Number(mapped[1]), Number(payloadType[1])]));
  await new Promise((resolve) => setTimeout(resolve, 6000));
  here.close();
  there.close();
}
(async () => {
  try {
    for (const codec of ["av1", "vp9"]) await send(codec);
    await post("done", "");
  } catch (error) { await post("failed", String(error)); }
})();
</script>""".replace("URI", URI)


def extensions(packet: bytes) -> dict[int, bytes]:
    """The header extensions of an RTP packet, in either form (RFC 8285)."""
    at = 12 + 4 * (packet[0] & 15)
    if not packet[0] & 16:
        return {}
    profile, words = struct.unpack_from("!HH", packet, at)
    block, found = packet[at + 4 : at + 4 + 4 * words], {}
    while block:
        if block[0] == 0:
            block = block[1:]
            continue
        if profile == 0xBEDE:
            number, size, block = block[0] >> 4, (block[0] & 15) + 1, block[1:]
        else:
            number, size, block = block[0], block[1], block[2:]
        found[number], block = block[:size], block[size:]
    return found


def main() -> None:
    said: queue.Queue[tuple[str, str]] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            self.send_response(204)
            self.end_headers()
            said.put((self.path, body))

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING))
    sniffer.bind(("lo", 0))
    sniffer.settimeout(0.2)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            "/usr/bin/chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
            "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--no-first-run",
            "--disable-features=WebRtcHideLocalIpsWithMdns", f"http://127.0.0.1:{server.server_port}/",
        ]  # fmt: skip
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            record(said, sniffer)
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()


def record(said: queue.Queue[tuple[str, str]], sniffer: socket.socket) -> None:
    """Print what is sent until the page says that it is done."""
    number = payload_type = frames = 0
    seen: set[int] = set()
    while True:
        try:
            path, body = said.get_nowait()
        except queue.Empty:
            pass
        else:
            if path != "/sends":
                raise SystemExit(f"{path} {body}")
            codec, number, payload_type = json.loads(body)
            frames = 0
            print(codec)
        try:
            frame = sniffer.recv(65536)
        except TimeoutError:
            continue
        datagram = frame[14 + IP_HEADERS.get(int.from_bytes(frame[12:14]), 65536) + 8 :]
        if len(datagram) < 12 or datagram[0] >> 6 != 2 or datagram[1] & 127 != payload_type:
            continue
        sequence = int.from_bytes(datagram[2:4])
        value = extensions(datagram).get(number)
        if value is None or sequence in seen or frames >= FRAMES:
            continue
        seen.add(sequence)
        frames += 1
        print(f'    "{value.hex()}",', flush=True)


if __name__ == "__main__":
    main()
