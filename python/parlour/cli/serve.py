"""``parlour serve``: run the server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parlour.cli.output import AnnounceOption, JsonOption, fail, message, print_line
from parlour.cli.store import loaded_settings

if TYPE_CHECKING:
    from parlour.server import Server
    from parlour.settings import Settings

STOP_TIMEOUT = 10.0
"""Seconds that a graceful stop takes at most."""

ONE_REQUEST = 0.5
"""Seconds in which another signal is the same request: who signals a process and its group sends two at once."""

THREADS_TIMEOUT = 3.0
"""Seconds that threads have to end after it; some wait for what never comes."""


def command(
    data: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder of the database. Default: ~/.local/share/parlour"),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 or :: for all. Default: 127.0.0.1"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="TCP port of HTTP and WebSocket; 0 picks one. Default: 8080"),
    ] = None,
    media_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="First port of the media, UDP and TCP, one a shard; 0 picks them. Default: 8081"
        ),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(min=0, max=256, help="Media threads, a port each. Default: as many as there are processors"),
    ] = None,
    announce: AnnounceOption = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings file (TOML); see settings.sample.toml.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error. Default: info")
    ] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log one JSON object a line.")] = False,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate chain (PEM) for https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key (PEM).")] = None,
    tls_self_signed: Annotated[
        bool, typer.Option("--tls-self-signed", help="Make a certificate at start; browsers warn about it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    Options win over the environment (PARLOUR_PORT=…), which wins over the file. Logs go to stderr.
    """
    from parlour.logs import configure_logs

    overrides: dict[str, object] = {
        "data": data,
        "host": host,
        "port": port,
        "media_port": media_port,
        "media.announce": announce or None,
        "media.shards": shards,
        "log_level": log_level,
        "log_json": log_json or None,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_self_signed": tls_self_signed or None,
    }
    settings = loaded_settings(config, overrides)
    configure_logs(settings.log_level, as_json=settings.log_json)
    run(serve(settings, as_json=as_json))


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop where there is one, to its end and not much longer, whatever hangs in threads."""
    from parlour.supervisor import tell_of_deaths

    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    except ImportError:
        factory = asyncio.new_event_loop
    before = set(threading.enumerate())
    status = 1

    def leave_behind() -> None:
        """End a process that cannot end: a thread of a hung database or plug-in has no end of its own."""
        left = [thread.name for thread in threading.enumerate() if thread not in before and not thread.daemon]
        if left:
            with contextlib.suppress(OSError, ValueError):
                message(f"parlour: ended while work in threads hung: {', '.join(left)}.")
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)

    watch = threading.Timer(THREADS_TIMEOUT, leave_behind)
    watch.daemon = True
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            try:
                tell_of_deaths(runner.get_loop())
                runner.run(main)
                status = 0
            finally:
                watch.start()
    finally:
        if all(thread in before or thread.daemon for thread in threading.enumerate()):
            watch.cancel()


async def serve(settings: Settings, *, as_json: bool) -> None:
    """Start, say where, and stop in good order at the first signal; a second one stops at once."""
    from parlour.server import Server, StartError

    stopping = stop_signal()
    server = Server(settings)
    try:
        await server.start()
    except StartError as error:
        fail(str(error))
    try:
        announce(server, as_json=as_json)
        await stopped_or_failed(server, stopping)
        if not server.failure:
            with contextlib.suppress(BrokenPipeError):  # whoever read us is gone already
                message("Stopping: telling clients. Ctrl-C again stops at once.")
    finally:
        # Whatever happened: a store that is not closed keeps the process from ending.
        await stop_bounded(server, stopping)
    if server.failure:
        fail(server.failure)


async def stopped_or_failed(server: Server, stopping: asyncio.Event) -> None:
    """Wait until the server is to stop, or cannot go on."""
    # What is loaded by now stays: walking it held everybody up for some 80 ms at each full collection.
    gc.freeze()
    waits = {asyncio.create_task(stopping.wait()), asyncio.create_task(server.failed.wait())}
    _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()


def announce(server: Server, *, as_json: bool) -> None:
    """Say where the server listens."""
    if as_json:
        # One line, so that a program that waits for it reads a line and not until an end that comes hours later.
        media = server.media
        where: dict[str, object] = {"url": server.url, "signaling": server.signaling_url}
        where |= {"mediaPorts": media.ports, "mediaProtocols": media.protocols, "announced": media.announced}
        print_line(json.dumps(where))
    else:
        print_line(f"Parlour listens on {server.url} (media on {media_ports(server)})")
        message(f"SDK: {server.url}/sdk/trtc.js   Data: {server.settings.data}   Stop: Ctrl-C")
    sys.stdout.flush()


def media_ports(server: Server) -> str:
    """The ports of the media with what it may come over, for people: ``UDP and TCP 8081-8084: 4 shards``."""
    protocols = " and ".join(protocol.upper() for protocol in server.media.protocols)
    return f"{protocols} {port_range(server.media.ports)}"


def port_range(ports: list[int]) -> str:
    """The ports of the shards, which follow one another: ``8081``, or ``8081-8084: 4 shards``."""
    return str(ports[0]) if len(ports) == 1 else f"{ports[0]}-{ports[-1]}: {len(ports)} shards"


def stop_signal() -> asyncio.Event:
    """Set at SIGINT or SIGTERM; to be cleared by who acts on it."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    return stopping


async def stop_bounded(server: Server, again: asyncio.Event) -> None:
    """Stop the server, within ``STOP_TIMEOUT`` seconds and not after another signal."""
    stop = asyncio.create_task(server.stop())
    await asyncio.wait({stop}, timeout=ONE_REQUEST)
    again.clear()
    impatient = asyncio.create_task(again.wait())
    within = STOP_TIMEOUT - ONE_REQUEST
    done, _ = await asyncio.wait({stop, impatient}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    impatient.cancel()
    if stop in done:
        stop.result()
        return
    stop.cancel()
    await asyncio.wait({stop}, timeout=1.0)
    fail("The server was stopped before it had closed everything.")
