//! Counters, and the names of everything that is dropped.
//!
//! Counters are plain numbers owned by the one thread that counts; they are copied out on demand.

use crate::event::named;
use crate::ids::{ConsumerId, ProducerId, TransportId};
use crate::path::Path;
use std::fmt::Write as _;

named!(
    /// Why a datagram, or a packet of it, went no further.
    DropReason {
        /// Not STUN, DTLS, RTP or RTCP by its first byte (RFC 7983), or empty.
        UnknownProtocol = "unknown-protocol",
        /// From port 0, or from an address that is nobody's alone: it cannot be answered.
        BadSource = "bad-source",
        /// STUN that does not parse, or whose fingerprint is wrong.
        StunMalformed = "stun-malformed",
        /// STUN that is neither a Binding request nor the answer to one.
        StunNotRequest = "stun-not-request",
        /// An answer to a check that we did not send, or not to there, or not lately.
        StunUnasked = "stun-unasked",
        /// The peer answered a check of ours with an error.
        StunErrorAnswer = "stun-error-answer",
        /// A check for a user fragment that no transport has.
        StunUnknownUser = "stun-unknown-user",
        /// A check, or the answer to one of ours, whose message integrity is wrong or missing.
        StunBadIntegrity = "stun-bad-integrity",
        /// A check, or an answer, that is not verified: too much failed from there, or too many genuine ones came.
        StunOverBudget = "stun-over-budget",
        /// A check from one address more than a transport may have.
        StunTooManyAddresses = "stun-too-many-addresses",
        /// A check that was seen before from another address.
        StunReplayed = "stun-replayed",
        /// A check from an address at which another transport's peer is proven to be.
        StunAddressTaken = "stun-address-taken",
        /// A check with an attribute that must be understood and is not, or of a peer that thinks it is
        /// controlled; it was answered with an error.
        StunRefused = "stun-refused",
        /// DTLS or media from an address no check has validated.
        UnknownSource = "unknown-source",
        /// DTLS that no client sends at that point of a handshake: plain alerts, messages out of turn.
        DtlsOutOfTurn = "dtls-out-of-turn",
        /// More DTLS datagrams than any handshake needs.
        DtlsTooMany = "dtls-too-many",
        /// A datagram of a handshake while too many of them wait for their turn.
        DtlsQueueFull = "dtls-queue-full",
        /// Media before the keys are there.
        NoKeys = "no-keys",
        /// RTP that does not parse.
        RtpMalformed = "rtp-malformed",
        /// RTCP that does not parse.
        RtcpMalformed = "rtcp-malformed",
        /// RTCP that names more reports, requests or sources than a peer may in a second.
        RtcpOverBudget = "rtcp-over-budget",
        /// A wrong SRTP or SRTCP tag.
        BadTag = "bad-tag",
        /// A packet that came before.
        Replayed = "replayed",
        /// A packet older than the replay window.
        TooOld = "too-old",
        /// A datagram too short or too long to be what it says.
        BadLength = "bad-length",
        /// One synchronization source more than a transport may have.
        TooManySources = "too-many-sources",
        /// Authentic media of no negotiated track.
        UnknownStream = "unknown-stream",
        /// A packet of a peer that sends more than it may.
        OverBitrate = "over-bitrate",
        /// A payload type that was not negotiated for that track.
        UnknownPayloadType = "unknown-payload-type",
        /// The stream jumped in a way no network causes; it goes on if the next packet agrees.
        SequenceJump = "sequence-jump",
        /// A retransmission of a packet that is here already, or is too old to matter.
        RtxUseless = "rtx-useless",
        /// A packet without payload: a probe.
        PaddingOnly = "padding-only",
        /// Nobody to forward to yet: the subscriber waits for a keyframe.
        AwaitingKeyframe = "awaiting-keyframe",
        /// The consumer is paused.
        Paused = "paused",
        /// The subscriber's transport is not connected.
        NotConnected = "not-connected",
        /// Older than the point from which this subscriber is served.
        BeforeStart = "before-start",
        /// A wanted retransmission is not in the cache any more.
        NackTooOld = "nack-too-old",
        /// A wanted retransmission was sent a moment ago.
        NackTooSoon = "nack-too-soon",
        /// A subscriber asks for more retransmissions than its budget.
        NackOverBudget = "nack-over-budget",
        /// A number beyond those that are looked at in one request for retransmissions.
        NackTooMany = "nack-too-many",
        /// A packet that grew beyond a datagram by rewriting.
        TooLarge = "too-large",
        /// A packet of ours that would be the second one under its SRTP index. A fault of ours: it is not sent.
        IndexUsed = "index-used",
        /// Sealing failed.
        SealFailed = "seal-failed",
    }
);

/// One counter per drop reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Drops([0; DropReason::ALL.len()])
    }
}

impl Drops {
    /// Count one.
    pub fn count(&mut self, reason: DropReason) {
        self.count_many(reason, 1);
    }

    /// Count several.
    pub fn count_many(&mut self, reason: DropReason, count: u64) {
        self.0[reason as usize] += count;
    }

    /// How many so far.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason that occurred, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL
            .iter()
            .map(|reason| (*reason, self.get(*reason)))
            .filter(|(_, count)| *count > 0)
    }
}

/// Datagrams and bytes in both directions, as they are on the wire above UDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams received and authenticated.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
}

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
}

/// Datagrams of DTLS handshakes, of which each turn works on a few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandshakeCounters {
    /// Those that were worked on.
    pub worked: u64,
    /// Those that wait for their turn.
    pub waiting: usize,
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
    /// Packets dropped because it sent more than it may.
    pub policed: u64,
}

/// One incoming track's counters.
#[derive(Clone, Debug)]
pub struct ProducerStats {
    /// Its name.
    pub id: ProducerId,
    /// Its transport.
    pub transport: TransportId,
    /// The SSRC it has now.
    pub ssrc: Option<u32>,
    /// Media packets, repaired ones included.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Packets that never came (RFC 3550 A.3).
    pub lost: i64,
    /// Interarrival jitter in timestamp units (RFC 3550 A.8).
    pub jitter: u32,
    /// Packets that came by retransmission.
    pub repaired: u64,
    /// Packets we asked for again.
    pub nacks_sent: u64,
    /// Keyframe requests sent to the publisher.
    pub keyframe_requests: u64,
    /// Keyframes seen.
    pub keyframes: u64,
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
    /// What it forwards.
    pub producer: ProducerId,
    /// Whether it is paused.
    pub paused: bool,
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
    /// Transports that are open.
    pub transports: Vec<TransportStats>,
    /// Incoming tracks.
    pub producers: Vec<ProducerStats>,
    /// Forwarded tracks.
    pub consumers: Vec<ConsumerStats>,
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
        } = self.paths;
        let _ = write!(
            out,
            ",\"paths\":{{\"checks_sent\":{checks_sent},\"checks_answered\":{checks_answered},\"by_answer\":{by_answer},\
             \"by_handshake\":{by_handshake},\"by_media\":{by_media}}}"
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
            out.push_str(",\"proof\":");
            quoted_or_null(out, transport.proof);
            out.push_str(",\"srtp_profile\":");
            quoted_or_null(out, transport.srtp_profile);
            out.push(',');
            write_traffic(out, &transport.traffic);
            let _ = write!(out, ",\"policed\":{}}}", transport.policed);
        });
        out.push_str("],\"producers\":[");
        list(&mut out, &self.producers, |out, producer| {
            let _ = write!(
                out,
                "{{\"id\":{},\"transport\":{},\"ssrc\":",
                producer.id, producer.transport
            );
            number_or_null(out, producer.ssrc);
            let _ = write!(
                out,
                ",\"packets\":{},\"bytes\":{},\"lost\":{},\"jitter\":{},\"repaired\":{},\"nacks_sent\":{},\
                 \"keyframe_requests\":{},\"keyframes\":{},\"consumers\":{}}}",
                producer.packets,
                producer.bytes,
                producer.lost,
                producer.jitter,
                producer.repaired,
                producer.nacks_sent,
                producer.keyframe_requests,
                producer.keyframes,
                producer.consumers
            );
        });
        out.push_str("],\"consumers\":[");
        list(&mut out, &self.consumers, |out, consumer| {
            let _ = write!(
                out,
                "{{\"id\":{},\"transport\":{},\"producer\":{},\"paused\":{},\"packets\":{},\"bytes\":{},\"nacked\":{},\
                 \"retransmitted\":{},\"keyframe_requests\":{},\"fraction_lost\":{:.4},\"jitter\":{},\"rtt_ms\":",
                consumer.id,
                consumer.transport,
                consumer.producer,
                consumer.paused,
                consumer.packets,
                consumer.bytes,
                consumer.nacked,
                consumer.retransmitted,
                consumer.keyframe_requests,
                consumer.fraction_lost,
                consumer.jitter
            );
            number_or_null(
                out,
                consumer.rtt_ms.map(|rtt| (rtt * 1000.0).round() / 1000.0),
            );
            out.push('}');
        });
        out.push_str("]}");
        out
    }
}

fn write_traffic(out: &mut String, traffic: &Traffic) {
    let _ = write!(
        out,
        "\"packets_in\":{},\"bytes_in\":{},\"packets_out\":{},\"bytes_out\":{}",
        traffic.packets_in, traffic.bytes_in, traffic.packets_out, traffic.bytes_out
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

    #[test]
    fn a_snapshot_lists_only_the_drops_that_occurred() {
        let mut snapshot = Snapshot::default();
        snapshot.drops.count(DropReason::BadTag);
        snapshot.drops.count(DropReason::BadTag);
        assert_eq!(
            snapshot.to_json(),
            "{\"packets_in\":0,\"bytes_in\":0,\"packets_out\":0,\"bytes_out\":0,\"paths\":\
             {\"checks_sent\":0,\"checks_answered\":0,\"by_answer\":0,\"by_handshake\":0,\"by_media\":0},\
             \"handshakes\":{\"worked\":0,\"waiting\":0},\"drops\":{\"bad-tag\":2},\
             \"transports\":[],\"producers\":[],\"consumers\":[]}"
        );
    }

    #[test]
    fn names_are_lower_case_with_dashes_and_unique() {
        let mut seen = std::collections::HashSet::new();
        for reason in DropReason::ALL {
            assert!(
                reason
                    .name()
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == '-'),
                "{reason}"
            );
            assert!(seen.insert(reason.name()), "{reason} is there twice");
        }
    }
}
