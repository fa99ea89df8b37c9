"""Rooms and the links of their users, as families of metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from parlour.metrics.families import family
from parlour.metrics.figures import Figures

ROOM = ["app", "room"]
LINK = ["app", "room", "user", "link"]


def rooms(figures: Figures) -> Iterator[Metric]:
    """What rooms have and carry."""
    members = GaugeMetricFamily("parlour_room_members", "Users in a room.", labels=ROOM)
    published = GaugeMetricFamily("parlour_room_streams", "Streams that are published in a room.", labels=ROOM)
    received = CounterMetricFamily("parlour_room_received_bytes", "Bytes that came from a room's users.", labels=ROOM)
    sent = CounterMetricFamily("parlour_room_sent_bytes", "Bytes that were sent to a room's users.", labels=ROOM)
    dropped = CounterMetricFamily(
        "parlour_room_dropped_packets",
        "What of a room's users or for them went no further, by the reason.",
        labels=[*ROOM, "reason"],
    )
    for key, room in figures.rooms.items():
        members.add_metric(key, room.members)
        published.add_metric(key, room.streams)
        received.add_metric(key, room.bytes_in)
        sent.add_metric(key, room.bytes_out)
        for reason, count in room.drops.items():
            dropped.add_metric([*key, reason], count)
    yield from (members, published, received, sent, dropped)


def links(figures: Figures) -> Iterator[Metric]:
    """What links carry and how they are. Of those that are summed up there is no state, as it would be nobody's."""
    counters = {
        "bytes_in": ("received_bytes", "Bytes that came on a link."),
        "bytes_out": ("sent_bytes", "Bytes that were sent on a link."),
        "packets_in": ("received_packets", "Datagrams that came on a link, authenticated."),
        "packets_out": ("sent_packets", "Datagrams that were sent on a link."),
        "policed": ("policed_packets", "Packets dropped because the user sends more than allowed."),
    }
    for name, (exposed, text) in counters.items():
        samples = ((key, getattr(link, name)) for key, link in figures.links.items())
        yield family(CounterMetricFamily, f"parlour_link_{exposed}", text, LINK, samples)
    for name, exposed, text in (
        ("bits_in", "receive_bitrate", "Bits a second that come on a link."),
        ("bits_out", "send_bitrate", "Bits a second that are sent on a link."),
    ):
        samples = ((key, getattr(link, name)) for key, link in figures.links.items())
        yield family(GaugeMetricFamily, f"parlour_link_{exposed}", text, LINK, samples)
    quality = GaugeMetricFamily(
        "parlour_link_quality", "1 excellent to 5 very poor, 6 disconnected, 0 not known.", labels=LINK
    )
    round_trip = GaugeMetricFamily("parlour_link_rtt_seconds", "Round trip on a link.", labels=LINK)
    loss = GaugeMetricFamily("parlour_link_loss_ratio", "Share of packets lost on a link, 0 to 1.", labels=LINK)
    estimate = GaugeMetricFamily(
        "parlour_link_estimate_bitrate", "Bits a second that the path to a user is held to carry.", labels=LINK
    )
    acknowledged = GaugeMetricFamily(
        "parlour_link_acknowledged_bitrate", "Bits a second that arrived at a user, by its feedback.", labels=LINK
    )
    queue = GaugeMetricFamily(
        "parlour_link_queue_seconds", "How long packets stand in a queue on the way to a user.", labels=LINK
    )
    for key, link in figures.links.items():
        if link.row is None or link.quality is None:
            continue
        quality.add_metric(key, link.quality.grade)
        if link.row.rtt_ms is not None:
            round_trip.add_metric(key, link.row.rtt_ms / 1000)
        if link.quality.grade not in {0, 6}:
            loss.add_metric(key, link.quality.loss)
        for gauge, value in (
            (estimate, link.row.estimate),
            (acknowledged, link.row.acknowledged),
            (queue, None if link.row.queue_ms is None else link.row.queue_ms / 1000),
        ):
            if value is not None:
                gauge.add_metric(key, value)
    yield from (quality, round_trip, loss, estimate, acknowledged, queue)
