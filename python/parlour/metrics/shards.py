"""Families of the media threads (shards): their sockets, their connections and what they dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from parlour.media import ShardNumbers
from parlour.metrics.families import family
from parlour.metrics.health import cumulative

GAUGES = {
    "transports": "Media connections: an uplink and a downlink for each client.",
    "producers": "Incoming tracks; each encoding of a picture is one.",
    "consumers": "Forwarded tracks.",
    "handshakes_waiting": "Datagrams of DTLS handshakes that wait for their turn.",
}
TRAFFIC = {
    "received_datagrams": ("datagrams_in", "frames_in", "Datagrams that came; over TCP, frames."),
    "received_bytes": ("bytes_in", "bytes_in", "Their bytes."),
    "sent_datagrams": ("datagrams_out", "frames_out", "Datagrams that were sent; over TCP, frames."),
    "sent_bytes": ("bytes_out", "bytes_out", "Their bytes."),
}
"""By which names UDP and TCP count them."""
TCP_GAUGES = {
    "open": ("connections", "TCP connections for media that are open."),
    "strangers": ("strangers", "Those of them of which nobody knows yet whose they are."),
    "waiting": ("waiting_bytes", "Bytes that peers did not take yet."),
}
BY_SHARD = ("shard",)


def shards(rows: Sequence[ShardNumbers], latency_bounds: list[float]) -> Iterator[Metric]:
    """The families of these shards; the bounds, in seconds, are those of their histograms."""
    for name, text in GAUGES.items():
        samples = (([str(it.shard)], getattr(it, name)) for it in rows)
        yield family(GaugeMetricFamily, f"parlour_shard_{name}", text, BY_SHARD, samples)
    for exposed, (udp, tcp, text) in TRAFFIC.items():
        counts = CounterMetricFamily(f"parlour_shard_{exposed}", text, labels=[*BY_SHARD, "protocol"])
        for row in rows:
            counts.add_metric([str(row.shard), "udp"], row.socket[udp])  # type: ignore[literal-required]
            if row.tcp is not None:
                counts.add_metric([str(row.shard), "tcp"], row.tcp[tcp])  # type: ignore[literal-required]
        yield counts
    text = "Faults of ours that were caught in a media thread."
    panics = (([str(it.shard)], it.socket["panics"]) for it in rows)
    yield family(CounterMetricFamily, "parlour_shard_panics", text, BY_SHARD, panics)
    yield from _connections(rows)
    drops = CounterMetricFamily(
        "parlour_dropped_packets", "What went no further, by the reason.", labels=[*BY_SHARD, "reason"]
    )
    latency = HistogramMetricFamily(
        "parlour_forwarding_seconds",
        "From when a packet came, as the kernel has it, to when it was given to the kernel for a subscriber.",
        labels=BY_SHARD,
    )
    for row in rows:
        by_reason = Counter(row.drops)
        for more in (row.socket["drops"], row.tcp["drops"] if row.tcp else {}):
            by_reason.update(more)
        for reason, count in by_reason.items():
            drops.add_metric([str(row.shard), reason], count)
        latency.add_metric([str(row.shard)], cumulative(latency_bounds, row.latency.counts), row.latency.sum_us / 1e6)
    yield from (drops, latency)


def _connections(rows: Sequence[ShardNumbers]) -> Iterator[Metric]:
    """Media over TCP (ICE-TCP): nothing of shards that do without it."""
    of_tcp = [(str(it.shard), it.tcp) for it in rows if it.tcp is not None]
    for name, (exposed, text) in TCP_GAUGES.items():
        now = (([shard], tcp[name]) for shard, tcp in of_tcp)  # type: ignore[literal-required]
        yield family(GaugeMetricFamily, f"parlour_shard_tcp_{exposed}", text, BY_SHARD, now)
    text = "TCP connections for media that were accepted."
    accepted = (([shard], tcp["accepted"]) for shard, tcp in of_tcp)
    yield family(CounterMetricFamily, "parlour_shard_tcp_accepted", text, BY_SHARD, accepted)
    ended = (([shard, reason], count) for shard, tcp in of_tcp for reason, count in tcp["ended"].items())
    text = "TCP connections for media that ended or were refused, by the reason."
    yield family(CounterMetricFamily, "parlour_shard_tcp_ended", text, (*BY_SHARD, "reason"), ended)
