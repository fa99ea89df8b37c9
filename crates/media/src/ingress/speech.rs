//! Whether a peer speaks, as the levels of its sound tell (RFC 6464): nothing is decoded for it. Who lies about them is
//! taken for a speaker, and gets no more by it than to have its pictures served before others.

use std::time::{Duration, Instant};

/// Louder than this, in dB below the loudest there is, is speech: a quiet room is below 60, a voice above 40.
const QUIETEST: u8 = 45;

/// So much of it, and no more than so long ago, counted up while it is loud and down half as fast while it is not: a word,
/// not a click.
const ENOUGH: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_millis(500);

/// One packet stands for this time at most: what is missing between two was not heard.
const STEP: Duration = Duration::from_millis(60);

/// Who spoke is a speaker for this long: people pause between sentences.
const HOLD: Duration = Duration::from_millis(2_500);

/// Follows the levels of one track.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Speech {
    loud_for: Duration,
    heard: Option<Instant>,
    spoke: Option<Instant>,
}

impl Speech {
    /// A packet of sound came with that extension: its level is the lower seven bits, in dB below the loudest, and so more
    /// is quieter.
    pub(crate) fn on_level(&mut self, now: Instant, value: &[u8]) {
        let Some(level) = value.first().map(|first| first & 0x7f) else {
            return;
        };
        let before = self.heard.replace(now).unwrap_or(now);
        let passed = now.saturating_duration_since(before).min(STEP);
        if level <= QUIETEST {
            self.loud_for = (self.loud_for + passed).min(MOST);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Says of each 20 ms whether it is a speaker, of levels that last so many milliseconds each.
    fn follow(levels: &[(u8, u32)]) -> Vec<bool> {
        let (start, mut at) = (Instant::now(), Duration::ZERO);
        let mut speech = Speech::default();
        let mut speaks = Vec::new();
        for (level, lasts) in levels {
            for _ in 0..lasts / 20 {
                at += 20 * MS;
                speech.on_level(start + at, &[*level]);
                speaks.push(speech.speaks(start + at));
            }
        }
        speaks
    }

    #[test]
    fn a_word_makes_a_speaker_and_a_click_does_not() {
        assert!(follow(&[(30, 1000)]).contains(&true));
        let clicks = [(20, 100), (70, 300)].repeat(50);
        assert!(!follow(&clicks).contains(&true));
        assert!(!follow(&[(46, 10_000)]).contains(&true), "a quiet room");
        assert!(!follow(&[(127, 10_000)]).contains(&true), "muted");
    }

    #[test]
    fn the_bit_for_voice_says_nothing_of_the_level() {
        assert!(!follow(&[(0x80 | 60, 5_000)]).contains(&true));
        assert!(follow(&[(0x80 | 30, 1_000)]).contains(&true));
    }

    #[test]
    fn a_speaker_is_one_between_sentences_and_not_for_ever() {
        let heard = follow(&[(30, 2000), (70, 2400)]);
        let first = heard.iter().position(|speaks| *speaks).unwrap();
        assert!(heard[first..].iter().all(|speaks| *speaks));
        assert_eq!(follow(&[(30, 2000), (70, 2600)]).last(), Some(&false));
        // One that says nothing at all any more, not even that it is quiet.
        let (start, mut speech) = (Instant::now(), Speech::default());
        for at in 0..20 {
            speech.on_level(start + MS * 20 * at, &[30]);
        }
        let last = start + MS * 20 * 19;
        assert!(speech.speaks(last + HOLD - MS));
        assert!(!speech.speaks(last + HOLD));
    }

    #[test]
    fn what_is_no_level_says_nothing_and_a_clock_that_stands_adds_nothing() {
        let (now, mut speech) = (Instant::now(), Speech::default());
        for _ in 0..1000 {
            speech.on_level(now, &[]);
            speech.on_level(now, &[10, 10]);
        }
        assert!(!speech.speaks(now));
    }
}
