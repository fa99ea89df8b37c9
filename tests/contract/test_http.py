"""The HTTP side: health, the SDK's files with their cache and origin headers, TLS, and what is not there."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import websockets
from parlour import web
from parlour.httpprotocol import MAX_HEAD, PIECE

if TYPE_CHECKING:
    from tests.conftest import RunningServer, StartServer


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A built SDK, wherever the real one is."""
    folder = tmp_path / "sdk"
    folder.mkdir()
    for name in web.SDK_FILES:
        (folder / name).write_text(f"/* {name} */")
    monkeypatch.setattr(web, "SDK_FOLDER", folder)
    return folder


async def test_health_says_ok_and_the_version(server: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.get("/healthz")
        assert answer.json()["status"] == "ok"
        assert answer.json()["version"]
        assert answer.headers["cache-control"] == "no-store"


async def test_the_sdk_is_served_to_any_origin_and_cached_by_its_etag(server: RunningServer, sdk: Path) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        for name, kind in web.SDK_FILES.items():
            answer = await client.get(f"/sdk/{name}", headers={"Origin": "https://somewhere.example"})
            assert answer.text == f"/* {name} */"
            assert answer.headers["content-type"] == kind
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers["cache-control"].startswith("public, max-age=")
            again = await client.get(f"/sdk/{name}", headers={"If-None-Match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == answer.headers["etag"]
            (sdk / name).write_text("newer")
            newer = await client.get(f"/sdk/{name}", headers={"If-None-Match": answer.headers["etag"]})
            assert (newer.status_code, newer.text) == (200, "newer")
            head = await client.head(f"/sdk/{name}")
            assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "5")


async def test_an_sdk_that_is_not_built_says_how_to_build_it(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "SDK_FOLDER", tmp_path / "nowhere")
    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.get("/sdk/trtc.js")
    assert answer.status_code == 503
    assert "make build" in answer.text


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/sdk/", "/sdk/other.js", "/sdk/..%2f..%2fserver.py", "/sdk/%2e%2e/server.py", "/demo/", "/v1/"],
)
async def test_what_is_not_there_is_a_clear_404(server: RunningServer, sdk: Path, path: str) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.get(path)
    assert answer.status_code == 404
    assert "/healthz" in answer.text


async def test_the_index_page_shows_the_line_to_use_and_the_door_asks_for_a_websocket(server: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        index = await client.get("/")
        assert f'src="{server.url}/sdk/trtc.js"' in index.text
        assert "default-src 'none'" in index.headers["content-security-policy"]
        hostile = await client.get("/", headers={"Host": '"><script>alert(1)</script>'})
        assert "<script>alert" not in hostile.text
        assert (await client.get("/v1/ws")).status_code == 426


async def test_a_self_signed_certificate_carries_https_and_wss(start_server: StartServer) -> None:
    server = await start_server(tls_self_signed=True)
    assert server.url.startswith("https://")
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", server.port))
    context = ssl.create_default_context(cadata=pem)
    async with httpx.AsyncClient(base_url=server.url, verify=context) as client:
        assert (await client.get("/healthz")).json()["status"] == "ok"
    socket = await websockets.connect(server.signaling_url, ssl=context)
    await socket.close()


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("offer_at", [0, PIECE - 5])
async def test_an_offer_to_go_on_in_http_2_does_not_lose_the_body(
    server: RunningServer, pieces: int, offer_at: int
) -> None:
    body = json.dumps({"CheckItem": [{"UserID": "ann"}]})
    query = f"sdkappid={server.app}&identifier=administrator&usersig={server.user_sig('administrator')}"
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"
    request = (
        f"POST /v4/im_open_login_svc/account_check?{query}&random=1&contenttype=json HTTP/1.1\r\nHost: parlour\r\n"
        f"{offer}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    # The parser gets whole lines, so many at a time: the offer may be the first of them.
    filling = max(0, offer_at - request.index("Upgrade:") - len("Cookie: \r\n"))
    request = request.replace("Host:", f"Cookie: {'c' * filling}\r\nHost:", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(10):
        for _ in range(2):  # the connection goes on as it was
            for part in [request + body] if pieces == 1 else [request, body]:
                writer.write(part.encode())
                await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
            answer = json.loads(await reader.readexactly(length))
            assert answer["ErrorCode"] == 0, answer
            assert answer["ResultItem"][0]["UserID"] == "ann"
    writer.close()
    await writer.wait_closed()


async def test_lines_of_a_head_that_are_left_out_are_counted_all_the_same(server: RunningServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: parlour\r\n" + b"Upgrade: h2c\r\n" * (2 * MAX_HEAD // 14))
    async with asyncio.timeout(5):  # less than a head may take
        assert (await reader.readline()).startswith(b"HTTP/1.1 431")
    writer.close()
