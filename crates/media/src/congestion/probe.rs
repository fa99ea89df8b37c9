//! Trying whether a path carries more: a few packets at a higher rate than the estimate. The sender has to make them, of
//! retransmissions or padding; this says when, how fast and how many, and reads the answer.

use super::history::Sent;
use std::time::{Duration, Instant};

/// What a sender is asked to send within a short time, beside media or with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Marks its packets, for [`super::Bandwidth::on_sent`]; never 0.
    pub cluster: u8,
    /// Bits a second at which its packets follow each other.
    pub bits_per_second: u64,
    /// Bytes that it needs in all, as they are on the wire.
    pub bytes: usize,
}

/// How long packets are sent at that rate; feedback tells times to 250 µs, so that this is known to 2 %.
const LENGTH: Duration = Duration::from_millis(25);
/// Packets that it takes at least, of 1,200 bytes.
const LEAST_BYTES: usize = 5 * 1_200;
const LEAST_PACKETS: u32 = 5;

/// How many times the estimate is tried.
const STEP: f64 = 2.0;
/// Nothing is tried that is not so much more than the estimate.
const WORTH: f64 = 1.1;

/// Between two probes, after one that found the path full, and how long an answer is waited for.
const INTERVAL: Duration = Duration::from_secs(5);
const AFTER_FAILURE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(2);

/// Packets that arrived slower than this share of how they were sent found the path full; this share of what arrived
/// then is what it carries.
const FULL: f64 = 0.9;
const OF_FULL: f64 = 0.95;
/// All but this share of the bytes have to arrive.
const MISSING: f64 = 0.2;
/// What arrives so many times faster than it was sent was not sent as it was told.
const TOO_FAST: f64 = 2.0;

#[derive(Debug)]
struct Running {
    probe: Probe,
    asked: Instant,
    packets: u32,
    bytes: usize,
    first_bytes: usize,
    last_bytes: usize,
    /// Of sending and of arrival, in microseconds.
    first: (i64, i64),
    last: (i64, i64),
}

/// The probe that is under way, and when the next one is due.
#[derive(Debug, Default)]
pub(super) struct Prober {
    running: Option<Running>,
    next: Option<Instant>,
    clusters: u8,
}

impl Prober {
    /// A probe to send now, if one is wanted: `wanted` is what could be used, in bits a second as `estimate`.
    pub(super) fn ask(&mut self, now: Instant, estimate: u64, wanted: u64) -> Option<Probe> {
        if let Some(running) = &self.running {
            if now.saturating_duration_since(running.asked) < PATIENCE {
                return None;
            }
            self.end(now + AFTER_FAILURE);
        }
        if self.next.is_some_and(|at| now < at) {
            return None;
        }
        let rate = (estimate as f64 * STEP)
            .min(wanted as f64)
            .min(super::rate::MOST as f64);
        if rate < estimate as f64 * WORTH {
            return None;
        }
        self.clusters = self.clusters % u8::MAX + 1;
        let probe = Probe {
            cluster: self.clusters,
            bits_per_second: rate as u64,
            bytes: ((rate / 8.0 * LENGTH.as_secs_f64()) as usize).max(LEAST_BYTES),
        };
        self.running = Some(Running {
            probe,
            asked: now,
            packets: 0,
            bytes: 0,
            first_bytes: 0,
            last_bytes: 0,
            first: (0, 0),
            last: (0, 0),
        });
        Some(probe)
    }

    /// A path is full: what is asked of it now would say nothing.
    pub(super) fn on_full(&mut self, now: Instant) {
        self.end(now + INTERVAL);
    }

    fn end(&mut self, next: Instant) {
        self.running = None;
        self.next = Some(next);
    }

    /// A packet of a probe arrived, later ones after earlier ones. Returns the bits a second that came through, once all
    /// of it did.
    pub(super) fn on_arrival(&mut self, now: Instant, sent: &Sent, arrived: i64) -> Option<f64> {
        let running = self.running.as_mut()?;
        if running.probe.cluster != sent.cluster {
            return None;
        }
        if running.packets == 0 {
            running.first = (sent.at, arrived);
            running.first_bytes = sent.bytes;
        }
        running.packets += 1;
        running.bytes += sent.bytes;
        running.last = (sent.at, arrived);
        running.last_bytes = sent.bytes;
        let enough = running.probe.bytes as f64 * (1.0 - MISSING);
        if running.packets < LEAST_PACKETS || (running.bytes as f64) < enough {
            return None;
        }
        let per_second = |bytes: usize, micros: i64| bytes as f64 * 8e6 / micros as f64;
        let sent_for = running.last.0 - running.first.0;
        let arrived_for = running.last.1 - running.first.1;
        if sent_for <= 0 || arrived_for <= 0 {
            self.end(now + AFTER_FAILURE);
            return None;
        }
        let sent = per_second(running.bytes - running.last_bytes, sent_for);
        let arrived = per_second(running.bytes - running.first_bytes, arrived_for);
        if arrived > sent * TOO_FAST {
            self.end(now + AFTER_FAILURE);
            return None;
        }
        if arrived < sent * FULL {
            self.end(now + AFTER_FAILURE);
            return Some(arrived * OF_FULL);
        }
        // It went through: on to the next step at once.
        self.end(now);
        Some(sent.min(arrived))
    }
}
