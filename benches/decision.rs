//! How fast a card is decided, at the size of a building and of a campus: a mix of grants and of every common
//! denial; by plain rules, and with every kind of rule switched on (PINs, two persons, floors, fallbacks).
//! `cargo bench --bench decision` prints divan's table (throughput and allocations) and then, because
//! divan has no percentiles, the latency of single calls.

#[path = "decision/kinds.rs"]
mod kinds;
#[path = "decision/measure.rs"]
mod measure;
#[path = "decision/set.rs"]
mod set;

use std::hint::black_box;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use latchd::domain::{
    card_format::CardFormats,
    permission::{Decision, Permissions, SetVersion},
    record::Token,
};

use self::{
    kinds::{asked, every_kind},
    set::{Asked, FULL, Site, compile, records, topology, zone},
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
            black_box(set.judge(black_box(&Asked::card(question).request())).cloned());
        }
    });
}

/// Without making names that outlive the set.
fn throughput_borrowed(bencher: Bencher, site: Site) {
    let (set, questions) = (compile(site), set::questions(site, QUESTIONS));
    bencher.counter(ItemsCount::new(questions.len())).bench_local(|| {
        for question in &questions {
            black_box(set.judge(black_box(&Asked::card(question).request())));
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
    bencher.counter(ItemsCount::new(questions.len())).bench_local(|| {
        for at in 0..questions.len() {
            black_box(set.judge(black_box(&asked(&questions, at, FULL).request())));
        }
    });
}

/// By all formats of its length, up to the texts that tokens are made of.
#[divan::bench(args = ["h10301:123:4567", "h10304:3:5", "uid7:04801122334455"])]
fn read_card(bencher: Bencher, text: &str) {
    let formats = CardFormats::built_in();
    let card = formats.encode(text).expect("a card");
    bencher.bench(|| formats.read(black_box(card)).tokens(|text| Token([text.len() as u8; 32])));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn compile_10k_people_100_doors(bencher: Bencher) {
    let (topology, zone) = (topology(NORMAL), zone());
    bencher
        .with_inputs(|| records(NORMAL))
        .bench_local_values(|records| Permissions::compile(records, &topology, &zone, SetVersion::default()));
}

fn tell(what: &str, site: Site, set: &Permissions, asked: impl Fn(usize) -> Asked) {
    let of = format!("{:>7} people {:>4} doors {:>5} rules, {what}", site.people, site.doors, site.rules);
    let (median, best) = measure::sustained(set, QUESTIONS, &asked);
    let [median, best] = [median, best].map(|a_second| a_second / 1e6);
    println!("{of}: {median:.2} million decisions a second of processor time (best round {best:.2})");
    let clock = measure::clock_cost();
    let calls = measure::latencies(set, QUESTIONS, &asked, clock);
    let [p50, p99, p999, most] = [0.5, 0.99, 0.999, 1.0].map(|q| measure::quantile(&calls, q).as_nanos());
    let is_granted = |at: &usize| matches!(set.judge(&asked(*at).request()), Decision::Granted { .. });
    let granted = (0..QUESTIONS).filter(is_granted).count();
    println!(
        "{of}: p50 {p50} ns, p99 {p99} ns, p99.9 {p999} ns, max {most} ns ({}% granted, clock {} ns taken off)",
        granted * 100 / QUESTIONS,
        clock.as_nanos(),
    );
}

fn main() {
    divan::main();
    // cargo test runs benches once, for their compiling and not for their figures.
    if std::env::args().any(|argument| argument == "--bench") {
        println!("\nthroughput, and latency of single decisions, caches as they come:");
        for site in [NORMAL, FULL] {
            let questions = set::questions(site, QUESTIONS);
            tell("plain", site, &compile(site), |at| Asked::card(&questions[at]));
            tell("every kind", site, &every_kind(site), |at| asked(&questions, at, site));
        }
    }
}
