//! One question, six answers: may the holder of this card pass this door now? latchd's compiled decision,
//! the naive evaluator of its tests, and the crates cedar-policy, regorus and casbin, in one run over one set:
//! once with cards and rules alone, once with every kind of rule and what they ask for, PINs, a second person,
//! critical groups on a stale set. Elevators are left out: the others would be asked floor by floor.
//!
//! ```console
//! $ cargo run --release --manifest-path benches/peers/Cargo.toml
//! ```
//!
//! Owns the order of things and the figures; must never state a figure of an engine that gave another answer.
//! Each engine is loaded once, outside of the time that is taken. A question is tokens, a door and an instant:
//! making the engine's own request of it belongs to the answer. `--scale N` divides the set by N.

mod casbin;
mod cedar;
#[path = "../../decision/kinds.rs"]
mod kinds;
#[path = "../../decision/measure.rs"]
mod measure;
mod model;
#[path = "../../../tests/decision/reference.rs"]
mod reference;
mod rego;
#[path = "../../decision/set.rs"]
mod set;

use std::time::{Duration, Instant};

use latchd::domain::{
    ids::Id,
    permission::{Decision, Permissions, Request, Target},
    record::{Authentication, Record, Token, WhenStale},
};

use self::{
    model::{Asked, Local, Model, Peer},
    reference::{Place, Reference},
    set::{FULL, Site},
};

/// Questions to latchd; it is asked all of them several times over.
const QUESTIONS: usize = 65_536;
/// So many are asked of the others at least: equal answers to fewer would say little.
const SAMPLE_MIN: usize = 2_000;
/// An engine that is quick is asked on until this time is up.
const PATIENCE: Duration = Duration::from_secs(10);

struct Figures {
    name: &'static str,
    helped_by: &'static str,
    load: Duration,
    asked: usize,
    a_second: f64,
    p50: Duration,
    p99: Duration,
}

/// Questions that were asked, each timed by itself, and the processor's time for all of them.
struct Calls<A> {
    answers: Vec<A>,
    each: Vec<Duration>,
    together: Duration,
}

impl<A> Calls<A> {
    fn figures(mut self, name: &'static str, helped_by: &'static str, load: Duration) -> Figures {
        self.each.sort_unstable();
        let [p50, p99] = [0.5, 0.99].map(|q| measure::quantile(&self.each, q));
        let (asked, a_second) = (self.each.len(), self.each.len() as f64 / self.together.as_secs_f64());
        Figures { name, helped_by, load, asked, a_second, p50, p99 }
    }
}

/// Asks one question after the other until there are enough answers.
fn ask<A>(requests: &[Request<'_>], clock: Duration, mut answer: impl FnMut(usize, &Request<'_>) -> A) -> Calls<A> {
    let mut calls = Calls { answers: Vec::new(), each: Vec::new(), together: Duration::ZERO };
    let (begin, processor) = (Instant::now(), measure::processor_time());
    for (number, request) in requests.iter().enumerate() {
        if calls.each.len() >= SAMPLE_MIN && begin.elapsed() >= PATIENCE {
            break;
        }
        let before = Instant::now();
        let given = answer(number, request);
        calls.each.push(before.elapsed().saturating_sub(clock));
        calls.answers.push(given);
    }
    calls.together = measure::processor_time() - processor;
    calls
}

fn latchd(set: &Permissions, load: Duration, asked: impl Fn(usize) -> set::Asked, clock: Duration) -> Figures {
    let (a_second, _) = measure::sustained(set, QUESTIONS, &asked);
    let calls = measure::latencies(set, QUESTIONS, &asked, clock);
    let [p50, p99] = [0.5, 0.99].map(|q| measure::quantile(&calls, q));
    Figures { name: "latchd", helped_by: "", load, asked: calls.len(), a_second, p50, p99 }
}

fn granted(decision: &Decision) -> bool {
    matches!(decision, Decision::Granted { .. })
}

fn timed<T>(make: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let made = make();
    (made, begin.elapsed())
}

fn site_of_arguments() -> Site {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let scale = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => 1,
        ["--scale", number] => number.parse().ok().filter(|scale| *scale > 0).expect("--scale takes a number from 1"),
        _ => panic!("expected nothing or --scale N, found {arguments:?}"),
    };
    Site {
        people: FULL.people / scale,
        credentials: FULL.credentials / scale,
        doors: (FULL.doors / scale).max(20),
        groups: (FULL.groups / scale).max(10),
        rules: (FULL.rules / scale).max(10),
        schedules: (FULL.schedules / scale).max(5),
    }
}

fn main() {
    let site = site_of_arguments();
    let questions = set::questions(site, QUESTIONS);
    let plain = |at: usize| set::Asked::card(&questions[at]);
    compare("cards and rules alone", site, &set::records(site), || set::compile(site), plain);
    let all = |at| kinds::asked_at_door(&questions, at, site);
    compare("every kind of rule", site, &kinds::every_kind_of_record(site), || kinds::every_kind(site), all);
}

fn compare(
    what: &str,
    site: Site,
    records: &[(Id, Record)],
    compile: impl FnOnce() -> Permissions,
    asked: impl Fn(usize) -> set::Asked,
) {
    let at_hand: Vec<set::Asked> = (0..QUESTIONS).map(&asked).collect();
    let requests: Vec<Request<'_>> = at_hand.iter().map(set::Asked::request).collect();
    let (zone, doors) = (set::zone(), set::doors(site));
    let door = |request: &Request<'_>| match request.target {
        Target::Door(door) => &doors[door.index()],
        Target::Cab(_) => unreachable!("nobody asks in a cab"),
    };
    let clock = measure::clock_cost();
    let (compiled, load) = timed(compile);
    let decisions: Vec<Decision> = requests.iter().map(|request| compiled.judge(request).cloned()).collect();
    tell(what, site, &decisions);
    let mut figures = vec![latchd(&compiled, load, &asked, clock)];

    let naive = Reference { records, zone: &zone };
    let calls = ask(&requests, clock, |_, request| {
        let asked = reference::Asked {
            place: Place::Door(door(request)),
            now: request.now,
            pin: request.pin,
            companion: request.companion.map(|card| card.as_slice()),
            restriction: request.restriction,
        };
        naive.answer(request.card.as_slice(), request.card.well_formed(), &asked)
    });
    for (number, (answer, decision)) in calls.answers.iter().zip(&decisions).enumerate() {
        assert_eq!(answer, decision, "question {number} to the naive evaluator");
    }
    figures.push(calls.figures("naive evaluator", "", Duration::ZERO));

    let model = Model::new(records);
    let text = |token: Option<&Token>| token.map(Token::to_string);
    let words = requests.iter().map(|request| {
        let companion = request.companion.and_then(|card| card.as_slice().first());
        (text(request.card.as_slice().first()), text(request.pin.as_ref()), text(companion))
    });
    let words: Vec<_> = words.collect();
    let mut measure = |make: &dyn Fn() -> Box<dyn Peer>| {
        let (mut peer, load) = timed(make);
        let calls = ask(&requests, clock, |number, request| {
            let (token, pin, companion) = &words[number];
            peer.passes(&Asked {
                token: token.as_deref().unwrap_or_default(),
                door: door(request),
                local: Local::at(request.now.wall, &zone),
                pin: pin.as_deref(),
                companion: companion.as_deref(),
                is_stale: request.restriction.stale == WhenStale::CriticalGroups,
            })
        });
        for (number, (answer, decision)) in calls.answers.iter().zip(&decisions).enumerate() {
            assert_eq!(*answer, granted(decision), "question {number} to {}: {decision:?}", peer.name());
        }
        eprintln!("{}: {} equal answers", peer.name(), calls.answers.len());
        figures.push(calls.figures(peer.name(), peer.helped_by(), load));
    };
    measure(&|| Box::new(rego::Machine::new(&rego::data(&model))));
    measure(&|| Box::new(rego::Interpreter::new(&rego::data(&model))));
    measure(&|| Box::new(cedar::Cedar::new(&model, &doors)));
    measure(&|| Box::new(casbin::Casbin::new(&model)));
    print(what, site, &figures);
}

/// What was asked for by the rules that granted.
fn tell(what: &str, site: Site, decisions: &[Decision]) {
    use Authentication::*;
    let share = |count: usize| count as f64 * 100.0 / decisions.len() as f64;
    let by = |wanted: Authentication| {
        let meant = |decision: &&Decision| matches!(decision, Decision::Granted { authentication, .. } if *authentication == wanted);
        format!("{wanted:?} {:.1} %", share(decisions.iter().filter(meant).count()))
    };
    let granted = share(decisions.iter().filter(|decision| granted(decision)).count());
    let kinds = [Card, Pin, CardAndPin, CardOrPin, TwoPerson].map(by).join(", ");
    eprintln!("{what}, {site:?}: {granted:.1} % of {QUESTIONS} questions are granted ({kinds})");
}

fn print(what: &str, site: Site, figures: &[Figures]) {
    println!(
        "\n{what}: {} people, {} credentials, {} doors, {} groups, {} rules, {} schedules; decisions in a second of one thread's processor time, clock taken off.",
        site.people, site.credentials, site.doors, site.groups, site.rules, site.schedules
    );
    println!("Answers equal to latchd's on every question asked: the naive evaluator's down to reason and rule,");
    println!("the others' as far as they have one, granted or not.\n");
    println!("| | decisions/s | p50 | p99 | questions | loaded in | is helped with |");
    println!("|---|---:|---:|---:|---:|---:|---|");
    for one in figures {
        println!(
            "| {} | {} | {} | {} | {} | {:.2} s | {} |",
            one.name,
            thousands(one.a_second),
            micros(one.p50),
            micros(one.p99),
            thousands(one.asked as f64),
            one.load.as_secs_f64(),
            one.helped_by
        );
    }
}

fn micros(duration: Duration) -> String {
    let micros = duration.as_nanos() as f64 / 1_000.0;
    if micros < 10.0 { format!("{micros:.2} us") } else { format!("{} us", thousands(micros)) }
}

/// 2 345 678
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
