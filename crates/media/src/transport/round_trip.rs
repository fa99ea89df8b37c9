//! How long it takes to the peer and back, from all that is answered: our ICE checks, the delay since our last reference
//! time (RFC 3611 §4.5) and reports on what we send (RFC 3550 §6.4.1).

use std::time::Duration;

/// A longer one is a wrong measurement.
const MAX: Duration = Duration::from_secs(2);

/// The smoothed round trip and how far samples are from it, as TCP keeps them (RFC 6298 §2).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundTrip {
    estimate: Option<(Duration, Duration)>,
}

impl RoundTrip {
    /// One measurement.
    pub(crate) fn on_sample(&mut self, sample: Duration) {
        if sample > MAX {
            return;
        }
        self.estimate = Some(match self.estimate {
            None => (sample, sample / 2),
            Some((smoothed, deviation)) => (
                (smoothed * 7 + sample) / 8,
                (deviation * 3 + smoothed.abs_diff(sample)) / 4,
            ),
        });
    }

    /// The peer is reached by another way now.
    pub(crate) fn forget(&mut self) {
        self.estimate = None;
    }

    /// The smoothed round trip, once measured.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.estimate.map(|(smoothed, _)| smoothed)
    }

    /// How far samples are from it.
    pub(crate) fn deviation(&self) -> Option<Duration> {
        self.estimate.map(|(_, deviation)| deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_follows_the_samples_and_knows_how_far_they_are_apart() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.smoothed(), None);
        round_trip.on_sample(ms(80));
        assert_eq!(round_trip.smoothed(), Some(ms(80)));
        for _ in 0..100 {
            round_trip.on_sample(ms(200));
        }
        let near =
            |value: Option<Duration>, wanted: Duration| value.unwrap().abs_diff(wanted) < ms(1);
        assert!(near(round_trip.smoothed(), ms(200)));
        assert!(near(round_trip.deviation(), ms(0)));
        for turn in 0..100 {
            round_trip.on_sample(ms(if turn % 2 == 0 { 180 } else { 220 }));
        }
        assert!(round_trip.smoothed().unwrap().abs_diff(ms(200)) < ms(5));
        assert!(round_trip.deviation().unwrap().abs_diff(ms(20)) < ms(3));
    }

    #[test]
    fn a_lie_about_minutes_is_no_measurement_and_another_path_begins_anew() {
        let mut round_trip = RoundTrip::default();
        round_trip.on_sample(ms(2001));
        assert_eq!(round_trip.smoothed(), None);
        round_trip.on_sample(ms(50));
        round_trip.on_sample(Duration::from_secs(100));
        assert_eq!(round_trip.smoothed(), Some(ms(50)));
        round_trip.forget();
        round_trip.on_sample(ms(10));
        assert_eq!(round_trip.smoothed(), Some(ms(10)));
    }
}
