//! One incoming stream, an SSRC of a publisher: the order of its packets, and what is missing of them.

use crate::ingress::reception::{Arrival, Reception, Report, Unwanted};
use crate::ingress::repair::{Repair, Timing};
use crate::ingress::standing::Standing;
use crate::wire::num::{ExtSeqNo, RtpTime, SeqNo, Ssrc};
use std::time::{Duration, Instant};

/// A media stream that was silent for this long may be replaced by one it had replaced.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// Weight of one report's loss.
const SHARE_WEIGHT: f64 = 0.2;

/// An incoming stream.
pub(crate) struct Stream {
    pub(crate) ssrc: Ssrc,
    reception: Reception,
    repair: Repair,
    pub(crate) standing: Standing,
    /// Retransmissions that were asked for and came twice.
    pub(crate) repeated: u64,
    /// Packets that were lost on the way, up to the last report, and their share, over some reports.
    lost_before: u64,
    share_lost: f64,
    last_packet: Option<Instant>,
}

impl Stream {
    /// `clock_rate` is that of its timestamps.
    pub(crate) fn new(ssrc: Ssrc, clock_rate: u32) -> Self {
        Stream {
            ssrc,
            reception: Reception::new(clock_rate),
            repair: Repair::new(),
            standing: Standing::new(clock_rate),
            repeated: 0,
            lost_before: 0,
            share_lost: 0.0,
            last_packet: None,
        }
    }

    /// Takes in a packet that came by the ordinary way.
    pub(crate) fn on_packet(&mut self, now: Instant, seq: SeqNo, timestamp: RtpTime) -> Arrival {
        let arrival = self.reception.on_packet(seq);
        if matches!(arrival, Arrival::Newest { .. } | Arrival::Restarted { .. }) {
            self.reception.on_timing(now, timestamp);
            self.standing.on_packet(now, timestamp);
        }
        arrival
    }

    /// Takes in a retransmission: the full number of the packet, if it is missing.
    pub(crate) fn on_retransmission(&mut self, seq: SeqNo) -> Result<ExtSeqNo, Unwanted> {
        let came = self.reception.on_retransmission(seq);
        if let Err(Unwanted::Here(ext)) = came {
            self.repeated += u64::from(self.repair.was_asked_for(ext));
        }
        came
    }

    /// A packet was accepted, with `gap` numbers missing before it, which are to be asked for. False: these are too
    /// many, and nothing is asked for.
    pub(crate) fn repair(&mut self, now: Instant, ext: ExtSeqNo, gap: u64) -> bool {
        match gap {
            0 => self.repair.on_came(now, ext),
            _ => return self.repair.on_gap(now, ext, gap),
        }
        true
    }

    /// It is alive.
    pub(crate) fn on_accepted(&mut self, now: Instant) {
        self.last_packet = Some(now);
    }

    /// Whether nothing of it came for so long that it may be taken for ended.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        self.last_packet
            .is_none_or(|at| now.saturating_duration_since(at) > SILENCE)
    }

    /// What is missing will not come.
    pub(crate) fn forget_missing(&mut self) {
        self.repair.forget();
    }

    /// When packets are to be asked for again.
    pub(crate) fn nack_due(&self) -> Option<Instant> {
        self.repair.due()
    }

    /// The numbers to ask for now, into `numbers`, and the newest that is given up (see [`Repair::take`]).
    pub(crate) fn take_nacks(
        &mut self,
        now: Instant,
        timing: Timing,
        useful_for: Duration,
        may_ask: impl FnMut() -> bool,
        numbers: &mut Vec<SeqNo>,
    ) -> Option<ExtSeqNo> {
        self.repair.take(now, timing, useful_for, may_ask, numbers)
    }

    /// Takes in a sender report's times. False: they are not of what comes now.
    pub(crate) fn on_sender_report(&mut self, now: Instant, ntp: u64, timestamp: RtpTime) -> bool {
        self.reception.on_sender_report(now, ntp);
        self.reception.is_on_time_line(now, timestamp)
    }

    /// What to report on it (RFC 3550 §6.4.1), and the share that was lost on the way, repaired since or not; none before
    /// its first packet.
    pub(crate) fn report(&mut self, now: Instant) -> Option<(Report, f64)> {
        let report = self.reception.report(now)?;
        let lost = self.repair.lost_on_the_way();
        let since = lost.saturating_sub(std::mem::replace(&mut self.lost_before, lost));
        let share = (since as f64 / report.expected.max(1) as f64).min(1.0);
        // Where nothing is asked for, what is missing is not looked for either.
        let share = share.max(f64::from(report.fraction_lost) / 256.0);
        self.share_lost += SHARE_WEIGHT * (share - self.share_lost);
        Some((report, share))
    }

    /// The share of its packets that is lost on the way, repaired or not.
    pub(crate) fn share_lost(&self) -> f64 {
        self.share_lost
    }

    /// Packets that never came, less those that came twice (RFC 3550 A.3).
    pub(crate) fn lost(&self) -> i64 {
        self.reception.lost()
    }

    /// Interarrival jitter in timestamp units (RFC 3550 A.8).
    pub(crate) fn jitter(&self) -> u32 {
        self.reception.jitter()
    }
}
