//! When what waits for one peer may leave: no faster than its path carries, by more than what evens out. What has to wait
//! is not here, it is a place in the cache of its track; this only says how much may go now.

use std::time::{Duration, Instant};

/// What leaves is this many times at most what is given out: the parts of a picture come at once and are to be through
/// before the next one. How much leaves in the long run is for the allocation to see to.
pub const ABOVE_GIVEN: f64 = 1.25;

/// What may leave at once: ten full packets, or so long a time's worth when that is more.
const LEAST_BURST: f64 = 15_000.0;
const BURST: Duration = Duration::from_millis(40);

/// What is sent all the same, sound and what a peer asked for, is owed up to a burst.
const MOST_OWED: f64 = -1.0;

/// A budget of bytes, while a rate is known.
#[derive(Debug, Default)]
pub struct Pacer {
    /// Bytes a second; 0: nothing is held.
    rate: f64,
    left: f64,
    at: Option<Instant>,
}

impl Pacer {
    /// What may be given out of the path, in bits a second, as far as that is known; none: nothing is held.
    pub fn set_rate(&mut self, now: Instant, bits_per_second: Option<u64>) {
        let was_held = self.rate > 0.0;
        self.earn(now);
        self.rate = bits_per_second.map_or(0.0, |bits| bits as f64 / 8.0 * ABOVE_GIVEN);
        if !was_held {
            (self.left, self.at) = (self.burst(), Some(now));
        }
        // What was owed at a higher rate is more than this one would ever have let be owed.
        self.left = self.left.max(MOST_OWED * self.burst());
    }

    fn burst(&self) -> f64 {
        LEAST_BURST.max(self.rate * BURST.as_secs_f64())
    }

    /// Adds what the time since the last call has earned. To be called before [`Pacer::is_open`].
    pub fn earn(&mut self, now: Instant) {
        if self.rate == 0.0 {
            return;
        }
        let since = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.left = (self.left + since.as_secs_f64() * self.rate).min(self.burst());
        self.at = Some(now);
    }

    /// A queue stands on the way and is to empty: what was saved up until now would stand in it.
    pub fn forgo(&mut self) {
        self.left = self.left.min(0.0);
    }

    /// Whether a packet that can wait may leave now.
    pub fn is_open(&self) -> bool {
        self.rate == 0.0 || self.left > 0.0
    }

    /// Whether as much is owed already as may be: what was asked for has to wait, too.
    pub fn is_exhausted(&self) -> bool {
        self.rate > 0.0 && self.left <= MOST_OWED * self.burst()
    }

    /// When it is open again, after it was found closed.
    pub fn opens_at(&self, now: Instant) -> Instant {
        match self.is_open() {
            true => now,
            false => now + Duration::from_secs_f64((1.0 - self.left) / self.rate),
        }
    }

    /// So many bytes left, whether they could have waited or not.
    pub fn spend(&mut self, bytes: usize) {
        if self.rate > 0.0 {
            self.left = (self.left - bytes as f64).max(MOST_OWED * self.burst());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::num::Rng;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nothing_is_held_before_an_estimate_and_after_it_is_lost() {
        let now = Instant::now();
        let mut pacer = Pacer::default();
        pacer.spend(1_000_000);
        assert!(pacer.is_open());
        pacer.set_rate(now, Some(100_000));
        assert!(pacer.is_open());
        pacer.spend(1_000_000);
        assert!(!pacer.is_open());
        pacer.set_rate(now, None);
        assert!(pacer.is_open());
    }

    /// Whatever is sent and whenever it is looked at: over any time no more leaves than the rate, a burst and the packet
    /// that overdraws; and it is open at the moment that it told.
    #[test]
    fn no_more_leaves_than_the_rate_and_a_burst_whatever_the_sizes_and_the_times() {
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let start = Instant::now();
            let mut pacer = Pacer::default();
            let rate = [60_000, 400_000, 8_000_000][rng.below(3) as usize];
            pacer.set_rate(start, Some(rate));
            let allowed = rate as f64 / 8.0 * ABOVE_GIVEN;
            let burst = LEAST_BURST.max(allowed * 0.04);
            let (mut now, mut sent) = (start, 0.0);
            for _ in 0..5000 {
                now += MS * rng.below(15) as u32;
                pacer.earn(now);
                while pacer.is_open() && rng.below(20) > 0 {
                    let len = 100 + rng.below(1200) as usize;
                    pacer.spend(len);
                    sent += len as f64;
                }
                let most = burst + allowed * (now - start).as_secs_f64() + 1300.0;
                assert!(sent <= most, "seed {seed}: {sent} of {most}");
                if !pacer.is_open() {
                    let at = pacer.opens_at(now);
                    assert!(at > now);
                    pacer.earn(at);
                    assert!(pacer.is_open(), "seed {seed}");
                    now = at;
                }
            }
            assert!(sent > 0.5 * allowed * (now - start).as_secs_f64());
        }
    }

    #[test]
    fn a_debt_of_a_higher_rate_does_not_hold_a_lower_one_for_longer_than_one_of_its_own() {
        let now = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(now, Some(50_000_000));
        for _ in 0..1000 {
            pacer.spend(1000);
        }
        pacer.set_rate(now, Some(96_000));
        pacer.earn(now + MS * 1_100);
        assert!(pacer.is_open());
    }

    #[test]
    fn what_cannot_wait_is_owed_up_to_a_burst() {
        let now = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(now, Some(96_000));
        for _ in 0..1000 {
            pacer.spend(1000);
        }
        // 15 kB each of debt and of nothing, at 15 kB a second.
        pacer.earn(now + MS * 900);
        assert!(!pacer.is_open());
        pacer.earn(now + MS * 1_100);
        assert!(pacer.is_open());
    }
}
