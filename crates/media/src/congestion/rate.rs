//! The estimate itself: what raises it and what lowers it (additive and multiplicative increase, multiplicative
//! decrease; after the idea of draft-ietf-rmcat-gcc-02 §5.5).

use super::loss::Interval;
use std::time::{Duration, Instant};

/// The estimate's bounds in bits a second: one audio stream with its headers, and twenty full pictures.
pub const LEAST: u64 = 30_000;
/// See above.
pub const MOST: u64 = 50_000_000;

/// The estimate of a path nobody has tried, in bits a second: a small picture and several voices. On a path of half of
/// this it fills a queue of 200 ms before the first feedback tells.
pub const START: u64 = 600_000;

/// Growth a second before a path was ever full, or after silence.
const FAST: f64 = 3.0;

/// Growth a second after a path was full, how much more of it each second since then, and how much at most: what was
/// true long ago need not be true now (compare RFC 9438 §4.1).
const GROWTH: f64 = 0.08;
const GROWTH_OF_GROWTH: f64 = 0.04;
const MOST_GROWTH: f64 = 0.5;

/// Near what the path was last seen to carry, one packet of this many bits more each response time.
const PACKET: f64 = 9_600.0;
/// And so many bits a second each second at least.
const LEAST_ADDED: f64 = 4_000.0;

/// The estimate is not raised above this many times what was acknowledged, and so much more: nobody knows what lies
/// beyond what was tried.
const BEYOND_TRIED: f64 = 1.5;
const MORE_THAN_TRIED: f64 = 10_000.0;

/// When a queue fills: the share of what arrives that is sent from then on, less what empties the queue in a second, but
/// not less than a quarter.
const BELOW_CAPACITY: f64 = 0.95;
const MOST_SENT: f64 = 0.92;
const LEAST_SENT: f64 = 0.25;
/// Once it is empty again, this share of what the path carried.
const RESUMED: f64 = 0.9;

/// A queue is empty below this; what stands above it after `DRAIN` is not ours to empty. What is so much longer than what
/// was to be expected is another one.
const EMPTY: Duration = Duration::from_millis(15);
/// So is one that does not become shorter for so long, while less is sent than the path carries.
const STALLED: Duration = Duration::from_millis(300);
const DRAIN: Duration = Duration::from_secs(4);
const ANOTHER: Duration = Duration::from_millis(100);

/// A queue that stays as long as it is for so long, while less is sent than comes through, is not ours; it is as long when
/// it does not change by more than this share, or this.
const LEVEL: Duration = Duration::from_millis(700);
const UNEVEN: f64 = 0.1;
/// One that is full is as long all the time, too, and loses what does not fit.
const OVERFLOWS: f64 = 0.15;
const UNEVEN_BY: Duration = Duration::from_millis(4);

/// For so long after a queue the path is taken to carry what it carried then: who sends no more than this share of it fills
/// none, and while less is sent nothing says that there is more, but a probe.
const HELD: Duration = Duration::from_secs(10);
const HELD_SHARE: f64 = 0.96;
const AS_MUCH: f64 = 1.05;

/// From a change to the feedback that shows it: a round trip, and the interval of feedback.
const FEEDBACK: Duration = Duration::from_millis(100);
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(200);

/// Without feedback or after a reason to wait, growth does not add up.
const LONGEST_STEP: Duration = Duration::from_millis(500);

/// Of what a lossy path brought, the share that is sent.
const AFTER_LOSS: f64 = 0.95;
/// It is not lowered by more than so many times the share that was lost.
const MOST_FOR_LOSS: f64 = 2.0;

/// How fast what a path carries is learnt, and the bounds of its deviation, as shares.
const LEARNING: f64 = 0.3;
const LEAST_DEVIATION: f64 = 0.03;
const MOST_DEVIATION: f64 = 0.1;

/// What one feedback says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observed {
    pub(super) now: Instant,
    /// Whether a queue fills.
    pub(super) filling: bool,
    /// How long the newest packets stood.
    pub(super) newest_queue: Duration,
    /// Bits that were sent and not told of yet, and how long ago the newest of which is told was sent.
    pub(super) outstanding: f64,
    pub(super) last_round_trip: Duration,
    /// Bits a second that were acknowledged: just now, and over a longer time.
    pub(super) recent: Option<f64>,
    pub(super) steady: Option<f64>,
    pub(super) round_trip: Option<Duration>,
    pub(super) loss: Option<Interval>,
    /// The share that is lost.
    pub(super) lost: f64,
}

/// What a path carried when it was full, in bits a second.
#[derive(Clone, Copy, Debug)]
struct Capacity {
    mean: f64,
    /// As a share.
    deviation: f64,
}

impl Capacity {
    fn learn(before: Option<Capacity>, rate: f64) -> Capacity {
        match before {
            Some(known) if known.holds(rate) => {
                let off = (rate - known.mean).abs() / known.mean;
                let deviation = known.deviation + LEARNING * (off - known.deviation);
                Capacity {
                    mean: known.mean + LEARNING * (rate - known.mean),
                    deviation: deviation.clamp(LEAST_DEVIATION, MOST_DEVIATION),
                }
            }
            _ => Capacity {
                mean: rate,
                deviation: MOST_DEVIATION / 2.0,
            },
        }
    }

    fn upper(&self) -> f64 {
        self.mean * (1.0 + 3.0 * self.deviation)
    }

    fn lower(&self) -> f64 {
        self.mean * (1.0 - 3.0 * self.deviation)
    }

    fn holds(&self, rate: f64) -> bool {
        (self.lower()..=self.upper()).contains(&rate)
    }
}

/// How it was before it was lowered for a queue.
#[derive(Clone, Copy, Debug)]
struct Lowered {
    at: Instant,
    /// How long that queue became, and was then with what was on the way.
    queue: Duration,
    backlog: Duration,
    /// Since when the queue is as long as it is, and between what.
    since: Instant,
    least: Duration,
    most: Duration,
    current: f64,
    capacity: Option<Capacity>,
    fast_up_to: Option<f64>,
}

/// What is to be thought of a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As before.
    Nothing,
    /// It is no queue of ours: it stays, however little is sent.
    NotOurs,
}

/// The rate that is given out.
#[derive(Debug)]
pub(super) struct Rate {
    /// Bits a second.
    current: f64,
    capacity: Option<Capacity>,
    /// What it carried when a queue stood in front of it last, and when that was.
    full: Option<(Instant, f64)>,
    /// When it was held at that last.
    held_at: Option<Instant>,
    /// The path was not full yet; or was this good before it went silent.
    fast_up_to: Option<f64>,
    /// What to go on with once the queue is empty.
    resume: Option<f64>,
    lowered: Option<Instant>,
    /// How long the queue was at least when it was lowered last.
    backlog: Duration,
    /// How long it is since then, and since when.
    draining: Option<(Instant, Duration)>,
    raised: Option<Instant>,
    /// How long the queue became since it was lowered for it.
    peak: Duration,
    /// The first time since there was no queue.
    before: Option<Lowered>,
}

impl Default for Rate {
    fn default() -> Self {
        Rate {
            current: START as f64,
            capacity: None,
            full: None,
            held_at: None,
            fast_up_to: Some(MOST as f64),
            resume: None,
            lowered: None,
            backlog: Duration::ZERO,
            draining: None,
            raised: None,
            peak: Duration::ZERO,
            before: None,
        }
    }
}

impl Rate {
    pub(super) fn get(&self) -> u64 {
        self.current as u64
    }

    /// What the path carries, also while less is sent to let a queue empty.
    pub(super) fn carried(&self) -> f64 {
        self.resume.map_or(self.current, |it| it.max(self.current))
    }

    /// What fills no queue, as long as the path is taken to carry what it carried when one stood in front of it.
    pub(super) fn held(&self, now: Instant) -> Option<f64> {
        let of = |(at, carried): (Instant, f64)| {
            let is_over = now.saturating_duration_since(at) >= HELD || self.is_draining();
            (!is_over).then_some(carried * HELD_SHARE)
        };
        self.full.and_then(of)
    }

    /// Whether it was lowered just now and the queue is not empty yet.
    pub(super) fn is_draining(&self) -> bool {
        self.resume.is_some()
    }

    fn set(&mut self, rate: f64) {
        self.current = rate.clamp(LEAST as f64, MOST as f64);
    }

    /// Feedback came.
    pub(super) fn on_feedback(&mut self, seen: &Observed) -> Verdict {
        let response = seen.round_trip.unwrap_or(UNKNOWN_ROUND_TRIP) + FEEDBACK;
        let since = |at: Option<Instant>| at.map(|at| seen.now.saturating_duration_since(at));
        let answered = since(self.lowered).is_none_or(|passed| passed > response + self.backlog)
            || seen.newest_queue > self.backlog + ANOTHER;
        if let Some(loss) = seen.loss
            && loss.excessive
            && answered
        {
            self.lower_for_loss(seen, &loss);
            return Verdict::Nothing;
        }
        if self.was_in_vain(seen, response) {
            self.undo(seen.now);
            return Verdict::NotOurs;
        }
        // While one empties less is sent than the path carries, and what comes through says nothing of that.
        let before = if self.resume.is_some() {
            self.peak
        } else {
            Duration::ZERO
        };
        self.peak = before.max(seen.newest_queue);
        if seen.filling && seen.newest_queue >= before {
            if answered {
                self.lower(seen);
            }
            self.raised = None;
            return Verdict::Nothing;
        }
        if self.resume.is_some() {
            let stalled = self.stalls(seen) && answered;
            let given_up = since(self.lowered).is_none_or(|passed| passed > DRAIN);
            if seen.newest_queue > EMPTY && !stalled && !given_up {
                return Verdict::Nothing;
            }
            let resume = self.resume.take().unwrap_or_default();
            self.set(self.current.max(resume));
            self.raised = Some(seen.now);
            return Verdict::Nothing;
        }
        self.raise(seen, response);
        Verdict::Nothing
    }

    /// Whether it was lowered for a queue that has been as long for a while, however little was sent: a way that became
    /// longer, or the queue of others.
    fn was_in_vain(&mut self, seen: &Observed, response: Duration) -> bool {
        let Some(before) = &mut self.before else {
            return false;
        };
        let queue = seen.newest_queue;
        before.queue = before.queue.max(queue);
        if queue <= EMPTY.max(before.queue / 2) || seen.lost > OVERFLOWS {
            self.before = None;
            return false;
        }
        let (least, most) = (before.least.min(queue), before.most.max(queue));
        let is_even = most - least <= most.mul_f64(UNEVEN).max(UNEVEN_BY);
        // What is told of now was sent before it was lowered.
        let passed = seen.now.saturating_duration_since(before.at);
        if !is_even || passed <= response + before.backlog {
            (before.since, before.least, before.most) = (seen.now, queue, queue);
            return false;
        }
        (before.least, before.most) = (least, most);
        seen.now.saturating_duration_since(before.since) >= LEVEL
    }

    /// Whether the queue that is to empty has not become shorter, nor longer, for a while.
    fn stalls(&mut self, seen: &Observed) -> bool {
        let queue = seen.newest_queue;
        match self.draining {
            Some((since, before)) if queue <= before && queue + UNEVEN_BY >= before => {
                seen.now.saturating_duration_since(since) >= STALLED
            }
            _ => {
                self.draining = Some((seen.now, queue));
                false
            }
        }
    }

    fn undo(&mut self, now: Instant) {
        let Some(before) = self.before.take() else {
            return;
        };
        self.set(before.current.max(self.current));
        (self.capacity, self.fast_up_to) = (before.capacity, before.fast_up_to);
        (self.resume, self.lowered, self.backlog) = (None, None, Duration::ZERO);
        self.full = None;
        self.raised = Some(now);
    }

    fn lower(&mut self, seen: &Observed) {
        if self.before.is_none() {
            self.before = Some(Lowered {
                at: seen.now,
                queue: seen.newest_queue,
                backlog: seen.newest_queue,
                since: seen.now,
                least: seen.newest_queue,
                most: seen.newest_queue,
                current: self.current,
                capacity: self.capacity,
                fast_up_to: self.fast_up_to,
            });
        }
        self.fast_up_to = None;
        let Some(carried) = seen.recent else {
            (self.lowered, self.backlog) = (Some(seen.now), seen.newest_queue);
            self.set(self.current * 0.7);
            return;
        };
        let capacity = Capacity::learn(self.capacity, carried);
        (self.capacity, self.full) = (Some(capacity), Some((seen.now, capacity.mean)));
        // What is on the way beyond what the way itself holds stands in the queue, or will.
        let way = seen.last_round_trip.saturating_sub(seen.newest_queue);
        let on_the_way = Duration::from_secs_f64((seen.outstanding / carried.max(1.0)).min(10.0));
        self.backlog = on_the_way.saturating_sub(way).max(seen.newest_queue);
        if let Some(before) = self.before.as_mut().filter(|it| it.at == seen.now) {
            before.backlog = self.backlog;
        }
        let share = (BELOW_CAPACITY - self.backlog.as_secs_f64()).clamp(LEAST_SENT, MOST_SENT);
        self.lowered = Some(seen.now);
        // Lowered once more before the queue was empty, it goes on with what it would have gone on with.
        self.resume = Some((carried * RESUMED).min(self.carried()));
        self.set(self.current.min(carried * share));
    }

    fn lower_for_loss(&mut self, seen: &Observed, loss: &Interval) {
        let own = loss.own;
        // What came through says little of a path that was not filled: it is lowered by what was lost, not to that.
        let least = self.current * (1.0 - MOST_FOR_LOSS * loss.ratio).max(0.0);
        self.fast_up_to = None;
        (self.lowered, self.backlog) = (Some(seen.now), Duration::ZERO);
        self.raised = None;
        let carried = match (seen.recent, seen.steady) {
            (Some(recent), Some(steady)) => recent.max(steady),
            (recent, steady) => recent
                .or(steady)
                .unwrap_or(self.current * (1.0 - own) * 0.8),
        };
        self.set(
            self.current
                .min((carried / (1.0 - own) * AFTER_LOSS).max(least)),
        );
    }

    fn raise(&mut self, seen: &Observed, response: Duration) {
        let before = self.raised.replace(seen.now);
        let passed = before.map_or(Duration::ZERO, |at| seen.now.saturating_duration_since(at));
        let passed = passed.min(LONGEST_STEP).as_secs_f64();
        if self
            .capacity
            .is_some_and(|known| self.current > known.upper())
        {
            self.capacity = None;
        }
        let near = self.capacity.is_some_and(|known| known.holds(self.current));
        let is_new = self.fast_up_to.is_some();
        let raised = if let Some(up_to) = self.fast_up_to {
            if self.current >= up_to {
                self.fast_up_to = None;
            }
            self.current * FAST.powf(passed)
        } else if near {
            let added = (PACKET / response.as_secs_f64()).max(LEAST_ADDED);
            self.current + added * passed
        } else {
            let age = self
                .lowered
                .max(self.held_at)
                .map_or(Duration::MAX, |at| seen.now.saturating_duration_since(at));
            let growth = GROWTH + GROWTH_OF_GROWTH * age.as_secs_f64();
            self.current * (1.0 + growth.min(MOST_GROWTH)).powf(passed)
        };
        let tried = seen
            .steady
            .map_or(0.0, |rate| rate * BEYOND_TRIED + MORE_THAN_TRIED);
        // Where nothing ever queued, what arrives is carried.
        let arrives = match is_new {
            true => seen.steady.unwrap_or_default(),
            false => 0.0,
        };
        let full = self
            .full
            .filter(|(at, _)| seen.now.saturating_duration_since(*at) < HELD);
        let tried = match (full, seen.steady) {
            (Some((_, full)), Some(steady)) if steady < full => {
                self.held_at = Some(seen.now);
                tried.min(full * AS_MUCH)
            }
            _ => tried,
        };
        self.set(raised.min(tried).max(arrives).max(self.current));
    }

    /// A probe was answered: so many bits a second came through.
    pub(super) fn on_probed(&mut self, rate: f64) {
        if rate > self.current && self.resume.is_none() {
            self.set(rate);
            self.full = self.full.filter(|(_, full)| rate <= full * AS_MUCH);
            if self.capacity.is_some_and(|known| rate > known.upper()) {
                self.capacity = None;
            }
        }
    }

    /// Nothing is heard of what is sent.
    pub(super) fn on_silence(&mut self, now: Instant) {
        let before = self.fast_up_to.unwrap_or(self.current);
        self.fast_up_to = Some(before.max(self.current));
        self.resume = None;
        (self.lowered, self.backlog) = (Some(now), Duration::ZERO);
        self.raised = None;
        self.set(self.current * 0.5);
    }

    /// More waited than a connection took, which was so much: it carries no more than that.
    pub(super) fn on_backlog(&mut self, now: Instant, taken: f64) {
        // One that stands still says nothing of what it carries when it goes on.
        if taken < LEAST as f64 {
            return self.on_silence(now);
        }
        let carried = (taken * RESUMED).max(self.current * LEAST_SENT);
        if carried >= self.current {
            return;
        }
        self.capacity = Some(Capacity::learn(self.capacity, taken));
        (self.fast_up_to, self.resume) = (None, None);
        (self.lowered, self.backlog) = (Some(now), Duration::ZERO);
        self.raised = None;
        self.set(carried);
    }

    /// A peer without transport-wide feedback says what it can take, beside what was sent to it, in bits a second.
    pub(super) fn on_remb(&mut self, rate: u64, sent: f64) {
        let tried = self.current.max(sent * BEYOND_TRIED + MORE_THAN_TRIED);
        self.set((rate as f64).min(tried));
    }

    /// A peer without any says what share is lost, beside what was sent to it in the second before.
    pub(super) fn on_reported_loss(&mut self, ratio: f64, sent: f64) {
        if ratio > 0.1 {
            self.set(self.current.min(sent.max(LEAST as f64)) * (1.0 - 0.5 * ratio));
        } else if ratio < 0.03 {
            let tried = sent * BEYOND_TRIED + MORE_THAN_TRIED;
            self.set((self.current * (1.0 + GROWTH)).min(tried).max(self.current));
        }
    }
}
