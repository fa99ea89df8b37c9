//! How much of something may be done in a time.

use std::time::Instant;

/// So many at once, and so many a second after that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    burst: f64,
    rate: f64,
    left: f64,
    at: Option<Instant>,
}

impl Budget {
    pub(crate) const fn new(burst: f64, rate: f64) -> Self {
        Budget {
            burst,
            rate,
            left: burst,
            at: None,
        }
    }

    /// Takes one; false when it is used up.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let is_left = self.is_left(now);
        if is_left {
            self.left -= 1.0;
        }
        is_left
    }

    /// Whether one could be taken.
    pub(crate) fn is_left(&mut self, now: Instant) -> bool {
        self.share_left(now) > 0.0
    }

    /// How much of a burst could be taken: 1 for all of it, 0 for less than one.
    pub(crate) fn share_left(&mut self, now: Instant) -> f64 {
        let before = self.at.replace(now);
        let since = before.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.left = (self.left + since * self.rate).min(self.burst);
        match self.left < 1.0 {
            true => 0.0,
            false => self.left / self.burst,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;
    use std::time::{Duration, Instant};

    #[test]
    fn a_budget_is_used_up_at_once_and_comes_back_at_its_rate() {
        let start = Instant::now();
        let mut budget = Budget::new(3.0, 2.0);
        let taken = |budget: &mut Budget, now| (0..10).filter(|_| budget.take(now)).count();
        assert_eq!(taken(&mut budget, start), 3);
        assert_eq!(taken(&mut budget, start + Duration::from_millis(1000)), 2);
        let later = start + Duration::from_secs(60);
        assert_eq!(budget.share_left(later), 1.0);
        assert_eq!(taken(&mut budget, later), 3);
        assert!(!budget.is_left(later) && budget.share_left(later) == 0.0);
    }
}
