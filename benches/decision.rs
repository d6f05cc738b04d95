//! How fast a card is decided, at the size of a building and of a campus: a mix of grants and of every common
//! denial; by plain rules, and with every kind of rule switched on (PINs, two persons, floors, fallbacks).
//! `cargo bench --bench decision` prints divan's table (throughput and allocations) and then, because
//! divan has no percentiles, the latency of single calls.

#[path = "decision/kinds.rs"]
mod kinds;
#[path = "decision/set.rs"]
mod set;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use latchd::domain::permission::{Decision, Permissions, Request, SetVersion};

use self::{
    kinds::{every_kind, request},
    set::{FULL, Question, Site, compile, records, topology, zone},
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// A building, where [`FULL`] is a campus.
const NORMAL: Site = Site { people: 10_000, credentials: 20_000, doors: 100, groups: 200, rules: 400, schedules: 20 };
const QUESTIONS: usize = 65_536;

fn throughput(bencher: Bencher, site: Site) {
    let (set, questions) = (compile(site), set::questions(site, QUESTIONS));
    bencher.counter(ItemsCount::new(questions.len())).bench_local(|| {
        for question in &questions {
            black_box(set.decide(black_box(&question.card), question.door, question.now));
        }
    });
}

/// Without making names that outlive the set.
fn throughput_borrowed(bencher: Bencher, site: Site) {
    let (set, questions) = (compile(site), set::questions(site, QUESTIONS));
    bencher.counter(ItemsCount::new(questions.len())).bench_local(|| {
        for question in &questions {
            black_box(set.judge(black_box(&question.request())));
        }
    });
}

#[divan::bench]
fn decide_65536_at_10k_people_100_doors(bencher: Bencher) {
    throughput(bencher, NORMAL);
}

#[divan::bench]
fn decide_65536_at_100k_people_500_doors(bencher: Bencher) {
    throughput(bencher, FULL);
}

#[divan::bench]
fn judge_65536_at_10k_people_100_doors(bencher: Bencher) {
    throughput_borrowed(bencher, NORMAL);
}

#[divan::bench]
fn judge_65536_at_100k_people_500_doors(bencher: Bencher) {
    throughput_borrowed(bencher, FULL);
}

#[divan::bench]
fn judge_65536_with_every_kind_of_rule_at_100k_people_500_doors(bencher: Bencher) {
    let (set, questions) = (every_kind(FULL), set::questions(FULL, QUESTIONS));
    let requests: Vec<Request<'_>> = (0..questions.len()).map(|at| request(&questions, at, FULL)).collect();
    bencher.counter(ItemsCount::new(requests.len())).bench_local(|| {
        for request in &requests {
            black_box(set.judge(black_box(request)));
        }
    });
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn compile_10k_people_100_doors(bencher: Bencher) {
    let (topology, zone) = (topology(NORMAL), zone());
    bencher
        .with_inputs(|| records(NORMAL))
        .bench_local_values(|records| Permissions::compile(records, &topology, &zone, SetVersion::default()));
}

/// What one core does when nobody takes it away: decisions by the processor time of this thread, which leaves
/// out what a busy machine gives to other programs (but not that they take turns in its caches).
fn sustained(what: &str, site: Site, set: &Permissions, requests: &[Request<'_>]) {
    const ROUNDS: usize = 101;
    let cpu = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
    };
    let round = || {
        let begin = cpu();
        for request in requests {
            black_box(set.judge(black_box(request)));
        }
        requests.len() as f64 / (cpu() - begin).as_secs_f64() / 1e6
    };
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    rounds.sort_by(f64::total_cmp);
    println!(
        "{:>7} people {:>4} doors {:>5} rules, {what}: {:.2} million decisions a second of processor time (best round {:.2})",
        site.people,
        site.doors,
        site.rules,
        rounds[ROUNDS / 2],
        rounds[ROUNDS - 1],
    );
}

/// Times every call by itself, and takes off what reading the clock costs at its median.
fn latencies(what: &str, site: Site, set: &Permissions, requests: &[Request<'_>]) {
    const CALLS: usize = 400_000;
    let mut clock: Vec<Duration> = (0..CALLS).map(|_| Instant::now().elapsed()).collect();
    clock.sort_unstable();
    let overhead = clock.get(CALLS / 2).copied().unwrap_or_default();
    let mut granted = 0usize;
    let mut calls: Vec<Duration> = requests
        .iter()
        .cycle()
        .take(CALLS)
        .map(|request| {
            let begin = Instant::now();
            let decision = set.judge(black_box(request));
            let took = begin.elapsed();
            granted += usize::from(matches!(black_box(&decision), Decision::Granted { .. }));
            took.saturating_sub(overhead)
        })
        .collect();
    calls.sort_unstable();
    let quantile = |q: f64| calls.get((CALLS as f64 * q) as usize).copied().unwrap_or_default().as_nanos();
    println!(
        "{:>7} people {:>4} doors {:>5} rules, {what}: p50 {} ns, p99 {} ns, p99.9 {} ns, max {} ns ({}% granted, clock {} ns taken off)",
        site.people,
        site.doors,
        site.rules,
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        calls.last().copied().unwrap_or_default().as_nanos(),
        granted * 100 / CALLS,
        overhead.as_nanos(),
    );
}

fn main() {
    divan::main();
    // cargo test runs benches once, for their compiling and not for their figures.
    if std::env::args().any(|argument| argument == "--bench") {
        println!("\nthroughput, and latency of single decisions, caches as they come:");
        for site in [NORMAL, FULL] {
            let questions = set::questions(site, QUESTIONS);
            let plain: Vec<Request<'_>> = questions.iter().map(Question::request).collect();
            let set = compile(site);
            sustained("plain", site, &set, &plain);
            latencies("plain", site, &set, &plain);
            let all: Vec<Request<'_>> = (0..questions.len()).map(|at| request(&questions, at, site)).collect();
            let set = every_kind(site);
            sustained("every kind", site, &set, &all);
            latencies("every kind", site, &set, &all);
        }
    }
}
