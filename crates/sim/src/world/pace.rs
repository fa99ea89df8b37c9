//! How fast pictures leave in a [`World`]: over any time no more than what the path is taken to carry, and what evens out.

use crate::world::World;
use crate::world::decisions::Step;
use parlour_media::congestion::{Basis, Known};
use std::time::Instant;

/// What is given out may be so many times what there is, by whose word that is; what leaves, so many times that.
const OF_FEEDBACK: f64 = 1.25;
const OF_REMB: f64 = 2.0;
const ABOVE_GIVEN: f64 = 1.25;

/// What may leave at once, in bytes and in seconds; and what may be owed at least.
const BURST: f64 = 15_000.0;
const SECONDS: f64 = 0.040;

/// What may leave to one peer. What cannot wait takes nothing of it here: it is a bound from above.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pace {
    /// Bytes a second, and what is left of them; none: nothing is held.
    open: Option<(f64, f64)>,
    at: Option<Instant>,
}

impl Pace {
    /// That is known of the path now.
    fn set(&mut self, now: Instant, known: Option<Known>) {
        let rate = known.map(|it| {
            let slack = match it.basis {
                Basis::Feedback => OF_FEEDBACK,
                Basis::Remb => OF_REMB,
            };
            it.bits_per_second as f64 / 8.0 * slack * ABOVE_GIVEN
        });
        self.open = rate.map(|rate| {
            let Some((before, left)) = self.open else {
                return (rate, BURST.max(rate * SECONDS));
            };
            let passed = self.at.map_or(0.0, |at| (now - at).as_secs_f64());
            let most = rate.max(before);
            (rate, (left + passed * most).min(BURST.max(most * SECONDS)))
        });
        self.at = Some(now);
    }

    /// A part of a picture leaves.
    fn spend(&mut self, bytes: usize, could_wait: bool, who: usize) {
        if let Some((rate, left)) = &mut self.open {
            assert!(
                *left > 0.0 || !could_wait,
                "{who} is sent more of pictures than {rate} bytes a second"
            );
            *left = (*left - bytes as f64).max(-BURST);
        }
    }
}

impl World {
    /// What was sent in a step could leave.
    pub(super) fn judge_pace(&mut self, step: &Step) {
        for participant in self.participants.iter_mut().filter(|it| it.here) {
            let known = self
                .router
                .known_path(self.now, participant.client.transport);
            participant.pace.set(self.now, known);
        }
        for (who, bytes, could_wait) in step.pictures.values() {
            self.participants[*who]
                .pace
                .spend(*bytes, *could_wait, *who);
        }
    }
}
