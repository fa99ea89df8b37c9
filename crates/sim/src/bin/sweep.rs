//! Simulates many seeds: `cargo run --release -p parlour-sim --bin sweep -- [--seeds N] [--from N] [--seconds N]`.
//! Prints a line of progress and, of a seed that fails, what is wrong and the command that repeats it.

use parlour_sim::World;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

struct Options {
    from: u64,
    seeds: u64,
    seconds: u64,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        from: 0,
        seeds: 100,
        seconds: 8,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok());
        let value = value.ok_or(format!("{name} needs a number"))?;
        match name.as_str() {
            "--from" => options.from = value,
            "--seeds" => options.seeds = value,
            "--seconds" => options.seconds = value,
            _ => return Err(format!("{name} is none of --from, --seeds, --seconds")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("sweep: {error}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let mut tally: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut failed = 0;
    for seed in options.from..options.from + options.seeds {
        let simulate = || World::simulate(seed, Duration::from_secs(options.seconds));
        match std::panic::catch_unwind(simulate) {
            Ok(of_seed) => {
                for (what, count) in of_seed {
                    *tally.entry(what).or_default() += count;
                }
            }
            Err(_) => {
                failed += 1;
                eprintln!(
                    "seed {seed} failed; again: cargo run --release -p parlour-sim --bin sweep -- --from {seed} --seeds 1 \
                     --seconds {}",
                    options.seconds
                );
            }
        }
        if std::io::stderr().is_terminal() {
            let done = seed + 1 - options.from;
            let seconds = begun.elapsed().as_secs();
            eprint!(
                "\r{done} of {} seeds, {failed} failed, {seconds} s ",
                options.seeds
            );
            let _ = std::io::stderr().flush();
        }
    }
    println!("\n{} seeds, {failed} failed", options.seeds);
    for (what, count) in tally {
        println!("{count:>10} {what}");
    }
    ExitCode::from(u8::from(failed > 0))
}
