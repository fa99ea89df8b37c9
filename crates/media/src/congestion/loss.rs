//! How much is lost, and whether that is our doing. A radio loses whatever is sent and a full buffer loses what is too
//! much: the first is there at any rate, so the least loss of late is the path's own and only what is beyond it counts.

use std::time::{Duration, Instant};

/// Loss is counted over this time and so many packets at least, and over this time at most.
const LEAST_TIME: Duration = Duration::from_millis(200);
const LEAST_PACKETS: u32 = 50;
const MOST_TIME: Duration = Duration::from_secs(1);
const FEW_PACKETS: u32 = 20;

/// The path's own loss is measured anew after this time.
const GENERATION: Duration = Duration::from_secs(10);

/// The path's own loss is the least that so many packets had, about, so that one lucky interval does not say it.
const SMOOTHED_OVER: f64 = 300.0;

/// More than this is never the path's own: nobody hears or sees through it, and a path that loses so much at any rate
/// gets less from us until it proves that it can do with more.
const MOST_OWN: f64 = 0.12;

/// Loss beyond the path's own that chance does not explain: so much of all, and so many deviations.
const EXCESS: f64 = 0.02;
const DEVIATIONS: f64 = 3.0;
/// Of a path that lost nothing yet the deviation is not 0.
const LEAST_EXPECTED: f64 = 0.005;

/// Loss of one interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    /// Share of the packets.
    pub(super) ratio: f64,
    /// What the path loses at any rate.
    pub(super) own: f64,
    /// Whether more is lost than that, and than chance explains.
    pub(super) excessive: bool,
}

/// Counts what arrives and what does not.
#[derive(Debug, Default)]
pub(super) struct Loss {
    since: Option<Instant>,
    arrived: u32,
    lost: u32,
    /// Those that were missing when it was told of them, also where they came after all: sent again, most of them.
    missing: u32,
    /// The share of those, smoothed.
    missed: f64,
    /// The least smoothed share of this generation and of the one before.
    own: Option<(f64, f64)>,
    generation: Option<Instant>,
    smoothed: Option<f64>,
    ratio: f64,
}

impl Loss {
    /// A packet arrived; `after_all`: it was counted as lost before.
    pub(super) fn on_arrival(&mut self, after_all: bool) {
        self.arrived += 1;
        if after_all {
            self.lost = self.lost.saturating_sub(1);
        }
    }

    pub(super) fn on_loss(&mut self) {
        self.lost += 1;
        self.missing += 1;
    }

    /// The share that was lost of late.
    pub(super) fn ratio(&self) -> f64 {
        self.ratio
    }

    /// The share that does not come in time, over about the last [`SMOOTHED_OVER`] packets.
    pub(super) fn missed(&self) -> f64 {
        self.missed
    }

    /// What was counted, when that is enough to say something.
    pub(super) fn take(&mut self, now: Instant) -> Option<Interval> {
        let passed = now.saturating_duration_since(*self.since.get_or_insert(now));
        let packets = self.arrived + self.lost;
        let enough = match passed >= MOST_TIME {
            true => packets >= FEW_PACKETS,
            false => packets >= LEAST_PACKETS && passed >= LEAST_TIME,
        };
        if !enough {
            return None;
        }
        let ratio = f64::from(self.lost) / f64::from(packets);
        let missing = f64::from(self.missing) / f64::from(packets);
        (self.since, self.arrived, self.lost, self.missing) = (Some(now), 0, 0, 0);
        self.ratio = ratio;
        let before = self.own();
        let weight = f64::from(packets) / (f64::from(packets) + SMOOTHED_OVER);
        self.missed += weight * (missing.min(1.0) - self.missed);
        let smoothed = self
            .smoothed
            .map_or(ratio, |old| old + weight * (ratio - old));
        self.smoothed = Some(smoothed);
        let generation = *self.generation.get_or_insert(now);
        self.own = Some(match self.own {
            None => (smoothed, smoothed),
            Some((this, _)) if now.saturating_duration_since(generation) > GENERATION => {
                self.generation = Some(now);
                (smoothed, this)
            }
            Some((this, last)) => (this.min(smoothed), last),
        });
        let own = before.unwrap_or(ratio).min(MOST_OWN);
        let expected = own.max(LEAST_EXPECTED);
        let deviation = (expected * (1.0 - expected) / f64::from(packets)).sqrt();
        Some(Interval {
            ratio,
            own,
            excessive: ratio > own + EXCESS + DEVIATIONS * deviation,
        })
    }

    fn own(&self) -> Option<f64> {
        self.own.map(|(this, last)| this.min(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is lost and sent again is no loss of the path's that anybody has to make up for by sending less, and yet it
    /// was not there when it was to be played.
    #[test]
    fn what_comes_after_all_is_not_lost_and_did_not_come_in_time() {
        let (mut loss, start) = (Loss::default(), Instant::now());
        for second in 0..30 {
            for _ in 0..95 {
                loss.on_arrival(false);
            }
            for _ in 0..5 {
                loss.on_loss();
                loss.on_arrival(true);
            }
            loss.take(start + MOST_TIME * second);
        }
        assert_eq!(loss.ratio(), 0.0);
        assert!((0.045..0.055).contains(&loss.missed()), "{}", loss.missed());
    }
}
