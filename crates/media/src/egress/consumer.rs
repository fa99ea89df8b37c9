//! One track forwarded to one transport: its numbers, its retransmissions, what the subscriber reports.

use crate::allocation::Share;
use crate::egress::copies::Copies;
use crate::egress::frames::Frames;
use crate::egress::pictures::Pictures;
use crate::egress::rewrite::Rewriter;
use crate::egress::sources::{Next, Sources};
use crate::egress::spec::ConsumerSpec;
use crate::egress::temporal::Temporal;
use crate::ingress::demand::Offered;
use crate::ingress::reception::{from_q16, to_ntp};
use crate::ingress::smoothness::Smoothness;
use crate::ingress::track::SenderClock;
use crate::reasons::{DropReason, Shortfall};
use crate::slab::{TrackKey, TransportKey};
use crate::wire::codecs::Kind;
use crate::wire::extensions::ExtensionBlock;
use crate::wire::num::{ExtSeqNo, Rng, RtpTime, SeqNo};
use crate::wire::rtcp::ReportBlock;
use std::time::{Duration, Instant};

/// The same packet is not sent again within a round trip, and never within this time: a subscriber that
/// asks more often asks for what is under way.
const MIN_RESEND_INTERVAL: Duration = Duration::from_millis(20);

/// A longer round trip than this is a wrong measurement.
const MAX_RTT: Duration = Duration::from_secs(2);

/// Bytes of retransmissions that a subscriber may ask for at once, and that it earns a second. On top it
/// earns half of what it receives, so that a link that loses a third can still be repaired.
const RESEND_BURST: f64 = 128_000.0;
const RESEND_RATE: f64 = 32_000.0;
const RESEND_SHARE: f64 = 0.5;

/// Retransmissions remembered for the interval; a power of two.
const REMEMBERED_RESENDS: usize = 256;

/// Sender reports remembered to recognise what a receiver report answers.
const REMEMBERED_REPORTS: usize = 4;

/// A publisher's time line is carried on for this long after its last report.
const CLOCK_LIFETIME: Duration = Duration::from_secs(60);

/// What an answer to a NACK is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resend {
    /// The packet's number at the producer.
    pub(crate) source: ExtSeqNo,
    /// The number it went out with.
    pub(crate) original: ExtSeqNo,
    pub(crate) timestamp_shift: u32,
    /// Whether it was sent without what is in it.
    pub(crate) emptied: bool,
}

/// A sender report for a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderReport {
    pub(crate) ntp: u64,
    pub(crate) rtp: RtpTime,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
}

/// Where a consumer stands in the lists that name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) at_transport: usize,
    pub(crate) at_track: usize,
}

/// A forwarded track.
pub(crate) struct Consumer {
    pub(crate) spec: ConsumerSpec,
    pub(crate) transport: TransportKey,
    /// The track that it gets.
    pub(crate) track: TrackKey,
    /// All that it might get, and which of them that is.
    pub(crate) sources: Sources,
    /// The track that follows when a keyframe of it begins.
    pub(crate) next: Option<Next>,
    /// Where it stands in their lists.
    pub(crate) places: Places,
    pub(crate) paused: bool,
    /// What it gets of the path, and whether that is nothing.
    pub(crate) share: Share,
    pub(crate) starved: bool,
    /// What its path had for it in the last division; none: all that it wants.
    pub(crate) offered: Option<Offered>,
    /// Until when it is new that nothing is known of its path.
    pub(crate) new_until: Option<Instant>,
    /// Whether it shows somebody who speaks, as of the last division.
    pub(crate) shows_speaker: bool,
    /// What the control plane knows of it: the source that it gets, and why that is not the one that is wanted.
    pub(crate) told: (Option<usize>, Option<Shortfall>),
    /// Whether it is in its transport's list of those that wait for the path.
    pub(crate) is_waiting_for_path: bool,
    pub(crate) rewriter: Rewriter,
    pub(crate) temporal: Temporal,
    /// The numbers of its pictures, where the codec has some.
    pub(crate) pictures: Pictures,
    /// The numbers of its frames, where they have dependency descriptors.
    pub(crate) frames: Frames,
    /// How its sound leaves where the publisher sends copies with it.
    pub(crate) copies: Copies,
    /// Whether temporal layers may be left out: the subscriber can tell that from a loss.
    pub(crate) leaves_out: bool,
    /// The header extensions of its packets.
    pub(crate) extensions: ExtensionBlock,
    /// The arrival of the track that it gets next.
    pub(crate) cursor: u64,
    /// Whether a frame has begun to go out and has not ended.
    pub(crate) in_frame: bool,
    /// The frames of it that were sent, if it is a video.
    pub(crate) smoothness: Smoothness,
    pub(crate) kind: Kind,
    next_rtx: ExtSeqNo,
    resent: Vec<(u64, Option<Instant>)>,
    resend_budget: f64,
    resend_at: Option<Instant>,
    reports: [(u32, Option<Instant>); REMEMBERED_REPORTS],
    next_report: usize,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) nacked: u64,
    pub(crate) retransmitted: u64,
    pub(crate) keyframe_requests: u64,
    pub(crate) fraction_lost: u8,
    pub(crate) jitter: u32,
    pub(crate) rtt: Option<Duration>,
    /// The highest number that the subscriber reported to have come.
    highest_told: Option<u32>,
}

impl Consumer {
    pub(crate) fn new(
        spec: ConsumerSpec,
        transport: TransportKey,
        track: TrackKey,
        sources: Sources,
        kind: Kind,
        cursor: u64,
        rng: &mut Rng,
    ) -> Self {
        let first = (rng.next_u32() & 0x7fff) as u16;
        let rewriter = Rewriter::new(kind.clock_rate(), first, rng.next_u32());
        let mid = spec.mid_extension.map(|id| (id, spec.mid.as_str()));
        Consumer {
            transport,
            track,
            told: (Some(sources.wanted()), None),
            sources,
            next: None,
            places: Places::default(),
            paused: false,
            share: Share::default(),
            starved: false,
            offered: None,
            new_until: None,
            shows_speaker: false,
            is_waiting_for_path: false,
            rewriter,
            temporal: Temporal::new(spec.temporal),
            pictures: Pictures::new(),
            frames: Frames::default(),
            copies: Copies::new(spec.red_payload_type),
            leaves_out: true,
            extensions: ExtensionBlock::new(mid, spec.twcc_extension).unwrap_or_default(),
            cursor,
            in_frame: false,
            smoothness: Smoothness::default(),
            kind,
            next_rtx: ExtSeqNo(u64::from(rng.next_u32() & 0x7fff)),
            resent: Vec::new(),
            resend_budget: RESEND_BURST,
            resend_at: None,
            reports: [(0, None); REMEMBERED_REPORTS],
            next_report: 0,
            packets: 0,
            bytes: 0,
            nacked: 0,
            retransmitted: 0,
            keyframe_requests: 0,
            fraction_lost: 0,
            jitter: 0,
            rtt: None,
            highest_told: None,
            spec,
        }
    }

    /// Whether it is a picture, which can begin with a keyframe only.
    pub(crate) fn is_video(&self) -> bool {
        self.kind == Kind::Video
    }

    /// Its place among the pictures that share a path; the lower, the earlier it is served: those who speak before others
    /// of their kind.
    pub(crate) fn rank(&self) -> (u8, bool, u64) {
        (self.spec.rank, !self.shows_speaker, self.spec.consumer.0)
    }

    /// A packet went out.
    pub(crate) fn on_sent(&mut self, payload_len: usize) {
        self.packets += 1;
        self.bytes += payload_len as u64;
        self.resend_budget =
            (self.resend_budget + payload_len as f64 * RESEND_SHARE).min(RESEND_BURST);
    }

    /// The subscriber misses a packet. Whether to send it again is decided here, what it was is looked up
    /// by the caller.
    pub(crate) fn on_nack(&mut self, now: Instant, seq: SeqNo) -> Result<Resend, DropReason> {
        self.nacked += 1;
        let (source, original, timestamp_shift) =
            self.rewriter.source_of(seq).ok_or(DropReason::NackTooOld)?;
        if self.resent.is_empty() {
            self.resent.resize(REMEMBERED_RESENDS, (0, None));
        }
        let (number, at) = &self.resent[(original.0 as usize) % REMEMBERED_RESENDS];
        let interval = self
            .rtt
            .unwrap_or(MIN_RESEND_INTERVAL)
            .max(MIN_RESEND_INTERVAL);
        if *number == original.0
            && at.is_some_and(|at| now.saturating_duration_since(at) < interval)
        {
            return Err(DropReason::NackTooSoon);
        }
        let elapsed = self
            .resend_at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.resend_at = Some(now);
        self.resend_budget = (self.resend_budget + elapsed * RESEND_RATE).min(RESEND_BURST);
        if self.resend_budget <= 0.0 {
            return Err(DropReason::NackOverBudget);
        }
        Ok(Resend {
            source,
            original,
            timestamp_shift,
            emptied: self.rewriter.is_emptied(original),
        })
    }

    /// A retransmission went out.
    pub(crate) fn on_resent(&mut self, now: Instant, original: ExtSeqNo, len: usize) {
        self.resent[(original.0 as usize) % REMEMBERED_RESENDS] = (original.0, Some(now));
        self.resend_budget -= len as f64;
        self.retransmitted += 1;
    }

    /// The number of the next retransmission packet (RFC 4588 §4).
    pub(crate) fn take_rtx_number(&mut self) -> ExtSeqNo {
        let number = self.next_rtx;
        self.next_rtx = number.plus(1);
        number
    }

    /// A sender report that carries the publisher's time line on, so that its audio and video stay together.
    /// None while the publisher has not said what its time line is.
    pub(crate) fn sender_report(
        &mut self,
        now: Instant,
        epoch: u32,
        clock: Option<SenderClock>,
    ) -> Option<SenderReport> {
        let shift = self.rewriter.timestamp_shift(epoch)?;
        let clock = clock?;
        let elapsed = now.saturating_duration_since(clock.at);
        if self.packets == 0 || elapsed > CLOCK_LIFETIME {
            return None;
        }
        let ticks = (elapsed.as_micros() * u128::from(self.kind.clock_rate()) / 1_000_000) as u32;
        let ntp = clock.ntp.wrapping_add(to_ntp(elapsed));
        self.reports[self.next_report] = ((ntp >> 16) as u32, Some(now));
        self.next_report = (self.next_report + 1) % REMEMBERED_REPORTS;
        Some(SenderReport {
            ntp,
            rtp: clock.rtp.wrapping_add(ticks).wrapping_add(shift),
            packets: self.packets as u32,
            octets: self.bytes as u32,
        })
    }

    /// The subscriber's report on this stream (RFC 3550 §6.4.1). Returns of how many packets more than the one before it
    /// tells.
    pub(crate) fn on_report(&mut self, now: Instant, block: &ReportBlock) -> u64 {
        self.fraction_lost = block.fraction_lost;
        self.jitter = block.jitter;
        let (last_sr, delay) = (block.last_sr, block.delay_since_last_sr);
        let before = self.highest_told.replace(block.highest_seq);
        let told = before.map_or(0, |before| block.highest_seq.wrapping_sub(before));
        // A report that was overtaken by the next one tells of none.
        let told = if told < 1 << 31 { u64::from(told) } else { 0 };
        let answered = self
            .reports
            .iter()
            .find(|(ntp, at)| last_sr != 0 && *ntp == last_sr && at.is_some());
        if let Some((_, Some(at))) = answered {
            self.rtt = now
                .saturating_duration_since(*at)
                .checked_sub(from_q16(delay))
                .map(|rtt| rtt.min(MAX_RTT));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::rewrite::Incoming;
    use crate::ids::{ConsumerId, ProducerId, TransportId};
    use crate::slab::Slab;
    use crate::wire::num::{PayloadType, Ssrc};

    fn consumer() -> Consumer {
        let spec = ConsumerSpec {
            consumer: ConsumerId(1),
            transport: TransportId(1),
            producers: vec![ProducerId(1)],
            source: 0,
            temporal: None,
            mid: "0".into(),
            payload_type: PayloadType(96),
            red_payload_type: None,
            rtx_payload_type: None,
            ssrc: Ssrc(1),
            rtx_ssrc: None,
            mid_extension: None,
            twcc_extension: None,
            dependency_descriptor_extension: None,
            pads: false,
            rank: 0,
            cname: "c".into(),
        };
        let (transport, track) = (Slab::new().insert(()), Slab::new().insert(()));
        Consumer::new(
            spec,
            transport,
            track,
            Sources::new(&[Some(track)], 0),
            Kind::Video,
            0,
            &mut Rng::new(1),
        )
    }

    fn send(consumer: &mut Consumer, now: Instant, number: u64) -> SeqNo {
        let incoming = Incoming {
            epoch: 0,
            ext: ExtSeqNo(number),
            timestamp: RtpTime(number as u32),
            starts: true,
            left_out: None,
        };
        let out = consumer.rewriter.rewrite(now, incoming).unwrap();
        consumer.on_sent(1000);
        out.ext.seq()
    }

    #[test]
    fn a_packet_is_not_sent_again_within_a_round_trip() {
        let (mut consumer, now) = (consumer(), Instant::now());
        let seq = send(&mut consumer, now, 100);
        let resend = consumer.on_nack(now, seq).unwrap();
        assert_eq!(resend.source, ExtSeqNo(100));
        consumer.on_resent(now, resend.original, 1000);
        assert_eq!(
            consumer.on_nack(now + Duration::from_millis(19), seq),
            Err(DropReason::NackTooSoon)
        );
        assert!(
            consumer
                .on_nack(now + Duration::from_millis(20), seq)
                .is_ok()
        );
        consumer.rtt = Some(Duration::from_millis(80));
        assert_eq!(
            consumer.on_nack(now + Duration::from_millis(79), seq),
            Err(DropReason::NackTooSoon)
        );
        assert!(
            consumer
                .on_nack(now + Duration::from_millis(80), seq)
                .is_ok()
        );
    }

    #[test]
    fn a_storm_of_nacks_is_answered_within_the_budget() {
        let (mut consumer, start) = (consumer(), Instant::now());
        let numbers: Vec<SeqNo> = (0..500)
            .map(|number| send(&mut consumer, start, 100 + number))
            .collect();
        let mut sent = 0;
        for ms in 0..1000 {
            let now = start + Duration::from_millis(ms);
            for seq in &numbers {
                if let Ok(resend) = consumer.on_nack(now, *seq) {
                    consumer.on_resent(now, resend.original, 1000);
                    sent += 1000;
                }
            }
        }
        assert!(sent <= 162_000, "{sent} bytes were sent again in a second");
    }

    #[test]
    fn the_round_trip_is_measured_from_our_own_clock() {
        let (mut consumer, now) = (consumer(), Instant::now());
        send(&mut consumer, now, 1);
        let clock = SenderClock {
            ntp: 0xdead_beef_0000_0000,
            rtp: RtpTime(0),
            at: now,
        };
        let report = consumer.sender_report(now, 0, Some(clock)).unwrap();
        let answered = now + Duration::from_millis(150);
        let block = ReportBlock {
            last_sr: (report.ntp >> 16) as u32,
            delay_since_last_sr: 65536 / 10,
            ..ReportBlock::default()
        };
        consumer.on_report(answered, &block);
        let rtt = consumer.rtt.unwrap();
        assert!((49..=51).contains(&rtt.as_millis()), "{rtt:?}");
    }

    #[test]
    fn a_sender_report_carries_the_publishers_time_line_on() {
        let (mut consumer, now) = (consumer(), Instant::now());
        send(&mut consumer, now, 1);
        let clock = SenderClock {
            ntp: 5 << 32,
            rtp: RtpTime(1000),
            at: now,
        };
        assert_eq!(consumer.sender_report(now, 0, None), None);
        assert_eq!(
            consumer.sender_report(now, 1, Some(clock)),
            None,
            "of another stream"
        );
        let shift = consumer.rewriter.timestamp_shift(0).unwrap();
        let report = consumer
            .sender_report(now + Duration::from_secs(2), 0, Some(clock))
            .unwrap();
        assert_eq!(
            (report.ntp, report.rtp),
            (7 << 32, RtpTime(181_000).wrapping_add(shift))
        );
    }

    /// A subscriber plays together what was captured together: each timestamp it gets, counted from the last sender report,
    /// is the publisher's time of capture. Exactly, whatever the publisher restarts and the subscriber pauses.
    #[test]
    fn timestamps_lead_to_the_time_of_capture_over_restarts_and_pauses() {
        let (mut consumer, start) = (consumer(), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        let ntp_at = |ms: u64| (1000 << 32) + to_ntp(Duration::from_millis(ms));
        // Of each number space: when it begins, its first timestamp, and when its sender report comes. In the third the
        // report comes after a pause.
        let lines = [
            (0, 5_000_u32, 1_000, None),
            (4_000, 0xffff_ff00, 5_000, None),
            (8_000, 77, 9_000, Some(9_500)),
        ];
        for (epoch, (begins, first, reported, paused)) in (0..).zip(lines) {
            let rtp_at = |ms: u64| RtpTime(first).wrapping_add(((ms - begins) * 90) as u32);
            let clock = SenderClock {
                ntp: ntp_at(reported),
                rtp: rtp_at(reported),
                at: at(reported),
            };
            let mut captured = Vec::new();
            for number in 0..200 {
                let ms = begins + number * 20;
                let packet = Incoming {
                    epoch,
                    ext: ExtSeqNo(1000 + number),
                    timestamp: rtp_at(ms),
                    starts: true,
                    left_out: None,
                };
                if paused.is_some_and(|from| (from..from + 500).contains(&ms)) {
                    consumer.rewriter.stop();
                    assert_eq!(consumer.sender_report(at(ms), epoch, Some(clock)), None);
                    continue;
                }
                let out = consumer.rewriter.rewrite(at(ms), packet).unwrap();
                consumer.on_sent(100);
                captured.push((ms, out.timestamp));
            }
            let now = begins + 3_990;
            let before = consumer.sender_report(at(now), epoch + 1, Some(clock));
            assert_eq!(
                before, None,
                "the publisher restarted, and nothing of it came"
            );
            let report = consumer.sender_report(at(now), epoch, Some(clock)).unwrap();
            assert_eq!(
                report.ntp,
                ntp_at(reported).wrapping_add(to_ntp(Duration::from_millis(now - reported)))
            );
            for (ms, timestamp) in captured {
                let ticks = i64::from(report.rtp.distance_to(timestamp));
                assert_eq!(
                    ticks,
                    90 * (ms as i64 - now as i64),
                    "epoch {epoch} at {ms} ms"
                );
            }
            let silent = at(reported) + CLOCK_LIFETIME + Duration::from_millis(1);
            assert_eq!(consumer.sender_report(silent, epoch, Some(clock)), None);
        }
    }
}
