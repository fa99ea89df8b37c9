//! Everything a router counts, copied out at one moment.

use crate::ids::{ConsumerId, ProducerId, TransportId};
use crate::reasons::{DropReason, Drops, Shortfall};
use crate::router::latency::Latency;
use crate::transport::ice::Proof;
use crate::transport::path::Path;
use crate::transport::traffic::Traffic;
use crate::wire::codecs::Kind;

/// How media got its paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathCounters {
    /// Checks we sent.
    pub checks_sent: u64,
    /// Those that were answered.
    pub checks_answered: u64,
    /// Paths taken into use after an answer.
    pub by_answer: u64,
    /// Paths taken into use after a handshake.
    pub by_handshake: u64,
    /// Paths taken into use after authentic media, since the peer answers no checks.
    pub by_media: u64,
    /// ICE restarts that were begun.
    pub restarts: u64,
    /// Times that a path in use left three of our checks without an answer.
    pub silences: u64,
}

impl PathCounters {
    pub(crate) fn count(&mut self, proof: Proof) {
        match proof {
            Proof::Answer => self.by_answer += 1,
            Proof::Handshake => self.by_handshake += 1,
            Proof::Media => self.by_media += 1,
        }
    }
}

/// Datagrams of DTLS handshakes, of which each turn works on a few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandshakeCounters {
    /// Those that were worked on.
    pub worked: u64,
    /// Those that wait for their turn.
    pub waiting: usize,
}

/// What is known of the path to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BandwidthStats {
    /// What may be sent, in bits a second.
    pub estimate: u64,
    /// What was acknowledged of late, in bits a second: by transport-wide feedback alone.
    pub acknowledged: Option<u64>,
    /// The round trip in milliseconds, with what the peer waits before it tells.
    pub rtt_ms: Option<f64>,
    /// The share that was lost of late, 0 to 1.
    pub loss: f64,
    /// How many milliseconds packets stand in a queue on the way.
    pub queue_ms: f64,
}

/// One transport's counters.
#[derive(Clone, Debug)]
pub struct TransportStats {
    /// Its name.
    pub id: TransportId,
    /// `new`, `checking`, `handshaking` or `connected`.
    pub state: &'static str,
    /// The path in use: where media goes.
    pub path: Option<Path>,
    /// How the peer proved to be there: `answer`, `handshake` or `media`.
    pub proof: Option<&'static str>,
    /// The SRTP profile's registered name, once connected.
    pub srtp_profile: Option<&'static str>,
    /// What went in and out.
    pub traffic: Traffic,
    /// Round trip time to the peer in milliseconds, once measured.
    pub rtt_ms: Option<f64>,
    /// Packets dropped because it sent more than it may.
    pub policed: u64,
    /// What of its peer or for it went no further, by reason; only what occurred.
    pub drops: Vec<(DropReason, u64)>,
    /// What is known of the path to its peer, once something was to be forwarded to it.
    pub bandwidth: Option<BandwidthStats>,
}

/// The frames of a picture, and the gaps between them that are freezes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SmoothnessStats {
    /// Frames.
    pub frames: u64,
    /// Gaps longer than three times the usual one, and longer than that by 150 ms.
    pub freezes: u64,
    /// Those gaps together, in milliseconds.
    pub frozen_ms: u64,
}

/// One incoming track's counters.
#[derive(Clone, Debug)]
pub struct ProducerStats {
    /// Its name.
    pub id: ProducerId,
    /// Its transport.
    pub transport: TransportId,
    /// Sound or picture.
    pub kind: Kind,
    /// Its restriction identifier, if it is one of several encodings.
    pub rid: String,
    /// The SSRC it has now.
    pub ssrc: Option<u32>,
    /// Media packets, repaired ones included.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Packets that never came (RFC 3550 A.3).
    pub lost: i64,
    /// The share that is lost on the way, repaired or not, over some seconds: 0 to 1.
    pub share_lost: f64,
    /// Interarrival jitter in timestamp units (RFC 3550 A.8).
    pub jitter: u32,
    /// Packets that came by retransmission.
    pub repaired: u64,
    /// Packets that were asked for and came by retransmission more than once.
    pub repeated: u64,
    /// Packets we asked for again.
    pub nacks_sent: u64,
    /// Keyframe requests sent to the publisher.
    pub keyframe_requests: u64,
    /// Keyframes seen.
    pub keyframes: u64,
    /// Of a picture, its frames and the gaps between them.
    pub smoothness: SmoothnessStats,
    /// Consumers of it.
    pub consumers: usize,
}

/// One forwarded track's counters.
#[derive(Clone, Debug)]
pub struct ConsumerStats {
    /// Its name.
    pub id: ConsumerId,
    /// Its transport.
    pub transport: TransportId,
    /// What it forwards now.
    pub producer: ProducerId,
    /// The place of that among its sources.
    pub source: usize,
    /// The place of the one that is wanted.
    pub wanted_source: usize,
    /// The highest temporal layer that it gets; 7: all.
    pub temporal: u8,
    /// The highest that is wanted.
    pub wanted_temporal: u8,
    /// Why that is not what it gets.
    pub why: Option<Shortfall>,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether its path carries nothing of it.
    pub starved: bool,
    /// Of a picture, the frames that were sent and the gaps between them.
    pub smoothness: SmoothnessStats,
    /// Packets sent, retransmissions not counted.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Packets the subscriber asked for again.
    pub nacked: u64,
    /// Retransmissions sent.
    pub retransmitted: u64,
    /// Keyframe requests of the subscriber.
    pub keyframe_requests: u64,
    /// Loss the subscriber reports: share of the last interval, 0 to 1.
    pub fraction_lost: f64,
    /// Jitter the subscriber reports, in timestamp units.
    pub jitter: u32,
    /// Round trip time to the subscriber in milliseconds, once measured.
    pub rtt_ms: Option<f64>,
}

/// All counters of a router at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Datagrams of all kinds.
    pub traffic: Traffic,
    /// Our own checks, and the paths they and other proofs opened.
    pub paths: PathCounters,
    /// The work on handshakes.
    pub handshakes: HandshakeCounters,
    /// What was dropped, and why.
    pub drops: Drops,
    /// How long packets were here that were forwarded.
    pub latency: Latency,
    /// Transports that are open.
    pub transports: Vec<TransportStats>,
    /// Incoming tracks.
    pub producers: Vec<ProducerStats>,
    /// Forwarded tracks.
    pub consumers: Vec<ConsumerStats>,
}

/// How far the copying of a router's counters has come: see [`Router::copy_counters`](crate::Router::copy_counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub(super) table: Table,
    pub(super) place: usize,
}

/// The tables, in the order in which they are copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Table {
    #[default]
    Head,
    Transports,
    Producers,
    Consumers,
    End,
}

impl Copied {
    /// Whether that is all.
    pub fn is_all(self) -> bool {
        self.table == Table::End
    }
}

impl Snapshot {
    /// Takes in the next part of a copy that is made in several.
    pub fn extend(&mut self, part: Snapshot) {
        for transport in &part.transports {
            self.traffic.packets_out += transport.traffic.packets_out;
            self.traffic.bytes_out += transport.traffic.bytes_out;
        }
        self.transports.extend(part.transports);
        self.producers.extend(part.producers);
        self.consumers.extend(part.consumers);
    }
}
