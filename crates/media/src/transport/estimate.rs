//! Telling a sender without transport-wide feedback how much it may send (draft-alvestrand-rmcat-remb-03). What we
//! dropped is loss to a sender with such feedback; one without it must hear the bound itself.

use crate::transport::policer::{Class, Policer};
use std::time::{Duration, Instant};

/// Between two estimates for one peer, while it needs them.
const INTERVAL: Duration = Duration::from_secs(1);

/// A peer that sends this share of its bound or more, in 1/16, is told the bound before it hits it.
const NEAR: u64 = 12;

/// Share of the bound that is not given away, in 1/16: headers and tags around what an encoder makes, and its swings.
const HEADROOM: u64 = 1;

/// Nobody is told to stop altogether: the share of the bound, in 1/16, that is left to video whatever else comes.
const LEAST: u64 = 1;

/// What a peer sends, second by second.
#[derive(Debug, Default)]
struct Meter {
    since: Option<Instant>,
    /// Bits of all, and of all that is not video, in this second and in the one before it.
    running: [u64; 2],
    before: [u64; 2],
}

impl Meter {
    fn roll(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let seconds = now.saturating_duration_since(since).as_secs();
        if seconds > 0 {
            self.before = if seconds == 1 { self.running } else { [0; 2] };
            self.running = [0; 2];
            self.since = Some(since + Duration::from_secs(seconds));
        }
    }

    fn count(&mut self, now: Instant, class: Class, bytes: usize) {
        self.roll(now);
        let bits = 8 * bytes as u64;
        self.running[0] += bits;
        self.running[1] += if class == Class::Video { 0 } else { bits };
    }

    /// Bits a second: the fuller of both seconds, since a second that runs says too little yet.
    fn rates(&mut self, now: Instant) -> [u64; 2] {
        self.roll(now);
        [0, 1].map(|of| self.running[of].max(self.before[of]))
    }
}

/// What is kept for a peer that wants estimates.
#[derive(Debug, Default)]
pub(crate) struct Estimate {
    meter: Meter,
    told_at: Option<Instant>,
    pub(crate) due: Option<Instant>,
}

impl Estimate {
    /// Counts what came, dropped or not. Returns when the peer is to be told, if that is new; `begins`: what came is
    /// the first that was dropped for a while.
    pub(crate) fn on_packet(
        &mut self,
        now: Instant,
        class: Class,
        bytes: usize,
        begins: bool,
        policer: &Policer,
    ) -> Option<Instant> {
        self.meter.count(now, class, bytes);
        let due = match begins {
            true => now,
            false if self.due.is_some() || !self.is_needed(now, policer) => return None,
            false => self.told_at.map_or(now, |at| now.max(at + INTERVAL)),
        };
        self.due = Some(due);
        Some(due)
    }

    fn is_needed(&mut self, now: Instant, policer: &Policer) -> bool {
        let near = policer.bits_per_second() / 16 * NEAR;
        policer.is_over(now) || self.meter.rates(now)[0] >= near
    }

    /// The bits a second to tell, when that is due.
    pub(crate) fn take(&mut self, now: Instant, policer: &Policer) -> Option<u64> {
        self.due.filter(|at| *at <= now)?;
        self.due = None;
        if !self.is_needed(now, policer) {
            return None;
        }
        self.told_at = Some(now);
        self.due = Some(now + INTERVAL);
        let bound = policer.bits_per_second();
        let others = self.meter.rates(now)[1];
        let left = (bound - bound / 16 * HEADROOM).saturating_sub(others);
        Some(left.max(bound / 16 * LEAST))
    }
}
