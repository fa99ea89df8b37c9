"""What the server answers over HTTP: health, the browser SDK, the door of the signaling channel, and where to go."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ExceptionHandler
from starlette.websockets import WebSocket

from parlour.protocol.messages import PROTOCOL_VERSION, SIGNALING_PATH
from parlour.signaling.service import SignalingService
from parlour.signaling.socket import NoControl, serve_socket
from parlour.signaling.wsprotocol import STATE_KEY

SDK_FOLDER = Path(__file__).resolve().parent / "static" / "sdk"
SDK_FILES = {
    "trtc.js": "text/javascript; charset=utf-8",
    "trtc.umd.js": "text/javascript; charset=utf-8",
    "trtc.esm.js": "text/javascript; charset=utf-8",
    "index.d.ts": "text/plain; charset=utf-8",
}
SDK_HEADERS = {
    # Pages of any origin load the SDK, also those that isolate themselves (COEP).
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    # The file belongs to the server's version: a cache asks again soon, and the ETag makes that cheap.
    "Cache-Control": "public, max-age=300, must-revalidate",
}

INDEX = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Parlour</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 4rem auto; padding: 0 1rem }}
pre {{ background: #f3f3f5; padding: 1rem; overflow-x: auto }}</style>
<h1>Parlour {version}</h1>
<p>This server carries rooms of audio and video. A page that uses the TRTC Web SDK v4 joins them with one line:</p>
<pre>&lt;script src="{base}sdk/trtc.js"&gt;&lt;/script&gt;</pre>
<p><a href="sdk/index.d.ts">Type declarations</a> · <a href="sdk/trtc.esm.js">ES module</a> ·
<a href="healthz">Health</a></p>
"""


def create_http_app(
    service: SignalingService,
    version: str,
    *,
    routes: Sequence[BaseRoute] = (),
    failing: Callable[[], Sequence[str]] = tuple,
) -> Starlette:
    """The ASGI application, for any ASGI server. ``routes`` are added in front, for instance those of the demo.

    ``failing`` names what in the background does not work; /healthz answers 503 with it then.
    """

    async def healthz(_: Request) -> Response:
        broken = list(failing())
        body = {"status": "failing", "failing": broken} if broken else {"status": "ok"}
        headers = {"Cache-Control": "no-store"}
        return JSONResponse(body | {"version": version}, status_code=503 if broken else 200, headers=headers)

    async def index(request: Request) -> Response:
        page = INDEX.format(version=version, base=html.escape(str(request.base_url)))
        return HTMLResponse(page, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})

    async def signaling(websocket: WebSocket) -> None:
        wanted = websocket.query_params.get("v", str(PROTOCOL_VERSION))
        if wanted != str(PROTOCOL_VERSION):
            address = f"{SIGNALING_PATH}?v={PROTOCOL_VERSION}"
            refusal = f"This server speaks version {PROTOCOL_VERSION} of the protocol: {address}\n"
            await websocket.send_denial_response(PlainTextResponse(refusal, status_code=400))
            return
        await serve_socket(websocket, service, websocket.scope.get("state", {}).get(STATE_KEY) or NoControl())

    async def upgrade_required(_: Request) -> Response:
        text = "This is the signaling channel: connect to it with a WebSocket.\n"
        return PlainTextResponse(text, status_code=426, headers={"Upgrade": "websocket", "Connection": "Upgrade"})

    handlers: dict[int | type[Exception], ExceptionHandler] = {404: _not_found}
    return Starlette(
        routes=[
            *routes,
            Route("/", index),
            Route("/healthz", healthz),
            Route(SIGNALING_PATH, upgrade_required),
            WebSocketRoute(SIGNALING_PATH, signaling),
            Route("/sdk/{name}", _sdk_file),
        ],
        exception_handlers=handlers,
    )


async def _not_found(_: Request, __: Exception) -> Response:
    text = f"There is nothing here. There are /, /healthz, {SIGNALING_PATH} (WebSocket) and " + ", ".join(
        f"/sdk/{name}" for name in SDK_FILES
    )
    return PlainTextResponse(text + ".\n", status_code=404, headers={"X-Content-Type-Options": "nosniff"})


async def _sdk_file(request: Request) -> Response:
    """A file of the browser SDK, by its name: nothing of the path reaches the file system."""
    name = request.path_params["name"]
    if name not in SDK_FILES:
        raise HTTPException(404)
    try:
        content = (SDK_FOLDER / name).read_bytes()
    except FileNotFoundError:
        text = "The browser SDK is not built: `make build` in a checkout builds it.\n"
        return PlainTextResponse(text, status_code=503, headers={"Access-Control-Allow-Origin": "*"})
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = SDK_HEADERS | {"ETag": tag}
    known = {part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")}
    if known & {tag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=SDK_FILES[name], headers=headers)
