"""Entering rooms of an app that asks for a privateMapKey, and of one that may not be entered at all.

The tickets are signed by the published signer, over a userbuf that is packed here.
"""

from __future__ import annotations

import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import TLSSigAPIv2

from tests.conftest import RunningServer, StartServer
from tests.peers.third_parties import until
from tests.scenarios.calls import account_code, done
from tests.wire import Json, Wire, offer

ENTER_REFUSED, INVALID_OPERATION = 0x4004, 0x1001
MISSING, INVALID = -10018, -10019
USERSIG_INVALID, SUSPENDED, NEVER_ENABLED = -10013, 10006, -100027
PUBLISH_FORBIDDEN, AUXILIARY_FORBIDDEN, SUBSCRIBE_FORBIDDEN = -102013, -102015, -102019
CREATE, ENTER, SEND_AUDIO, RECEIVE_AUDIO, SEND_VIDEO, RECEIVE_VIDEO, SEND_SCREEN, RECEIVE_SCREEN, ALL = (
    1, 2, 4, 8, 16, 32, 64, 128, 255,
)  # fmt: skip
COME_IN = CREATE | ENTER
SCREEN = "chromium-audio-video-screen"


def userbuf(app: int, user: str, room: int | str, *, end: int, privileges: int = ALL) -> bytes:
    name = room.encode() if isinstance(room, str) else b""
    number = 0 if isinstance(room, str) else room
    head = struct.pack(">BH", isinstance(room, str), len(user)) + user.encode()
    body = struct.pack(">IIIII", app, number, end, privileges, 0)
    return head + body + (struct.pack(">H", len(name)) + name if isinstance(room, str) else b"")


def ticket(
    server: RunningServer,
    user: str,
    room: int | str = 1,
    privileges: int = ALL,
    *,
    key: str = "",
    app: int = 0,
    end: int = 0,
    inside: bytes = b"",
) -> str:
    """A good privateMapKey but for what is given; ``inside`` is the whole userbuf."""
    app, end = app or server.app, end or int(time.time()) + 300
    packed = inside or userbuf(app, user, room, end=end, privileges=privileges)
    sign = TLSSigAPIv2.TLSSigAPIv2(app, key or server.key)
    signed: str = sign.gen_sig_with_userbuf(user, 300, packed)
    return signed


async def logged_in(server: RunningServer, user: str) -> tuple[Wire, str]:
    wire = await Wire.open(server)
    return wire, (await wire.login(server, user))["ticket"]


async def enter(wire: Wire, login: str, room: int | str, key: str | None) -> Json:
    given = {} if key is None else {"privateMapKey": key}
    return await wire.ask("enter", ticket=login, roomId=room, stringRoom=isinstance(room, str), **given)


async def stays_out(wire: Wire, login: str, code: int, room: int | str = 1, key: str | None = None) -> str:
    given = {} if key is None else {"privateMapKey": key}
    refused = await wire.refused("enter", ticket=login, roomId=room, stringRoom=isinstance(room, str), **given)
    text = account_code(refused, ENTER_REFUSED, code)
    assert not key or key not in text
    return text


async def inside(server: RunningServer, user: str, privileges: int, room: int | str = 1) -> Wire:
    wire, login = await logged_in(server, user)
    await enter(wire, login, room, ticket(server, user, room, privileges))
    return wire


@pytest.fixture
async def server(start_server: StartServer) -> AsyncIterator[RunningServer]:
    """A server whose app asks for tickets."""
    server = await start_server()
    await server.storage.change_app(server.app, advanced_permission=True)
    yield server


# Who comes in


async def test_without_a_ticket_nobody_enters_until_the_app_asks_for_none(server: RunningServer) -> None:
    wire, login = await logged_in(server, "ann")
    for nothing in (None, ""):
        assert "privateMapKey" in await stays_out(wire, login, MISSING, key=nothing)
    await server.storage.change_app(server.app, advanced_permission=False)
    await enter(wire, login, 1, None)
    await wire.close()


@pytest.mark.parametrize("room", [1, 4294967294, "lesson 1", "1"])
async def test_a_ticket_of_the_published_signer_admits_to_its_room(server: RunningServer, room: int | str) -> None:
    wire = await inside(server, "ann", ALL, room)
    await wire.close()


async def test_a_ticket_that_is_wrong_admits_nobody_and_the_next_one_may_be_right(server: RunningServer) -> None:
    now = int(time.time())
    good = ticket(server, "ann")
    whole = userbuf(server.app, "ann", 1, end=now + 300)
    wrong = {
        "signed with another key": ticket(server, "ann", key="?" * 64),
        "of another app": ticket(server, "ann", app=1400000002),
        "of another user": ticket(server, "bob"),
        "of another room": ticket(server, "ann", 2),
        "of the room with that name": ticket(server, "ann", "1"),
        "over": ticket(server, "ann", end=now - 10),
        "without the privilege to enter": ticket(server, "ann", 1, ALL & ~ENTER),
        "for another user inside": ticket(server, "ann", inside=userbuf(server.app, "bob", 1, end=now + 300)),
        "for another app inside": ticket(server, "ann", inside=userbuf(1400000002, "ann", 1, end=now + 300)),
        "cut inside": ticket(server, "ann", inside=whole[:-1]),
        "longer inside": ticket(server, "ann", inside=whole + b"\0"),
        "of a version that is not known": ticket(server, "ann", inside=b"\2" + whole[1:]),
        "a UserSig": server.user_sig("ann"),
        "cut": good[:-1],
        "nonsense": "255",
    }
    wire, login = await logged_in(server, "ann")
    for what, key in wrong.items():
        assert "privateMapKey" in await stays_out(wire, login, INVALID, key=key), what
    await enter(wire, login, 1, good)
    await wire.close()


async def test_a_ticket_logs_nobody_in(server: RunningServer) -> None:
    wire = await Wire.open(server)
    refused = await wire.refused("login", sdkAppId=server.app, userId="ann", userSig=ticket(server, "ann"))
    account_code(refused, 0x4001, 70009)
    await wire.close()


async def test_a_room_that_is_not_there_takes_the_privilege_to_create_it(server: RunningServer) -> None:
    guest, login = await logged_in(server, "guest")
    key = ticket(server, "guest", 1, ALL & ~CREATE)
    assert "does not exist yet" in await stays_out(guest, login, INVALID, key=key)
    host = await inside(server, "host", ALL)
    await enter(guest, login, 1, key)
    for wire in (host, guest):
        await wire.close()


# What they may do there


async def test_what_is_published_needs_its_privilege(server: RunningServer) -> None:
    speaker = await inside(server, "speaker", COME_IN | SEND_AUDIO)
    refused = await speaker.refused("publish", sdp=offer(SCREEN), audioMid="0", videoMid="1")
    assert (refused.code, refused.extra) == (INVALID_OPERATION, PUBLISH_FORBIDDEN)
    assert "does not allow to send video" in refused.error["message"]
    await speaker.ask("publish", sdp=offer(SCREEN), audioMid="0")
    refused = await speaker.refused("publish", sdp=offer(SCREEN), streamType="auxiliary", videoMid="2")
    assert (refused.code, refused.extra) == (INVALID_OPERATION, AUXILIARY_FORBIDDEN)

    silent = await inside(server, "silent", COME_IN | SEND_VIDEO)
    refused = await silent.refused("publish", sdp=offer(), audioMid="0")
    assert (refused.code, refused.extra) == (INVALID_OPERATION, PUBLISH_FORBIDDEN)
    assert "does not allow to send audio" in refused.error["message"]
    await silent.ask("publish", sdp=offer(), videoMid="1")

    sharer = await inside(server, "sharer", COME_IN | SEND_SCREEN)
    await sharer.ask("publish", sdp=offer(SCREEN), streamType="auxiliary", videoMid="2")
    refused = await sharer.refused("publish", sdp=offer(SCREEN), videoMid="1")
    assert (refused.code, refused.extra) == (INVALID_OPERATION, PUBLISH_FORBIDDEN)
    for wire in (speaker, silent, sharer):
        await wire.close()


async def test_what_is_received_needs_its_privilege(server: RunningServer) -> None:
    host = await inside(server, "host", ALL)
    await host.ask("publish", sdp=offer(SCREEN), audioMid="0", videoMid="1")
    await host.ask("publish", sdp=offer(SCREEN), streamType="auxiliary", videoMid="2")

    listener = await inside(server, "listener", ENTER | RECEIVE_AUDIO)
    for wanted in ({"audio": False}, {"audio": False, "streamType": "auxiliary"}):
        refused = await listener.refused("subscribe", userId="host", **wanted)
        assert (refused.code, refused.extra) == (INVALID_OPERATION, SUBSCRIBE_FORBIDDEN)
        assert "does not allow to receive video" in refused.error["message"]
    await listener.ask("subscribe", userId="host")  # of both, the one that is allowed
    sections = (await downlink_offer(listener)).split("\r\nm=")[1:]
    assert [section.partition(" ")[0] for section in sections if "a=sendonly" in section] == ["audio"]

    viewer = await inside(server, "viewer", ENTER | RECEIVE_SCREEN)
    refused = await viewer.refused("subscribe", userId="host")
    assert (refused.code, refused.extra) == (INVALID_OPERATION, SUBSCRIBE_FORBIDDEN)
    await viewer.ask("subscribe", userId="host", streamType="auxiliary")

    watcher = await inside(server, "watcher", ENTER | RECEIVE_VIDEO)
    refused = await watcher.refused("subscribe", userId="host", video=False)
    assert (refused.code, refused.extra) == (INVALID_OPERATION, SUBSCRIBE_FORBIDDEN)
    await watcher.ask("subscribe", userId="host")
    for wire in (host, listener, viewer, watcher):
        await wire.close()


async def downlink_offer(wire: Wire) -> str:
    while True:
        event = await wire.event()
        if event["type"] == "downlink-offer":
            sdp: str = event["sdp"]
            return sdp


# Apps and logins that do not hold any more


@pytest.mark.parametrize(
    ("state", "code", "words"), [("suspended", SUSPENDED, "is suspended"), ("disabled", NEVER_ENABLED, "never enabled")]
)
async def test_an_app_that_is_not_active_lets_nobody_enter(
    server: RunningServer, state: str, code: int, words: str
) -> None:
    wire, login = await logged_in(server, "ann")
    await server.storage.change_app(server.app, state=state)
    assert words in await stays_out(wire, login, code, key=ticket(server, "ann"))
    await server.storage.change_app(server.app, state="active")
    await enter(wire, login, 1, ticket(server, "ann"))
    await wire.close()


async def test_a_usersig_that_expired_since_the_login_lets_nobody_enter(server: RunningServer) -> None:
    wire = await Wire.open(server)
    signed = int(time.time())
    short = server.user_sig("ann", expire=2)
    login = (await wire.ask("login", sdkAppId=server.app, userId="ann", userSig=short))["ticket"]
    await until(lambda: time.time() >= signed + 4)
    assert "it expired" in await stays_out(wire, login, USERSIG_INVALID, key=ticket(server, "ann"))
    await wire.close()


async def test_a_key_that_was_removed_since_the_login_lets_nobody_enter(server: RunningServer) -> None:
    wire, login = await logged_in(server, "ann")
    (old,) = await server.storage.keys(server.app)
    new = await server.storage.add_secret(server.app, now=int(time.time()))
    await server.storage.remove_key(server.app, old.id)
    key = ticket(server, "ann", key=new.value)
    assert "the key that signed it was taken away" in await stays_out(wire, login, USERSIG_INVALID, key=key)
    await wire.close()


async def test_a_kick_by_another_server_since_the_login_lets_nobody_enter(
    server: RunningServer, start_server: StartServer, tmp_path: Path
) -> None:
    wire, login = await logged_in(server, "ann")
    first = server.settings.data
    files = (
        {}
        if server.settings.database
        else {"database": str(first / "parlour.db"), "login_state": str(first / "login-state.db")}
    )
    # On the same stores, but it has no socket of ann that it could close.
    other = await start_server(data=tmp_path / "other", master_key_file=first / "master.key", **files)
    await done(other, "im_open_login_svc/kick", {"UserID": "ann"})
    assert "the user was kicked" in await stays_out(wire, login, USERSIG_INVALID, key=ticket(server, "ann"))
    again = (await wire.login(server, "ann"))["ticket"]
    await enter(wire, again, 1, ticket(server, "ann"))
    await wire.close()
