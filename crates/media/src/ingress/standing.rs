//! How long the packets of a stream stand in a queue on their way to us, as their timestamps tell: what comes later after
//! its capture than the soonest of a while has waited for so long. A sender's own congestion control sees a queue that
//! grows; one that was there before it looked, and stays as it is, it does not.

use crate::wire::num::RtpTime;
use std::time::{Duration, Instant};

/// The soonest is that of so long, up to twice as long: two clocks differ, and ways change.
const WINDOW: Duration = Duration::from_secs(30);

/// What stands is what even the soonest of so long, up to twice as long, waited for.
const RECENT: Duration = Duration::from_millis(250);

/// What is so much later or sooner than the packet before it was not captured when it says.
const JUMP: f64 = 3.0;

/// The least of the last one or two windows.
#[derive(Clone, Copy, Debug)]
struct Least {
    window: Duration,
    since: Option<Instant>,
    running: f64,
    before: f64,
}

impl Least {
    fn new(window: Duration) -> Least {
        Least {
            window,
            since: None,
            running: f64::INFINITY,
            before: f64::INFINITY,
        }
    }

    fn add(&mut self, now: Instant, value: f64) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed >= self.window {
            let is_next = passed < self.window * 2;
            self.before = if is_next { self.running } else { f64::INFINITY };
            self.running = f64::INFINITY;
            self.since = Some(now);
        }
        self.running = self.running.min(value);
    }

    fn get(&self) -> f64 {
        self.running.min(self.before)
    }
}

/// Follows one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    clock_rate: f64,
    last: Option<(Instant, RtpTime)>,
    /// Seconds from the capture of the last packet to its coming, but for a constant.
    transit: f64,
    soonest: Least,
    recent: Least,
}

impl Standing {
    pub(crate) fn new(clock_rate: u32) -> Standing {
        Standing {
            clock_rate: f64::from(clock_rate),
            last: None,
            transit: 0.0,
            soonest: Least::new(WINDOW),
            recent: Least::new(RECENT),
        }
    }

    /// The same stream, of which nothing stands as it comes now.
    pub(crate) fn renewed(&self) -> Standing {
        Standing::new(self.clock_rate as u32)
    }

    /// A packet came in its order.
    pub(crate) fn on_packet(&mut self, now: Instant, timestamp: RtpTime) {
        if let Some((at, before)) = self.last {
            let passed = now.saturating_duration_since(at).as_secs_f64();
            let later = passed - f64::from(before.distance_to(timestamp)) / self.clock_rate;
            if later.abs() > JUMP {
                *self = self.renewed();
            } else {
                self.transit += later;
            }
        }
        self.last = Some((now, timestamp));
        self.soonest.add(now, self.transit);
        self.recent.add(now, self.transit);
    }

    /// How long its packets stand now; none when none came of late.
    pub(crate) fn queue(&self, now: Instant) -> Option<Duration> {
        let (at, _) = self.last?;
        if now.saturating_duration_since(at) > RECENT * 4 {
            return None;
        }
        let stands = (self.recent.get() - self.soonest.get()).max(0.0);
        Duration::try_from_secs_f64(stands).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A packet each 20 ms, as late as that says; how long it stands each second.
    fn stands(seconds: u64, late: impl Fn(u64) -> u64) -> Vec<u128> {
        let (start, mut standing, mut told) = (Instant::now(), Standing::new(48_000), Vec::new());
        for number in 0..seconds * 50 {
            let time = number * 20;
            let came = start + MS * (time + late(time)) as u32;
            let timestamp = RtpTime(u32::MAX - 100).wrapping_add(number as u32 * 960);
            standing.on_packet(came, timestamp);
            if time % 1_000 == 980 {
                told.push(standing.queue(came).unwrap().as_millis());
            }
        }
        told
    }

    #[test]
    fn what_stands_is_told_until_it_has_gone() {
        let told = stands(6, |time| match time {
            2_000..4_000 => 700,
            // It empties at twice the rate at which it fills.
            4_000..4_670 => 700 - (time - 4_000),
            _ => 30,
        });
        assert_eq!(told, [0, 0, 670, 670, 0, 0]);
    }

    #[test]
    fn jitter_is_no_queue_and_what_stands_for_a_minute_is_the_way() {
        let told = stands(10, |time| (time * 7919) % 90);
        assert!(told.iter().all(|told| *told < 15), "{told:?}");
        let told = stands(70, |time| if time < 1_000 { 0 } else { 500 });
        assert_eq!((told[20], told[69]), (500, 0));
    }

    #[test]
    fn a_jump_of_the_timestamps_and_a_silence_are_no_queue() {
        let start = Instant::now();
        let mut standing = Standing::new(90_000);
        standing.on_packet(start, RtpTime(5));
        standing.on_packet(start + MS * 40, RtpTime(3_000_000_000));
        assert_eq!(standing.queue(start + MS * 40), Some(Duration::ZERO));
        assert_eq!(standing.queue(start + MS * 1_041), None);
    }
}
