//! How much of a picture is of use to anybody: when no viewer's path carries it as it is sent, its publisher is asked to
//! send less of it, as much as the best of those paths carries. One whose path carries it all keeps it as it is for all.
//!
//! A state machine without I/O and without a clock.

use std::time::{Duration, Instant};

/// The share that is wanted of what the best path has for it: estimates are rough, and encoders swing. While nobody gets it
/// for want of room it is less, so that it fits with what is wanted beside it to begin.
const SHARE: f64 = 0.9;
const SHARE_TO_BEGIN: f64 = 0.8;

/// Senders keep back some of what they are allowed, each its own part. Who sends less than is wanted, but not far less as of
/// a picture that stands still, is asked for more, step by step, up to so many times what is wanted.
const KEPT_BACK: f64 = 0.95;
const STANDS_STILL: f64 = 0.5;
const TOO_MUCH: f64 = 1.02;
const STEP_UP: f64 = 1.05;
const STEP_DOWN: f64 = 0.9;
const MOST_ASKED: f64 = 1.3;
/// Of what stands still, so much is kept each second of what it was sent with before.
const REMEMBERED: f64 = 0.9;

/// Nobody is asked to send less of a picture than this: it would not be worth looking at.
const LEAST: u64 = 100_000;

/// It is asked for as it was again when so many times that is there.
const MARGIN: f64 = 1.1;

/// What is asked for anew is this share of what was asked for before, or less. Then what was sent before the publisher heard
/// of it is too much, and what comes after it is not.
const FAR_LESS: f64 = 0.8;
const TIME_TO_ADAPT: Duration = Duration::from_millis(1_500);
/// Between two such steps.
const STEP_INTERVAL: Duration = Duration::from_secs(1);

/// What a path has for a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offered {
    /// Bits a second.
    pub(crate) bits: u64,
    /// Whether so much is known to fill no queue; else it is an estimate.
    pub(crate) holds: bool,
}

/// What the best path to a viewer has for a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Best {
    pub(crate) offered: Offered,
    /// Whether the picture goes over it.
    pub(crate) goes: bool,
}

/// What is asked of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limit {
    /// Bits a second that are wanted.
    bits: u64,
    /// So many times that is asked for, and since when it is so many.
    times: f64,
    times_since: Instant,
    /// What it was sent with before it was asked for less.
    pub(crate) full: u64,
    /// Since when it is asked for so little.
    pub(crate) since: Instant,
}

impl Limit {
    /// What is asked after what was asked before; none: nothing. `rate`: what it is sent with. `best`: what the best path
    /// to a viewer has for it; none: all that there is.
    pub(crate) fn after(
        now: Instant,
        before: Option<Limit>,
        rate: u64,
        best: Option<Best>,
    ) -> Option<Limit> {
        let Best { offered, goes } = best?;
        let Offered { bits: best, holds } = offered;
        let full = match before {
            None if rate <= best.max(LEAST) => return None,
            None => rate,
            Some(before) if best as f64 >= before.full as f64 * MARGIN => return None,
            Some(before) => before.full,
        };
        let share = match (goes, holds) {
            (false, _) => SHARE_TO_BEGIN,
            (true, false) => SHARE,
            (true, true) => 1.0,
        };
        let bits = ((best as f64 * share) as u64).clamp(LEAST, full);
        let same = before.filter(|it| bits as f64 >= it.bits as f64 * FAR_LESS);
        let Some(before) = same else {
            return Some(Limit {
                bits,
                times: before.map_or(1.0, |it| it.times),
                times_since: now,
                full,
                since: now,
            });
        };
        let limit = Limit {
            bits,
            full,
            ..before
        };
        Some(limit.fitted(now, rate as f64 / before.bits as f64))
    }

    /// Asks for more or less of the same, as so many times what was wanted came.
    fn fitted(self, now: Instant, came: f64) -> Limit {
        if now.saturating_duration_since(self.times_since) < STEP_INTERVAL {
            return self;
        }
        let step = match came {
            TOO_MUCH.. => STEP_DOWN,
            STANDS_STILL..KEPT_BACK => STEP_UP,
            KEPT_BACK.. => return self,
            // What it was sent with before is sent no more, and is not to be looked for.
            _ => {
                let full = ((self.full as f64 * REMEMBERED) as u64).max(LEAST + 1);
                return Limit {
                    full,
                    bits: self.bits.min(full),
                    times_since: now,
                    ..self
                };
            }
        };
        Limit {
            times: (self.times * step).clamp(1.0, MOST_ASKED),
            times_since: now,
            ..self
        }
    }

    /// Bits a second that are asked for.
    pub(crate) fn asked(&self) -> u64 {
        (self.bits as f64 * self.times) as u64
    }

    /// Whether its publisher has had no time yet to send less.
    pub(crate) fn is_news(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < TIME_TO_ADAPT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(bits: u64) -> Best {
        let holds = false;
        Best {
            offered: Offered { bits, holds },
            goes: true,
        }
    }

    #[test]
    fn a_picture_is_asked_for_as_the_best_path_carries_it_until_that_carries_it_all() {
        let now = Instant::now();
        let after = |before, bits: Option<u64>| Limit::after(now, before, 800_000, bits.map(best));
        assert_eq!(after(None, None), None, "somebody's path is not known");
        assert_eq!(after(None, Some(800_000)), None, "it fits");
        let limit = after(None, Some(300_000));
        let asked = |limit: Option<Limit>| limit.map(|it| it.asked());
        assert_eq!(asked(limit), Some(270_000));
        let nowhere = Best {
            goes: false,
            ..best(300_000)
        };
        let to_begin = Limit::after(now, None, 800_000, Some(nowhere));
        assert_eq!(asked(to_begin), Some(240_000));
        let offered = Offered {
            bits: 300_000,
            holds: true,
        };
        let known = Best { offered, ..best(0) };
        let known = Limit::after(now, limit, 250_000, Some(known));
        assert_eq!(asked(known), Some(300_000), "it fills no queue");
        // What it is sent with now says nothing of what it was sent with before.
        let sent_less = |bits| asked(Limit::after(now, limit, 250_000, Some(best(bits))));
        assert_eq!(sent_less(600_000), Some(540_000));
        assert_eq!(sent_less(870_000), Some(783_000));
        assert_eq!(sent_less(881_000), None);
        assert_eq!(sent_less(20_000), Some(LEAST));
        assert_eq!(Limit::after(now, limit, 250_000, None), None);
        let little = Limit::after(now, None, LEAST, Some(best(30_000)));
        assert_eq!(little, None, "it is little as it is");
    }

    #[test]
    fn who_keeps_some_back_of_what_it_is_asked_for_is_asked_for_more() {
        let start = Instant::now();
        let second = |number| start + Duration::from_secs(number);
        let best = Some(best(300_000));
        for (share, expected) in [
            (1.0, 270_000..=270_000),
            (0.8, 320_000..=351_000),
            (1.2, 270_000..=270_000),
        ] {
            let mut limit = Limit::after(start, None, 800_000, best);
            for number in 1..30 {
                let sent = limit.unwrap().asked() as f64 * share;
                limit = Limit::after(second(number), limit, sent as u64, best);
            }
            let asked = limit.unwrap().asked();
            assert!(expected.contains(&asked), "{share}: {asked}");
        }
    }

    #[test]
    fn one_burst_is_forgotten_and_its_picture_is_let_go_when_what_it_needs_fits() {
        let start = Instant::now();
        let best = Some(best(400_000));
        let mut limit = Limit::after(start, None, 19_000_000, best);
        let mut seconds = 0;
        while limit.is_some() {
            seconds += 1;
            assert!(seconds < 60, "{limit:?}");
            let now = start + Duration::from_secs(seconds);
            limit = Limit::after(now, limit, 110_000, best);
        }
        assert!(seconds > 20, "{seconds}");
    }

    #[test]
    fn a_publisher_has_time_to_adapt_whenever_far_less_is_asked_for() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let after = |ms, before, bits| Limit::after(at(ms), before, 800_000, Some(best(bits)));
        let limit = after(0, None, 500_000).unwrap();
        assert!(limit.is_news(at(1_499)) && !limit.is_news(at(1_500)));
        let limit = after(2_000, Some(limit), 410_000).unwrap();
        assert!(!limit.is_news(at(2_000)), "a little less");
        let limit = after(3_000, Some(limit), 300_000).unwrap();
        assert!(limit.is_news(at(3_000)));
        let limit = after(3_500, Some(limit), 400_000).unwrap();
        assert!(!limit.is_news(at(4_500)), "more");
    }
}
