//! Dividing what a path carries among the pictures that are to go over it. Sound is taken off before; what is left goes to
//! the first of the list before the others, and all of them begin before one of them gets more.
//!
//! A state machine without I/O and without a clock. A choice is left at once only when it has to be, and taken up again
//! with care: whoever is given more and cannot keep it waits longer the next time.

use std::time::{Duration, Instant};

/// Choices of one video at most: sources times temporal layers.
pub const MOST_CHOICES: usize = 12;

/// What is sent may need so many times what there is before it counts as too much: measures of both are rough, and what
/// a pause costs a viewer is much. Where the peer's own estimate is all there is, it counts for less.
pub const SLACK: f64 = 1.25;
pub const ROUGH_SLACK: f64 = 2.0;
/// More is given only when so many times its need is there.
const MARGIN: f64 = 1.1;

/// For how long it has to be too much: less when packets stand in a queue already, and sound with them.
const PATIENCE: Duration = Duration::from_millis(1_200);
const LITTLE_PATIENCE: Duration = Duration::from_millis(300);
/// And so long where its publisher was asked to send less.
const TIME_TO_ADAPT: Duration = Duration::from_millis(1_600);

/// So long after it was too much nothing more is tried; twice as long each time that a trial did not last.
const WAIT: Duration = Duration::from_secs(2);
const MOST_WAIT: Duration = Duration::from_secs(32);
/// What lasted so long was no failure.
const LASTED: Duration = Duration::from_secs(10);

/// What one video gets, and how long already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How many of its choices are withheld, counted from the most costly. All: it is paused.
    withheld: usize,
    too_much_since: Option<Instant>,
    raised: Option<Instant>,
    not_before: Option<Instant>,
    wait: Duration,
    /// Whether the least that it needs is kept for it in this division.
    begins: bool,
}

impl Share {
    /// It keeps the first so many of its choices, and is given no more for a while: longer when what it had did not last.
    fn lower(&mut self, now: Instant, choices: usize, to: usize) {
        let lasted = self
            .raised
            .is_none_or(|at| now.saturating_duration_since(at) >= LASTED);
        self.wait = match lasted {
            true => WAIT,
            false => (self.wait * 2).clamp(WAIT, MOST_WAIT),
        };
        self.not_before = Some(now + self.wait);
        self.withheld = choices - to;
        self.too_much_since = None;
    }

    fn raise(&mut self, now: Instant, choices: usize, to: usize) {
        self.withheld = choices - to;
        self.raised = Some(now);
        self.too_much_since = None;
    }

    /// How many of so many choices it may take, the cheapest first; 0: none.
    pub fn level(&self, choices: usize) -> usize {
        choices.saturating_sub(self.withheld)
    }

    /// It has the first so many of these choices, of which there were more or fewer before.
    pub(crate) fn settle(&mut self, choices: usize, level: usize) {
        self.withheld = choices.saturating_sub(level);
    }

    /// It is served before others from now on: what it waits for was said of it as one behind them.
    pub(crate) fn prefer(&mut self) {
        (self.not_before, self.wait) = (None, Duration::ZERO);
    }

    /// What is sent did not get through: the next choice below is taken at once.
    pub fn give_up(&mut self, now: Instant, choices: usize) {
        let level = self.level(choices);
        self.lower(now, choices, level.saturating_sub(1));
    }
}

/// One video that wants to go over a path.
#[derive(Clone, Copy, Debug)]
pub struct Video {
    pub share: Share,
    /// Bits a second that its choices need, rising.
    pub choices: [u64; MOST_CHOICES],
    pub count: usize,
    /// Whether its publisher was asked a moment ago to send less: it keeps for now what it has.
    pub adapts: bool,
}

impl AsMut<Video> for Video {
    fn as_mut(&mut self) -> &mut Video {
        self
    }
}

impl Video {
    /// What the most of it needs.
    pub(crate) fn whole(&self) -> u64 {
        self.choices[..self.count]
            .last()
            .copied()
            .unwrap_or_default()
    }

    fn cost(&self, level: usize) -> f64 {
        match level {
            0 => 0.0,
            _ => self.choices[level - 1] as f64,
        }
    }
}

/// What came of a division.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Division {
    /// Bits a second that are given out.
    pub given: f64,
    /// Bits a second that the first one needs which lacks something, with all that is given; none: nobody lacks anything.
    pub wanted: Option<f64>,
}

/// What there is to be divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Means {
    /// Bits a second.
    pub available: f64,
    /// How many times that may be needed.
    pub slack: f64,
    /// Whether packets stand on the way already.
    pub queued: bool,
    /// Whether a probe would show that there is more. Else whoever lacks something tries it, when it may.
    pub probes: bool,
}

/// Divides a path.
pub fn divide<V: AsMut<Video>>(now: Instant, means: Means, videos: &mut [V]) -> Division {
    let Means {
        available, slack, ..
    } = means;
    // What the rest of the list needs at least, so that nobody gets more before all have begun.
    let mut left = available;
    let mut reserved = 0.0;
    for video in videos.iter_mut().map(AsMut::as_mut) {
        let least = video.cost(video.count.min(1));
        let factor = if video.share.level(video.count) > 0 {
            1.0 / slack
        } else {
            MARGIN
        };
        video.share.begins = (reserved + least) * factor <= available;
        if video.share.begins {
            reserved += least;
        }
    }
    let mut division = Division::default();
    // Who is given more takes it from those behind, at once: both together are what the path does not carry.
    let mut displaces = false;
    for video in videos.iter_mut().map(AsMut::as_mut) {
        let least = match video.share.begins {
            true => video.cost(video.count.min(1)),
            false => 0.0,
        };
        reserved = (reserved - least).max(0.0);
        let level = video.share.level(video.count);
        // What those behind need at least is kept from what is more than its own least, not from that.
        let for_it = (left - reserved).max((least * MARGIN).min(left));
        let to = choose(now, video, level, for_it, means, displaces);
        displaces |= to > level;
        let cost = video.cost(to);
        left = (left - cost).max(0.0);
        division.given += cost;
        if to < video.count && division.wanted.is_none() {
            division.wanted = Some(video.cost(to + 1) * MARGIN - cost);
        }
    }
    division.wanted = division.wanted.map(|more| more + division.given * MARGIN);
    division
}

fn choose(
    now: Instant,
    video: &mut Video,
    level: usize,
    for_it: f64,
    means: Means,
    displaced: bool,
) -> usize {
    let count = video.count;
    let most = |video: &Video, factor: f64, up_to: usize| {
        let fits = |level: &usize| video.cost(*level) * factor <= for_it;
        (0..=up_to).rev().find(fits).unwrap_or(0)
    };
    if video.cost(level) / means.slack > for_it {
        let since = *video.share.too_much_since.get_or_insert(now);
        // Who is to need less soon is waited for once: it has to fit in between.
        if video.adapts && now.saturating_duration_since(since) < TIME_TO_ADAPT {
            return level;
        }
        let patience = if means.queued {
            LITTLE_PATIENCE
        } else {
            PATIENCE
        };
        if !displaced && now.saturating_duration_since(since) < patience {
            return level;
        }
        // The least is kept as whoever has it already would keep it: a pause is dear.
        let least = most(video, 1.0 / means.slack, level.saturating_sub(1).min(1));
        let to = most(video, 1.0, level.saturating_sub(1)).max(least);
        video.share.lower(now, count, to);
        return to;
    }
    video.share.too_much_since = None;
    let tried = if means.probes {
        0
    } else {
        count.min(level + 1)
    };
    let to = most(video, MARGIN, count).max(tried);
    let may = video.share.not_before.is_none_or(|at| now >= at);
    if to > level && may && !means.queued {
        video.share.raise(now, count, to);
        return to;
    }
    level
}

#[cfg(test)]
mod tests;
