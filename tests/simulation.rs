//! The whole node in a simulated building, in virtual time: see `latchd_sim::world`. What is run here in
//! tens of seeds is run in thousands by `cargo run --release -p latchd-sim -- --seeds 1..2000`.

use latchd_sim::world::{self, Mistake, Options};

const SEEDS: u64 = 24;
/// Runs a seed; a failure says how to play it again.
fn run(options: Options) -> world::Report {
    world::run(options).unwrap_or_else(|failure| {
        let seed = failure.seed;
        panic!(
            "{}: {}\n{}\nreplay: cargo run --release -p latchd-sim -- --seed {seed} --events {} --trace",
            failure.violation.invariant,
            failure.violation.what,
            failure.tail.join("\n"),
            options.events
        )
    })
}

#[test]
fn every_invariant_holds_through_faults_and_crashes_and_all_converges_after_them() {
    let mut happened = std::collections::BTreeMap::new();
    for seed in 1..=SEEDS {
        for (what, count) in run(Options::seed(seed)).counts {
            *happened.entry(what).or_insert(0) += count;
        }
    }
    // A world in which nothing happens proves nothing.
    for what in [
        "crashes",
        "stops",
        "doors restarted",
        "ledger failures",
        "repeats",
        "duplicated",
        "reordered",
        "orders",
        "cards",
        "visits at keypads",
        "rides",
        "visits at lockers",
        "emergency cards at lockers",
        "edits made",
        "edits and lists refused",
        "commands out of scope",
        "lists",
        "reports",
        "forgiven",
        "alarms seen",
        "watched",
        "emergency PINs at lockers",
    ] {
        assert!(happened.get(what).is_some_and(|count| *count > 0), "there were no {what}: {happened:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let options = Options { events: 4_000, ..Options::seed(5) };
    assert_eq!(run(options), run(options));
    assert_ne!(run(options).hash, run(Options { seed: 6, ..options }).hash);
}

/// Minutes where nothing is optimised: `latchd-sim --mistakes`, a step of tests/run.sh, does the same in seconds.
#[test]
#[cfg_attr(debug_assertions, ignore = "run `cargo run --release -p latchd-sim -- --mistakes`")]
fn each_planted_mistake_is_caught() {
    for mistake in Mistake::all() {
        world::catch(mistake).unwrap_or_else(|uncaught| panic!("{uncaught}"));
    }
}
