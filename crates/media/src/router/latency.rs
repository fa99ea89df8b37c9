//! How long packets are with us: from when they came, as the kernel has it, to when they were given back to it. What
//! waits for its turn on a narrow path counts too.
//!
//! When a packet leaves is known at the end of a turn, when the shard has sent what the turn wrote. Until then only its
//! age is noted, which all packets of the turn grow by the same time.

use std::time::Instant;

/// The upper bounds of the histogram, in microseconds.
pub const LATENCY_BOUNDS: [u64; 14] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000,
];

/// Ages of a turn are told apart to a quarter of an octave: up to four seconds.
const CELLS: usize = 84;

/// Packets that were forwarded, by how long they were here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many took at most each of [`LATENCY_BOUNDS`] and more than the one before; the last: longer than all.
    pub counts: [u64; LATENCY_BOUNDS.len() + 1],
    /// All of it together, in microseconds.
    pub sum_us: u64,
}

impl Latency {
    /// So many packets took that long.
    fn count(&mut self, us: u64, packets: u64) {
        let place = LATENCY_BOUNDS.partition_point(|bound| *bound < us);
        self.counts[place] += packets;
    }
}

/// What makes the histogram, turn by turn. Moments are microseconds since the router began: what is done for each packet is
/// to be next to nothing.
pub(crate) struct LatencyMeter {
    pub(crate) total: Latency,
    started: Instant,
    /// The moment that the ages of this turn refer to.
    turn: Option<u64>,
    ages: [u32; CELLS],
    /// Which pairs of them are not all zero.
    used: u64,
    sum_us: u64,
}

impl LatencyMeter {
    pub(crate) fn new(started: Instant) -> LatencyMeter {
        LatencyMeter {
            total: Latency::default(),
            started,
            turn: None,
            ages: [0; CELLS],
            used: 0,
            sum_us: 0,
        }
    }

    /// A moment, as packets are kept with it.
    pub(crate) fn moment(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started);
        since.as_secs() * 1_000_000 + u64::from(since.subsec_micros())
    }

    /// Packets are about to be written. Returns the moment that their ages refer to.
    pub(crate) fn turn(&mut self, now: Instant) -> u64 {
        match self.turn {
            Some(turn) => turn,
            None => *self.turn.insert(self.moment(now)),
        }
    }

    /// A packet that came at `came` was written in that turn.
    #[inline]
    pub(crate) fn note(&mut self, turn: u64, came: u64) {
        let age = turn.saturating_sub(came);
        let cell = cell_of(age);
        self.ages[cell] += 1;
        self.used |= 1 << (cell / 2);
        self.sum_us += age;
    }

    /// All that was written has been sent.
    pub(crate) fn sent(&mut self, now: impl FnOnce() -> Instant) {
        let Some(turn) = self.turn.take() else {
            return;
        };
        if self.used == 0 {
            return;
        }
        let since = self.moment(now()).saturating_sub(turn);
        self.total.sum_us += self.sum_us;
        while self.used != 0 {
            let pair = 2 * self.used.trailing_zeros() as usize;
            self.used &= self.used - 1;
            for cell in pair..(pair + 2).min(CELLS) {
                let packets = u64::from(std::mem::take(&mut self.ages[cell]));
                self.total.count(age_of(cell) + since, packets);
                self.total.sum_us += packets * since;
            }
        }
        self.sum_us = 0;
    }
}

/// Up to 3 µs each has its own cell; then four to an octave.
fn cell_of(us: u64) -> usize {
    if us < 4 {
        return us as usize;
    }
    let octave = us.ilog2() as usize;
    let quarter = (us >> (octave - 2)) as usize & 3;
    ((octave - 1) * 4 + quarter).min(CELLS - 1)
}

/// The least age of a cell.
fn age_of(cell: usize) -> u64 {
    match cell {
        0..4 => cell as u64,
        _ => (4 + cell as u64 % 4) << (cell / 4 - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_age_is_in_the_cell_whose_bounds_it_lies_between() {
        for us in (0..5000).chain((5000..4_000_000).step_by(997)) {
            let cell = cell_of(us);
            assert!(age_of(cell) <= us, "{us} is in {cell}");
            assert!(
                cell == CELLS - 1 || us < age_of(cell + 1),
                "{us} is in {cell}"
            );
        }
        assert_eq!(cell_of(u64::MAX), CELLS - 1);
    }

    #[test]
    fn what_is_counted_is_the_time_from_coming_to_the_end_of_the_turn() {
        let start = Instant::now();
        let at = |us: u64| start + Duration::from_micros(us);
        let mut meter = LatencyMeter::new(start);
        // Read at 41,000 µs: one that came just then, two that had waited, one of them for the path.
        for came in [41_000, 40_700, 11_000] {
            let turn = meter.turn(at(41_000 + came / 1000));
            meter.note(turn, meter.moment(at(came)));
        }
        assert_eq!(meter.total, Latency::default(), "nothing was sent yet");
        // The turn began at the first of them.
        meter.sent(|| at(41_161));
        assert_eq!(meter.total.sum_us, 161 + 461 + 30_161);
        let counted: Vec<(u64, u64)> = LATENCY_BOUNDS
            .iter()
            .zip(meter.total.counts)
            .filter(|(_, count)| *count > 0)
            .map(|(bound, count)| (*bound, count))
            .collect();
        assert_eq!(counted, [(200, 1), (500, 1), (50_000, 1)]);
        meter.sent(|| panic!("the clock is not read for a turn in which nothing was written"));
        meter.turn(at(50_000));
        meter.sent(|| panic!("nor for one in which nothing was sent"));
        let turn = meter.turn(at(60_000));
        meter.note(turn, meter.moment(at(0)));
        meter.sent(|| at(60_000) + Duration::from_secs(3));
        assert_eq!(meter.total.counts[LATENCY_BOUNDS.len()], 1);
    }
}
