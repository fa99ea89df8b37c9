//! Some seeds of the simulation; `SIM_SEEDS=1000 cargo test --release -p parlour-sim --test seeds` takes more.

use parlour_sim::World;
use std::time::Duration;

const SECONDS: u64 = 8;

#[test]
fn simulated_calls_on_bad_networks_keep_every_rule() {
    let seeds = std::env::var("SIM_SEEDS").map_or(6, |seeds| seeds.parse().expect("a number"));
    let mut happened = std::collections::BTreeMap::<&str, u64>::new();
    for seed in 0..seeds {
        let simulated =
            std::panic::catch_unwind(|| World::simulate(seed, Duration::from_secs(SECONDS)));
        let of_seed = simulated.unwrap_or_else(|_| {
            panic!(
                "seed {seed}; again: cargo run --release -p parlour-sim --bin sweep -- --from {seed} --seeds 1 --seconds {SECONDS}"
            )
        });
        for (what, count) in of_seed {
            *happened.entry(what).or_default() += count;
        }
    }
    // The rules were put to the test.
    for what in [
        "sent",
        "repaired",
        "lost on a link",
        "lost before the router",
        "paused",
        "awaiting-keyframe",
        "padding-only",
        "rebindings",
        "subscriptions renewed",
    ] {
        assert!(
            happened.get(what).is_some_and(|count| *count > 0),
            "{what}: {happened:?}"
        );
    }
}
