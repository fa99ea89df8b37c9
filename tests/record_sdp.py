"""Record session descriptions from real WebRTC stacks: ``python tests/record_sdp.py [chromium] [firefox] [aiortc]``.

Writes the offers of an uplink to ``tests/unit/sdp_offers/`` and, to the downlink offers that Parlour itself builds
(``tests/unit/sdp_downlink.py``), the answers to ``tests/unit/sdp_answers/``. Run it again after a browser was upgraded.
"""

from __future__ import annotations

import asyncio
import http.server
import json
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).parent / "unit"
sys.path.insert(0, str(HERE.parent))
CASES = {
    "audio-video": {"audio": True, "video": True},
    "audio": {"audio": True, "video": False},
    "audio-video-small": {"audio": True, "video": True, "small": True},
    "audio-video-screen": {"audio": True, "video": True, "screen": True},
}

PAGE = """<!doctype html><title>SDP</title><script>
const cases = CASES_JSON, downlinks = DOWNLINKS_JSON;
const post = (name, body) => fetch(name, {method: "POST", body});
async function offer(wanted) {
  const media = await navigator.mediaDevices.getUserMedia({audio: wanted.audio, video: wanted.video});
  const pc = new RTCPeerConnection();
  const small = [{rid: "big"}, {rid: "small", scaleResolutionDownBy: 4}];
  for (const track of media.getTracks()) {
    const more = wanted.small && track.kind === "video" ? {sendEncodings: small} : {};
    pc.addTransceiver(track, {direction: "sendonly", streams: [media], ...more});
  }
  if (wanted.screen) pc.addTransceiver("video", {direction: "sendonly"});
  const made = await pc.createOffer();
  await pc.setLocalDescription(made);
  return made.sdp;
}
async function answer(offers) {
  const pc = new RTCPeerConnection(), answers = [];
  for (const sdp of offers) {
    await pc.setRemoteDescription({type: "offer", sdp});
    const made = await pc.createAnswer();
    await pc.setLocalDescription(made);
    answers.push(made.sdp);
  }
  return answers;
}
(async () => {
  try {
    for (const [name, wanted] of Object.entries(cases)) await post("offer/" + name, await offer(wanted));
    for (const [name, offers] of Object.entries(downlinks)) {
      await post("answer/" + name, JSON.stringify(await answer(offers)));
    }
    await post("done", "");
  } catch (error) { await post("failed", String(error)); }
})();
</script>"""


def downlinks() -> dict[str, list[str]]:
    """Downlink offers by case: a connection's successive revisions."""
    from unit.sdp_downlink import revisions

    return {"lifecycle": revisions()}


def save(kind: str, stack: str, name: str, sdp: str) -> None:
    folder = HERE / f"sdp_{kind}s"
    folder.mkdir(exist_ok=True)
    path = folder / f"{stack}-{name}.sdp"
    path.write_bytes(sdp.encode())
    print("wrote", path.relative_to(HERE.parent.parent))


def serve(stack: str, outcome: queue.Queue[str]) -> http.server.ThreadingHTTPServer:
    page = PAGE.replace("CASES_JSON", json.dumps(CASES)).replace("DOWNLINKS_JSON", json.dumps(downlinks())).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            self.send_response(204)
            self.end_headers()
            kind, _, name = self.path.lstrip("/").partition("/")
            if kind == "offer":
                save("offer", stack, name, body)
            elif kind == "answer":
                for revision, sdp in enumerate(json.loads(body), 1):
                    save("answer", stack, f"{name}-{revision}", sdp)
            else:
                outcome.put(f"{kind} {body}".strip())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def record_browser(stack: str, command: list[str]) -> None:
    outcome: queue.Queue[str] = queue.Queue()
    server = serve(stack, outcome)
    browser = subprocess.Popen(
        [*command, f"http://127.0.0.1:{server.server_port}/"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        said = outcome.get(timeout=120)
        if said != "done":
            raise SystemExit(f"{stack}: {said}")
    finally:
        browser.terminate()
        browser.wait()
        server.shutdown()


def chromium() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        record_browser(
            "chromium",
            [
                "/usr/bin/chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--no-first-run",
                "--disable-features=WebRtcHideLocalIpsWithMdns",
            ],
        )  # fmt: skip


def firefox() -> None:
    preferences = {
        "media.navigator.streams.fake": True,
        "media.navigator.permission.disabled": True,
        "media.peerconnection.ice.loopback": True,
        "media.peerconnection.ice.obfuscate_host_addresses": False,
        "datareporting.policy.dataSubmissionEnabled": False,
        "browser.shell.checkDefaultBrowser": False,
    }
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in preferences.items()]
        (Path(profile) / "user.js").write_text("\n".join(lines))
        record_browser("firefox", ["/usr/bin/firefox-esr", "--headless", "--no-remote", "--profile", profile])


def aiortc() -> None:
    from aiortc import RTCPeerConnection, RTCSessionDescription
    from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

    async def record() -> None:
        for name, wanted in CASES.items():
            if wanted.get("screen") or wanted.get("small"):
                continue
            connection = RTCPeerConnection()
            connection.addTransceiver(AudioStreamTrack(), direction="sendonly")
            if wanted["video"]:
                connection.addTransceiver(VideoStreamTrack(), direction="sendonly")
            await connection.setLocalDescription(await connection.createOffer())
            save("offer", "aiortc", name, connection.localDescription.sdp)
            await connection.close()
        for name, offers in downlinks().items():
            connection = RTCPeerConnection()
            for revision, sdp in enumerate(offers, 1):
                await connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
                await connection.setLocalDescription(await connection.createAnswer())
                save("answer", "aiortc", f"{name}-{revision}", connection.localDescription.sdp)
            await connection.close()

    asyncio.run(record())


if __name__ == "__main__":
    for stack in sys.argv[1:] or ["chromium", "firefox", "aiortc"]:
        {"chromium": chromium, "firefox": firefox, "aiortc": aiortc}[stack]()
