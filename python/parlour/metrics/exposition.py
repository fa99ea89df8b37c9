"""The text that Prometheus reads, made at most once a second however often it is asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from parlour.metrics.collector import Collector
from parlour.metrics.figures import Link
from parlour.metrics.health import LoopHealth
from parlour.metrics.links import links, rooms
from parlour.metrics.shards import shards
from parlour.metrics.streams import streams
from parlour.signaling.service import SignalingService

LINKS: tuple[Link, ...] = ("uplink", "downlink")

KEPT = 1.0
"""Seconds for which a text is given out again."""


@dataclass(frozen=True)
class Sources:
    """Where the numbers come from."""

    service: SignalingService
    collector: Collector
    loop: LoopHealth
    connections: Callable[[], int]
    version: str


class Exposition:
    """All that is exposed. Every family is there from the start, with or without samples."""

    def __init__(self, sources: Sources, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sources = sources
        self._clock = clock
        self._process = CollectorRegistry(auto_describe=False)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._process)
        self._texts: dict[str, tuple[float, bytes]] = {}
        self.made = 0
        """How many texts were made; the others were given out again."""
        self.asked = 0

    async def text(self, accept: str) -> tuple[bytes, str]:
        """The text and its media type, in the format that ``accept`` asks for: Prometheus' own, or OpenMetrics."""
        self.asked += 1
        encode, content_type = choose_encoder(accept)
        text = self._kept(content_type)
        if text is not None:
            return text, content_type
        async with self._sources.collector.lock:
            text = self._kept(content_type)  # whoever waited for the lock too may have made it
            if text is None:
                now = self._clock()
                self.made += 1
                of_the_loop = [*self._signaling(), *self._loop()]
                text = await asyncio.to_thread(lambda: encode(_Collected([*of_the_loop, *self._figures()])))
                # There are as many formats as the library knows: a few.
                self._texts[content_type] = (now, text)
        return text, content_type

    def _kept(self, content_type: str) -> bytes | None:
        kept = self._texts.get(content_type)
        return kept[1] if kept is not None and self._clock() - kept[0] < KEPT else None

    def _figures(self) -> Iterator[Metric]:
        """What takes time, and may be read in a thread while the collector's lock is held."""
        yield from self._media()
        yield from rooms(self._sources.collector.figures)
        yield from links(self._sources.collector.figures)
        yield from streams(self._sources.collector.figures)
        yield from self._process.collect()

    def _signaling(self) -> Iterator[Metric]:
        yield InfoMetricFamily("parlour_build", "The server's version.", value={"version": self._sources.version})
        service = self._sources.service
        requests = service.tallies.requests
        done = CounterMetricFamily("parlour_requests", "Signaling requests that were carried out.", labels=["request"])
        refused = CounterMetricFamily(
            "parlour_requests_refused",
            "Signaling requests that were refused, by the SDK's code and the account or room code behind it.",
            labels=["request", "code", "extra_code"],
        )
        logins = CounterMetricFamily(
            "parlour_logins", "Logins by their result: ok, or the code of the refusal.", labels=["result"]
        )
        by_result: dict[str, int] = {"ok": 0}
        joins = 0
        for (request, code, extra), count in requests.items():
            if code == 0:
                done.add_metric([request], count)
                joins += count if request == "enter" else 0
            else:
                refused.add_metric([request, _code(code), str(extra)], count)
            if request == "login":
                result = "ok" if code == 0 else str(extra or _code(code))
                by_result[result] = by_result.get(result, 0) + count
        for result, count in by_result.items():
            logins.add_metric([result], count)
        yield from (done, refused, logins)
        yield CounterMetricFamily("parlour_joins", "Rooms entered by users.", value=joins)
        yield GaugeMetricFamily("parlour_signaling_sockets", "Signaling sockets that are open.", value=service.sockets)
        yield GaugeMetricFamily("parlour_rooms", "Rooms with somebody in them.", value=len(service.rooms))
        sessions = detached = 0
        for room in service.rooms:
            for member in room.members:
                sessions += 1
                detached += member.session.channel is None
        yield GaugeMetricFamily("parlour_sessions", "Users in rooms, each counted once a room.", value=sessions)
        yield GaugeMetricFamily(
            "parlour_sessions_detached", "Those of them whose socket is lost and who may come back.", value=detached
        )
        yield GaugeMetricFamily(
            "parlour_tcp_connections", "TCP connections to the HTTP port.", value=self._sources.connections()
        )

    def _media(self) -> Iterator[Metric]:
        collector = self._sources.collector
        yield from shards(collector.shards, collector.latency_bounds)
        link_grades = GaugeMetricFamily(
            "parlour_links",
            "Links of clients by their quality: 1 excellent to 5 very poor, 6 disconnected, 0 not known.",
            labels=["link", "quality"],
        )
        for link in LINKS:
            for grade in range(7):
                count = collector.figures.qualities[link, grade]
                link_grades.add_metric([link, str(grade)], count)
        yield link_grades
        yield CounterMetricFamily(
            "parlour_collections_missed", "Rounds without the numbers of a media thread.", value=collector.missed
        )
        yield GaugeMetricFamily(
            "parlour_media_events_waiting", "Events of the core that wait for the loop.", value=collector.events_waiting
        )

    def _loop(self) -> Iterator[Metric]:
        loop = self._sources.loop
        for name, text, histogram in (
            ("parlour_loop_lag_seconds", "How late the event loop is with what is due.", loop.lag),
            ("parlour_gc_pause_seconds", "How long garbage collections held everything up.", loop.pauses),
        ):
            yield HistogramMetricFamily(name, text, buckets=histogram.buckets(), sum_value=histogram.sum)
        yield CounterMetricFamily("parlour_scrapes", "Times that these numbers were asked for.", value=self.asked)
        yield CounterMetricFamily("parlour_expositions", "Texts that were made for that.", value=self.made)


class _Collected:
    """Families that were collected already, as an encoder takes them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """They are."""
        return self._families


def _code(code: int) -> str:
    """A code as the SDK's documentation writes it."""
    return f"0x{code:04X}" if code > 0 else str(code)
