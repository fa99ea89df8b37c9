//! Some seeds of the simulation; `make soak` takes more.

use parlour_sim::Scenario;
use parlour_sim::memory::Meter;
use parlour_sim::sweep::{Summary, Sweep};
use std::process::Command;

#[global_allocator]
static METER: Meter = Meter;

fn run(sweep: Sweep) -> Summary {
    let mut told = Vec::new();
    let tell = |failure: &str| told.push(failure.to_owned());
    let summary = sweep.run(tell, |_, _| {});
    assert!(summary.failed.is_empty(), "{}", told.join("\n"));
    summary
}

#[test]
fn simulated_calls_on_bad_networks_keep_every_rule() {
    let summary = run(Sweep {
        scenario: Scenario::Churn,
        from: 0,
        seeds: 7,
        seconds: 8,
    });
    // The rules were put to the test.
    for what in [
        "sent",
        "repaired",
        "lost on a link",
        "lost before the router",
        "paused",
        "awaiting-keyframe",
        "before-start",
        "overtook the first",
        "not-connected",
        "padding-only",
        "replayed",
        "rtx-useless",
        "sequence-jump",
        "too-old",
        "unknown-stream",
        "changes of an SSRC",
        "jumps of numbers",
        "participants who left",
        "rebindings",
        "ICE restarts",
        "subscriptions renewed",
        "tracks renewed",
        "encodings that ended",
        "encodings that paused",
        "wishes for a source",
        "changes of a source",
        "sources that were lost",
        "layer-left-out",
        "left-behind",
        "pictures for which there was no room",
        "no-room",
        "waited-too-long",
        "padding of probes",
        "lost in a full queue",
        "estimates",
        "clocks told",
    ] {
        let count = summary.tally.get(what).copied();
        assert!(count.is_some_and(|count| count > 0), "{what}: {summary:?}");
    }
}

#[test]
fn memory_is_bounded_in_a_call_that_lasts() {
    run(Sweep {
        scenario: Scenario::Endurance,
        from: 1000,
        seeds: 1,
        seconds: 300,
    });
}

#[test]
fn the_same_seeds_are_the_same_runs_in_this_process_and_in_others() {
    let sweep = Sweep {
        scenario: Scenario::Churn,
        from: 2000,
        seeds: 2,
        seconds: 3,
    };
    let here = run(sweep);
    assert_eq!(run(sweep), here);
    let other = run(Sweep {
        from: 2001,
        ..sweep
    });
    assert_ne!(other.digest, here.digest);
    let arguments = ["--from", "2000", "--seeds", "2", "--seconds", "3"];
    let elsewhere = Command::new(env!("CARGO_BIN_EXE_sweep"))
        .args(arguments)
        .output()
        .expect("the sweep starts");
    let told = String::from_utf8(elsewhere.stdout).expect("text");
    let digest = format!("digest {:016x}", here.digest);
    assert_eq!(told.lines().last(), Some(digest.as_str()), "{told}");
}
