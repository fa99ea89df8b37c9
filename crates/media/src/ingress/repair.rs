//! Which packets of a stream are missing, and when they are asked for (RFC 4585 §6.2.1): timed by the round trip to the
//! sender and by how far the network reorders, and no longer than an answer is of use.

use crate::wire::num::{ExtSeqNo, SeqNo};
use std::time::{Duration, Instant};

/// Missing packets tracked. A larger hole is not worth repairing packet by packet: a keyframe is asked for.
const MAX_MISSING: usize = 256;

/// A packet may be out of order by this much before it is asked for. The most is what sound can wait beside a round trip.
pub(super) const LEAST_TOLERANCE: Duration = Duration::from_millis(10);
const MOST_TOLERANCE: Duration = Duration::from_millis(50);

/// What the tolerance grew by is halved after so long without reordering.
const TOLERANCE_HALF_LIFE: Duration = Duration::from_secs(10);

/// Repaired numbers remembered, to know a second answer when it comes.
const REMEMBERED: usize = 32;

/// How long an answer takes, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// From a request to its answer.
    pub(crate) round_trip: Duration,
    /// An answer that did not come within this time was lost, or the request was.
    pub(crate) repeat_after: Duration,
}

impl Default for Timing {
    /// Before anything is measured: about the round trip of a continent.
    fn default() -> Self {
        Timing {
            round_trip: Duration::from_millis(60),
            repeat_after: Duration::from_millis(90),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    ext: ExtSeqNo,
    noticed: Instant,
    ask_at: Instant,
    asked: u32,
    /// What comes before this is no answer to a request but the packet itself, late.
    answered_after: Option<Instant>,
}

/// What is missing of one stream.
#[derive(Debug)]
pub(super) struct Repair {
    missing: Vec<Missing>,
    /// By how much a packet came late, and when that was seen: the largest that still counts.
    reordered: Option<(Duration, Instant)>,
    repaired: [Option<ExtSeqNo>; REMEMBERED],
    next_repaired: usize,
    /// Packets that were missing where their successors had come, and did not come by themselves.
    late: u64,
}

impl Repair {
    pub(super) fn new() -> Self {
        Repair {
            missing: Vec::new(),
            reordered: None,
            repaired: [None; REMEMBERED],
            next_repaired: 0,
            late: 0,
        }
    }

    /// How many packets so far were lost on their way, or are too late for what cannot wait: repaired since or not.
    pub(super) fn lost_on_the_way(&self) -> u64 {
        self.late
    }

    /// `gap` packets before this one are missing. False: these are too many, and nothing is asked for.
    pub(super) fn on_gap(&mut self, now: Instant, ext: ExtSeqNo, gap: u64) -> bool {
        self.late += gap;
        if gap > (MAX_MISSING - self.missing.len()) as u64 {
            self.missing.clear();
            return false;
        }
        let ask_at = now + self.tolerance(now);
        self.missing
            .extend((ext.0 - gap..ext.0).map(|number| Missing {
                ext: ExtSeqNo(number),
                noticed: now,
                ask_at,
                asked: 0,
                answered_after: None,
            }));
        true
    }

    /// A packet came that may have been missing.
    pub(super) fn on_came(&mut self, now: Instant, ext: ExtSeqNo) {
        let Some(at) = self.missing.iter().position(|missing| missing.ext == ext) else {
            return;
        };
        // In order, since the oldest are given up first.
        let missing = self.missing.remove(at);
        let by_itself = missing.answered_after.is_none_or(|at| now < at);
        self.late -= u64::from(by_itself);
        if missing.asked > 0 {
            self.repaired[self.next_repaired] = Some(ext);
            self.next_repaired = (self.next_repaired + 1) % REMEMBERED;
        }
        if by_itself {
            let late = now.saturating_duration_since(missing.noticed);
            if late > self.excess(now) + LEAST_TOLERANCE {
                self.reordered = Some((late, now));
            }
        }
    }

    /// Whether a packet that came once more is one that was asked for.
    pub(super) fn was_asked_for(&self, ext: ExtSeqNo) -> bool {
        self.repaired.contains(&Some(ext))
    }

    /// What is missing will not come.
    pub(super) fn forget(&mut self) {
        self.missing.clear();
        self.repaired = [None; REMEMBERED];
    }

    /// How long a packet may be out of order before it is asked for: a fifth more than was seen lately.
    pub(super) fn tolerance(&self, now: Instant) -> Duration {
        (LEAST_TOLERANCE + self.excess(now) * 6 / 5).min(MOST_TOLERANCE)
    }

    /// By how much more than is always tolerated packets come late.
    fn excess(&self, now: Instant) -> Duration {
        let Some((late, at)) = self.reordered else {
            return Duration::ZERO;
        };
        let halves = now.saturating_duration_since(at).as_secs() / TOLERANCE_HALF_LIFE.as_secs();
        let left = late.saturating_sub(LEAST_TOLERANCE).min(MOST_TOLERANCE);
        u32::try_from(halves)
            .ok()
            .and_then(|halves| 1u32.checked_shl(halves))
            .map_or(Duration::ZERO, |part| left / part)
    }

    /// When packets are to be asked for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.missing.iter().map(|missing| missing.ask_at).min()
    }

    /// The numbers to ask for now, oldest first, into `numbers`. `useful_for`: how long after a hole was seen its packet
    /// is still of use. `may_ask` is asked for each. Returns the newest number that is given up.
    pub(super) fn take(
        &mut self,
        now: Instant,
        timing: Timing,
        useful_for: Duration,
        mut may_ask: impl FnMut() -> bool,
        numbers: &mut Vec<SeqNo>,
    ) -> Option<ExtSeqNo> {
        numbers.clear();
        let mut given_up = None;
        self.missing.retain_mut(|missing| {
            if missing.ask_at > now {
                return true;
            }
            let last_chance = (missing.noticed + useful_for).checked_sub(timing.round_trip);
            let Some(last_chance) = last_chance.filter(|at| now <= *at) else {
                given_up = given_up.max(Some(missing.ext));
                return false;
            };
            // Each request waits half as long again as the one before; the last is made when it is just of use.
            let wait = timing
                .repeat_after
                .mul_f64(1.5_f64.powi(missing.asked as i32));
            missing.ask_at = (now + wait).min(last_chance).max(now + timing.repeat_after);
            if may_ask() {
                missing.asked += 1;
                missing.answered_after = Some(now + timing.round_trip / 2);
                numbers.push(missing.ext.seq());
            }
            true
        });
        given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USEFUL: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn timing(round_trip: u64) -> Timing {
        Timing {
            round_trip: ms(round_trip),
            repeat_after: ms(round_trip * 5 / 4),
        }
    }

    /// When a hole is asked for, in milliseconds after it was seen, and when it is given up.
    fn asked(round_trip: u64, useful_for: Duration) -> (Vec<u128>, u128) {
        let (mut repair, start) = (Repair::new(), Instant::now());
        assert!(repair.on_gap(start, ExtSeqNo(11), 1));
        let (mut asked, mut numbers) = (Vec::new(), Vec::new());
        while let Some(now) = repair.due() {
            let given_up = repair.take(now, timing(round_trip), useful_for, || true, &mut numbers);
            let after = (now - start).as_millis();
            if given_up.is_some() {
                assert_eq!((given_up, &numbers[..]), (Some(ExtSeqNo(10)), &[][..]));
                return (asked, after);
            }
            asked.extend(numbers.iter().map(|_| after));
        }
        panic!("it is given up");
    }

    #[test]
    fn a_hole_is_asked_for_after_a_moment_and_again_after_a_round_trip_and_ever_later() {
        let (times, given_up) = asked(100, USEFUL);
        assert_eq!(times, [10, 135, 322, 603, 900]);
        assert!((900..1200).contains(&given_up), "{given_up}");
        let (times, given_up) = asked(20, USEFUL);
        assert_eq!(times.len(), 9, "{times:?}");
        assert!((900..1200).contains(&given_up), "{given_up}");
    }

    #[test]
    fn what_would_come_too_late_is_not_asked_for() {
        let (times, given_up) = asked(100, ms(160));
        assert_eq!(times, [10]);
        assert!((135..300).contains(&given_up), "{given_up}");
        assert_eq!(asked(151, ms(160)), (vec![], 10));
        assert_eq!(asked(2000, USEFUL), (vec![], 10));
    }

    #[test]
    fn reordering_makes_it_patient_within_bounds_and_for_a_time() {
        let (mut repair, start) = (Repair::new(), Instant::now());
        let late = |repair: &mut Repair, number, now, by| {
            repair.on_gap(now, ExtSeqNo(number + 1), 1);
            repair.on_came(now + by, ExtSeqNo(number));
        };
        assert_eq!(repair.tolerance(start), LEAST_TOLERANCE);
        late(&mut repair, 10, start, ms(8));
        assert_eq!(repair.tolerance(start + ms(8)), LEAST_TOLERANCE);
        late(&mut repair, 20, start, ms(30));
        assert_eq!(repair.tolerance(start + ms(30)), ms(34));
        late(&mut repair, 30, start, ms(20));
        assert_eq!(
            repair.tolerance(start + ms(30)),
            ms(34),
            "the largest counts"
        );
        assert_eq!(repair.tolerance(start + ms(10_030)), ms(22));
        assert_eq!(repair.tolerance(start + ms(20_030)), ms(16));
        assert_eq!(repair.tolerance(start + USEFUL * 3600), LEAST_TOLERANCE);
        late(&mut repair, 40, start, ms(700));
        assert_eq!(repair.tolerance(start + ms(700)), MOST_TOLERANCE);
    }

    #[test]
    fn an_answer_is_no_reordering_and_what_comes_sooner_is() {
        let start = Instant::now();
        for (after, patient) in [(ms(49), true), (ms(51), false)] {
            let (mut repair, mut numbers) = (Repair::new(), Vec::new());
            repair.on_gap(start, ExtSeqNo(11), 1);
            let now = start + LEAST_TOLERANCE;
            repair.take(now, timing(100), USEFUL, || true, &mut numbers);
            assert_eq!(numbers, [SeqNo(10)]);
            repair.on_came(now + after, ExtSeqNo(10));
            assert_eq!(repair.tolerance(now + after) > LEAST_TOLERANCE, patient);
            assert!(repair.was_asked_for(ExtSeqNo(10)));
            assert_eq!(repair.due(), None);
        }
    }

    #[test]
    fn what_comes_by_itself_was_not_lost_on_the_way_and_what_is_repaired_or_never_comes_was() {
        let (mut repair, start, mut numbers) = (Repair::new(), Instant::now(), Vec::new());
        repair.on_gap(start, ExtSeqNo(13), 3);
        assert_eq!(repair.lost_on_the_way(), 3);
        repair.on_came(start + ms(5), ExtSeqNo(10));
        assert_eq!(repair.lost_on_the_way(), 2);
        let asked_at = start + LEAST_TOLERANCE;
        repair.take(asked_at, timing(100), USEFUL, || true, &mut numbers);
        repair.on_came(asked_at + ms(100), ExtSeqNo(11));
        repair.forget();
        repair.on_came(asked_at + ms(100), ExtSeqNo(12));
        assert_eq!(repair.lost_on_the_way(), 2);
        assert!(!repair.on_gap(start, ExtSeqNo(1000), 900));
        assert_eq!(repair.lost_on_the_way(), 902);
    }

    #[test]
    fn what_may_not_be_asked_for_now_is_asked_for_later() {
        let (mut repair, start, mut numbers) = (Repair::new(), Instant::now(), Vec::new());
        repair.on_gap(start, ExtSeqNo(20), 10);
        let now = start + LEAST_TOLERANCE;
        let mut left = 4;
        let mut may_ask = || {
            left -= 1;
            left >= 0
        };
        repair.take(now, timing(20), USEFUL, &mut may_ask, &mut numbers);
        assert_eq!(numbers, [10, 11, 12, 13].map(SeqNo));
        let now = repair.due().unwrap();
        repair.take(now, timing(20), USEFUL, || true, &mut numbers);
        assert_eq!(numbers.len(), 10, "the four were not answered");
    }

    #[test]
    fn a_hole_that_is_too_large_is_not_asked_for() {
        let (mut repair, now) = (Repair::new(), Instant::now());
        assert!(repair.on_gap(now, ExtSeqNo(1000), 200));
        assert!(!repair.on_gap(now, ExtSeqNo(2000), 57));
        assert_eq!(repair.due(), None);
        assert!(repair.on_gap(now, ExtSeqNo(3000), 256));
        assert!(!repair.on_gap(now, ExtSeqNo(3002), u64::MAX / 2));
    }
}
