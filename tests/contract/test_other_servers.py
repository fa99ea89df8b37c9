"""The application under other ASGI servers than ours, and mounted in another application."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable

import httpx
import hypercorn.asyncio
import hypercorn.config
import pytest
import uvicorn
import websockets
from parlour.server import version
from parlour.web import create_http_app
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.conftest import RunningServer

App = Starlette
Running = Callable[[App, socket.socket], contextlib.AbstractAsyncContextManager[None]]


@contextlib.asynccontextmanager
async def hypercorn_server(app: App, listening: socket.socket) -> AsyncIterator[None]:
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listening.fileno()}"]
    over = asyncio.Event()
    running = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=over.wait))  # type: ignore[arg-type]
    try:
        yield
    finally:
        over.set()
        await asyncio.wait_for(running, 20)


def uvicorn_server(ws: str) -> Running:
    @contextlib.asynccontextmanager
    async def run(app: App, listening: socket.socket) -> AsyncIterator[None]:
        server = uvicorn.Server(uvicorn.Config(app, ws=ws, lifespan="off", log_config=None))
        running = asyncio.create_task(server._serve([listening]))
        try:
            yield
        finally:
            server.should_exit = True
            await asyncio.wait_for(running, 20)

    return run


SERVERS: dict[str, Running] = {
    "hypercorn": hypercorn_server,
    "uvicorn": uvicorn_server("websockets-sansio"),
    "uvicorn with wsproto": uvicorn_server("wsproto"),
}


@pytest.mark.parametrize("under", list(SERVERS))
@pytest.mark.parametrize("mounted", [False, True])
async def test_users_enter_a_room_under_another_asgi_server(server: RunningServer, under: str, mounted: bool) -> None:
    service = server._service
    assert service is not None
    app = create_http_app(service, version())
    path = "/calls" if mounted else ""
    if mounted:
        app = Starlette(routes=[Mount(path, app)])
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    async with SERVERS[under](app, listening), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    assert (await client.get(f"{path}/healthz")).json()["status"] == "ok"
                    break
                await asyncio.sleep(0.05)
        async with websockets.connect(f"ws://127.0.0.1:{port}{path}/v1/ws?v=1") as socket_:
            sig = server.user_sig("ann")
            login = {"id": 1, "type": "login", "sdkAppId": server.app, "userId": "ann", "userSig": sig}
            ticket = (await ask(socket_, login))["ticket"]
            entered = await ask(socket_, {"id": 2, "type": "enter", "ticket": ticket, "roomId": 1})
            assert entered["resumeToken"]


async def ask(socket_: websockets.ClientConnection, request: dict[str, object]) -> dict[str, object]:
    """One request and its answer."""
    await socket_.send(json.dumps(request))
    answer: dict[str, object] = json.loads(await asyncio.wait_for(socket_.recv(), 20))
    ok: dict[str, object] = answer["ok"]  # type: ignore[assignment]
    return ok
