//! Simulates many seeds: `cargo run --release -p parlour-sim --bin sweep --
//! [--scenario churn|endurance] [--seeds N] [--from N] [--seconds N]`.
//! Prints a line of progress and, of a seed that fails, what is wrong and the command that repeats it; at the end what
//! happened, and a digest of it: the same seeds have the same one.

use parlour_sim::Scenario;
use parlour_sim::memory::Meter;
use parlour_sim::sweep::Sweep;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

#[global_allocator]
static METER: Meter = Meter;

fn options() -> Result<Sweep, String> {
    let mut sweep = Sweep {
        scenario: Scenario::Churn,
        from: 0,
        seeds: 100,
        seconds: 8,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let number = || {
            let parsed = value.parse();
            parsed.map_err(|_| format!("{name} needs a number, not {value:?}"))
        };
        match name.as_str() {
            "--scenario" => {
                let mut all = Scenario::ALL.into_iter();
                let found = all.find(|it| it.name() == value);
                sweep.scenario = found.ok_or(format!("there is no scenario {value:?}"))?;
            }
            "--from" => sweep.from = number()?,
            "--seeds" => sweep.seeds = number()?,
            "--seconds" => sweep.seconds = number()?,
            _ => {
                return Err(format!(
                    "{name} is none of --scenario, --from, --seeds, --seconds"
                ));
            }
        }
    }
    Ok(sweep)
}

fn main() -> ExitCode {
    let sweep = match options() {
        Ok(sweep) => sweep,
        Err(error) => {
            eprintln!("sweep: {error}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let is_watched = std::io::stderr().is_terminal();
    let summary = sweep.run(
        |failure| eprintln!("{failure}"),
        |done, so_far| {
            if is_watched {
                let (failed, seconds) = (so_far.failed.len(), begun.elapsed().as_secs());
                eprint!(
                    "\r{done} of {} seeds, {failed} failed, {seconds} s ",
                    sweep.seeds
                );
                let _ = std::io::stderr().flush();
            }
        },
    );
    if is_watched {
        eprintln!();
    }
    println!("{} seeds, {} failed", sweep.seeds, summary.failed.len());
    for (what, count) in &summary.tally {
        println!("{count:>10} {what}");
    }
    println!("digest {:016x}", summary.digest);
    ExitCode::from(u8::from(!summary.failed.is_empty()))
}
