"""``parlour demo``: a server with a page, an app of its own and a robot in room 1; prints one link."""

from __future__ import annotations

import contextlib
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parlour.cli.output import AnnounceOption, JsonOption, fail, print_json
from parlour.cli.store import loaded_settings

if TYPE_CHECKING:
    from parlour.client.robot import Robot
    from parlour.settings import Settings

DEMO_APP = 1_400_000_000
"""The sdkAppId of the demo; its key is made at the first start and stays in the data folder."""

ROOM = 1
ROBOT = "robot"


def command(
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to serve at. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="TCP port of page and signaling; 0 picks one. Default: 8080.")
    ] = None,
    media_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the media, UDP and TCP; 0 picks one. Default: 8081.")
    ] = None,
    announce: AnnounceOption = None,
    data: Annotated[str, typer.Option(metavar="DIR", help="Data folder.")] = ".demo",
    robot: Annotated[bool, typer.Option("--robot/--no-robot", help="Whether a robot waits in room 1.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Start a server to try: prints one link to a call with a robot in it. Ctrl-C stops it.

    The link is the one line on stdout; everything else goes to stderr.
    """
    from parlour.cli.serve import run
    from parlour.logs import configure_logs

    overrides = {
        "host": host,
        "port": port,
        "media_port": media_port,
        "media.announce": announce or None,
        "data": data,
    }
    settings = loaded_settings(None, overrides)
    configure_logs("warning", as_json=False)
    run(_run(settings, with_robot=robot, as_json=as_json))


async def _run(settings: Settings, *, with_robot: bool, as_json: bool) -> None:
    from parlour.cli.demo_routes import NOT_BUILT, PAGES, demo_routes
    from parlour.cli.serve import media_ports, stop_bounded, stop_signal, stopped_or_failed
    from parlour.server import Server, StartError
    from parlour.storage import StorageError

    stopping = stop_signal()
    try:
        key = await _demo_key(settings.data)
        token = secrets.token_urlsafe(18)
        server = Server(settings, routes=demo_routes(token=token, sdk_app_id=DEMO_APP, key=key))
        await server.start()
    except (StartError, StorageError) as error:
        fail(str(error))
    robot: Robot | None = None
    try:
        _done(f"Server at {server.url}, media on {media_ports(server)}")
        _done(f"App {DEMO_APP} with its key in {settings.data}")
        if with_robot:
            robot = await _start_robot(server.url, key)
        if not (PAGES / "index.html").is_file():
            _warn(NOT_BUILT)
        _say("Open this link; Ctrl-C stops the demo:")
        link = f"{server.url}/demo/#token={token}"
        if as_json:
            print_json({"link": link, "url": server.url, "mediaPorts": server.media.ports})
        else:
            sys.stdout.write(link + "\n")
        sys.stdout.flush()
        await stopped_or_failed(server, stopping)
        if not server.failure:
            _say("Stopping.")
    finally:
        if robot is not None:
            await robot.stop()
        await stop_bounded(server, stopping)
    if server.failure:
        fail(server.failure)


async def _demo_key(data: Path) -> str:
    """The key of the demo's app, made with its app at the first start."""
    from parlour.storage import AppExistsError, Storage

    async with await Storage.open(data) as storage:
        with contextlib.suppress(AppExistsError):
            await storage.create_app(DEMO_APP, now=int(time.time()), name="Parlour demo")
        app = await storage.get_app(DEMO_APP)
    if app is None or not app.keys.secrets:
        fail(f"The app {DEMO_APP} in {data} has no secret key: remove the folder, the demo makes a new one.")
    return app.keys.secrets[0]


async def _start_robot(url: str, key: str) -> Robot | None:
    """The robot in its room, or None with the reason on stderr."""
    from parlour.client import Client, RtcError
    from parlour.client.codecs import missing_codecs
    from parlour.client.robot import Robot
    from parlour.usersig import sign_v2

    problem = missing_codecs()
    if problem is not None:
        _warn(f"No robot: {problem}")
        return None
    user_sig = sign_v2(DEMO_APP, ROBOT, key, now=int(time.time()))
    robot = Robot(Client(url, DEMO_APP, ROBOT, user_sig), on_problem=_warn)
    try:
        await robot.start(ROOM)
    except RtcError as error:
        _warn(f"No robot: {error.message}")
        return None
    _done(f"Robot in room {ROOM}")
    return robot


def _done(text: str) -> None:
    _say(text, mark="✓", style="green")


def _warn(text: str) -> None:
    _say(text, mark="!", style="yellow")


def _say(text: str, *, mark: str = "", style: str = "") -> None:
    from rich.console import Console
    from rich.text import Text

    line = Text(f"{mark} " if mark else "", style=style)
    Console(stderr=True, highlight=False, soft_wrap=True).print(line.append(text, style="none"))
