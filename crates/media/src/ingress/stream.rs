//! One incoming stream, an SSRC of a publisher: the order of its packets, and what is missing of them.

use crate::ingress::reception::{Arrival, Reception, Report};
use crate::wire::num::{ExtSeqNo, RtpTime, SeqNo, Ssrc};
use std::time::{Duration, Instant};

/// Missing packets tracked. A larger hole is not worth repairing packet by packet: a keyframe is asked for.
const MAX_MISSING: usize = 256;

/// A packet may be out of order by this much before it is asked for.
pub(super) const REORDER_TOLERANCE: Duration = Duration::from_millis(10);

/// Between two requests for the same packet; about the round trip time of a continent.
const NACK_INTERVAL: Duration = Duration::from_millis(60);

/// Requests for one packet before it is given up.
pub(super) const MAX_NACKS: u8 = 10;

/// A media stream that was silent for this long may be replaced by one it had replaced.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Missing {
    ext: ExtSeqNo,
    ask_at: Instant,
    asked: u8,
}

/// An incoming stream.
pub(crate) struct Stream {
    pub(crate) ssrc: Ssrc,
    reception: Reception,
    missing: Vec<Missing>,
    last_packet: Option<Instant>,
}

impl Stream {
    /// `clock_rate` is that of its timestamps.
    pub(crate) fn new(ssrc: Ssrc, clock_rate: u32) -> Self {
        Stream {
            ssrc,
            reception: Reception::new(clock_rate),
            missing: Vec::new(),
            last_packet: None,
        }
    }

    /// Takes in a packet that came by the ordinary way.
    pub(crate) fn on_packet(&mut self, now: Instant, seq: SeqNo, timestamp: RtpTime) -> Arrival {
        let arrival = self.reception.on_packet(seq);
        if matches!(arrival, Arrival::Newest { .. } | Arrival::Restarted { .. }) {
            self.reception.on_timing(now, timestamp);
        }
        arrival
    }

    /// Takes in a retransmission: the full number of the packet, if it is missing.
    pub(crate) fn on_retransmission(&mut self, seq: SeqNo) -> Option<ExtSeqNo> {
        self.reception.on_retransmission(seq)
    }

    /// A packet was accepted, with `gap` numbers missing before it, which are to be asked for. False: these are too
    /// many, and nothing is asked for.
    pub(crate) fn repair(&mut self, now: Instant, ext: ExtSeqNo, gap: u64) -> bool {
        if gap == 0 {
            if !self.missing.is_empty() {
                self.missing.retain(|missing| missing.ext != ext);
            }
        } else if gap as usize > MAX_MISSING - self.missing.len().min(MAX_MISSING) {
            self.missing.clear();
            return false;
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
        self.missing.clear();
    }

    /// When packets are to be asked for again.
    pub(crate) fn nack_due(&self) -> Option<Instant> {
        self.missing.iter().map(|missing| missing.ask_at).min()
    }

    /// The numbers to ask for now, oldest first, into `numbers`. False: some are given up.
    pub(crate) fn take_nacks(&mut self, now: Instant, numbers: &mut Vec<SeqNo>) -> bool {
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
        !gave_up
    }

    /// Takes in a sender report's NTP time.
    pub(crate) fn on_sender_report(&mut self, now: Instant, ntp: u64) {
        self.reception.on_sender_report(now, ntp);
    }

    /// What to report on it (RFC 3550 §6.4.1); none before its first packet.
    pub(crate) fn report(&mut self, now: Instant) -> Option<Report> {
        self.reception.report(now)
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
