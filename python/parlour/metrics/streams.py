"""The tracks that users publish, and what their subscribers get of them, as families of metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from parlour.metrics.families import family
from parlour.metrics.figures import Figures

STREAM = ["app", "room", "user", "stream", "kind", "layer"]
"""``layer``: which encoding of a picture that is sent in several; empty where there is one."""

PUBLISHED = {
    "packets": ("packets", "Packets that came."),
    "bytes": ("bytes", "Bytes of media that came."),
    "lost": ("lost_packets", "Packets that never came."),
    "repaired": ("repaired_packets", "Packets that came by being asked for again."),
    "nacks_sent": ("nacks", "Packets that were asked for again."),
    "keyframe_requests": ("keyframe_requests", "Keyframes that were asked for."),
    "keyframes": ("keyframes", "Keyframes that came."),
    "frames": ("frames", "Frames of a picture that came."),
    "freezes": ("freezes", "Gaps between frames that came, longer than 3 usual ones and than one and 150 ms."),
}

GIVEN = {
    "packets": ("forwarded_packets", "Packets that all subscribers were sent."),
    "bytes": ("forwarded_bytes", "Bytes of media that all subscribers were sent."),
    "nacked": ("subscriber_nacks", "Packets that subscribers asked for again."),
    "retransmitted": ("retransmitted_packets", "Packets that subscribers were sent again."),
    "keyframe_requests": ("subscriber_keyframe_requests", "Keyframes that subscribers asked for."),
    "frames": ("forwarded_frames", "Frames that all subscribers were sent."),
    "freezes": ("forwarded_freezes", "Gaps between frames that subscribers were sent, by the same rule."),
}


def streams(figures: Figures) -> Iterator[Metric]:
    """All of them."""
    for name, (exposed, text) in PUBLISHED.items():
        samples = ((key, stream.counts[name]) for key, stream in figures.streams.items())
        yield family(CounterMetricFamily, f"parlour_stream_{exposed}", text, STREAM, samples)
    for name, (exposed, text) in GIVEN.items():
        samples = ((key, stream.given[name]) for key, stream in figures.streams.items())
        yield family(CounterMetricFamily, f"parlour_stream_{exposed}", text, STREAM, samples)
    frozen = CounterMetricFamily("parlour_stream_frozen_seconds", "The gaps that came, together.", labels=STREAM)
    given_frozen = CounterMetricFamily(
        "parlour_stream_forwarded_frozen_seconds", "The gaps that subscribers were sent, together.", labels=STREAM
    )
    bitrate = GaugeMetricFamily("parlour_stream_bitrate", "Bits a second of media that come.", labels=STREAM)
    loss = GaugeMetricFamily("parlour_stream_loss_ratio", "Share lost on the way to the server, 0 to 1.", labels=STREAM)
    jitter = GaugeMetricFamily("parlour_stream_jitter_seconds", "Jitter of what comes.", labels=STREAM)
    worst_loss = GaugeMetricFamily(
        "parlour_stream_worst_subscriber_loss_ratio", "What the worst subscriber reports as lost.", labels=STREAM
    )
    worst_jitter = GaugeMetricFamily(
        "parlour_stream_worst_subscriber_jitter_seconds", "The jitter that the worst subscriber reports.", labels=STREAM
    )
    subscribers = GaugeMetricFamily(
        "parlour_stream_subscribers",
        "Subscribers by what they get: all that there is (receiving), not all frames (thinned), nothing because they "
        "do not want it now (paused) or because their path does not carry it (starved).",
        labels=[*STREAM, "state"],
    )
    short = GaugeMetricFamily(
        "parlour_stream_subscribers_short",
        "Subscribers that do not get what they want, by the reason.",
        labels=[*STREAM, "why"],
    )
    for key, stream in figures.streams.items():
        frozen.add_metric(key, stream.counts["frozen_ms"] / 1000)
        given_frozen.add_metric(key, stream.given["frozen_ms"] / 1000)
        bitrate.add_metric(key, stream.bits)
        for state, count in (
            ("receiving", stream.receiving - stream.thinned),
            ("thinned", stream.thinned),
            ("paused", stream.paused),
            ("starved", stream.starved),
        ):
            subscribers.add_metric([*key, state], count)
        for why, count in stream.why.items():
            short.add_metric([*key, why], count)
        if stream.row is not None:
            loss.add_metric(key, stream.row.share_lost)
            jitter.add_metric(key, stream.row.jitter_ms / 1000)
            worst_loss.add_metric(key, stream.row.standing.fraction_lost)
            worst_jitter.add_metric(key, stream.row.standing.jitter_ms / 1000)
    yield from (frozen, given_frozen, bitrate, loss, jitter, worst_loss, worst_jitter, subscribers, short)
