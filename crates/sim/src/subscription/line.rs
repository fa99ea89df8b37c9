//! The time line towards a subscriber. It goes on as the publisher's does; where another one begins, as much passes in it as
//! passed, if the clocks of both sources do not tell it better.

use crate::publisher::Published;
use crate::subscription::Arrival;
use parlour_media::num::RtpTime;
use std::time::Instant;

/// How far the time of another source may lie from the time that passed: further apart, the clocks are not believed.
const PLAUSIBLE: u32 = 500;

/// What rounding makes of a time, in ticks of a clock; and how near to a bound nothing is said.
const ROUNDING: u32 = 3;
const NEAR: u32 = 200;

/// Of the source before and of the one that follows: the number space, and what the clock showed at the beginning.
pub type Clocks = ((u32, u32), (u32, u32));

/// The line there is, and the one before.
#[derive(Default)]
pub(super) struct Times {
    line: Option<Line>,
    before: Option<Line>,
    /// Since something was sent another source follows; both clocks, if they were known then.
    changed: Option<Option<Clocks>>,
}

#[derive(Clone, Copy)]
struct Line {
    /// Of which source and epoch it was last, and the distance of its timestamps.
    of: (usize, u32),
    shift: u32,
    /// What the publisher's clock showed at the beginning, and when this line began.
    epoch: u32,
    since: Instant,
    newest: RtpTime,
    /// When that was sent.
    at: Instant,
}

impl Line {
    fn time(&self, ticks: u32) -> RtpTime {
        RtpTime(self.epoch.wrapping_add(ticks).wrapping_add(self.shift))
    }

    /// What another source begins with has the time at which it was captured on this line, if the clocks of both can be
    /// believed, and the next one if that has passed. None: they cannot.
    fn expected(&self, now: Instant, rate: u32, packet: &Published) -> Option<RtpTime> {
        let captured = self.time(packet.timestamp.wrapping_sub(packet.epoch));
        let passed = (now - self.at).as_millis() as u32 * rate;
        let due = self.newest.wrapping_add(passed.max(1));
        let apart = captured.distance_to(due).unsigned_abs();
        (apart + NEAR <= PLAUSIBLE * rate).then(|| match captured.newer_than(self.newest) {
            true => captured,
            false => self.newest.wrapping_add(1),
        })
    }
}

impl Times {
    /// Another source follows.
    pub(super) fn change(&mut self, clocks: Option<Clocks>) {
        self.changed = Some(clocks);
    }

    /// A packet goes out with that time; what is wrong with it. `rate` is in ticks a millisecond.
    pub(super) fn take(
        &mut self,
        now: Instant,
        rate: u32,
        it: Arrival,
        packet: &Published,
        is_first: bool,
        time: RtpTime,
    ) -> Result<(), String> {
        let of = (it.place, it.taken.0);
        let shift = time.0.wrapping_sub(packet.timestamp);
        let mut line = Line {
            of,
            shift,
            epoch: packet.epoch,
            since: now,
            newest: time,
            at: now,
        };
        let changed = self.changed.take_if(|_| is_first);
        if let Some(before) = self.line {
            let carried = RtpTime(packet.timestamp.wrapping_add(before.shift));
            let goes_on = carried.newer_than(before.newest) && before.of == of && changed.is_none();
            if (!is_first || goes_on) && shift != before.shift {
                return Err("the distance of timestamps changes".into());
            }
            if is_first {
                if !time.newer_than(before.newest) {
                    return Err("time steps back".into());
                }
                let step = time.0.wrapping_sub(before.newest.0);
                let passed = (now - before.at).as_millis() as u32;
                if !goes_on && step > (passed + PLAUSIBLE) * rate + 1 {
                    return Err(format!("time leaps by {step} after {passed} ms"));
                }
                if let Some(Some((one, other))) = changed
                    && (one.1, other) == (before.epoch, (it.taken.0, packet.epoch))
                    && let Some(expected) = before.expected(now, rate, packet)
                    && expected.distance_to(time).unsigned_abs() > ROUNDING
                {
                    return Err(format!("what was captured at {expected:?} has {time:?}"));
                }
                self.before = self.line;
            } else {
                line.since = before.since;
            }
            if !time.newer_than(before.newest) {
                (line.newest, line.at) = (before.newest, before.at);
            }
        }
        self.line = Some(line);
        Ok(())
    }

    /// The timestamps of what was captured so many ticks after the beginning: one, or two at the moment when a line begins.
    pub(super) fn captured(&self, now: Instant, ticks: u32) -> Vec<RtpTime> {
        let is_new = self.line.is_some_and(|line| line.since == now);
        let before = self.before.filter(|_| is_new);
        let lines = self.line.into_iter().chain(before);
        lines.map(|line| line.time(ticks)).collect()
    }
}
