//! The counters as figures to watch: what each transport and each track did, with what its subscribers got summed up a
//! track, however many they are. Made by the thread that asks, of a copy; nothing of it happens on a shard.

use crate::stats::{EngineSnapshot, ShardStats, write_counts};
use parlour_media::{
    ConsumerStats, Kind, LATENCY_BOUNDS, Latency, ProducerStats, Shortfall, TransportStats,
};
use std::collections::HashMap;
use std::fmt::Write as _;

/// Rows of one text, so that whoever reads them need not do it in one piece.
pub const ROWS: usize = 256;

/// The figures of all shards as JSON: of the shards themselves, and the rows of transports and producers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// One object.
    pub shards: String,
    /// Arrays of at most [`ROWS`] rows, each an array.
    pub transports: Vec<String>,
    /// The same of producers.
    pub producers: Vec<String>,
}

/// What the subscribers of a track got, counted up from when this was first asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Given {
    packets: u64,
    bytes: u64,
    nacked: u64,
    retransmitted: u64,
    keyframe_requests: u64,
    frames: u64,
    freezes: u64,
    frozen_ms: u64,
}

/// How the subscribers of a track stand now.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Those that get it, and those of them that do not get all its temporal layers that they want.
    receiving: u64,
    thinned: u64,
    paused: u64,
    /// Those to whom their path carries nothing of it.
    starved: u64,
    /// By why they do not get what they want.
    why: [u64; Shortfall::ALL.len()],
    /// The worst that one of them reports.
    fraction_lost: f64,
    jitter: u32,
    rtt_ms: Option<f64>,
}

/// What has to be remembered from one time to the next: a consumer may come and go, and what a track's consumers got must
/// not become less by that. What one got after the last copy before its end is not counted.
#[derive(Debug, Default)]
pub struct Tally {
    consumers: HashMap<u64, Given>,
    producers: HashMap<u64, Given>,
}

impl Tally {
    /// The figures of a copy that is newer than the ones before.
    pub fn take(&mut self, snapshot: &EngineSnapshot) -> Numbers {
        let mut standing: HashMap<u64, Standing> = HashMap::new();
        let mut consumers = HashMap::with_capacity(self.consumers.len());
        for consumer in snapshot.shards.iter().flat_map(|it| &it.1.router.consumers) {
            let (id, of) = (consumer.id.0, consumer.producer.0);
            let now = Given::from(consumer);
            let before = self.consumers.get(&id).copied().unwrap_or_default();
            self.producers.entry(of).or_default().grow(now, before);
            standing.entry(of).or_default().add(consumer);
            consumers.insert(id, now);
        }
        self.consumers = consumers;
        let mut numbers = Numbers {
            shards: shards_json(snapshot),
            ..Numbers::default()
        };
        let mut producers = HashMap::with_capacity(self.producers.len());
        let (mut transport_rows, mut producer_rows) = (Rows::default(), Rows::default());
        for (shard, (_, stats)) in snapshot.shards.iter().enumerate() {
            for transport in &stats.router.transports {
                transport_rows.next(|out| write_transport(out, shard, transport));
            }
            for producer in &stats.router.producers {
                let id = producer.id.0;
                let given = self.producers.get(&id).copied().unwrap_or_default();
                let standing = standing.get(&id).copied().unwrap_or_default();
                producer_rows.next(|out| write_producer(out, producer, &given, &standing));
                producers.insert(id, given);
            }
        }
        self.producers = producers;
        (numbers.transports, numbers.producers) = (transport_rows.end(), producer_rows.end());
        numbers
    }
}

impl From<&ConsumerStats> for Given {
    fn from(of: &ConsumerStats) -> Given {
        Given {
            packets: of.packets,
            bytes: of.bytes,
            nacked: of.nacked,
            retransmitted: of.retransmitted,
            keyframe_requests: of.keyframe_requests,
            frames: of.smoothness.frames,
            freezes: of.smoothness.freezes,
            frozen_ms: of.smoothness.frozen_ms,
        }
    }
}

impl Given {
    /// Adds what one consumer got since the copy before.
    fn grow(&mut self, now: Given, before: Given) {
        self.packets += now.packets.saturating_sub(before.packets);
        self.bytes += now.bytes.saturating_sub(before.bytes);
        self.nacked += now.nacked.saturating_sub(before.nacked);
        self.retransmitted += now.retransmitted.saturating_sub(before.retransmitted);
        self.keyframe_requests += now
            .keyframe_requests
            .saturating_sub(before.keyframe_requests);
        self.frames += now.frames.saturating_sub(before.frames);
        self.freezes += now.freezes.saturating_sub(before.freezes);
        self.frozen_ms += now.frozen_ms.saturating_sub(before.frozen_ms);
    }
}

impl Standing {
    fn add(&mut self, consumer: &ConsumerStats) {
        match (consumer.paused, consumer.starved) {
            (true, _) => self.paused += 1,
            (_, true) => self.starved += 1,
            _ => self.receiving += 1,
        }
        let is_thinned = consumer.temporal < consumer.wanted_temporal;
        self.thinned += u64::from(is_thinned && !consumer.paused && !consumer.starved);
        // Of a picture that is not sent at all, nothing is said of what it falls short.
        let starves = consumer.starved && !consumer.paused;
        if let Some(why) = consumer.why.or(starves.then_some(Shortfall::Bandwidth)) {
            self.why[why as usize] += 1;
        }
        self.fraction_lost = self.fraction_lost.max(consumer.fraction_lost);
        self.jitter = self.jitter.max(consumer.jitter);
        self.rtt_ms = match (self.rtt_ms, consumer.rtt_ms) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
    }
}

/// Rows that become texts of [`ROWS`].
#[derive(Default)]
struct Rows {
    done: Vec<String>,
    open: String,
    rows: usize,
}

impl Rows {
    fn next(&mut self, write: impl FnOnce(&mut String)) {
        self.open.push(if self.rows == 0 { '[' } else { ',' });
        write(&mut self.open);
        self.rows += 1;
        if self.rows == ROWS {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.rows > 0 {
            self.open.push(']');
            self.done.push(std::mem::take(&mut self.open));
            self.rows = 0;
        }
    }

    fn end(mut self) -> Vec<String> {
        self.close();
        self.done
    }
}

fn shards_json(snapshot: &EngineSnapshot) -> String {
    let mut out = String::with_capacity(1024 * snapshot.shards.len());
    let waiting = snapshot.events_waiting;
    let _ = write!(
        out,
        "{{\"events_waiting\":{waiting},\"latency_bounds_us\":{LATENCY_BOUNDS:?},\"shards\":["
    );
    for (number, (_, stats)) in snapshot.shards.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(out, "{comma}{{\"shard\":{number},");
        stats.write_sockets(&mut out);
        write_router(&mut out, stats);
        out.push('}');
    }
    out.push_str("]}");
    out
}

fn write_router(out: &mut String, stats: &ShardStats) {
    let router = &stats.router;
    let Latency { counts, sum_us } = router.latency;
    let _ = write!(
        out,
        ",\"latency\":{{\"counts\":{counts:?},\"sum_us\":{sum_us}}},\"handshakes_waiting\":{},\
         \"transports\":{},\"producers\":{},\"consumers\":{},\"drops\":{{",
        router.handshakes.waiting,
        router.transports.len(),
        router.producers.len(),
        router.consumers.len(),
    );
    write_counts(
        out,
        router
            .drops
            .iter()
            .map(|(reason, count)| (reason.name(), count)),
    );
    out.push('}');
}

fn write_transport(out: &mut String, shard: usize, of: &TransportStats) {
    let traffic = &of.traffic;
    let _ = write!(
        out,
        "[{},{shard},\"{}\",{},{},{},{},{},{},",
        of.id,
        of.state,
        traffic.packets_in,
        traffic.bytes_in,
        traffic.packets_out,
        traffic.bytes_out,
        Maybe(of.rtt_ms),
        of.policed,
    );
    match &of.bandwidth {
        Some(path) => {
            let _ = write!(
                out,
                "{},{},{},{:.4},{}",
                path.estimate,
                Maybe(path.acknowledged),
                Maybe(path.rtt_ms),
                path.loss,
                path.queue_ms
            );
        }
        None => out.push_str("null,null,null,null,null"),
    }
    out.push_str(",{");
    write_counts(
        out,
        of.drops
            .iter()
            .map(|(reason, count)| (reason.name(), *count)),
    );
    out.push_str("}]");
}

fn write_producer(out: &mut String, of: &ProducerStats, given: &Given, now: &Standing) {
    let kind = match of.kind {
        Kind::Audio => "audio",
        Kind::Video => "video",
    };
    let milliseconds = |jitter: u32| f64::from(jitter) * 1000.0 / f64::from(of.kind.clock_rate());
    let _ = write!(
        out,
        "[{},{},\"{kind}\",\"{}\",{},{},{},{:.4},{:.3},{},{},{},{},{},{},{},{},",
        of.id,
        of.transport,
        of.rid,
        of.packets,
        of.bytes,
        of.lost,
        of.share_lost,
        milliseconds(of.jitter),
        of.repaired,
        of.nacks_sent,
        of.keyframe_requests,
        of.keyframes,
        of.smoothness.frames,
        of.smoothness.freezes,
        of.smoothness.frozen_ms,
        of.consumers,
    );
    let _ = write!(
        out,
        "[{},{},{},{},{},{},{},{}],",
        given.packets,
        given.bytes,
        given.nacked,
        given.retransmitted,
        given.keyframe_requests,
        given.frames,
        given.freezes,
        given.frozen_ms,
    );
    let _ = write!(
        out,
        "[{},{},{},{},{:.4},{:.3},{},{{",
        now.receiving,
        now.thinned,
        now.paused,
        now.starved,
        now.fraction_lost,
        milliseconds(now.jitter),
        Maybe(now.rtt_ms),
    );
    let why = Shortfall::ALL.iter().zip(now.why);
    write_counts(out, why.map(|(why, count)| (why.name(), count)));
    out.push_str("}]]");
}

/// A number, or `null`.
struct Maybe<T>(Option<T>);

impl<T: std::fmt::Display> std::fmt::Display for Maybe<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parlour_media::{ConsumerId, ProducerId, SmoothnessStats, TransportId};

    fn producer(id: u64) -> ProducerStats {
        ProducerStats {
            id: ProducerId(id),
            transport: TransportId(1),
            kind: Kind::Video,
            rid: "h".into(),
            ssrc: None,
            packets: 5,
            bytes: 5000,
            lost: -1,
            share_lost: 0.25,
            jitter: 90,
            repaired: 0,
            repeated: 0,
            nacks_sent: 0,
            keyframe_requests: 0,
            keyframes: 0,
            smoothness: SmoothnessStats::default(),
            consumers: 2,
        }
    }

    fn consumer(id: u64, of: u64, packets: u64, why: Option<Shortfall>) -> ConsumerStats {
        ConsumerStats {
            id: ConsumerId(id),
            transport: TransportId(2),
            producer: ProducerId(of),
            source: 0,
            wanted_source: 0,
            temporal: 7,
            wanted_temporal: 7,
            why,
            paused: false,
            starved: packets == 5,
            smoothness: SmoothnessStats::default(),
            packets,
            bytes: packets * 1000,
            nacked: 0,
            retransmitted: 0,
            keyframe_requests: 0,
            fraction_lost: 0.5,
            jitter: 0,
            rtt_ms: None,
        }
    }

    fn take(tally: &mut Tally, producers: &[u64], consumers: Vec<ConsumerStats>) -> Numbers {
        let mut stats = ShardStats::default();
        stats.router.producers = producers.iter().map(|id| producer(*id)).collect();
        stats.router.consumers = consumers;
        tally.take(&EngineSnapshot {
            events_waiting: 0,
            shards: vec![(8081, stats)],
        })
    }

    #[test]
    fn what_subscribers_got_grows_only_whoever_comes_goes_or_takes_another_track() {
        let mut tally = Tally::default();
        let first = take(
            &mut tally,
            &[7, 8],
            vec![
                consumer(1, 7, 10, None),
                consumer(2, 7, 5, None),
                consumer(4, 8, 0, Some(Shortfall::Missing)),
            ],
        );
        assert_eq!(
            first.producers[0],
            "[[7,1,\"video\",\"h\",5,5000,-1,0.2500,1.000,0,0,0,0,0,0,0,2,[15,15000,0,0,0,0,0,0],\
             [1,0,0,1,0.5000,0.000,null,{\"bandwidth\":1}]],\
             [8,1,\"video\",\"h\",5,5000,-1,0.2500,1.000,0,0,0,0,0,0,0,2,[0,0,0,0,0,0,0,0],\
             [1,0,0,0,0.5000,0.000,null,{\"missing\":1}]]]"
        );
        // One goes on with the other track, one is gone, and one is new.
        let then = vec![consumer(1, 8, 14, None), consumer(3, 7, 2, None)];
        let rows = take(&mut tally, &[7, 8], then).producers.remove(0);
        assert!(rows.contains("[17,17000,"), "{rows}");
        assert!(rows.contains("[4,4000,"), "{rows}");
        take(&mut tally, &[], vec![]);
        assert!(tally.producers.is_empty() && tally.consumers.is_empty());
    }

    #[test]
    fn rows_come_in_texts_of_a_bounded_length() {
        let ids: Vec<u64> = (0..ROWS as u64 * 2 + 1).collect();
        let numbers = take(&mut Tally::default(), &ids, vec![]);
        let lines: Vec<usize> = numbers
            .producers
            .iter()
            .map(|text| text.matches("\"video\"").count())
            .collect();
        assert_eq!(lines, [ROWS, ROWS, 1]);
        assert!(numbers.transports.is_empty());
    }
}
