//! What a receiver keeps of one incoming stream: order, duplicates, loss and jitter (RFC 3550 appendix A).

use crate::wire::num::{ExtSeqNo, RtpTime, SeqNo, SeqUnwrapper, WINDOW};
use std::time::{Duration, Instant};

/// How far a sequence number may run ahead before it is a restart rather than loss (RFC 3550 A.1).
const MAX_DROPOUT: u64 = 3000;

/// By how many seconds the time of a sender report may be away from that of the packets around it.
const MAX_REPORT_OFFSET: f64 = 10.0;

/// Where a packet stands in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The newest so far; `gap` numbers before it have not come.
    Newest { ext: ExtSeqNo, gap: u64 },
    /// Older than the newest and not seen before.
    Late { ext: ExtSeqNo },
    /// Seen before.
    Duplicate,
    /// Too old to matter.
    TooOld,
    /// Far from everything seen; if the next packet follows this one the stream has restarted.
    Jump,
    /// The second packet after a jump: the stream starts anew with it.
    Restarted { ext: ExtSeqNo },
}

/// Why a retransmission is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwanted {
    /// The packet is here already.
    Here(ExtSeqNo),
    /// It is outside of what is still missing.
    Outside,
}

/// One report block's worth of figures (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Packets since the report before.
    pub(crate) expected: u64,
    pub(crate) fraction_lost: u8,
    pub(crate) cumulative_lost: i64,
    pub(crate) highest: u32,
    pub(crate) jitter: u32,
    /// Middle 32 bits of the last sender report's NTP time; 0: none came.
    pub(crate) last_sr: u32,
    /// Time since that report in 1/65536 s.
    pub(crate) delay_since_sr: u32,
}

/// Order, loss and jitter of one SSRC.
#[derive(Debug)]
pub(crate) struct Reception {
    clock_rate: u32,
    unwrapper: SeqUnwrapper,
    base: u64,
    max: u64,
    /// Packets expected before the stream last restarted.
    expected_before: u64,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    seen: [u64; (WINDOW / 64) as usize],
    /// The number that would confirm a jump.
    jump: Option<SeqNo>,
    /// Arrival and timestamp of the packet before, for the jitter.
    previous: Option<(Instant, RtpTime)>,
    /// In 1/16 of a timestamp unit (RFC 3550 A.8).
    jitter_q4: u64,
    last_sr: Option<(u64, Instant)>,
}

impl Reception {
    pub(crate) fn new(clock_rate: u32) -> Self {
        Reception {
            clock_rate,
            unwrapper: SeqUnwrapper::new(),
            base: 0,
            max: 0,
            expected_before: 0,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
            seen: [0; (WINDOW / 64) as usize],
            jump: None,
            previous: None,
            jitter_q4: 0,
            last_sr: None,
        }
    }

    /// Takes in a packet's number.
    pub(crate) fn on_packet(&mut self, seq: SeqNo) -> Arrival {
        if self.received == 0 {
            let ext = self.unwrapper.unwrap(seq);
            self.start(ext);
            self.received = 1;
            return Arrival::Newest { ext, gap: 0 };
        }
        let newest = ExtSeqNo(self.max).seq();
        let distance = i64::from(newest.distance_to(seq));
        if distance > MAX_DROPOUT as i64 || distance < -(WINDOW as i64) {
            return self.jumped(seq, distance);
        }
        self.jump = None;
        let ext = self.unwrapper.unwrap(seq);
        if ext.0 > self.max {
            let gap = ext.0 - self.max - 1;
            for skipped in self.max + 1..=(self.max + gap.min(WINDOW)) {
                self.set_seen(skipped, false);
            }
            if gap > WINDOW {
                self.seen = [0; (WINDOW / 64) as usize];
            }
            self.max = ext.0;
            self.set_seen(ext.0, true);
            self.received += 1;
            return Arrival::Newest { ext, gap };
        }
        if self.max - ext.0 >= WINDOW || ext.0 < self.base {
            return Arrival::TooOld;
        }
        if self.is_seen(ext.0) {
            return Arrival::Duplicate;
        }
        self.set_seen(ext.0, true);
        self.received += 1;
        Arrival::Late { ext }
    }

    /// Takes in a retransmission: the full number of the packet, if it is one that is missing inside the window.
    ///
    /// It fills holes and does nothing else. Neither the newest number nor the beginning of the stream moves by it,
    /// and it neither announces nor confirms a restart: the numbers of retransmissions are what their sender says,
    /// in any order, and a stream that they could restart would give numbers a second time that it gave before.
    pub(crate) fn on_retransmission(&mut self, seq: SeqNo) -> Result<ExtSeqNo, Unwanted> {
        if self.received == 0 {
            return Err(Unwanted::Outside);
        }
        let ahead = ExtSeqNo(self.max).seq().distance_to(seq);
        let ext = self
            .max
            .checked_add_signed(i64::from(ahead))
            .ok_or(Unwanted::Outside)?;
        if ext > self.max || self.max - ext >= WINDOW || ext < self.base {
            return Err(Unwanted::Outside);
        }
        if self.is_seen(ext) {
            return Err(Unwanted::Here(ExtSeqNo(ext)));
        }
        self.set_seen(ext, true);
        self.received += 1;
        Ok(ExtSeqNo(ext))
    }

    fn jumped(&mut self, seq: SeqNo, distance: i64) -> Arrival {
        if self.jump != Some(seq) {
            // Old packets that straggle in must not look like a restart to come.
            if distance < 0 && distance > -(2 * WINDOW as i64) {
                return Arrival::TooOld;
            }
            self.jump = Some(seq.wrapping_add(1));
            return Arrival::Jump;
        }
        self.unwrapper = SeqUnwrapper::new();
        // What was lost before the jump stays in the sums, as if the stream had gone on without loss here.
        (self.expected_before, self.received) = (self.expected(), self.received + 1);
        let ext = self.unwrapper.unwrap(seq);
        self.start(ext);
        Arrival::Restarted { ext }
    }

    fn start(&mut self, ext: ExtSeqNo) {
        self.base = ext.0;
        self.max = ext.0;
        self.seen = [0; (WINDOW / 64) as usize];
        self.set_seen(ext.0, true);
        self.jump = None;
        self.previous = None;
    }

    fn set_seen(&mut self, ext: u64, seen: bool) {
        let (word, bit) = ((ext % WINDOW / 64) as usize, 1u64 << (ext % 64));
        if seen {
            self.seen[word] |= bit;
        } else {
            self.seen[word] &= !bit;
        }
    }

    fn is_seen(&self, ext: u64) -> bool {
        self.seen[(ext % WINDOW / 64) as usize] & (1 << (ext % 64)) != 0
    }

    /// Interarrival jitter (RFC 3550 A.8), for packets that came by the ordinary way.
    pub(crate) fn on_timing(&mut self, now: Instant, timestamp: RtpTime) {
        if let Some((then, earlier)) = self.previous {
            let elapsed =
                now.saturating_duration_since(then).as_secs_f64() * f64::from(self.clock_rate);
            let transit = (elapsed - f64::from(earlier.distance_to(timestamp))).abs();
            // A timestamp jump is not jitter: RFC 3550 leaves it to the receiver to leave outliers out.
            if transit < f64::from(self.clock_rate) * 10.0 {
                let transit = transit as u64;
                self.jitter_q4 =
                    (self.jitter_q4 + transit).saturating_sub((self.jitter_q4 + 8) >> 4);
            }
        }
        self.previous = Some((now, timestamp));
    }

    /// Whether a sender report of that time on the stream's clock can be of what comes now, and not of what was before a
    /// restart. A sender that was silent goes on counting.
    pub(crate) fn is_on_time_line(&self, now: Instant, timestamp: RtpTime) -> bool {
        let Some((then, newest)) = self.previous else {
            return true;
        };
        let elapsed =
            now.saturating_duration_since(then).as_secs_f64() * f64::from(self.clock_rate);
        let ahead = f64::from(newest.distance_to(timestamp)) - elapsed;
        ahead.abs() < f64::from(self.clock_rate) * MAX_REPORT_OFFSET
    }

    /// Takes in a sender report's NTP time.
    pub(crate) fn on_sender_report(&mut self, now: Instant, ntp: u64) {
        self.last_sr = Some((ntp, now));
    }

    fn expected(&self) -> u64 {
        if self.received == 0 {
            0
        } else {
            self.expected_before + self.max - self.base + 1
        }
    }

    /// Packets lost since the start; negative when more came than were expected.
    pub(crate) fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }

    pub(crate) fn jitter(&self) -> u32 {
        (self.jitter_q4 >> 4) as u32
    }

    /// The figures since the last report (RFC 3550 A.3). None before the first packet.
    pub(crate) fn report(&mut self, now: Instant) -> Option<Report> {
        if self.received == 0 {
            return None;
        }
        let expected = self.expected() - self.expected_prior;
        let received = self.received - self.received_prior;
        self.expected_prior = self.expected();
        self.received_prior = self.received;
        let lost = expected.saturating_sub(received);
        let fraction = (lost << 8).checked_div(expected).unwrap_or(0).min(255) as u8;
        let (last_sr, delay) = match self.last_sr {
            Some((ntp, at)) => (
                (ntp >> 16) as u32,
                to_q16(now.saturating_duration_since(at)),
            ),
            None => (0, 0),
        };
        Some(Report {
            expected,
            fraction_lost: fraction,
            cumulative_lost: self.lost().clamp(-0x80_0000, 0x7f_ffff),
            highest: (self.max as u32).wrapping_sub(0x1_0000),
            jitter: self.jitter(),
            last_sr,
            delay_since_sr: delay,
        })
    }
}

/// A duration in 1/65536 s, as RTCP counts delays (RFC 3550 §6.4.1).
pub(crate) fn to_q16(duration: Duration) -> u32 {
    (duration.as_micros() * 65536 / 1_000_000)
        .try_into()
        .unwrap_or(u32::MAX)
}

/// What a delay in 1/65536 s is.
pub(crate) fn from_q16(delay: u32) -> Duration {
    Duration::from_micros(u64::from(delay) * 1_000_000 / 65536)
}

/// A duration in NTP's 32.32 fixed point (RFC 3550 §4).
pub(crate) fn to_ntp(duration: Duration) -> u64 {
    (duration.as_secs() << 32)
        .wrapping_add((u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(reception: &mut Reception, numbers: &[u16]) -> Vec<Arrival> {
        numbers
            .iter()
            .map(|seq| reception.on_packet(SeqNo(*seq)))
            .collect()
    }

    #[test]
    fn order_gaps_and_duplicates_are_told_apart() {
        let mut reception = Reception::new(90_000);
        let arrivals = feed(&mut reception, &[65534, 65535, 1, 1, 0, 0]);
        let ext = |seq: u64| ExtSeqNo(0x1_0000 + seq);
        assert_eq!(
            arrivals,
            [
                Arrival::Newest {
                    ext: ext(65534),
                    gap: 0
                },
                Arrival::Newest {
                    ext: ext(65535),
                    gap: 0
                },
                Arrival::Newest {
                    ext: ext(65537),
                    gap: 1
                },
                Arrival::Duplicate,
                Arrival::Late { ext: ext(65536) },
                Arrival::Duplicate,
            ]
        );
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn one_far_packet_is_dropped_and_two_in_a_row_restart_the_stream() {
        let mut reception = Reception::new(90_000);
        feed(&mut reception, &[10, 11]);
        assert_eq!(reception.on_packet(SeqNo(20_000)), Arrival::Jump);
        assert!(matches!(
            reception.on_packet(SeqNo(12)),
            Arrival::Newest { gap: 0, .. }
        ));
        assert_eq!(reception.on_packet(SeqNo(20_000)), Arrival::Jump);
        assert!(matches!(
            reception.on_packet(SeqNo(20_001)),
            Arrival::Restarted { .. }
        ));
        assert!(matches!(
            reception.on_packet(SeqNo(20_002)),
            Arrival::Newest { gap: 0, .. }
        ));
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn a_slot_of_the_window_is_forgotten_before_it_is_used_again() {
        let mut reception = Reception::new(90_000);
        feed(&mut reception, &[0, 5]);
        for seq in 6..=1026 {
            assert!(matches!(
                reception.on_packet(SeqNo(seq)),
                Arrival::Newest { .. }
            ));
        }
        // 1027 shares the slot of 3, 1029 that of 5.
        assert!(matches!(
            reception.on_packet(SeqNo(1030)),
            Arrival::Newest { gap: 3, .. }
        ));
        assert!(matches!(
            reception.on_packet(SeqNo(1029)),
            Arrival::Late { .. }
        ));
        assert_eq!(reception.on_packet(SeqNo(4)), Arrival::TooOld);
    }

    #[test]
    fn a_retransmission_fills_holes_of_the_window_and_moves_nothing() {
        let mut reception = Reception::new(90_000);
        let outside = Err(Unwanted::Outside);
        assert_eq!(reception.on_retransmission(SeqNo(5)), outside, "of nothing");
        feed(&mut reception, &[100, 103]);
        let state = |reception: &Reception| (reception.max, reception.base, reception.lost());
        let before = state(&reception);
        for seq in (0..=65_535).filter(|seq| !(100..=103).contains(seq)) {
            assert_eq!(reception.on_retransmission(SeqNo(seq)), outside, "{seq}");
        }
        assert_eq!(state(&reception), before);
        assert_eq!(
            reception.on_retransmission(SeqNo(101)),
            Ok(ExtSeqNo(0x1_0000 + 101))
        );
        for here in [101, 103] {
            let unwanted = Err(Unwanted::Here(ExtSeqNo(0x1_0000 + u64::from(here))));
            assert_eq!(reception.on_retransmission(SeqNo(here)), unwanted);
        }
        assert_eq!(reception.lost(), 1);
        assert!(matches!(
            reception.on_packet(SeqNo(104)),
            Arrival::Newest { gap: 0, .. }
        ));
    }

    #[test]
    fn a_retransmission_neither_confirms_nor_forgets_a_jump() {
        let mut reception = Reception::new(90_000);
        feed(&mut reception, &[10, 12]);
        assert_eq!(reception.on_packet(SeqNo(20_000)), Arrival::Jump);
        let early = reception.on_retransmission(SeqNo(20_001));
        assert_eq!(early, Err(Unwanted::Outside));
        assert!(reception.on_retransmission(SeqNo(11)).is_ok());
        assert!(matches!(
            reception.on_packet(SeqNo(20_001)),
            Arrival::Restarted { .. }
        ));
    }

    #[test]
    fn reports_count_loss_since_the_last_one() {
        let now = Instant::now();
        let mut reception = Reception::new(48_000);
        feed(&mut reception, &[0, 1, 2, 4]);
        let report = reception.report(now).unwrap();
        assert_eq!(
            (report.fraction_lost, report.cumulative_lost, report.highest),
            (51, 1, 4)
        );
        feed(&mut reception, &[5, 6]);
        reception.on_sender_report(now, 0x1234_5678_9abc_def0);
        let report = reception.report(now + Duration::from_secs(1)).unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 1));
        assert_eq!(
            (report.last_sr, report.delay_since_sr),
            (0x5678_9abc, 65536)
        );
    }

    #[test]
    fn jitter_of_an_even_stream_is_nothing_and_of_an_uneven_one_is_measured() {
        let start = Instant::now();
        let mut even = Reception::new(48_000);
        let mut uneven = Reception::new(48_000);
        for i in 0..200u32 {
            let at = start + Duration::from_millis(20) * i;
            even.on_timing(at, RtpTime(960 * i));
            uneven.on_timing(at + Duration::from_millis(5) * (i % 2), RtpTime(960 * i));
        }
        assert!(even.jitter() <= 1, "{}", even.jitter());
        assert!(
            (200..280).contains(&uneven.jitter()),
            "5 ms are 240 units, got {}",
            uneven.jitter()
        );
    }

    #[test]
    fn durations_become_ntp_and_q16() {
        assert_eq!(to_ntp(Duration::from_millis(1500)), 0x1_8000_0000);
        assert_eq!(to_q16(Duration::from_millis(500)), 32768);
    }
}
