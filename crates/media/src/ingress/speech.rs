//! How loud a peer is and whether it speaks, as the levels of its sound tell (RFC 6464): nothing is decoded for it.
//!
//! Levels are what a client says of itself. Being louder than a voice gains nothing, what stays as loud as it was is noise
//! and no speech, and who speaks has no more by it here than that its pictures are served before others.

use std::time::{Duration, Instant};

/// Louder than this, in dB below the loudest there is, is speech: a quiet room is below 60, a voice above 40.
const QUIETEST: u8 = 45;

/// The scale of volumes, in dB below the loudest: 0 at the first and below, 100 at the other and above. A tenth of it is
/// where speech begins.
const SILENT: f32 = 50.0;
const LOUD: f32 = 10.0;

/// What a level is below the loudest at most (RFC 6464 §3): the loudness of 0 dB in what follows.
const RANGE: u8 = 127;

/// A volume follows a louder packet within this time and a quieter one within that: the ear does so, and a meter that jumps
/// tells nothing.
const ATTACK: Duration = Duration::from_millis(50);
const RELEASE: Duration = Duration::from_millis(300);

/// Speech stands out of what is always there by so many dB. What is always there begins at a quiet room's, rises by so many
/// dB a second, and is at most as loud as what was heard just now: people pause, a fan and a liar do not.
const STANDS_OUT: f32 = 6.0;
const QUIET_ROOM: f32 = 67.0;
const RISE: f32 = 4.0;

/// So much of it, and no more than so long ago, counted up while it is loud and down half as fast while it is not: a word,
/// not a click.
const ENOUGH: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_millis(500);

/// One packet stands for this time at most: what is missing between two was not heard.
const STEP: Duration = Duration::from_millis(60);

/// Who spoke is a speaker for this long: people pause between sentences.
const HOLD: Duration = Duration::from_millis(2_500);

/// Between two reports of one track.
pub(crate) const SHORTEST_REPORT: Duration = Duration::from_millis(50);

/// How loud a track is, and whether somebody speaks on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// 0 (silence) to 100, linear in dB; a voice begins at about 10.
    pub volume: u8,
    /// Whether somebody speaks, or did a moment ago.
    pub speaks: bool,
    /// For how many milliseconds somebody spoke, since the track began.
    pub spoken_ms: u32,
}

/// Follows the levels of one track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speech {
    /// Smoothed, in dB above the least that there is.
    loudness: f32,
    /// What is always there.
    floor: f32,
    loud_for: Duration,
    spoken: Duration,
    heard: Option<Instant>,
    spoke: Option<Instant>,
}

impl Default for Speech {
    fn default() -> Self {
        Speech {
            loudness: 0.0,
            floor: QUIET_ROOM,
            loud_for: Duration::ZERO,
            spoken: Duration::ZERO,
            heard: None,
            spoke: None,
        }
    }
}

impl Speech {
    /// A packet of sound came with that extension: its level is the lower seven bits, in dB below the loudest, and so more
    /// is quieter. What is not one byte is no level (RFC 6464 §3).
    pub(crate) fn on_level(&mut self, now: Instant, value: &[u8]) {
        let &[first] = value else {
            return;
        };
        let level = first & RANGE;
        let heard = f32::from(RANGE - level);
        let before = self.heard.replace(now).unwrap_or(now);
        let passed = now.saturating_duration_since(before).min(STEP);
        let seconds = passed.as_secs_f32();
        let within = if heard > self.loudness {
            ATTACK
        } else {
            RELEASE
        };
        self.loudness += (heard - self.loudness) * (seconds / within.as_secs_f32()).min(1.0);
        self.floor = (self.floor + RISE * seconds).min(self.loudness.max(QUIET_ROOM));
        if level <= QUIETEST && heard >= self.floor + STANDS_OUT {
            self.loud_for = (self.loud_for + passed).min(MOST);
            self.spoken += passed;
            if self.loud_for >= ENOUGH {
                self.spoke = Some(now);
            }
        } else {
            self.loud_for = self.loud_for.saturating_sub(passed / 2);
        }
    }

    /// Whether it is a speaker.
    pub(crate) fn speaks(&self, now: Instant) -> bool {
        self.spoke
            .is_some_and(|at| now.saturating_duration_since(at) < HOLD)
    }

    /// All that is known of it.
    fn level(&self, now: Instant) -> Level {
        let quietest = f32::from(RANGE) - SILENT;
        let volume = (self.loudness - quietest) / (SILENT - LOUD) * 100.0;
        Level {
            volume: volume.clamp(0.0, 100.0) as u8,
            speaks: self.speaks(now),
            spoken_ms: self.spoken.as_millis() as u32,
        }
    }
}

/// Tells of one track, again and again while it is to be heard, and once more when it is not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    every: Duration,
    told: Level,
    told_at: Option<Instant>,
}

impl Watch {
    /// Not more often than that.
    pub(crate) fn new(every: Duration) -> Self {
        Watch {
            every,
            told: Level::default(),
            told_at: None,
        }
    }

    /// What is to be told of it now, if anything.
    pub(crate) fn take(&mut self, now: Instant, speech: &Speech) -> Option<Level> {
        let rests =
            |at: Instant| now.saturating_duration_since(at) < self.every.max(SHORTEST_REPORT);
        if self.told_at.is_some_and(rests) {
            return None;
        }
        let level = speech.level(now);
        if level == self.told && level.volume == 0 {
            return None;
        }
        self.told_at = Some(now);
        self.told = level;
        Some(level)
    }
}

#[cfg(test)]
mod tests;
