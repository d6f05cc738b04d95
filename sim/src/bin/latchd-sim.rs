//! The simulated world on the command line: one seed or many, a planted mistake or none.

use std::{
    num::NonZero,
    ops::RangeInclusive,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::Parser;
use latchd_sim::world::{self, EVENTS_DEFAULT, Failure, Mistake, Options};

/// Runs the real machines of latchd in a simulated building, in virtual time, and checks after every event
/// that what must hold does. The same seed always gives the same run.
#[derive(Parser)]
#[command(name = "latchd-sim", version)]
struct Arguments {
    /// The run to play.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Many runs, FIRST..LAST, both included.
    #[arg(long, value_parser = range, conflicts_with = "seed")]
    seeds: Option<RangeInclusive<u64>>,
    /// Events before all faults heal.
    #[arg(long, default_value_t = EVENTS_DEFAULT)]
    events: u64,
    /// Plant this mistake: the run must then fail.
    #[arg(long, value_enum)]
    mistake: Option<Mistake>,
    /// Plant every mistake there is, one after the other: each must be caught, as what it is.
    #[arg(long, conflicts_with_all = ["seed", "seeds", "mistake"])]
    mistakes: bool,
    /// Print every line of the trace.
    #[arg(long)]
    trace: bool,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
}

fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (first, last) = text.split_once("..").ok_or("a range is FIRST..LAST, for example 1..200")?;
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number"));
    Ok(number(first)?..=number(last)?)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.mistakes {
        return mistakes();
    }
    let seeds = arguments.seeds.clone().unwrap_or(arguments.seed..=arguments.seed);
    let (mut runs, mut failures) = (0_u64, 0_u64);
    for seed in seeds {
        runs += 1;
        let options = Options { seed, events: arguments.events, mistake: arguments.mistake, print: arguments.trace };
        match world::run(options) {
            Ok(report) => {
                println!(
                    "seed {seed}: ok, {} events in {} virtual seconds, trace {:016x}",
                    report.events,
                    report.virtual_ms / 1000,
                    report.hash
                );
                if arguments.seeds.is_none() {
                    report.counts.iter().for_each(|(what, count)| println!("  {count:>6} {what}"));
                }
            }
            Err(failure) => {
                failures += 1;
                tell(&failure, &arguments);
                if !arguments.keep_going {
                    break;
                }
            }
        }
    }
    println!("{runs} runs, {failures} failed");
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(failure: &Failure, arguments: &Arguments) {
    let Failure { seed, violation, events, tail } = failure;
    println!("seed {seed}: FAILED at event {events}: {}: {}", violation.invariant, violation.what);
    if !arguments.trace {
        println!("the last {} lines:", tail.len());
        tail.iter().for_each(|line| println!("  {line}"));
    }
    let mistake = arguments.mistake.map(|mistake| format!(" --mistake {}", mistake.name())).unwrap_or_default();
    let events = arguments.events;
    println!("replay: cargo run --release -p latchd-sim -- --seed {seed} --events {events}{mistake} --trace");
}

/// As many at a time as there are processors: each world is one thread's.
fn mistakes() -> ExitCode {
    let left = Mutex::new(Mistake::all());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let failed = AtomicBool::new(false);
    let work = || {
        while let Some(mistake) = next() {
            match world::catch(mistake) {
                Ok(seed) => println!("{}: caught with seed {seed}", mistake.name()),
                Err(uncaught) => {
                    println!("FAILED: {uncaught}");
                    failed.store(true, Ordering::Relaxed);
                }
            }
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| (0..processors).for_each(|_| drop(scope.spawn(work))));
    if failed.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
