//! The buses on a line with real byte timing, beside the theoretical wire time of the very same frames. Every figure
//! is taken twice: in virtual time from the pure machines alone, and by the clock from the daemon's own loops and
//! adapters (for the way from a card to a relay: from the daemon as a process) on pseudo-terminals whose bytes a
//! thread paces. On a machine with neighbours the second has their noise in it, the first never.
//!
//! `cargo bench --bench line` (`-- --quick` for a tenth of the samples, `-- --virtual` for the pure machines only).
//! Lines are 8N1, devices take 2 ms (boards) and 3 ms (readers) before they answer.

mod boards;
mod door;
mod readers;
mod record;

use std::process::ExitCode;

const DAEMON: &str = "__daemon";

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Divides all numbers of samples.
    pub less: u32,
}

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|argument| argument == DAEMON) {
        arguments.remove(1);
        return latchd::cli::main(arguments);
    }
    let given = |name: &str| arguments.iter().any(|argument| argument == name);
    let effort = Effort { less: if given("--quick") { 10 } else { 1 } };
    let by_the_clock = !given("--virtual");
    let only = |name: &str| {
        !arguments.iter().any(|a| a.to_str().is_some_and(|a| a.starts_with("--only=")))
            || given(&format!("--only={name}"))
    };
    println!("{:<74} {:>10} {:>10} {:>10} {:>10}", "", "by itself", "median", "p99", "most");
    let mut measured = Vec::new();
    if only("boards") {
        boards::in_virtual_time();
    }
    if only("readers") {
        readers::in_virtual_time();
    }
    if by_the_clock {
        if only("boards") {
            measured.push(boards::by_the_clock(effort));
        }
        if only("readers") {
            measured.push(readers::by_the_clock(effort));
        }
        if only("door") {
            measured.push(door::card_to_coil(effort));
        }
    }
    for failed in measured.into_iter().filter_map(Result::err) {
        eprintln!("line: {failed:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
