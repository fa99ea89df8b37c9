//! How much the path to a subscriber carries, as its feedback tells: transport-wide feedback where the peer sends it
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01), its own estimate where not (draft-alvestrand-rmcat-remb-03),
//! and reports of loss (RFC 3550 §6.4.1) where there is neither.
//!
//! A state machine without I/O and without a clock. Whatever a peer says, the estimate stays between [`LEAST`] and
//! [`MOST`] and is never raised far above what was sent; who lies gets more or less than its path carries, and nobody
//! else does.

mod delivery;
mod history;
mod loss;
mod probe;
mod queue;
mod rate;
mod trend;

pub use probe::Probe;
pub use rate::{LEAST, MOST, START};

use crate::wire::num::SeqNo;
use crate::wire::twcc::Feedback;
use delivery::Delivery;
use history::{Fate, History, Sent, Unknown};
use loss::Loss;
use probe::Prober;
use queue::Queue;
use rate::{Observed, Rate, Verdict};
use std::time::{Duration, Instant};
use trend::{Trend, Usage};

/// Microseconds over which what is acknowledged is measured: just now, which is what a full path carries, and steadily.
const RECENT: i64 = 200_000;
const STEADY: i64 = 500_000;

/// A delay that changes by more than this from one packet to the next, in microseconds, is a clock that jumped.
const JUMP: i64 = 3_000_000;

/// A growing delay means nothing while the newest packets stand no longer than this: a path that swings.
const NOTHING: Duration = Duration::from_millis(8);

/// What stands longer than this is a queue, however steady it is.
const TOO_LONG: Duration = Duration::from_millis(50);

/// Where nothing stood for longer than `CALM` for some time, and something stands for `RUSH` a moment later, a path has
/// become far narrower, and the rate of so short a time is what it carries: what is older came before.
const CALM: Duration = Duration::from_millis(15);
const CALM_FOR: Duration = Duration::from_secs(2);
const RUSH: Duration = Duration::from_millis(40);
const RUSH_WITHIN: Duration = Duration::from_millis(250);
const JUST_NOW: i64 = 80_000;

/// So long after transport-wide feedback nothing else is listened to.
const FRESH: Duration = Duration::from_secs(3);

/// Nothing is heard for so long of what is sent: first of a peer that reports often, then of any (some report on audio
/// every five seconds alone). Then it is lowered, and again after the next time.
const SILENCE: Duration = Duration::from_millis(1_500);
const LONG_SILENCE: Duration = Duration::from_secs(12);
const SILENT_STEP: Duration = Duration::from_millis(500);
/// Who sends nothing for so long does not wait for an answer; what was lost before it is told of with what comes next.
const PAUSE_TICKS: u32 = history::TICKS_PER_SECOND;

/// A longer round trip than this is a wrong measurement.
const MOST_ROUND_TRIP: Duration = Duration::from_secs(2);
/// Weight of a new measurement of it.
const ROUND_TRIP_WEIGHT: f64 = 0.2;

/// Reports count when they tell of so many packets together, and no more often than this.
const REPORTED_PACKETS: u64 = 20;
const REPORTED_INTERVAL: Duration = Duration::from_secs(1);

/// Numbers in a feedback that say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Under these nothing was ever sent.
    pub never_sent: u64,
    /// What was sent under these is forgotten.
    pub forgotten: u64,
}

/// What an estimate stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Transport-wide feedback: fine, and a probe can show that there is more.
    Feedback,
    /// The peer's own estimate: rough, and it grows with what is sent only.
    Remb,
}

/// What may be sent, in bits a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// How many now.
    pub bits_per_second: u64,
    /// How many once the queue is empty for which less is sent now.
    pub carried: u64,
    /// How many fill no queue, where one stood a moment ago: that much is known.
    pub held: Option<u64>,
    /// Who says so.
    pub basis: Basis,
}

impl Known {
    /// Whether less is to be sent than the path carries, until a queue is empty.
    pub fn is_emptying(&self) -> bool {
        self.bits_per_second < self.carried
    }
}

/// What was sent and what of it was reported lost, since reports were last looked at.
#[derive(Debug, Default)]
struct Second {
    since: Option<Instant>,
    bytes: u64,
    /// Bits a second.
    rate: f64,
    expected: u64,
    lost: f64,
    reported: Option<Instant>,
}

/// What is known of the path to one peer.
#[derive(Debug, Default)]
pub struct Bandwidth {
    history: History,
    delivery: Delivery,
    trend: Trend,
    queue: Queue,
    loss: Loss,
    rate: Rate,
    prober: Prober,
    second: Second,
    /// The newest packet that arrived: its number, and how much later it arrived than it was sent, in microseconds.
    newest: Option<(u64, i64)>,
    /// Since when, and until when, next to nothing stood on the way.
    calm: Option<(Instant, Instant)>,
    /// One above the highest number that feedback told of.
    told: u64,
    /// The reference time of the last feedback, unwrapped.
    reference: Option<i64>,
    round_trip: Option<Duration>,
    /// Of the newest packet that was told of.
    last_round_trip: Duration,
    feedback_at: Option<Instant>,
    remb: bool,
    /// When the first packet was sent of which nothing was heard, and when the last one was.
    unheard: Option<Instant>,
    sent_at: Option<Instant>,
    sent_ticks: u32,
    expects_feedback: bool,
    silenced: Option<Instant>,
    wanted: Option<u64>,
    reported_ratio: Option<f64>,
}

impl Bandwidth {
    /// The peer said that it reports on packets with transport-wide numbers.
    pub fn expect_feedback(&mut self) {
        self.expects_feedback = true;
    }

    /// The transport-wide number of the next packet that is sent with one.
    pub fn next_number(&self) -> SeqNo {
        self.history.next_number()
    }

    /// A packet went out: with the next transport-wide number, with one that it had before, or with none. `bytes` is its
    /// length as a datagram, `probe` the cluster of a probe that it is part of.
    pub fn on_sent(
        &mut self,
        now: Instant,
        number: Option<SeqNo>,
        bytes: usize,
        probe: Option<u8>,
    ) {
        let at = self.history.ticks(now);
        if number == Some(self.history.next_number()) {
            let waits = self.feedback_at.is_some();
            self.history.push(at, bytes, probe.unwrap_or(0), waits);
        }
        self.second.bytes += bytes as u64;
        let paused = at.wrapping_sub(self.sent_ticks) > PAUSE_TICKS;
        if self.unheard.is_none() || paused {
            self.unheard = Some(now);
        }
        (self.sent_at, self.sent_ticks) = (Some(now), at);
    }

    /// Transport-wide feedback came.
    pub fn on_feedback(&mut self, now: Instant, feedback: &Feedback<'_>) -> Ignored {
        let mut ignored = Ignored::default();
        let offset = self.unwrap_reference(feedback.reference_time);
        let mut last = None;
        let mut news = false;
        for (seq, arrived) in feedback.packets() {
            let sent = match self.history.settle(seq, arrived.is_some()) {
                Ok(sent) => sent,
                Err(Unknown::NeverSent) => {
                    ignored.never_sent += 1;
                    continue;
                }
                Err(Unknown::Forgotten) => {
                    ignored.forgotten += 1;
                    continue;
                }
            };
            let follows = sent.number <= self.told;
            self.told = self.told.max(sent.number + 1);
            match arrived {
                Some(at) if sent.fate != Fate::Arrived => {
                    self.loss.on_arrival(sent.fate == Fate::Lost);
                    self.on_arrival(now, &sent, at + offset, follows);
                    last = Some(sent);
                    news = true;
                }
                None if sent.fate == Fate::Open => {
                    self.loss.on_loss();
                    news = true;
                }
                _ => {}
            }
        }
        if !news {
            return ignored;
        }
        if let Some(sent) = last {
            let passed = self.history.micros(now) - sent.at;
            self.last_round_trip = Duration::from_micros(passed.max(0) as u64);
            self.measure_round_trip(self.last_round_trip);
        }
        self.heard(now);
        self.feedback_at = Some(now);
        let seen = self.observe(now);
        if seen.filling {
            self.prober.on_full(now);
        }
        if self.rate.on_feedback(&seen) == Verdict::NotOurs {
            self.queue.rebase();
            self.trend = Trend::default();
        }
        ignored
    }

    /// What has to be added to the times of a feedback: the reference is 24 bits of 64 ms, it wraps in twelve days.
    fn unwrap_reference(&mut self, reference: i32) -> i64 {
        let reference = i64::from(reference);
        let unwrapped = match self.reference {
            None => reference,
            Some(before) => {
                let ahead = ((reference - before) << 40) >> 40;
                before + ahead
            }
        };
        self.reference = Some(unwrapped);
        (unwrapped - reference) * 64_000
    }

    fn on_arrival(&mut self, now: Instant, sent: &Sent, arrived: i64, follows: bool) {
        let delay = arrived.saturating_sub(sent.at);
        if let Some((number, before)) = self.newest {
            if (delay - before).abs() > JUMP {
                self.delivery.on_jump();
                self.trend = Trend::default();
                self.queue = Queue::default();
            } else if sent.number < number {
                // Told late, after later ones: its loss is taken back, its time says nothing any more.
                return;
            }
        }
        self.newest = Some((sent.number, delay));
        self.delivery.on_arrival(sent, arrived, follows);
        self.trend.on_arrival(sent.at, arrived);
        self.queue.on_arrival(arrived, delay);
        if sent.cluster != 0
            && let Some(rate) = self.prober.on_arrival(now, sent, arrived)
        {
            self.rate.on_probed(rate);
        }
    }

    fn observe(&mut self, now: Instant) -> Observed {
        let micros = |time: i64| Duration::from_micros(time.max(0) as u64);
        let newest_queue = micros(self.queue.newest());
        let standing = micros(self.queue.standing());
        let grows = self.trend.usage() == Usage::Over && newest_queue > NOTHING;
        let stands = standing.min(newest_queue) > TOO_LONG;
        let rushes = self.rushes(now, newest_queue);
        Observed {
            now,
            filling: grows || rushes || (stands && self.trend.usage() != Usage::Under),
            newest_queue,
            outstanding: 8.0 * self.history.bytes_since(self.told) as f64,
            last_round_trip: self.last_round_trip,
            recent: self.delivery.rate(if rushes { JUST_NOW } else { RECENT }),
            steady: self.delivery.rate(STEADY),
            round_trip: self.round_trip,
            loss: self.loss.take(now),
            lost: self.loss.ratio(),
        }
    }

    /// Whether a queue has built up at once where there was none.
    fn rushes(&mut self, now: Instant, queue: Duration) -> bool {
        if queue <= CALM {
            self.calm = Some((self.calm.map_or(now, |(since, _)| since), now));
            return false;
        }
        let Some((since, until)) = self.calm else {
            return false;
        };
        let was_calm = until.saturating_duration_since(since) >= CALM_FOR;
        let soon = now.saturating_duration_since(until) <= RUSH_WITHIN;
        if !was_calm || !soon || self.rate.is_draining() {
            self.calm = None;
            return false;
        }
        queue > RUSH
    }

    fn measure_round_trip(&mut self, measured: Duration) {
        let measured = measured.min(MOST_ROUND_TRIP);
        self.round_trip = Some(match self.round_trip {
            None => measured,
            Some(before) => {
                before.mul_f64(1.0 - ROUND_TRIP_WEIGHT) + measured.mul_f64(ROUND_TRIP_WEIGHT)
            }
        });
    }

    /// Whether nothing is heard any more of what is sent.
    pub fn is_silenced(&self) -> bool {
        self.silenced.is_some()
    }

    fn heard(&mut self, now: Instant) {
        self.unheard = None;
        self.silenced = None;
        self.second.since.get_or_insert(now);
    }

    fn has_feedback(&self, now: Instant) -> bool {
        let fresh = |at: Instant| now.saturating_duration_since(at) < FRESH;
        self.feedback_at.is_some_and(fresh)
    }

    /// The peer's own estimate came, in bits a second. It counts while there is no transport-wide feedback.
    pub fn on_remb(&mut self, now: Instant, bits_per_second: u64) {
        self.heard(now);
        self.tick_second(now);
        // Before a second of sending nobody knows what it is said of.
        if !self.has_feedback(now) && self.second.rate > 0.0 {
            self.remb = true;
            self.rate.on_remb(bits_per_second, self.second.rate);
        }
    }

    /// A report on one stream came: the share that was lost (in 1/256) of so many packets, and the round trip if it
    /// tells. Its loss counts while there is nothing better.
    pub fn on_report(
        &mut self,
        now: Instant,
        fraction_lost: u8,
        packets: u64,
        round_trip: Option<Duration>,
    ) {
        self.heard(now);
        if let Some(measured) = round_trip
            && !self.has_feedback(now)
        {
            self.measure_round_trip(measured);
        }
        // Whatever a report claims: no more than 16 bits of packets since the one before.
        let packets = packets.min(1 << 16);
        self.second.expected += packets;
        self.second.lost += packets as f64 * f64::from(fraction_lost) / 256.0;
    }

    /// The peer's connection took no more than so many bits a second while more waited for it.
    pub fn on_backlog(&mut self, now: Instant, bits_per_second: u64) {
        self.rate.on_backlog(now, bits_per_second as f64);
    }

    /// Time passes: to be called about once a second, or more often.
    pub fn on_tick(&mut self, now: Instant) {
        self.tick_second(now);
        let second = &mut self.second;
        let since = *second.reported.get_or_insert(now);
        if second.expected >= REPORTED_PACKETS
            && now.saturating_duration_since(since) >= REPORTED_INTERVAL
        {
            let ratio = second.lost / second.expected as f64;
            let sent = second.rate;
            (second.expected, second.lost, second.reported) = (0, 0.0, Some(now));
            self.reported_ratio = Some(ratio);
            let is_known_better = self.has_feedback(now) || (self.remb && ratio < 0.1);
            if !is_known_better {
                self.rate.on_reported_loss(ratio, sent);
            }
        }
        let patience = match self.feedback_at {
            Some(_) if self.expects_feedback => {
                SILENCE.max(3 * self.round_trip.unwrap_or_default())
            }
            _ => LONG_SILENCE,
        };
        let unanswered = self.sent_at.zip(self.unheard);
        let unanswered = unanswered.is_some_and(|(last, first)| last > first + patience);
        let step = |at: Instant| now.saturating_duration_since(at) >= SILENT_STEP;
        if unanswered && self.silenced.is_none_or(step) {
            self.silenced = Some(now);
            self.rate.on_silence(now);
        }
    }

    fn tick_second(&mut self, now: Instant) {
        let second = &mut self.second;
        let passed = now.saturating_duration_since(*second.since.get_or_insert(now));
        if passed >= Duration::from_secs(1) {
            second.rate = second.bytes as f64 * 8.0 / passed.as_secs_f64();
            (second.since, second.bytes) = (Some(now), 0);
        }
    }

    /// What could be sent if the path carried it, in bits a second; none: nothing beyond the estimate is worth a try.
    pub fn set_wanted(&mut self, bits_per_second: Option<u64>) {
        self.wanted = bits_per_second;
    }

    /// A probe that is to be sent now, its packets marked with its cluster. It is asked for once, and counts as sent.
    pub fn wants_probe(&mut self, now: Instant) -> Option<Probe> {
        let wanted = self.wanted?;
        if !self.has_feedback(now) || self.rate.is_draining() {
            return None;
        }
        self.prober.ask(now, self.rate.get(), wanted)
    }

    /// The estimate, once it is good for holding something back: where reports of loss are all there is, nothing could
    /// show that more is carried again.
    pub fn known(&self, now: Instant) -> Option<Known> {
        let basis = match (self.feedback_at, self.remb) {
            (Some(_), _) => Basis::Feedback,
            (None, true) => Basis::Remb,
            (None, false) => return None,
        };
        Some(Known {
            bits_per_second: self.rate.get(),
            carried: self.rate.carried() as u64,
            held: self.rate.held(now).map(|bits| bits as u64),
            basis,
        })
    }

    /// What may be sent, in bits a second: datagrams without the headers of UDP and IP.
    pub fn estimate(&self) -> u64 {
        self.rate.get()
    }

    /// What was acknowledged of late, in bits a second.
    pub fn acknowledged(&self) -> Option<u64> {
        self.delivery.rate(STEADY).map(|rate| rate as u64)
    }

    /// The round trip, with what a peer waits before it tells.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The share that was lost of late.
    pub fn loss(&self) -> f64 {
        match self.feedback_at {
            Some(_) => self.loss.ratio(),
            None => self.reported_ratio.unwrap_or_default(),
        }
    }

    /// The share that does not come in time, whoever's doing it is: what comes when it is sent again comes too late for
    /// sound, unless the way is so short that nobody ever told that it was missing.
    pub fn missed(&self) -> f64 {
        match self.feedback_at {
            Some(_) => self.loss.missed(),
            None => self.reported_ratio.unwrap_or_default(),
        }
    }

    /// How long packets stand in a queue on the way.
    pub fn queue(&self) -> Duration {
        Duration::from_micros(self.queue.standing().max(0) as u64)
    }
}
