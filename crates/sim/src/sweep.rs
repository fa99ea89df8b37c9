//! Simulations of many seeds, one after the other. A seed that breaks a rule is told with the command that repeats it.

use crate::world::{Outcome, Scenario, World};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Which simulations.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// What is simulated.
    pub scenario: Scenario,
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// Of virtual time, each.
    pub seconds: u64,
}

/// What came of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Seeds that broke a rule.
    pub failed: Vec<u64>,
    /// How often each sort of thing happened in the others.
    pub tally: BTreeMap<&'static str, u64>,
    /// Of the others: two sweeps with the same one were the same to the last datagram.
    pub digest: u64,
}

impl Sweep {
    /// The command that simulates one of these seeds again.
    pub fn command(&self, seed: u64) -> String {
        format!(
            "cargo run --release -p parlour-sim --bin sweep -- --scenario {} --from {seed} --seeds 1 --seconds {}",
            self.scenario.name(),
            self.seconds
        )
    }

    /// Simulates all of them. `tell` gets the sentence about each that fails, `progress` how many are done.
    pub fn run(&self, tell: impl FnMut(&str), progress: impl FnMut(u64, &Summary)) -> Summary {
        self.run_with(World::simulate, tell, progress)
    }

    fn run_with(
        &self,
        simulate: impl Fn(Scenario, u64, Duration) -> Outcome,
        mut tell: impl FnMut(&str),
        mut progress: impl FnMut(u64, &Summary),
    ) -> Summary {
        let mut summary = Summary::default();
        let mut digest = DefaultHasher::new();
        for seed in self.from..self.from + self.seeds {
            let time = Duration::from_secs(self.seconds);
            let simulated = AssertUnwindSafe(|| simulate(self.scenario, seed, time));
            match catch_unwind(simulated) {
                Ok(outcome) => {
                    outcome.digest.hash(&mut digest);
                    for (what, count) in outcome.tally {
                        *summary.tally.entry(what).or_default() += count;
                    }
                }
                Err(_) => {
                    summary.failed.push(seed);
                    tell(&format!(
                        "seed {seed} failed; again: {}",
                        self.command(seed)
                    ));
                }
            }
            progress(seed + 1 - self.from, &summary);
        }
        summary.digest = digest.finish();
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_that_fails_is_told_with_its_command_and_the_others_are_simulated() {
        let sweep = Sweep {
            scenario: Scenario::Churn,
            from: 7,
            seeds: 3,
            seconds: 4,
        };
        let simulate = |_, seed, time: Duration| {
            if seed == 8 {
                std::panic::resume_unwind(Box::new("a rule is broken"));
            }
            Outcome {
                tally: [("seconds", time.as_secs())].into(),
                digest: seed,
            }
        };
        let (mut told, mut done) = (Vec::new(), Vec::new());
        let summary = sweep.run_with(
            simulate,
            |sentence| told.push(sentence.to_owned()),
            |count, so_far| done.push((count, so_far.failed.len())),
        );
        assert_eq!(summary.failed, [8]);
        assert_eq!(summary.tally, [("seconds", 8)].into());
        assert_eq!(done, [(1, 0), (2, 1), (3, 1)]);
        assert_eq!(
            told,
            [
                "seed 8 failed; again: cargo run --release -p parlour-sim --bin sweep -- --scenario churn --from 8 --seeds 1 --seconds 4"
            ]
        );
    }
}
