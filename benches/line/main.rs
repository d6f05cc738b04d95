//! The buses on a line with real byte timing, beside the theoretical wire time of the very same frames. Every figure
//! is taken twice: in virtual time from the pure machines alone, and by the clock from the daemon's own loops and
//! adapters (for the way from a card to a relay: from the daemon as a process) on pseudo-terminals whose bytes a
//! thread paces. On a machine with neighbours the second has their noise in it, the first never.
//!
//! `cargo bench --bench line` (`-- --quick` for a tenth of the samples, `-- --virtual` for the pure machines only,
//! `-- --only=boards`, `readers` or `door`). Also said is how late the machine wakes a thread in the same run.
//! Lines are 8N1, devices take 2 ms (boards) and 3 ms (readers) before they answer.

mod boards;
mod door;
#[path = "../../tests/line/reader_loop.rs"]
mod reader_loop;
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

type Section = fn(Effort) -> anyhow::Result<()>;

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|argument| argument == DAEMON) {
        arguments.remove(1);
        return latchd::cli::main(arguments);
    }
    let given = |name: &str| arguments.iter().any(|argument| argument == name);
    let effort = Effort { less: if given("--quick") { 10 } else { 1 } };
    let by_the_clock = !given("--virtual");
    let chosen = arguments.iter().any(|argument| argument.to_str().is_some_and(|text| text.starts_with("--only=")));
    let only = |name: &str| !chosen || given(&format!("--only={name}"));
    println!("{:<74} {:>10} {:>10} {:>10} {:>10}", "", "by itself", "median", "p99", "most");
    let mut measured = Vec::new();
    if only("boards") {
        boards::in_virtual_time();
    }
    if only("readers") {
        readers::in_virtual_time();
    }
    let sections: [(&str, Section); 3] =
        [("boards", boards::by_the_clock), ("readers", readers::by_the_clock), ("door", door::card_to_coil)];
    for (_, measure) in sections.into_iter().filter(|(name, _)| by_the_clock && only(name)) {
        let lateness = record::Lateness::watch();
        measured.push(measure(effort));
        lateness.tell();
    }
    match measured.into_iter().find_map(Result::err) {
        Some(failed) => {
            eprintln!("line: {failed:#}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}
