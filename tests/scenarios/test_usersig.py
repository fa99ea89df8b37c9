"""Codes of a UserSig, over the signaling WebSocket."""

from __future__ import annotations

import time

import TLSSigAPIv2
from parlour.usersig import sign_v1

from tests.conftest import RunningServer
from tests.scenarios.calls import ADMIN, IMPORT, refused_call, refused_login
from tests.scenarios.conftest import Unchanged
from tests.scenarios.registry import scenario
from tests.unit.usersigs import ec_keys, gzipped, members_v1, members_v2, pack
from tests.wire import Wire

HOUR = 3600


def now() -> int:
    return int(time.time())


def members(server: RunningServer, *, drop: tuple[str, ...] = (), **changes: object) -> dict[str, object]:
    """The members of a UserSig for ann that is good but for the changes, which are signed along."""
    good: dict[str, object] = {"identifier": "ann", "sdkappid": server.app, "time": now()}
    return members_v2(key=server.key, drop=drop, **(good | changes))


@scenario(
    70001,
    cause="The lifetime of the UserSig is over.",
    how="Logs in with a UserSig of one minute that was signed an hour ago, and with one whose lifetime is 0; an"
    " administrator calls the REST with such a one.",
    part="UserSig check",
)
async def test_a_usersig_that_expired(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    async with unchanged():
        old = server.user_sig("ann", expire=60, age=HOUR)
        assert "expired 59 min" in await refused_login(wire, server, 70001, userSig=old)
        assert "0" in await refused_login(wire, server, 70001, userSig=server.user_sig("ann", expire=0))
        old = server.user_sig(ADMIN, expire=60, age=HOUR)
        answer = await refused_call(server, 70001, IMPORT, {"UserID": "bob"}, usersig=old)
    assert "expired 59 min" in answer["ErrorInfo"]
    await wire.login(server, "ann")


@scenario(
    70002,
    cause="The client logs in without a UserSig.",
    how="Logs in with an empty UserSig, and with none.",
    part="UserSig check",
)
async def test_no_usersig(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    async with unchanged():
        assert "empty" in await refused_login(wire, server, 70002, userSig="")
        refused = await wire.refused("login", sdkAppId=server.app, userId="ann")
    assert refused.extra == 70002
    await wire.login(server, "ann")


@scenario(
    70003,
    cause="The UserSig is no text in its base64 alphabet: it was cut off, or characters were changed on the way.",
    how="Logs in with a good UserSig whose last character was cut off, and with one that ends in = like other base64.",
    part="UserSig check",
)
async def test_a_usersig_that_was_cut_off(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    good = server.user_sig("ann")
    async with unchanged():
        await refused_login(wire, server, 70003, userSig=good[:-1])
        await refused_login(wire, server, 70003, userSig=good[:-1] + "=")
    await wire.login(server, "ann")


@scenario(
    70004,
    cause="Under its base64 the UserSig is not one complete zlib stream, or it unpacks to more than 64 KiB.",
    how="Logs in with the first 40 characters of a good UserSig, with one that was packed by gzip, and with one that"
    " unpacks to 10 MB.",
    part="UserSig check",
)
async def test_a_usersig_that_does_not_unpack(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    async with unchanged():
        assert "zlib" in await refused_login(wire, server, 70004, userSig=server.user_sig("ann")[:40])
        assert "does not begin like a zlib" in await refused_login(
            wire, server, 70004, userSig=gzipped(members(server))
        )
        assert "65536" in await refused_login(wire, server, 70004, userSig=pack(b" " * 10_000_000))
    await wire.login(server, "ann")


@scenario(
    70005,
    cause="What is packed in the UserSig is not JSON, or names a member twice.",
    how="Logs in with a sentence instead of JSON, with an identifier that is there twice, and with a version 1 UserSig"
    " that lacks a signed member.",
    part="UserSig check",
)
async def test_a_usersig_that_is_not_json(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    twice = pack(b'{"TLS.ver":"2.0","TLS.identifier":"bob","TLS.identifier":"ann"}')
    async with unchanged():
        assert "JSON" in await refused_login(wire, server, 70005, userSig=pack(b"this is ann"))
        assert "twice" in await refused_login(wire, server, 70005, userSig=twice)
        lacking = pack(members_v1(drop=("TLS.identifier",)))
        assert "TLS.identifier" in await refused_login(wire, server, 70005, userSig=lacking)
    await wire.login(server, "ann")


@scenario(
    70006,
    cause="What is packed in the UserSig is JSON, but not an object.",
    how="Logs in with a list of the right members, and with a number.",
    part="UserSig check",
)
async def test_a_usersig_that_is_no_object(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    async with unchanged():
        assert "object" in await refused_login(wire, server, 70006, userSig=pack([members(server)]))
        assert "object" in await refused_login(wire, server, 70006, userSig=pack(7))
    await wire.login(server, "ann")


@scenario(
    70007,
    cause="The signature inside the UserSig is not base64.",
    how="Logs in with a UserSig whose TLS.sig holds a character that base64 has not.",
    part="UserSig check",
)
async def test_a_usersig_whose_signature_is_not_base64(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    broken = pack(members(server) | {"TLS.sig": "?" * 44})
    async with unchanged():
        assert "TLS.sig" in await refused_login(wire, server, 70007, userSig=broken)
    await wire.login(server, "ann")


@scenario(
    70008,
    cause="A required member of the UserSig is missing or of the wrong type.",
    how="Logs in with UserSigs that lack one member each, and with one whose sdkAppId is a text.",
    part="UserSig check",
)
async def test_a_usersig_that_lacks_a_member(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    async with unchanged():
        for name in ("TLS.identifier", "TLS.sdkappid", "TLS.expire", "TLS.time", "TLS.sig"):
            broken = pack(members(server, drop=(name,)))
            assert name in await refused_login(wire, server, 70008, userSig=broken)
        quoted = pack(members(server) | {"TLS.sdkappid": str(server.app)})
        assert "TLS.sdkappid" in await refused_login(wire, server, 70008, userSig=quoted)
    await wire.login(server, "ann")


@scenario(
    70009,
    cause="The signature was made with another key than the app's.",
    how="Logs in with UserSigs that a published signer made with another key, and with one whose lifetime was"
    " stretched after it was signed.",
    part="UserSig check",
)
async def test_a_usersig_of_another_key(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    forged = TLSSigAPIv2.TLSSigAPIv2(server.app, "?" * 64).gen_sig("ann", HOUR)
    stretched = pack(members(server, expire=HOUR) | {"TLS.expire": 100 * HOUR})
    async with unchanged():
        assert f"app {server.app}" in await refused_login(wire, server, 70009, userSig=forged)
        assert f"app {server.app}" in await refused_login(wire, server, 70009, userSig=stretched)
    good = TLSSigAPIv2.TLSSigAPIv2(server.app, server.key).gen_sig("ann", HOUR)
    await wire.ask("login", sdkAppId=server.app, userId="ann", userSig=good)


@scenario(
    70010,
    cause="The time in the UserSig is no whole number or lies ahead of the server's clock, or its version is unknown.",
    how="Logs in with a UserSig from tomorrow, with one whose time is a date, and with one of version 3.0.",
    part="UserSig check",
)
async def test_a_usersig_of_another_time_or_version(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    tomorrow = pack(members(server, time=now() + 24 * HOUR))
    dated = pack(members(server) | {"TLS.time": "2026-01-01"})
    newer = pack(members(server) | {"TLS.ver": "3.0"})
    async with unchanged():
        assert "TLS.time" in await refused_login(wire, server, 70010, userSig=tomorrow)
        assert "TLS.time" in await refused_login(wire, server, 70010, userSig=dated)
        assert "3.0" in await refused_login(wire, server, 70010, userSig=newer)
    await wire.login(server, "ann")


@scenario(
    70013,
    cause="The UserSig was made for another user.",
    how="ann logs in with the UserSig of bob, and Ann with that of ann.",
    part="UserSig check",
)
async def test_the_usersig_of_somebody_else(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    async with unchanged():
        assert "bob" in await refused_login(wire, server, 70013, "ann", userSig=server.user_sig("bob"))
        text = await refused_login(wire, server, 70013, "Ann", userSig=server.user_sig("ann"))
    assert "Ann" in text
    assert "ann" in text
    await wire.login(server, "Ann")


@scenario(
    70014,
    cause="The UserSig was made for another app.",
    how="Logs in at one app with a UserSig that was made for another app, with that app's key.",
    part="UserSig check",
)
async def test_the_usersig_of_another_app(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    other = await server.storage.create_app(1400000002, now=now())
    user_sig = TLSSigAPIv2.TLSSigAPIv2(other.sdk_app_id, other.keys.secrets[0]).gen_sig("ann", HOUR)
    async with unchanged():
        assert "1400000002" in await refused_login(wire, server, 70014, userSig=user_sig)
    await wire.ask("login", sdkAppId=other.sdk_app_id, userId="ann", userSig=user_sig)


@scenario(
    70016,
    cause="The UserSig is of version 1 (ECDSA), and the app has no public key.",
    how="Logs in with a version 1 UserSig before the app has the public key for it, and again afterwards.",
    part="UserSig check",
)
async def test_version_1_without_a_public_key(server: RunningServer, wire: Wire, unchanged: Unchanged) -> None:
    private, public = ec_keys()
    user_sig = sign_v1(server.app, "ann", private, now=now())
    async with unchanged():
        assert "public key" in await refused_login(wire, server, 70016, userSig=user_sig)
    await server.storage.add_public_key(server.app, public, now=now())
    await wire.ask("login", sdkAppId=server.app, userId="ann", userSig=user_sig)
