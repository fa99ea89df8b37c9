"""``parlour load``: fills rooms of a server with cheap peers and counts what it forwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlunsplit

import typer

from parlour.cli.address import server_parts
from parlour.cli.arguments import parse_app_id, parse_one_of
from parlour.cli.options import StoreOptions, on_stores
from parlour.cli.output import fail, message, print_json, print_pairs
from parlour.cli.usersig import KeyOption, given_key, stored_secret
from parlour.protocol.words import MAX_ROOM_NUMBER

if TYPE_CHECKING:
    from parlour.load.run import Result, Watcher
    from parlour.load.stage import Layout

MEDIA = ("video", "audio", "both")
MOST = 2_000
"""Users in one room, and rooms."""
DEMO_PAGE = "/demo/"
DEMO_PATIENCE = 60.0
"""Seconds for which the demo is asked again: it signs some UserSigs a second and no more."""
LATE = 5.0
"""Milliseconds (p99) that packets may be sent late before it is told."""


@dataclass(frozen=True)
class Target:
    """A server, and who may log in there."""

    url: str
    sdk_app_id: int
    user_sig: Callable[[str], Awaitable[str]]


@on_stores
def command(
    options: StoreOptions,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="The server, http(s)://host:port; or the link of `parlour demo`.")
    ],
    app: Annotated[
        int | None,
        typer.Option(
            "--app", metavar="ID", parser=parse_app_id, help="The sdkAppId to log in to. A demo's link needs none."
        ),
    ] = None,
    key: KeyOption = None,
    publishers: Annotated[int, typer.Option(min=1, max=MOST, help="Who sends, in each room.")] = 1,
    subscribers: Annotated[int, typer.Option(min=1, max=MOST, help="Who receives, in each room.")] = 10,
    rooms: Annotated[int, typer.Option(min=1, max=MOST, help="How many rooms.")] = 1,
    media: Annotated[str, typer.Option(metavar="video|audio|both", help="What each publisher sends.")] = "video",
    pattern: Annotated[
        str,
        typer.Option(
            metavar="recorded|bursts|spread",
            help="Video as a browser sent it; or 8 packets a frame, at once or 1 ms apart.",
        ),
    ] = "recorded",
    seconds: Annotated[float, typer.Option(min=1, max=3_600, help="How long media flows.")] = 10.0,
    room: Annotated[
        int | None, typer.Option(min=1, max=MAX_ROOM_NUMBER, help="Number of the first room. Default: one by chance.")
    ] = None,
) -> None:
    """Put a load on a server: publishers and subscribers with real ICE, DTLS and SRTP, and a count of what came.

    Everybody is in before the first packet, so that what is lost or comes twice is counted exactly. The app's key is
    read from the data folder unless --key gives it.
    """
    from parlour.load.run import PATTERNS, patterns
    from parlour.load.stage import Layout

    shapes = patterns(parse_one_of(media, "--media", MEDIA), parse_one_of(pattern, "--pattern", PATTERNS))
    layout = Layout(publishers, subscribers, rooms, shapes)
    target = _target(url, app, key, options)
    _raise_descriptor_limit()
    result = asyncio.run(_run(target, layout, seconds, room, shown=not options.as_json))
    if options.as_json:
        print_json({"url": target.url} | result.to_json())
    else:
        _show(target, result)


async def _run(target: Target, layout: Layout, seconds: float, room: int | None, *, shown: bool) -> Result:
    from parlour.load.errors import LoadError
    from parlour.load.peers import Peers
    from parlour.load.rooms import ParlourRooms
    from parlour.load.run import run

    peers = Peers()
    rooms = ParlourRooms(peers, target.url, target.sdk_app_id, target.user_sig)
    try:
        with _watching(layout, seconds, shown=shown) as watcher:
            return await run(peers, rooms, layout, seconds, first_room=room, watcher=watcher)
    except (LoadError, OSError) as error:
        fail(str(error))
    finally:
        peers.close()


def _target(url: str, sdk_app_id: int | None, key: str | None, options: StoreOptions) -> Target:
    """Where to, with UserSigs made here of the app's key, or by a demo for who has its link."""
    parts = server_parts(url)
    token = parts.fragment.removeprefix("token=") if parts.fragment.startswith("token=") else None
    path = parts.path.removesuffix(DEMO_PAGE) if token is not None else parts.path
    server = urlunsplit((parts.scheme, parts.netloc, path.rstrip("/"), "", ""))
    if token is not None:
        if sdk_app_id is not None or key is not None:
            raise typer.BadParameter("the link of a demo names app and key already", param_hint="--app")
        return _demo(server, token)
    if sdk_app_id is None:
        raise typer.BadParameter("it is needed, but for the link of a demo", param_hint="--app")
    from parlour.usersig import sign_v2

    given = given_key(key)
    if given is not None and given.pem is not None:
        fail("A load signs with the app's secret key, not with a PEM key.")
    secret = given.secret if given is not None else stored_secret(options, sdk_app_id)

    async def user_sig(user: str) -> str:
        return sign_v2(sdk_app_id, user, secret, now=int(time.time()))

    return Target(server, sdk_app_id, user_sig)


def _demo(server: str, token: str) -> Target:
    async def user_sig(user: str) -> str:
        deadline = time.monotonic() + DEMO_PATIENCE
        while True:
            status, answer = await _ask_demo(server, token, user)
            if status == 200:
                return str(answer["userSig"])
            if status != 429 or time.monotonic() > deadline:
                fail(f"The demo signs no UserSig ({status}): {answer.get('error', 'no reason given')}.")
            await asyncio.sleep(0.5)

    _, answer = asyncio.run(_ask_demo(server, token, "load"))
    if not isinstance(answer.get("sdkAppId"), int):
        fail(f"The demo at {server} does not take this link: {answer.get('error', 'it is no demo')}.")
    return Target(server, answer["sdkAppId"], user_sig)


async def _ask_demo(server: str, token: str, user: str) -> tuple[int, dict[str, Any]]:
    """Status and body of ``POST /demo/usersig``."""
    import httpcore

    body = json.dumps({"token": token, "userId": user}).encode()
    async with httpcore.AsyncConnectionPool() as pool:
        try:
            answer = await pool.request(
                "POST", f"{server}/demo/usersig", headers={"content-type": "application/json"}, content=body
            )
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            fail(f"The demo at {server} does not answer: {error or type(error).__name__}.")
    with contextlib.suppress(ValueError):
        told = json.loads(answer.content)
        if isinstance(told, dict):
            return answer.status, told
    return answer.status, {}


def _raise_descriptor_limit() -> None:
    """Each user has a WebSocket and a UDP socket for each direction: take what the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def _watching(layout: Layout, seconds: float, *, shown: bool) -> Iterator[Watcher | None]:
    """Two bars on a terminal: who is in, and how long media has flowed with what came of it."""
    import sys

    if not shown or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        users = layout.rooms * (layout.publishers + layout.subscribers)
        joining = bars.add_task("joining", total=users, note=f"{users} users")
        flowing = bars.add_task("media", total=seconds, note="")

        class Bars:
            def joined(self, count: int) -> None:
                bars.advance(joining, count)

            def flowed(self, passed: float, received: int, missing: int) -> None:
                note = f"{received / max(passed, 0.001):,.0f} packets a second received, {missing:,} missing"
                bars.update(flowing, completed=passed, note=note)

        yield Bars()


def _show(target: Target, result: Result) -> None:
    layout, window, delivery = result.layout, result.window, result.delivery
    p50, p99, p999 = (took / 1_000 for took in (window.travel["p50"], window.travel["p99"], window.travel["p999"]))
    lost = delivery.expected - delivery.received
    joins = sorted(result.join_seconds)
    share = lost / max(delivery.expected, 1)
    shapes = " and ".join(pattern.name for pattern in layout.patterns)
    pairs = {
        "Server": f"{target.url}, {', '.join(result.profiles)}",
        "Load": f"{layout.rooms} x {layout.publishers} to {layout.subscribers}, {shapes}, {window.seconds:.1f} s",
        "Joining": f"{result.filling:.2f} s for all, {joins[len(joins) // 2]:.2f} s for one, at most {joins[-1]:.2f}",
        "Sent": f"{window.sent / window.seconds:,.0f} packets a second",
        "Received": f"{window.received / window.seconds:,.0f} packets a second",
        "Delivered": f"{delivery.received:,} of {delivery.expected:,}",
        "Lost": f"{lost:,} ({share:.3%}), seen by {delivery.incomplete:,} subscribers",
        "Twice": f"{delivery.duplicates:,}",
        "On the way": f"{p50:.2f} ms (p50), {p99:.2f} (p99), {p999:.2f} (p99.9)",
    }
    print_pairs(list(pairs.items()))
    if window.lateness["p99"] > LATE * 1_000:
        message(f"Packets were sent up to {window.lateness['p99'] / 1_000:.0f} ms late (p99): this machine is busy.")
    if window.socket_drops:
        message(f"{window.socket_drops:,} packets were lost here: sockets were not emptied in time.")
