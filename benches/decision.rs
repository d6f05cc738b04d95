//! How fast a card is decided: 10 000 people, 100 doors, a mix of grants and of every common denial.
//! `cargo bench --bench decision` prints divan's table (throughput and allocations) and then, because
//! divan has no percentiles, the latency of single calls.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use jiff::tz::TimeZone;
use latchd::domain::{
    credential::CardTokens,
    ids::{DoorIx, Id},
    permission::{Decision, Permissions, SetVersion},
    record::{
        AccessRule, Credential, CredentialState, DAY_MS, Effect, Group, Holiday, HolidayIntervals, MonthDay, Person,
        Record, Schedule, TimeOfDay, Token, Weekday, WeeklyInterval,
    },
    time::{ClockTrust, Mono, Now, Wall},
    topology::Topology,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Size of a site. `LARGE` is where later work is heading.
#[derive(Clone, Copy, Debug)]
struct Site {
    people: u64,
    doors: u64,
    rules: u64,
}

const NORMAL: Site = Site { people: 10_000, doors: 100, rules: 400 };
const LARGE: Site = Site { people: 100_000, doors: 500, rules: 2_000 };
const GROUPS_PER_RULE: u64 = 4;
const DOORS_PER_RULE: u64 = 20;

/// SplitMix64: the same site and the same questions on every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn id(kind: &str, number: u64) -> Id {
    Id::new(&format!("{kind}-{number:06}")).expect("a valid id")
}

/// As random as an HMAC.
fn token(person: u64) -> Token {
    let mut dice = Dice(person);
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        chunk.copy_from_slice(&dice.next().to_le_bytes());
    }
    Token(bytes)
}

fn records(site: Site) -> Vec<(Id, Record)> {
    let mut dice = Dice(1);
    let groups = site.people / 50;
    let mut records: Vec<(Id, Record)> = Vec::new();
    records.extend((0..groups).map(|n| (id("group", n), Record::Group(Group::default()))));
    for n in 0..site.people {
        let groups = (0..1 + dice.below(5)).map(|_| id("group", dice.below(groups))).collect();
        let limited = dice.below(4) == 0;
        let expires_at = limited.then(|| Wall::from_millis(1_700_000_000_000 + dice.below(200_000_000_000) as i64));
        records.push((id("person", n), Record::Person(Person { groups, expires_at, ..Person::default() })));
        let state = if dice.below(50) == 0 { CredentialState::Lost } else { CredentialState::Active };
        let card = Credential { state, ..Credential::card(id("person", n), token(n)) };
        records.push((id("card", n), Record::Credential(card)));
    }
    let yearly = [(1, 1), (5, 1), (10, 3), (12, 25), (12, 26)].map(|(month, day)| MonthDay { month, day }).to_vec();
    records.push((id("holiday", 0), Record::Holiday(Holiday { name: None, dates: Vec::new(), yearly })));
    const SCHEDULES: u64 = 20;
    for n in 0..SCHEDULES {
        use Weekday::*;
        let weekly = vec![
            WeeklyInterval {
                days: vec![Monday, Tuesday, Wednesday, Thursday, Friday],
                from: TimeOfDay((5 + n as u32 % 5) * 3_600_000),
                to: TimeOfDay((15 + n as u32 % 8) * 3_600_000),
            },
            WeeklyInterval { days: vec![Saturday], from: TimeOfDay(20 * 3_600_000), to: TimeOfDay(DAY_MS / 6) },
        ];
        let holidays = vec![HolidayIntervals { holiday: id("holiday", 0), intervals: Vec::new() }];
        records
            .push((id("schedule", n), Record::Schedule(Schedule { name: None, weekly, dates: Vec::new(), holidays })));
    }
    for n in 0..site.rules {
        let rule = AccessRule {
            effect: if dice.below(20) == 0 { Effect::Deny } else { Effect::Allow },
            groups: (0..GROUPS_PER_RULE).map(|_| id("group", dice.below(groups))).collect(),
            persons: if dice.below(10) == 0 { vec![id("person", dice.below(site.people))] } else { Vec::new() },
            doors: (0..DOORS_PER_RULE).map(|_| id("door", dice.below(site.doors))).collect(),
            schedule: (dice.below(4) != 0).then(|| id("schedule", dice.below(SCHEDULES))),
            ..AccessRule::new(Effect::Allow)
        };
        records.push((id("rule", n), Record::AccessRule(rule)));
    }
    // Everybody may pass the first ten doors at working hours: the common case is a grant.
    let everyone = AccessRule {
        groups: (0..groups).map(|n| id("group", n)).collect(),
        doors: (0..10).map(|n| id("door", n)).collect(),
        schedule: Some(id("schedule", 0)),
        ..AccessRule::new(Effect::Allow)
    };
    records.push((id("rule", site.rules), Record::AccessRule(everyone)));
    records
}

fn compile(site: Site) -> Permissions {
    let doors: Vec<Id> = (0..site.doors).map(|n| id("door", n)).collect();
    let zone = TimeZone::get("Europe/Berlin").expect("a bundled zone");
    Permissions::compile(records(site), &Topology::of_doors(&doors), &zone, SetVersion::default())
        .expect("a set without faults")
}

/// Who comes where and when: half of all reads at the doors that everybody uses, one in fifty unknown,
/// at any time of 2026.
fn questions(site: Site) -> Vec<(CardTokens, DoorIx, Now)> {
    let mut dice = Dice(2);
    let year = 1_767_225_600_000;
    (0..65_536)
        .map(|_| {
            let stranger = if dice.below(50) == 0 { site.people } else { 0 };
            let card = CardTokens::single(token(dice.below(site.people) + stranger));
            let door = if dice.below(2) == 0 { dice.below(10) } else { dice.below(site.doors) };
            let wall = Wall::from_millis(year + dice.below(365 * 86_400_000) as i64);
            let now = Now { mono: Mono::ZERO, wall, trust: ClockTrust::Trusted };
            (card, DoorIx(door as u16), now)
        })
        .collect()
}

fn throughput(bencher: Bencher, site: Site) {
    let (set, questions) = (compile(site), questions(site));
    bencher.counter(ItemsCount::new(questions.len())).bench_local(|| {
        for (card, door, now) in &questions {
            black_box(set.decide(black_box(card), *door, *now));
        }
    });
}

/// Without making names that outlive the set.
fn throughput_borrowed(bencher: Bencher, site: Site) {
    let (set, questions) = (compile(site), questions(site));
    bencher.counter(ItemsCount::new(questions.len())).bench_local(|| {
        for (card, door, now) in &questions {
            black_box(set.judge(black_box(card), *door, *now));
        }
    });
}

#[divan::bench]
fn decide_65536_at_10k_people_100_doors(bencher: Bencher) {
    throughput(bencher, NORMAL);
}

#[divan::bench]
fn decide_65536_at_100k_people_500_doors(bencher: Bencher) {
    throughput(bencher, LARGE);
}

#[divan::bench]
fn judge_65536_at_10k_people_100_doors(bencher: Bencher) {
    throughput_borrowed(bencher, NORMAL);
}

#[divan::bench]
fn judge_65536_at_100k_people_500_doors(bencher: Bencher) {
    throughput_borrowed(bencher, LARGE);
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn compile_10k_people_100_doors(bencher: Bencher) {
    let doors: Vec<Id> = (0..NORMAL.doors).map(|n| id("door", n)).collect();
    let zone = TimeZone::get("Europe/Berlin").expect("a bundled zone");
    bencher.with_inputs(|| records(NORMAL)).bench_local_values(|records| {
        Permissions::compile(records, &Topology::of_doors(&doors), &zone, SetVersion::default())
    });
}

/// Times every call by itself, and takes off what reading the clock costs at its median.
fn latencies(site: Site) {
    const CALLS: usize = 400_000;
    let (set, questions) = (compile(site), questions(site));
    let mut clock: Vec<Duration> = (0..CALLS).map(|_| Instant::now().elapsed()).collect();
    clock.sort_unstable();
    let overhead = clock.get(CALLS / 2).copied().unwrap_or_default();
    let mut granted = 0usize;
    let mut calls: Vec<Duration> = questions
        .iter()
        .cycle()
        .take(CALLS)
        .map(|(card, door, now)| {
            let begin = Instant::now();
            let decision = set.decide(black_box(card), *door, *now);
            let took = begin.elapsed();
            granted += usize::from(matches!(black_box(&decision), Decision::Granted { .. }));
            took.saturating_sub(overhead)
        })
        .collect();
    calls.sort_unstable();
    let quantile = |q: f64| calls.get((CALLS as f64 * q) as usize).copied().unwrap_or_default().as_nanos();
    println!(
        "{:>7} people {:>4} doors {:>5} rules: p50 {} ns, p99 {} ns, p99.9 {} ns, max {} ns ({}% granted, clock {} ns taken off)",
        site.people,
        site.doors,
        site.rules + 1,
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
        println!("\nlatency of single decisions, caches as they come:");
        latencies(NORMAL);
        latencies(LARGE);
    }
}
