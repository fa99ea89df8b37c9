//! When packets came: the kernel's stamps (SO_TIMESTAMPNS) on the line of `Instant`.
//!
//! The stamps are of the wall clock, which may jump, so its difference to `Instant` is taken anew for each batch. What a
//! jump between a stamp and the reading of it would tell is bounded by what is known without any stamp: a packet did not
//! come later than it was read, nor before the socket was last seen empty.

use std::time::{Duration, Instant, SystemTime};

/// Between its stamp and its place in the socket's queue a packet takes some microseconds, and the two clocks are read
/// one after the other. More than this outside of its bounds is a clock that jumped.
const SLACK: Duration = Duration::from_millis(1);

/// Both clocks, read when a batch was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) now: Instant,
    pub(crate) wall: SystemTime,
}

impl Clocks {
    pub(crate) fn read() -> Clocks {
        Clocks {
            now: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

/// What turns stamps into moments.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// Nothing that is read from here on came before it.
    not_before: Instant,
    /// Stamps that a jump of the wall clock moved out of the bounds.
    pub(crate) clamped: u64,
}

impl Arrivals {
    pub(crate) fn new(now: Instant) -> Arrivals {
        Arrivals {
            not_before: now,
            clamped: 0,
        }
    }

    /// The socket had nothing more when it was asked, which was not before `asked`.
    pub(crate) fn on_empty(&mut self, asked: Instant) {
        self.not_before = asked;
    }

    /// When a packet came that was read at `clocks`. Without a stamp: when it was read.
    pub(crate) fn moment(&mut self, clocks: Clocks, stamp: Option<SystemTime>) -> Instant {
        let Some(stamp) = stamp else {
            return clocks.now;
        };
        let came = match clocks.wall.duration_since(stamp) {
            Ok(age) => clocks.now.checked_sub(age),
            Err(ahead) => (ahead.duration() <= SLACK).then_some(clocks.now),
        };
        match came {
            Some(came) if came + SLACK >= self.not_before => came,
            _ => {
                self.clamped += 1;
                clocks.now
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_packet_came_as_long_before_it_was_read_as_its_stamp_says() {
        let start = Clocks::read();
        let mut arrivals = Arrivals::new(start.now);
        let read = Clocks {
            now: start.now + ms(50),
            wall: start.wall + ms(50),
        };
        for age in [0, 1, 7, 49] {
            let came = arrivals.moment(read, Some(read.wall - ms(age)));
            assert_eq!(came, read.now - ms(age));
        }
        assert_eq!(arrivals.moment(read, None), read.now, "without a stamp");
        assert_eq!(arrivals.clamped, 0);
    }

    #[test]
    fn the_wall_clock_may_jump_between_batches_without_any_trace() {
        let start = Clocks::read();
        let mut arrivals = Arrivals::new(start.now);
        for (batch, jump) in [(1, HOUR), (2, HOUR * 48), (3, Duration::ZERO)] {
            let now = start.now + ms(20 * batch);
            let read = Clocks {
                now,
                wall: start.wall + jump + ms(20 * batch),
            };
            let stamps = [9, 4, 0].map(|age| read.wall - ms(age));
            let came = stamps.map(|stamp| arrivals.moment(read, Some(stamp)));
            assert_eq!(came, [9, 4, 0].map(|age| now - ms(age)));
            arrivals.on_empty(now);
        }
        assert_eq!(arrivals.clamped, 0);
    }

    #[test]
    fn a_jump_after_the_stamp_moves_a_packet_no_further_than_to_when_it_was_read() {
        let read = Clocks::read();
        let mut arrivals = Arrivals::new(read.now - ms(20));
        for stamp in [
            read.wall + HOUR,
            read.wall + ms(2),
            read.wall - HOUR,
            read.wall - ms(22),
            SystemTime::UNIX_EPOCH,
        ] {
            assert_eq!(arrivals.moment(read, Some(stamp)), read.now);
        }
        assert_eq!(arrivals.clamped, 5);
        // Two reads of two clocks are not one: this is no jump.
        let stamp = read.wall + Duration::from_micros(300);
        assert_eq!(arrivals.moment(read, Some(stamp)), read.now);
        assert_eq!(arrivals.clamped, 5);
    }

    #[test]
    fn what_waited_while_the_shard_stood_still_came_when_it_came() {
        let start = Clocks::read();
        let mut arrivals = Arrivals::new(start.now);
        let read = Clocks {
            now: start.now + ms(5000),
            wall: start.wall + ms(5000),
        };
        let came = arrivals.moment(read, Some(start.wall + ms(10)));
        assert_eq!(came, start.now + ms(10));
    }
}
