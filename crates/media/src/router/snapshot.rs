//! Copying the counters out, and writing them as JSON.

use super::Router;
use super::counters::{
    BandwidthStats, ConsumerStats, Copied, HandshakeCounters, PathCounters, ProducerStats,
    SmoothnessStats, Snapshot, Table, TransportStats,
};
use crate::congestion::Bandwidth;
use crate::egress::consumer::Consumer;
use crate::ingress::smoothness::Smoothness;
use crate::ingress::stream::Stream;
use crate::ingress::track::Track;
use crate::transport::Transport;
use crate::transport::ice::Proof;
use crate::transport::traffic::Traffic;
use std::fmt::Write as _;
use std::time::Duration;

/// Places of a table that are looked at for one part of a copy: some tens of microseconds.
const PART: usize = 256;

impl Router {
    /// All counters at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let mut copied = Copied::default();
        let mut all = self.copy_counters(&mut copied);
        while !copied.is_all() {
            all.extend(self.copy_counters(&mut copied));
        }
        all
    }

    /// The next part of all counters, and how far that is then. The first part has what is there once; each of them takes
    /// a bounded time, whatever there is, so that packets can go out between two of them. What comes or goes meanwhile
    /// may be in the copy or not.
    pub fn copy_counters(&self, copied: &mut Copied) -> Snapshot {
        let mut part = Snapshot::default();
        let from = copied.place;
        let places = match copied.table {
            Table::Head => {
                part = Snapshot {
                    traffic: self.traffic,
                    paths: self.paths,
                    handshakes: HandshakeCounters {
                        worked: self.handshakes.worked,
                        waiting: self.handshakes.waiting,
                    },
                    drops: self.drops.clone(),
                    latency: self.latency.total,
                    ..part
                };
                0
            }
            Table::Transports => {
                let window = self.transports.window(from, PART);
                part.transports.extend(window.map(transport_stats));
                self.transports.places()
            }
            Table::Producers => {
                let window = self.tracks.window(from, PART);
                part.producers.extend(window.map(producer_stats));
                self.tracks.places()
            }
            Table::Consumers => {
                let window = self.consumers.window(from, PART);
                part.consumers
                    .extend(window.map(|consumer| self.consumer_stats(consumer)));
                self.consumers.places()
            }
            Table::End => 0,
        };
        *copied = match from + PART < places {
            true => Copied {
                place: from + PART,
                ..*copied
            },
            false => Copied {
                table: copied.table.next(),
                place: 0,
            },
        };
        part
    }

    fn consumer_stats(&self, consumer: &Consumer) -> ConsumerStats {
        ConsumerStats {
            id: consumer.spec.consumer,
            transport: consumer.spec.transport,
            producer: self
                .tracks
                .get(consumer.track)
                .map_or(consumer.spec.producers[0], |it| it.spec.producer),
            source: consumer.sources.current(),
            wanted_source: consumer.sources.wanted(),
            temporal: consumer.temporal.current(),
            wanted_temporal: consumer.temporal.wanted,
            why: consumer.shortfall(),
            paused: consumer.paused,
            starved: consumer.starved,
            smoothness: smoothness_stats(&consumer.smoothness),
            packets: consumer.packets,
            bytes: consumer.bytes,
            nacked: consumer.nacked,
            retransmitted: consumer.retransmitted,
            keyframe_requests: consumer.keyframe_requests,
            fraction_lost: f64::from(consumer.fraction_lost) / 256.0,
            jitter: consumer.jitter,
            rtt_ms: consumer.rtt.map(milliseconds),
        }
    }
}

impl Table {
    fn next(self) -> Table {
        match self {
            Table::Head => Table::Transports,
            Table::Transports => Table::Producers,
            Table::Producers => Table::Consumers,
            Table::Consumers | Table::End => Table::End,
        }
    }
}

fn producer_stats(producer: &Track) -> ProducerStats {
    ProducerStats {
        id: producer.spec.producer,
        transport: producer.spec.transport,
        kind: producer.spec.kind,
        rid: producer.spec.rid.clone(),
        ssrc: producer.ssrc().map(|ssrc| ssrc.0),
        packets: producer.packets,
        bytes: producer.bytes,
        lost: producer.stream.as_ref().map_or(0, Stream::lost),
        share_lost: producer.stream.as_ref().map_or(0.0, Stream::share_lost),
        jitter: producer.stream.as_ref().map_or(0, Stream::jitter),
        repaired: producer.repaired,
        repeated: producer.stream.as_ref().map_or(0, |stream| stream.repeated),
        nacks_sent: producer.nacks_sent,
        keyframe_requests: producer.keyframe_requests,
        keyframes: producer.keyframes,
        smoothness: smoothness_stats(&producer.smoothness),
        consumers: producer.consumers.len(),
    }
}

fn smoothness_stats(of: &Smoothness) -> SmoothnessStats {
    SmoothnessStats {
        frames: of.frames,
        freezes: of.freezes,
        frozen_ms: of.frozen.as_millis() as u64,
    }
}

fn transport_stats(transport: &Transport) -> TransportStats {
    let state = if transport.srtp.is_some() {
        "connected"
    } else if transport.dtls.has_begun() {
        "handshaking"
    } else if transport.validated_at.is_some() {
        "checking"
    } else {
        "new"
    };
    TransportStats {
        id: transport.id,
        state,
        path: transport.ice.path(),
        proof: transport.ice.proof().map(Proof::name),
        srtp_profile: transport.srtp.as_ref().map(|srtp| srtp.profile.name()),
        traffic: transport.traffic,
        rtt_ms: transport.round_trip.smoothed().map(milliseconds),
        policed: transport.policer.dropped,
        drops: transport.drops.iter().collect(),
        bandwidth: transport.bandwidth.as_deref().map(bandwidth_of),
    }
}

fn bandwidth_of(bandwidth: &Bandwidth) -> BandwidthStats {
    BandwidthStats {
        estimate: bandwidth.estimate(),
        acknowledged: bandwidth.acknowledged(),
        rtt_ms: bandwidth.round_trip().map(milliseconds),
        loss: bandwidth.loss(),
        queue_ms: milliseconds(bandwidth.queue()),
    }
}

impl Snapshot {
    /// The snapshot as one JSON object; every string in it is ours and needs no escaping.
    pub fn to_json(&self) -> String {
        let mut out =
            String::with_capacity(512 + 320 * (self.transports.len() + self.producers.len()));
        out.push('{');
        write_traffic(&mut out, &self.traffic);
        let PathCounters {
            checks_sent,
            checks_answered,
            by_answer,
            by_handshake,
            by_media,
            restarts,
            silences,
        } = self.paths;
        let _ = write!(
            out,
            ",\"paths\":{{\"checks_sent\":{checks_sent},\"checks_answered\":{checks_answered},\"by_answer\":{by_answer},\
             \"by_handshake\":{by_handshake},\"by_media\":{by_media},\"restarts\":{restarts},\"silences\":{silences}}}"
        );
        let HandshakeCounters { worked, waiting } = self.handshakes;
        let _ = write!(
            out,
            ",\"handshakes\":{{\"worked\":{worked},\"waiting\":{waiting}}}"
        );
        out.push_str(",\"drops\":{");
        for (index, (reason, count)) in self.drops.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(out, "{comma}\"{reason}\":{count}");
        }
        out.push_str("},\"transports\":[");
        list(&mut out, &self.transports, |out, transport| {
            let _ = write!(
                out,
                "{{\"id\":{},\"state\":\"{}\",\"path\":",
                transport.id, transport.state
            );
            quoted_or_null(out, transport.path.map(|path| path.remote));
            out.push_str(",\"protocol\":");
            quoted_or_null(out, transport.path.map(|path| path.protocol.name()));
            out.push_str(",\"proof\":");
            quoted_or_null(out, transport.proof);
            out.push_str(",\"srtp_profile\":");
            quoted_or_null(out, transport.srtp_profile);
            out.push(',');
            write_traffic(out, &transport.traffic);
            out.push_str(",\"rtt_ms\":");
            number_or_null(out, transport.rtt_ms);
            let _ = write!(out, ",\"policed\":{},\"bandwidth\":", transport.policed);
            write_bandwidth(out, transport.bandwidth);
            out.push('}');
        });
        out.push_str("],\"producers\":[");
        list(&mut out, &self.producers, |out, producer| {
            let _ = write!(
                out,
                "{{\"id\":{},\"transport\":{},\"rid\":\"{}\",\"ssrc\":",
                producer.id, producer.transport, producer.rid
            );
            number_or_null(out, producer.ssrc);
            let _ = write!(
                out,
                ",\"packets\":{},\"bytes\":{},\"lost\":{},\"jitter\":{},\"repaired\":{},\"repeated\":{},\"nacks_sent\":{},\
                 \"keyframe_requests\":{},\"keyframes\":{},\"frames\":{},\"freezes\":{},\"frozen_ms\":{},\"consumers\":{}}}",
                producer.packets,
                producer.bytes,
                producer.lost,
                producer.jitter,
                producer.repaired,
                producer.repeated,
                producer.nacks_sent,
                producer.keyframe_requests,
                producer.keyframes,
                producer.smoothness.frames,
                producer.smoothness.freezes,
                producer.smoothness.frozen_ms,
                producer.consumers
            );
        });
        out.push_str("],\"consumers\":[");
        list(&mut out, &self.consumers, |out, consumer| {
            let _ = write!(
                out,
                "{{\"id\":{},\"transport\":{},\"producer\":{},\"source\":{},\"wanted_source\":{},\"temporal\":{},\"wanted_temporal\":{},\"paused\":{},\"packets\":{},\"bytes\":{},\"nacked\":{},\
                 \"retransmitted\":{},\"keyframe_requests\":{},\"frames\":{},\"freezes\":{},\"frozen_ms\":{},\"fraction_lost\":{:.4},\"jitter\":{},\"rtt_ms\":",
                consumer.id,
                consumer.transport,
                consumer.producer,
                consumer.source,
                consumer.wanted_source,
                consumer.temporal,
                consumer.wanted_temporal,
                consumer.paused,
                consumer.packets,
                consumer.bytes,
                consumer.nacked,
                consumer.retransmitted,
                consumer.keyframe_requests,
                consumer.smoothness.frames,
                consumer.smoothness.freezes,
                consumer.smoothness.frozen_ms,
                consumer.fraction_lost,
                consumer.jitter
            );
            number_or_null(out, consumer.rtt_ms);
            out.push_str(",\"why\":");
            quoted_or_null(out, consumer.why);
            out.push('}');
        });
        out.push_str("]}");
        out
    }
}

/// In milliseconds, to the microsecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

fn write_traffic(out: &mut String, traffic: &Traffic) {
    let _ = write!(
        out,
        "\"packets_in\":{},\"bytes_in\":{},\"packets_out\":{},\"bytes_out\":{}",
        traffic.packets_in, traffic.bytes_in, traffic.packets_out, traffic.bytes_out
    );
}

fn write_bandwidth(out: &mut String, bandwidth: Option<BandwidthStats>) {
    let Some(bandwidth) = bandwidth else {
        return out.push_str("null");
    };
    let _ = write!(
        out,
        "{{\"estimate\":{},\"acknowledged\":",
        bandwidth.estimate
    );
    number_or_null(out, bandwidth.acknowledged);
    out.push_str(",\"rtt_ms\":");
    number_or_null(out, bandwidth.rtt_ms);
    let _ = write!(
        out,
        ",\"loss\":{:.4},\"queue_ms\":{}}}",
        bandwidth.loss, bandwidth.queue_ms
    );
}

fn list<T>(out: &mut String, items: &[T], write_one: impl Fn(&mut String, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_one(out, item);
    }
}

fn quoted_or_null(out: &mut String, value: Option<impl std::fmt::Display>) {
    match value {
        Some(value) => _ = write!(out, "\"{value}\""),
        None => out.push_str("null"),
    }
}

fn number_or_null(out: &mut String, value: Option<impl std::fmt::Display>) {
    match value {
        Some(value) => _ = write!(out, "{value}"),
        None => out.push_str("null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reasons::DropReason;

    #[test]
    fn a_snapshot_lists_only_the_drops_that_occurred() {
        let mut snapshot = Snapshot::default();
        snapshot.drops.count(DropReason::BadTag);
        snapshot.drops.count(DropReason::BadTag);
        assert_eq!(
            snapshot.to_json(),
            "{\"packets_in\":0,\"bytes_in\":0,\"packets_out\":0,\"bytes_out\":0,\"paths\":\
             {\"checks_sent\":0,\"checks_answered\":0,\"by_answer\":0,\"by_handshake\":0,\"by_media\":0,\
             \"restarts\":0,\"silences\":0},\
             \"handshakes\":{\"worked\":0,\"waiting\":0},\"drops\":{\"bad-tag\":2},\
             \"transports\":[],\"producers\":[],\"consumers\":[]}"
        );
    }
}
