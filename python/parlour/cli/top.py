"""``parlour top``: a running server's rooms and the links in them, as its metrics tell."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parlour.cli.address import server_parts
from parlour.cli.output import JsonOption, fail, print_json, visible

if TYPE_CHECKING:
    from rich.console import RenderableType

MOST_BYTES = 64 * 1024 * 1024
TIMEOUT = 10.0
GRADES = ("not known", "excellent", "good", "fair", "poor", "very poor", "disconnected")


def command(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="The server, http(s)://host:port.")
    ] = "http://127.0.0.1:8080",
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="PARLOUR_METRICS__TOKEN",
            show_envvar=True,
            help="Its metrics.token; not needed there.",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one table and end.")] = False,
    every: Annotated[float, typer.Option(min=1, max=60, help="Seconds between two looks.")] = 2.0,
    ca_file: Annotated[str | None, typer.Option("--ca-file", help="Certificate (PEM) to trust for https.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the rooms of a running server, and how the links of their users are; Ctrl-C ends it.

    Without a terminal, and with --json, it looks once.
    """
    parts = server_parts(url)
    address = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/metrics"
    trust = _trusted(ca_file) if parts.scheme == "https" else None
    if as_json:
        print_json(asyncio.run(_look(address, token, trust)))
    elif once or not sys.stdout.isatty():
        from parlour.cli.output import console

        console().print(_shown(asyncio.run(_look(address, token, trust))))
    else:
        _follow(address, token, trust, every)


def _follow(address: str, token: str | None, trust: ssl.SSLContext | None, every: float) -> None:
    import time

    from rich.live import Live

    try:
        with Live(_shown(asyncio.run(_look(address, token, trust))), auto_refresh=False, screen=True) as live:
            while True:
                time.sleep(every)
                live.update(_shown(asyncio.run(_look(address, token, trust))), refresh=True)
    except KeyboardInterrupt:
        return


def _trusted(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        fail(f"The certificate {ca_file} cannot be read: {error.strerror or error}.")


async def _look(address: str, token: str | None, trust: ssl.SSLContext | None) -> dict[str, Any]:
    """What the server's metrics say now. ``trust``: for https."""
    import httpcore

    headers = [("Accept", "text/plain")]
    headers += [("Authorization", f"Bearer {token}")] if token else []
    body = bytearray()
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            httpcore.AsyncConnectionPool(ssl_context=trust) as pool,
            pool.stream("GET", address, headers=headers) as answer,
        ):
            async for piece in answer.aiter_stream():
                body += piece
                if len(body) > MOST_BYTES:
                    fail(f"{address} answers more than {MOST_BYTES} bytes.")
    except (OSError, TimeoutError, httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        fail(f"{address} does not answer: {error or type(error).__name__}.")
    text = body.decode(errors="replace")
    if answer.status in {401, 403}:
        fail(text.strip())
    if answer.status != 200:
        fail(f"{address} answers {answer.status}: are metrics.enabled and the address right?")
    try:
        return read(text)
    except ValueError as error:
        fail(f"What {address} answers cannot be read: {error}.")


def read(text: str) -> dict[str, Any]:
    """The rooms and links in a text of metrics. Raises ValueError for what is none."""
    from prometheus_client.parser import text_string_to_metric_families

    server: dict[str, float] = {}
    rooms: dict[tuple[str, str], dict[str, Any]] = {}
    links: dict[tuple[str, ...], dict[str, Any]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels, value = sample.labels, sample.value
            if sample.name in _SERVER:
                server[_SERVER[sample.name]] = value
            elif sample.name in _ROOM:
                room = rooms.setdefault((labels["app"], labels["room"]), {"app": labels["app"], "room": labels["room"]})
                room[_ROOM[sample.name]] = value
            elif sample.name in _LINK:
                key = tuple(labels[name] for name in ("app", "room", "user", "link"))
                link = links.setdefault(key, dict(zip(("app", "room", "user", "link"), key, strict=True)))
                link[_LINK[sample.name]] = value
    return {
        "server": server,
        "rooms": sorted(rooms.values(), key=lambda room: -room.get("users", 0)),
        "links": sorted(links.values(), key=lambda link: (link["app"], link["room"], link["user"], link["link"])),
    }


_SERVER = {
    "parlour_rooms": "rooms",
    "parlour_sessions": "users",
    "parlour_signaling_sockets": "sockets",
    "parlour_tcp_connections": "connections",
    "process_resident_memory_bytes": "memoryBytes",
}
_ROOM = {"parlour_room_members": "users", "parlour_room_streams": "streams"}
_LINK = {
    "parlour_link_quality": "quality",
    "parlour_link_rtt_seconds": "rttSeconds",
    "parlour_link_loss_ratio": "lossRatio",
    "parlour_link_receive_bitrate": "receivedBitrate",
    "parlour_link_send_bitrate": "sentBitrate",
    "parlour_link_estimate_bitrate": "estimateBitrate",
}


def _shown(seen: dict[str, Any]) -> RenderableType:
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    server = seen["server"]
    head = " · ".join(f"{server.get(name, 0):.0f} {name}" for name in ("rooms", "users", "sockets", "connections"))
    memory = f" · {server.get('memoryBytes', 0) / 2**20:.0f} MiB"
    sizes = {(room["app"], room["room"]): room for room in seen["rooms"]}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("App", "Room", "Users", "User", "Link", "Quality"):
        table.add_column(name, overflow="fold")
    for name in ("Round trip", "Loss", "In", "Out", "Estimate"):
        table.add_column(name, justify="right", no_wrap=True)
    for link in seen["links"]:
        room = sizes.get((link["app"], link["room"]), {})
        grade = link.get("quality")
        cells: Iterable[str] = (
            link["app"],
            link["room"],
            f"{room.get('users', 0):.0f}",
            link["user"],
            link["link"],
            "" if grade is None else f"{grade:.0f} {GRADES[int(grade)]}",
            "" if "rttSeconds" not in link else f"{link['rttSeconds'] * 1000:.0f} ms",
            "" if "lossRatio" not in link else f"{link['lossRatio'] * 100:.1f} %",
            _rate(link.get("receivedBitrate")),
            _rate(link.get("sentBitrate")),
            _rate(link.get("estimateBitrate")),
        )
        table.add_row(*(visible(cell) for cell in cells))
    return Group(Text(head + memory), table) if seen["links"] else Group(Text(head + memory))


def _rate(bits: float | None) -> str:
    return "" if bits is None else f"{bits / 1000:,.0f} kbit/s"
