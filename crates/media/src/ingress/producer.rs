//! One incoming track: what came, what is missing, and what the publisher is to be asked for.

use crate::ingress::cache::{PacketCache, SLOT_SIZE, SLOTS};
use crate::ingress::keyframe_requests::{KeyframeRequests, Need};
use crate::ingress::reception::Reception;
use crate::ingress::spec::ProducerSpec;
use crate::wire::codecs::Kind;
use crate::wire::num::{ExtSeqNo, RtpTime, SeqNo, Ssrc};
use crate::wire::rtp;
use std::time::{Duration, Instant};

/// Missing packets tracked. A larger hole is not worth repairing packet by packet: a keyframe is asked for.
const MAX_MISSING: usize = 256;

/// A packet may be out of order by this much before it is asked for.
const REORDER_TOLERANCE: Duration = Duration::from_millis(10);

/// Between two requests for the same packet; about the round trip time of a continent.
const NACK_INTERVAL: Duration = Duration::from_millis(60);

/// Requests for one packet before it is given up.
const MAX_NACKS: u8 = 10;

/// A media stream that was silent for this long may be replaced by one it had replaced.
const SILENCE: Duration = Duration::from_secs(1);

/// Streams remembered as replaced, so that their stragglers do not bring them back.
const MAX_RETIRED: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Missing {
    ext: ExtSeqNo,
    ask_at: Instant,
    asked: u8,
}

/// The time line of the publisher: the pair of its last sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderClock {
    pub(crate) ntp: u64,
    pub(crate) rtp: RtpTime,
    pub(crate) at: Instant,
}

/// An incoming track.
pub(crate) struct Producer {
    pub(crate) spec: ProducerSpec,
    /// Index of its transport.
    pub(crate) transport: usize,
    /// Indices of its consumers.
    pub(crate) consumers: Vec<usize>,
    pub(crate) ssrc: Option<Ssrc>,
    retired: Vec<Ssrc>,
    /// Counts the streams this track has been: another SSRC, or the same one after a jump.
    pub(crate) epoch: u32,
    pub(crate) reception: Reception,
    pub(crate) cache: Option<PacketCache>,
    pub(crate) clock: Option<SenderClock>,
    pub(crate) started: bool,
    last_packet: Option<Instant>,
    missing: Vec<Missing>,
    requests: KeyframeRequests,
    last_keyframe: Option<RtpTime>,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) repaired: u64,
    pub(crate) nacks_sent: u64,
    pub(crate) keyframe_requests: u64,
    pub(crate) keyframes: u64,
}

impl Producer {
    pub(crate) fn new(spec: ProducerSpec, transport: usize) -> Self {
        let reception = Reception::new(clock_rate(spec.kind));
        Producer {
            transport,
            consumers: Vec::new(),
            ssrc: spec.ssrc,
            retired: Vec::new(),
            epoch: 0,
            reception,
            cache: None,
            clock: None,
            started: false,
            last_packet: None,
            missing: Vec::new(),
            requests: KeyframeRequests::default(),
            last_keyframe: None,
            packets: 0,
            bytes: 0,
            repaired: 0,
            nacks_sent: 0,
            keyframe_requests: 0,
            keyframes: 0,
            spec,
        }
    }

    /// The clock of its timestamps: 48 kHz for Opus (RFC 7587 §4.1), 90 kHz for video.
    pub(crate) fn clock_rate(&self) -> u32 {
        clock_rate(self.spec.kind)
    }

    pub(crate) fn is_video(&self) -> bool {
        self.spec.kind == Kind::Video
    }

    /// Whether a stream with a new SSRC may take this track over.
    pub(crate) fn accepts_stream(&self, now: Instant, ssrc: Ssrc) -> bool {
        !self.retired.contains(&ssrc)
            || self
                .last_packet
                .is_none_or(|at| now.saturating_duration_since(at) > SILENCE)
    }

    /// The track goes on under another SSRC.
    pub(crate) fn switch_stream(&mut self, ssrc: Ssrc) {
        self.retired.retain(|old| *old != ssrc);
        if let Some(old) = self.ssrc.replace(ssrc) {
            if self.retired.len() >= MAX_RETIRED {
                self.retired.remove(0);
            }
            self.retired.push(old);
        }
        self.reception = Reception::new(self.clock_rate());
        self.restart();
    }

    /// Nothing that was before belongs to what comes now.
    pub(crate) fn restart(&mut self) {
        self.epoch += 1;
        self.missing.clear();
        self.cache = None;
        self.clock = None;
    }

    /// A packet was accepted. `gap` numbers before it are missing.
    pub(crate) fn on_accepted(
        &mut self,
        now: Instant,
        ext: ExtSeqNo,
        gap: u64,
        payload_len: usize,
    ) {
        self.packets += 1;
        self.bytes += payload_len as u64;
        self.last_packet = Some(now);
        if !self.spec.nack {
            return;
        }
        if gap == 0 {
            if !self.missing.is_empty() {
                self.missing.retain(|missing| missing.ext != ext);
            }
        } else if gap as usize > MAX_MISSING - self.missing.len().min(MAX_MISSING) {
            self.missing.clear();
            self.want_keyframe(Need::Repair);
        } else {
            for number in ext.0 - gap..ext.0 {
                let ask_at = now + REORDER_TOLERANCE;
                self.missing.push(Missing {
                    ext: ExtSeqNo(number),
                    ask_at,
                    asked: 0,
                });
            }
        }
    }

    /// When packets are to be asked for again.
    pub(crate) fn nack_due(&self) -> Option<Instant> {
        self.missing.iter().map(|missing| missing.ask_at).min()
    }

    /// The numbers to ask for now, oldest first, into `numbers`.
    pub(crate) fn take_nacks(&mut self, now: Instant, numbers: &mut Vec<SeqNo>) {
        numbers.clear();
        let mut gave_up = false;
        self.missing.retain_mut(|missing| {
            if missing.ask_at > now {
                return true;
            }
            if missing.asked >= MAX_NACKS {
                gave_up = true;
                return false;
            }
            missing.asked += 1;
            missing.ask_at = now + NACK_INTERVAL * u32::from(missing.asked.min(4));
            numbers.push(missing.ext.seq());
            true
        });
        self.nacks_sent += numbers.len() as u64;
        // What never comes leaves decoders with a broken picture until the next keyframe.
        if gave_up {
            self.want_keyframe(Need::Repair);
        }
    }

    /// A subscriber needs a keyframe.
    pub(crate) fn want_keyframe(&mut self, need: Need) {
        if self.spec.pli && self.is_video() {
            self.requests.want(need);
        }
    }

    /// A keyframe has begun to arrive. One of H.264 has several packets that say so.
    pub(crate) fn on_keyframe(&mut self, timestamp: RtpTime) {
        if self.last_keyframe.replace(timestamp) != Some(timestamp) {
            self.keyframes += 1;
        }
        self.requests.on_keyframe();
    }

    /// When a keyframe is to be asked for, given the throttle; none when nobody needs one or none can be asked.
    pub(crate) fn keyframe_due(&self, now: Instant) -> Option<Instant> {
        if self.ssrc.is_none() || self.consumers.is_empty() {
            return None;
        }
        self.requests.due(now)
    }

    /// Whether to ask for a keyframe now; true counts as asked. It stays wanted until one comes.
    pub(crate) fn take_keyframe_request(&mut self, now: Instant) -> bool {
        let asked = self.keyframe_due(now).is_some() && self.requests.take(now);
        self.keyframe_requests += u64::from(asked);
        asked
    }

    /// Keeps a packet for retransmission. Audio is not kept: it is too late when it is asked for.
    pub(crate) fn keep(
        &mut self,
        now: Instant,
        ext: ExtSeqNo,
        marker: bool,
        timestamp: RtpTime,
        payload: &[u8],
    ) {
        if !self.is_video() {
            return;
        }
        // How it came does not matter any more: without extensions, padding and the wrapping of RFC 4588.
        let mut packet = [0; SLOT_SIZE];
        let (payload_type, ssrc) = (self.spec.payload_type, self.ssrc.unwrap_or_default());
        let len = rtp::write_header(
            &mut packet,
            marker,
            payload_type,
            ext.seq(),
            timestamp,
            ssrc,
            &[],
        );
        let Some(room) = packet.get_mut(len..len + payload.len()) else {
            return;
        };
        room.copy_from_slice(payload);
        let end = len + payload.len();
        self.cache
            .get_or_insert_with(|| PacketCache::new(SLOTS))
            .put(ext, &packet[..end], now);
    }
}

fn clock_rate(kind: Kind) -> u32 {
    match kind {
        Kind::Audio => 48_000,
        Kind::Video => 90_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ProducerId, TransportId};
    use crate::wire::codecs::Codec;
    use crate::wire::num::PayloadType;

    fn producer() -> Producer {
        let spec = ProducerSpec {
            producer: ProducerId(1),
            transport: TransportId(1),
            kind: Kind::Video,
            codec: Codec::Vp8,
            mid: "0".into(),
            payload_type: PayloadType(96),
            rtx_payload_type: None,
            ssrc: Some(Ssrc(1)),
            rtx_ssrc: None,
            mid_extension: None,
            twcc_extension: None,
            nack: true,
            pli: true,
            remb: false,
        };
        let mut producer = Producer::new(spec, 0);
        producer.consumers.push(0);
        producer
    }

    #[test]
    fn missing_packets_are_asked_for_after_a_moment_and_not_forever() {
        let (mut producer, start) = (producer(), Instant::now());
        producer.on_accepted(start, ExtSeqNo(100), 0, 10);
        producer.on_accepted(start, ExtSeqNo(104), 3, 10);
        let mut numbers = Vec::new();
        producer.take_nacks(start, &mut numbers);
        assert!(numbers.is_empty(), "reordering is given a moment");
        let now = start + REORDER_TOLERANCE;
        producer.on_accepted(now, ExtSeqNo(102), 0, 10);
        producer.take_nacks(now, &mut numbers);
        assert_eq!(numbers, [SeqNo(101), SeqNo(103)]);
        let mut rounds = 1;
        let mut now = now;
        while let Some(due) = producer.nack_due() {
            now = due;
            producer.take_nacks(now, &mut numbers);
            rounds += usize::from(!numbers.is_empty());
        }
        assert_eq!(rounds, usize::from(MAX_NACKS));
        assert!(now - start < Duration::from_secs(3));
        assert!(
            producer.keyframe_due(now).is_some(),
            "a hole for good needs a keyframe"
        );
    }

    #[test]
    fn a_large_hole_asks_for_a_keyframe_instead() {
        let (mut producer, start) = (producer(), Instant::now());
        producer.on_accepted(start, ExtSeqNo(1000), 0, 10);
        producer.on_accepted(start, ExtSeqNo(2000), 999, 10);
        assert_eq!(producer.nack_due(), None);
        assert_eq!(producer.keyframe_due(start), Some(start));
    }

    #[test]
    fn a_replaced_stream_does_not_come_back_while_its_successor_is_alive() {
        let (mut producer, start) = (producer(), Instant::now());
        producer.switch_stream(Ssrc(2));
        producer.on_accepted(start, ExtSeqNo(1), 0, 10);
        assert!(!producer.accepts_stream(start, Ssrc(1)));
        assert!(producer.accepts_stream(start, Ssrc(3)));
        assert!(producer.accepts_stream(start + SILENCE * 2, Ssrc(1)));
    }
}
