"""The two things that exist only under ``parlour demo``: the call page, and UserSigs for whoever has the link."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from parlour.token_bucket import TokenBucket
from parlour.usersig import sign_v2

BODY_LIMIT = 4096
"""Bytes; a token and a user id are far below."""

RATE, BURST = 5.0, 30.0
"""Signatures a second, and at once, for all askers together: a page asks once a call."""

PAGES = Path(__file__).resolve().parent.parent / "static" / "demo"
NOT_BUILT = "The demo page is not built: `make build` in a checkout builds it."


def demo_routes(*, token: str, sdk_app_id: int, key: str, pages: Path = PAGES) -> Sequence[BaseRoute]:
    """``POST /demo/usersig`` and the static page ``/demo/``.

    The key stays here: who shows the token gets a signature for one user. 403 for another token, 429 past the rate.
    """
    bucket = TokenBucket(RATE, BURST, time.monotonic())

    async def usersig(request: Request) -> Response:
        if not bucket.take(time.monotonic()):
            return _answer(429, {"error": "too many requests: try again in a second"})
        asked = await _read(request)
        given, user_id = asked.get("token"), asked.get("userId")
        if not isinstance(given, str) or not _same(given, token):
            return _answer(403, {"error": "the token is not the one of the link that this server printed"})
        if not isinstance(user_id, str) or not user_id:
            return _answer(400, {"error": "userId is missing or empty"})
        user_sig = sign_v2(sdk_app_id, user_id, key, now=int(time.time()))
        return _answer(200, {"sdkAppId": sdk_app_id, "userSig": user_sig})

    async def not_built(request: Request) -> Response:
        return PlainTextResponse(NOT_BUILT + "\n", status_code=503)

    page: BaseRoute
    if (pages / "index.html").is_file():
        page = Mount("/demo", StaticFiles(directory=pages, html=True), name="demo")
    else:
        page = Route("/demo/", not_built)
    return [Route("/demo/usersig", usersig, methods=["POST"]), page]


def _same(given: str, token: str) -> bool:
    """Whether the texts are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


async def _read(request: Request) -> dict[str, object]:
    """The JSON object of the body; empty for anything else."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_LIMIT:
            return {}
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return asked if isinstance(asked, dict) else {}


def _answer(status: int, body: dict[str, object]) -> Response:
    return JSONResponse(body, status_code=status, headers={"Cache-Control": "no-store"})
