//! What a sender was told of how much it is to send: when that is told, and how often.

use std::time::{Duration, Instant};

/// A change by less than this share is not told at once.
const WORTH_TELLING: f64 = 0.05;

/// Between two times that a sender is told.
const INTERVAL: Duration = Duration::from_secs(1);
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// How often a sender is told soon that it may send all again, and after how long once more for good: each may be lost on
/// the way, and what it was told before has no end by itself.
const LAST_WORDS: u8 = 3;
const REMINDER: Duration = Duration::from_secs(10);

/// What a sender was told, of all that it sends.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Bits a second; none: as much as it can.
    limit: Option<u64>,
    at: Option<Instant>,
    last_words: u8,
    /// Whether it was ever told to send less.
    ever: bool,
}

impl Told {
    /// How much it was told last to send at most.
    pub(crate) fn less(&self) -> Option<u64> {
        self.limit
    }

    /// Whether there may be something to tell though nothing changes.
    pub(crate) fn is_held(&self) -> bool {
        self.ever
    }

    /// Whether it is to be told now, and that it is this from here on.
    pub(crate) fn tell(&mut self, now: Instant, limit: Option<u64>) -> bool {
        let passed = self.at.map(|at| now.saturating_duration_since(at));
        let is_news = match (self.limit, limit) {
            (None, None) => false,
            (Some(before), Some(limit)) => {
                (before as f64 - limit as f64).abs() > before as f64 * WORTH_TELLING
            }
            _ => true,
        };
        let wait = match limit {
            _ if is_news => LEAST_INTERVAL,
            None if self.last_words == 0 => REMINDER,
            _ => INTERVAL,
        };
        if passed.is_some_and(|passed| passed < wait) || !(self.ever || is_news) {
            return false;
        }
        self.ever = true;
        self.last_words = match limit {
            Some(_) => LAST_WORDS,
            None => self.last_words.saturating_sub(1),
        };
        (self.limit, self.at) = (limit, Some(now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_told_news_at_once_and_what_it_knows_each_second_and_for_good_that_all_is_over() {
        let (mut told, start) = (Told::default(), Instant::now());
        let mut times = Vec::new();
        for ms in 0..28_000 {
            let limit = match ms {
                1_000..3_000 => Some(300_000),
                3_000..3_500 => Some(310_000),
                3_500..3_600 => Some(200_000 + 10_000 * (ms % 2)),
                3_600..5_000 => Some(400_000),
                _ => None,
            };
            if told.tell(start + Duration::from_millis(ms), limit) {
                times.push(ms);
            }
        }
        assert_eq!(
            times,
            [
                1_000, 2_000, 3_000, 3_500, 3_600, 4_600, 5_000, 6_000, 7_000, 17_000, 27_000
            ]
        );
    }
}
