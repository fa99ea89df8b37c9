"""Where the calls of third-party verification go: addresses, names, certificates, and the URLs that may be set."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from parlour.accounts.refusal import AccountRefusedError
from parlour.accounts.verification import CredentialJudge, VerificationSettings, checked_endpoint_url, checked_issuer
from parlour.accounts.verification.addresses import objection
from parlour.accounts.verification.client import SystemResolver
from structlog.testing import capture_logs

from tests.peers.https_peer import reply
from tests.peers.third_parties import APP, CREDENTIAL, FAILED, Parties, at, refusal, until


@pytest.fixture
async def parties(tmp_path: Path) -> AsyncIterator[Parties]:
    async with AsyncExitStack() as stack:
        yield Parties(stack, tmp_path)


# Certificates and connections


@pytest.mark.parametrize(
    ("names", "days", "phrase"),
    [
        (["elsewhere.example"], (-1, 30), "a certificate that is made for another host name"),
        (["127.0.0.1"], (-1, 30), "a certificate that is made for another host name"),
        (["localhost"], (-30, -1), "not trusted: certificate has expired"),
        (["localhost"], (1, 30), "not trusted: certificate is not yet valid"),
    ],
)
async def test_a_bad_certificate_is_70018_and_no_request_is_made(
    parties: Parties, names: list[str], days: tuple[int, int], phrase: str
) -> None:
    peer = await parties.peer(reply({"ok": True}), parties.authority.context(*names, days=days))
    refused = await refusal(parties.judge(), at(peer.url()))
    assert refused.code == FAILED
    assert phrase in refused.detail
    assert peer.requests == []


async def test_a_certificate_of_an_authority_nobody_named_is_70018(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": True}))
    refused = await refusal(parties.judge(trusted=False), at(peer.url()))
    assert refused.code == FAILED
    assert "a certificate that is not trusted: unable to get local issuer certificate" in refused.detail
    assert peer.requests == []


async def test_a_server_without_tls_is_70018(parties: Parties) -> None:
    async def answer_in_the_clear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer_in_the_clear, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        refused = await refusal(parties.judge(), at(f"https://localhost:{port}/"))
    assert refused.code == FAILED
    assert refused.detail == "the verification endpoint does not speak TLS that can be used"


async def test_a_port_where_nobody_listens_is_70018(parties: Parties) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    refused = await refusal(parties.judge(), at(f"https://localhost:{port}/"))
    assert refused.code == FAILED
    assert refused.detail == "the verification endpoint cannot be reached: it takes no connection"


async def test_a_name_without_an_address_is_70018(parties: Parties) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    refused = await refusal(parties.judge(resolve=resolve), at("https://nowhere.example/"))
    assert refused.code == FAILED
    assert refused.detail == "the verification endpoint cannot be reached: its host name has no address"


async def test_the_environment_names_no_proxy(parties: Parties, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = await parties.plain_peer(reply({"ok": True}))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    peer = await parties.peer(reply({"ok": True}))
    await parties.judge().judge(APP, "ann", CREDENTIAL, at(peer.url()))
    assert (len(peer.requests), proxy.connections) == (1, 0)


async def test_an_ipv6_address_in_the_url_works(parties: Parties) -> None:
    try:
        peer = await parties.peer(reply({"ok": True}), address="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    await parties.judge().judge(APP, "ann", CREDENTIAL, at(peer.url(host="[::1]")))
    assert peer.requests[0].headers["host"] == f"[::1]:{peer.port}"


def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    absent, wrong = tmp_path / "absent.pem", tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for path, phrase in ((absent, "cannot be read: No such file"), (wrong, "holds no certificate in PEM")):
        with pytest.raises(ValueError, match=phrase) as caught:
            CredentialJudge(VerificationSettings(ca_file=path), time.time)
        assert str(path) in str(caught.value)


# Addresses

REFUSED_ALWAYS = [
    "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "::ffff:168.63.129.16",
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "192.0.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9",
    "192.88.99.1", "::", "fe80::1", "fe80::1%1", "febf::1", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1", "3fff::1",
    "100::1", "5f00::1", "4000::1", "64:ff9b:1::1", "2001::1", "2001:2::1", "::ffff:0.0.0.0",
    "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::169.254.169.254", "64:ff9b::169.254.169.254",
    "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:5601:5601", "::8.8.8.8", "2001::f7f7:f7f7",
    "::ffff:224.0.0.1",
]  # fmt: skip
REFUSED_UNLESS_ALLOWED = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "100.127.255.255", "::1", "fc00::1", "fdff::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.1.2.3",
    "64:ff9b::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::c0a8:1", "2002:7f00:1::", "2002:c0a8:101::1",
    "2002:0a00:0001::",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "1.1.1.1", "172.32.0.1", "172.15.0.1", "100.63.255.255", "100.128.0.1", "169.253.0.1", "192.167.1.1",
    "223.255.255.254", "2606:4700:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED_ALWAYS)
def test_reserved_and_link_local_addresses_are_refused_whatever_is_allowed(address: str) -> None:
    assert objection(ip_address(address), allow_private=False)
    assert objection(ip_address(address), allow_private=True)


@pytest.mark.parametrize("address", REFUSED_UNLESS_ALLOWED)
def test_private_addresses_are_refused_unless_allowed(address: str) -> None:
    assert objection(ip_address(address), allow_private=False)
    assert objection(ip_address(address), allow_private=True) is None


@pytest.mark.parametrize("address", ["::127.0.0.1", "2001:0:4136:e378:8000:63bf:80ff:fffe"])
def test_addresses_of_dead_tunnels_are_refused_even_to_allowed_places(address: str) -> None:
    assert objection(ip_address(address), allow_private=False) == "a loopback address"
    assert objection(ip_address(address), allow_private=True) == "an address of a tunnel that is out of use"


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_not_refused(address: str) -> None:
    assert objection(ip_address(address), allow_private=False) is None


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "0", "[::1]",
     "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::]",
     "10.0.0.1", "169.254.169.254", "[fe80::1]", "100.64.0.1"],
)  # fmt: skip
async def test_every_spelling_of_a_place_of_our_own_is_70018_without_a_connection(parties: Parties, host: str) -> None:
    peer = await parties.peer(reply({"ok": True}))
    refused = await refusal(parties.judge(allow_private=False), at(peer.url(host=host)))
    assert refused.code == FAILED
    assert refused.detail == "the verification endpoint has no address that this server may connect to"
    assert peer.connections == 0


async def test_the_address_that_was_refused_is_in_the_log_and_not_in_the_answer(parties: Parties) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["10.11.12.13"]

    with capture_logs() as lines, pytest.raises(AccountRefusedError) as caught:
        judge = parties.judge(allow_private=False, resolve=resolve)
        await judge.judge(APP, "ann", CREDENTIAL, at("https://inside.example/"))
    assert "10.11.12.13" not in caught.value.detail
    assert "10.11.12.13 is a private address" in lines[0]["reason"]
    assert lines[0]["host"] == "inside.example"


class Names:
    """A resolver whose answers change from one question to the next."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.questions: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.questions.append(host)
        return self.answers.pop(0)


async def test_the_connection_goes_to_the_address_that_was_checked_and_tls_names_the_host(parties: Parties) -> None:
    context = parties.authority.context("login.example")
    peer = await parties.peer(reply({"ok": True}, Connection="close"), context)
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    judge = parties.judge(resolve=names)
    how = at(peer.url(host="login.example"))
    await judge.judge(APP, "ann", CREDENTIAL, how)
    assert names.questions == ["login.example"]  # asked once: there is no second answer to be fooled by
    assert peer.names == ["login.example"]
    assert peer.requests[0].headers["host"] == f"login.example:{peer.port}"

    refused = await refusal(judge, how)  # the name has moved
    assert refused.code == FAILED
    assert peer.connections == 1


async def test_of_several_addresses_only_allowed_ones_are_tried(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": True}))
    names = Names(["169.254.169.254", "::ffff:169.254.169.254", "127.0.0.1"])
    await parties.judge(resolve=names).judge(APP, "ann", CREDENTIAL, at(peer.url()))
    assert peer.connections == 1


async def test_an_address_that_takes_no_connection_leaves_the_next_one_to_try(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": True}))
    await parties.judge(resolve=Names(["127.9.9.9", "127.0.0.1"])).judge(APP, "ann", CREDENTIAL, at(peer.url()))
    assert peer.connections == 1


# What may be set


@pytest.mark.parametrize(
    ("given_url", "kept"),
    [
        (" https://Auth.Example.com ", "https://auth.example.com/"),
        ("https://auth.example.com:8443/check?a=B%20c", "https://auth.example.com:8443/check?a=B%20c"),
        ("https://[2001:DB8::1]:1/x", "https://[2001:db8::1]:1/x"),
        ("HTTPS://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
    ],
)
def test_endpoint_urls_that_can_be_used(given_url: str, kept: str) -> None:
    assert checked_endpoint_url(given_url) == kept


BAD_URLS = {
    "": "is empty",
    "http://auth.example.com/": "begins with http:. Only https is used",
    "auth.example.com/check": "has no scheme",
    "file:///etc/passwd": "begins with file:",
    "https://": "no host name",
    "https:///path": "no host name",
    "https://user:hunter2@auth.example.com/": "user name or a password",
    "https://auth.example.com@169.254.169.254/": "user name or a password",
    "https://auth.example.com/#part": "a fragment",
    "https://auth.example.com:0/": "no port from 1 to 65535",
    "https://auth.example.com:/": "no port from 1 to 65535",
    "https://auth.example.com:99999/": "is not a URL",
    "https://auth.example.com:x/": "is not a URL",
    "https://auth example.com/": "holds a space",
    "https://auth.example.com/\r\nHost: x": "a control character",
    "https://auth.example.com\\@evil.example/": "a backslash",
    "https://bücher.example/": "a letter outside ASCII",
    "https://auth..example/": "no host name",
    "https://.example/": "no host name",
    "https://auth.example./": "no host name",
    "https://-auth.example/": "no host name",
    "https://%31%32%37.0.0.1/": "no host name",
    "https://[fe80::1%25eth0]/": "no host name",
    "https://[::1": "is not a URL",
    "https://" + "a" * 64 + ".example/": "no host name",
    "https://auth.example/" + "a" * 2048: "2048 are allowed",
}


@pytest.mark.parametrize("url", BAD_URLS)
def test_endpoint_urls_and_issuers_that_cannot_be_used_are_refused_with_a_sentence(url: str) -> None:
    for check in (checked_endpoint_url, checked_issuer):
        with pytest.raises(ValueError, match=re.escape(BAD_URLS[url])) as caught:
            check(url)
        assert str(caught.value).endswith(".")
        assert "hunter2" not in str(caught.value)


def test_an_issuer_stays_as_it_was_written_and_has_no_query() -> None:
    assert checked_issuer(" https://ID.example.com/realms/a/ ") == "https://ID.example.com/realms/a/"
    with pytest.raises(ValueError, match="has a query part"):
        checked_issuer("https://id.example.com/?tenant=7")


async def test_a_stored_url_that_was_never_checked_is_not_called_without_tls(parties: Parties) -> None:
    peer = await parties.plain_peer(reply({"ok": True}))
    refused = await refusal(parties.judge(), at(f"http://localhost:{peer.port}/"))
    assert (refused.code, peer.connections) == (FAILED, 0)
    assert refused.detail == "the verification endpoint has an address that is not used"


@pytest.mark.parametrize("wrong", [{"timeout": 0.0}, {"timeout": -1.0}, {"max_answer_bytes": 0}])
def test_settings_without_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="0"):
        VerificationSettings(**wrong)


async def test_an_address_that_swallows_packets_leaves_time_for_the_next_one(parties: Parties) -> None:
    peer = await parties.peer(reply({"ok": True}))
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.2", peer.port), backlog=0))
        for _ in range(4):  # its queue is full: what comes now is not even refused
            queued = stack.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex(silent.getsockname())
        judge = parties.judge(timeout=2.0, resolve=Names(["127.0.0.2", "127.0.0.1"]))
        await judge.judge(APP, "ann", CREDENTIAL, at(peer.url()))
    assert peer.connections == 1


async def test_look_ups_of_one_name_are_shared_and_hold_up_no_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    answered = threading.Event()

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        if host == "stuck.example":
            answered.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    resolver = SystemResolver()
    try:
        waiting = [asyncio.create_task(resolver("stuck.example", 443)) for _ in range(100)]
        await until(lambda: asked == ["stuck.example"])
        waiting[0].cancel()
        assert await resolver("quick.example", 443) == ["192.0.2.1"]
        answered.set()
        assert await asyncio.gather(*waiting[1:]) == [["192.0.2.1"]] * 99
        assert asked == ["stuck.example", "quick.example"]
    finally:
        answered.set()
        resolver.close()
