//! How the decisions of one set are measured, here and beside other engines.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use latchd::domain::permission::Permissions;

use super::set::Asked;

const ROUNDS: usize = 101;
const CALLS: usize = 400_000;

/// Of this thread, which leaves out what a busy machine gives to other programs (but not that they take turns in its
/// caches).
pub fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// What reading the clock costs, at its median.
pub fn clock_cost() -> Duration {
    let mut reads: Vec<Duration> = (0..CALLS).map(|_| Instant::now().elapsed()).collect();
    reads.sort_unstable();
    quantile(&reads, 0.5)
}

pub fn quantile(sorted: &[Duration], q: f64) -> Duration {
    sorted.get((sorted.len() as f64 * q) as usize).or(sorted.last()).copied().unwrap_or_default()
}

/// Decisions in a second of processor time, with no clock between them: the median round and the best.
pub fn sustained(set: &Permissions, questions: usize, asked: impl Fn(usize) -> Asked) -> (f64, f64) {
    let round = || {
        let begin = processor_time();
        for at in 0..questions {
            black_box(set.judge(black_box(&asked(at).request())));
        }
        questions as f64 / (processor_time() - begin).as_secs_f64()
    };
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    rounds.sort_by(f64::total_cmp);
    (rounds[ROUNDS / 2], rounds[ROUNDS - 1])
}

/// Every call by itself, without what reading the clock costs, in order of length.
pub fn latencies(
    set: &Permissions,
    questions: usize,
    asked: impl Fn(usize) -> Asked,
    clock: Duration,
) -> Vec<Duration> {
    let one = |at| {
        let asked = black_box(asked(at));
        let request = black_box(asked.request());
        let begin = Instant::now();
        black_box(set.judge(black_box(&request)));
        begin.elapsed().saturating_sub(clock)
    };
    let mut calls: Vec<Duration> = (0..questions).cycle().take(CALLS).map(one).collect();
    calls.sort_unstable();
    calls
}
