"""``GET /metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from parlour.metrics.access import Gate

if TYPE_CHECKING:
    from parlour.metrics.exposition import Exposition

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def metrics_route(gate: Gate, exposition: Exposition) -> Route:
    """The route. What is behind it is a copy of the last second, whoever asks how often."""

    async def metrics(request: Request) -> Response:
        client = request.client.host if request.client else ""
        refused = gate.refuses(client, request.headers)
        if refused is not None:
            challenge = {"WWW-Authenticate": 'Bearer realm="metrics"'} if refused.status == 401 else {}
            return PlainTextResponse(refused.sentence + "\n", status_code=refused.status, headers=HEADERS | challenge)
        text, content_type = await exposition.text(request.headers.get("accept", "")[:1000])
        return Response(text, headers=HEADERS | {"Content-Type": content_type})

    return Route("/metrics", metrics, methods=["GET"])
