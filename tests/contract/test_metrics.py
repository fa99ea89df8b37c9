"""``GET /metrics`` of a running server: a call in numbers, whoever asks how often, whatever users are called."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from parlour.client import Client
from parlour.client.events import NetworkQuality
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from tests.cli import Beside, environment
from tests.peers.aiortc_peer import AiortcPeer
from tests.wire import Refused, Wire, offer

if TYPE_CHECKING:
    from tests.conftest import RunningServer, StartServer
    from tests.databases import AnyDatabase

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana-dashboard.json"
DEADLINE = 40.0
TOKEN = "0123456789abcdef"


class Scrape:
    """One answer, read as Prometheus reads it."""

    def __init__(self, text: str) -> None:
        self.text = text
        families = list(text_string_to_metric_families(text))
        self.names = {sample.name for family in families for sample in family.samples}
        self.families = {name for family in families for name in (family.name, f"{family.name}_total")}
        self._samples = [sample for family in families for sample in family.samples]

    def values(self, name: str, **labels: str) -> list[float]:
        """Those of the series with that name and those labels."""
        return [
            sample.value for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def total(self, name: str, **labels: str) -> float:
        """All of them together."""
        return sum(self.values(name, **labels))


async def scrape(server: RunningServer) -> Scrape:
    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.get("/metrics")
        assert answer.status_code == 200, answer.text
        return Scrape(answer.text)


async def until(server: RunningServer, holds: Callable[[Scrape], bool]) -> Scrape:
    """Scrape until that holds."""
    deadline = time.monotonic() + DEADLINE
    while True:
        seen = await scrape(server)
        if holds(seen):
            return seen
        assert time.monotonic() < deadline, seen.text
        await asyncio.sleep(0.2)


async def peer(server: RunningServer, user_id: str, room: int | str = 1) -> AiortcPeer:
    made = AiortcPeer(server.url)
    await made.join(server.app, user_id, server.user_sig(user_id), room)
    return made


async def test_a_call_is_told_by_room_link_and_stream_and_to_its_clients(server: RunningServer) -> None:
    ann, bob, eve = await peer(server, "ann"), await peer(server, "bob"), await peer(server, "eve")
    try:
        await ann.publish(AudioStreamTrack(), VideoStreamTrack())
        await bob.expect(lambda event: event["type"] == "stream-added")
        await bob.subscribe("ann")
        video = await bob.track("ann", "video")
        async with asyncio.timeout(DEADLINE):
            for _ in range(30):
                await video.recv()
        of_ann = {"app": str(server.app), "room": "1", "user": "ann"}
        picture = of_ann | {"stream": "main", "kind": "video"}
        seen = await until(
            server,
            lambda seen: (
                seen.total("parlour_stream_forwarded_frames_total", **picture) >= 30
                and seen.values("parlour_link_quality", user="bob", link="downlink") not in ([], [0])
                and seen.values("parlour_link_quality", user="ann", link="uplink") not in ([], [0])
            ),
        )
        assert seen.values("parlour_room_members", app=str(server.app), room="1") == [3]
        assert seen.values("parlour_room_streams", app=str(server.app), room="1") == [1]
        assert seen.total("parlour_stream_bytes_total", **picture) > 2_000
        assert seen.values("parlour_stream_subscribers", **picture, state="receiving") == [1]
        assert seen.total("parlour_stream_subscribers", **picture) == 1
        assert seen.total("parlour_stream_packets_total", **of_ann, kind="audio") > 10
        assert seen.total("parlour_link_received_bytes_total", **of_ann, link="uplink") > 5_000
        assert seen.total("parlour_link_sent_bytes_total", user="bob", link="downlink") > 5_000
        (round_trip,) = seen.values("parlour_link_rtt_seconds", user="bob", link="downlink")
        assert 0 < round_trip < 2
        forwarded = seen.total("parlour_forwarding_seconds_count")
        assert forwarded >= seen.total("parlour_stream_forwarded_packets_total") > 60
        assert seen.total("parlour_forwarding_seconds_bucket", le="1") > 0.5 * forwarded
        assert 0 < seen.total("parlour_forwarding_seconds_sum") < forwarded
        assert (seen.total("parlour_joins_total"), seen.total("parlour_logins_total", result="ok")) == (3, 3)
        assert (seen.total("parlour_sessions"), seen.total("parlour_signaling_sockets")) == (3, 3)
        assert seen.total("parlour_links", link="downlink") == 1
        told = await bob.expect(lambda event: event["type"] == "network-quality" and event["downlinkQuality"] != 0)
        assert 1 <= told["downlinkQuality"] <= 5
        assert told["uplinkQuality"] == 0, "bob sends nothing"
        assert not [event for event in eve.seen if event["type"] == "network-quality"], "eve has no media"
    finally:
        for one in (eve, bob, ann):
            await one.close()
    gone = await until(
        server, lambda seen: seen.total("parlour_rooms") == 0 and not seen.values("parlour_room_members")
    )
    assert not gone.values("parlour_link_quality")
    assert gone.total("parlour_links") == 0


async def test_a_scrape_every_10_ms_costs_copies_only(server: RunningServer) -> None:
    before = await scrape(server)
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=server.url) as client:

        async def scrapes() -> None:
            for _ in range(50):
                answer = await client.get("/metrics", headers={"Accept": "text/plain"})
                assert answer.status_code == 200
                await asyncio.sleep(0.01)

        await asyncio.gather(*(scrapes() for _ in range(8)))
    seconds = time.monotonic() - began
    await asyncio.sleep(1.01)
    after = await scrape(server)
    assert after.total("parlour_scrapes_total") - before.total("parlour_scrapes_total") == 401
    made = after.total("parlour_expositions_total") - before.total("parlour_expositions_total")
    assert made <= seconds + 3, f"{made} texts in {seconds} s"


async def test_refusals_are_counted_by_their_codes(server: RunningServer) -> None:
    for _ in range(3):
        wire = await Wire.open(server)
        with pytest.raises(Refused):
            await wire.ask("login", sdkAppId=server.app, userId="ann", userSig="wrong")
        await wire.close()
    seen = await until(server, lambda seen: seen.total("parlour_logins_total", result="70003") == 3)
    assert seen.total("parlour_requests_refused_total", request="login", code="0x4001", extra_code="70003") == 3
    assert seen.total("parlour_logins_total", result="ok") == 0


async def test_connections_for_media_are_counted_with_why_they_ended(server: RunningServer) -> None:
    """RFC 4571: two bytes of length, and the frame. This one is no check of anybody's."""
    port = server.media.ports[0]
    shard = {"shard": "0"}
    before = await scrape(server)
    assert before.values("parlour_shard_tcp_connections", **shard) == [0]
    assert before.values("parlour_shard_tcp_accepted_total", **shard) == [0]
    silent, speaking = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    await until(server, lambda seen: seen.values("parlour_shard_tcp_strangers", **shard) == [2])
    speaking[1].write(b"\x00\x08nonsense")
    assert await asyncio.wait_for(speaking[0].read(), DEADLINE) == b""
    seen = await until(server, lambda seen: seen.values("parlour_shard_tcp_connections", **shard) == [1])
    assert seen.values("parlour_shard_tcp_accepted_total", **shard) == [2]
    assert seen.values("parlour_shard_tcp_ended_total", **shard, reason="not-a-check") == [1]
    assert seen.values("parlour_shard_received_bytes_total", **shard, protocol="tcp") == [0]
    for _, writer in (silent, speaking):
        writer.close()
    await until(server, lambda seen: seen.values("parlour_shard_tcp_connections", **shard) == [0])


async def test_a_hostile_name_is_a_label_and_nothing_else(server: RunningServer) -> None:
    names = ['x"} 1\nparlour_joins_total 999\n#', "\\", "\u202e\x1b[2J", "other", "日本"]
    wires = []
    for name in names:
        wire = await Wire.open(server)
        wires.append(wire)
        ticket = (await wire.login(server, name))["ticket"]
        await wire.ask("enter", ticket=ticket, roomId="{} | other", stringRoom=True)
        await wire.ask("publish", sdp=offer(), audioMid="0")
    seen = await until(server, lambda seen: seen.total("parlour_room_members", room='"{} | other"') == len(names))
    assert seen.total("parlour_joins_total") == len(names)
    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        strict = {family.name for family in open_metrics(answer.text)}
    assert "parlour_joins" in strict
    for wire in wires:
        await wire.close()


async def test_the_metrics_are_for_this_machine_or_for_who_has_the_token(start_server: StartServer) -> None:
    server = await start_server(metrics__token=TOKEN, trusted_proxies="127.0.0.1")
    async with httpx.AsyncClient(base_url=server.url) as client:
        from_proxy = await client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"})
        assert from_proxy.status_code == 401
        assert "metrics.token" in from_proxy.text
        assert from_proxy.headers["www-authenticate"].startswith("Bearer")
        unnamed = await client.get("/metrics")
        assert (unnamed.status_code, "trusted_proxies" in unnamed.text) == (401, True)
        wrong = await client.get("/metrics", headers={"Authorization": "Bearer 0123456789abcdeg"})
        assert wrong.status_code == 401
        right = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "198.51.100.1"}
        assert (await client.get("/metrics", headers=right)).status_code == 200
        assert (await client.post("/metrics", headers=right)).status_code == 405


async def test_without_a_token_a_proxy_gets_nothing_and_switched_off_there_is_nothing(
    start_server: StartServer,
) -> None:
    server = await start_server()
    async with httpx.AsyncClient(base_url=server.url) as client:
        for field in ("X-Forwarded-For", "Forwarded", "Via"):
            answer = await client.get("/metrics", headers={field: "198.51.100.1"})
            assert (answer.status_code, "this machine alone" in answer.text) == (403, True)
        assert (await client.get("/metrics", headers={"Host": "evil.example"})).status_code == 403
        assert (await client.get("/metrics")).status_code == 200
    await server.stop()
    off = await start_server(metrics__enabled=False)
    async with httpx.AsyncClient(base_url=off.url) as client:
        assert (await client.get("/metrics")).status_code == 404


def expressions(panel: Any) -> list[str]:
    """The queries of a panel and of those in it."""
    own = [target["expr"] for target in panel.get("targets", ())]
    return own + [one for inner in panel.get("panels", ()) for one in expressions(inner)]


WORDS = {
    *("sum", "rate", "by", "le", "max", "topk", "histogram_quantile", "clamp_min", "increase", "without", "on", "or"),
    *("max_over_time", "avg", "group_left", "ignoring", "count", "min", "and", "bool", "unless", "label_values"),
}


async def test_every_metric_that_the_dashboard_asks_for_is_exposed(server: RunningServer) -> None:
    seen = await scrape(server)
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = [one for panel in dashboard["panels"] for one in expressions(panel)]
    queries += [one["query"]["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    assert len(queries) > 15
    for query in queries:
        bare = re.sub(r'"[^"]*"|\[[^]]*\]|\{[^}]*\}|\b(?:by|on|without|group_left|ignoring)\s*\([^)]*\)', " ", query)
        named = set(re.findall(r"\b[a-z_]+(?:_[a-z]+)+\b", bare)) - WORDS
        assert named, query
        for name in named:
            histogram = re.sub(r"_(bucket|count|sum)$", "", name)
            assert {name, histogram} & (seen.families | seen.names), f"{name} of {query} is not exposed"


async def test_parlour_top_shows_rooms_and_links_and_says_why_it_cannot(
    start_server: StartServer, tmp_path: Path, database: AnyDatabase
) -> None:
    beside = Beside(environment(tmp_path, tmp_path / "data", database))
    server = await start_server(metrics__token=TOKEN, trusted_proxies="127.0.0.1")
    wire = await Wire.open(server)
    ticket = (await wire.login(server, "ann \x1b[2J"))["ticket"]
    await wire.ask("enter", ticket=ticket, roomId=5)
    await wire.ask("publish", sdp=offer(), audioMid="0")
    seen = await beside.good("top", server.url, "--token", TOKEN)
    while not seen["links"]:
        await asyncio.sleep(0.2)
        seen = await beside.good("top", server.url, "--token", TOKEN)
    assert [(room["room"], room["users"], room["streams"]) for room in seen["rooms"]] == [("5", 1, 1)]
    assert seen["links"][0]["user"] == "ann \\u{1b}[2J"
    shown = await beside("top", server.url, "--token", TOKEN, "--once")
    assert shown.status == 0 and "uplink" in shown.out and "\x1b[2J" not in shown.out
    refused = await beside("top", server.url, "--token", "another-token-of-16")
    assert (refused.status, "That is not the token" in refused.err) == (1, True)
    nobody = await beside("top", "http://127.0.0.1:9")
    assert (nobody.status, "does not answer" in nobody.err) == (1, True)
    await wire.close()


async def test_the_python_client_hears_how_its_links_are(server: RunningServer) -> None:
    ann = await peer(server, "ann")
    try:
        await ann.publish(AudioStreamTrack())
        async with Client(server.url, server.app, "pat", server.user_sig("pat")) as pat, asyncio.timeout(DEADLINE):
            await pat.join(1)
            await pat.subscribe("ann", video=False)
            async for event in pat.events():
                if isinstance(event, NetworkQuality) and event.downlink_quality:
                    break
        assert 1 <= event.downlink_quality <= 5
        assert (event.uplink_quality, event.uplink_rtt, event.uplink_loss) == (0, 0, 0), "pat sends nothing"
    finally:
        await ann.close()
