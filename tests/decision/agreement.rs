//! The compiled decision says the same as the naive one, about every card and person at every door and in the
//! cab; and its explanation says the same as the decision.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::tz::TimeZone;
use latchd::domain::{
    card_format::{CardFormats, CardTokens},
    event::DenialReason,
    fieldbus::RawCard,
    ids::DoorIx,
    permission::{Decision, Explanation, Permissions, Request, Restriction, RuleOutcome, SetVersion, Target},
    record::{ClockFallback, Record, Token, WhenStale},
    time::{Now, Wall},
};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::{
    reference::{Asked, Place, Reference},
    sets::{Case, cases, duress_pin, id, pin, token, topology},
};

/// Every card of the set and one stranger, read alone, as two formats of one read, and garbled.
pub fn reads() -> Vec<CardTokens> {
    let well_formed = RawCard::new(26, 0x2f6_23ae);
    let bad_parity = RawCard { value: well_formed.value ^ 1.into(), ..well_formed };
    let as_formats = |raw, number, bits| {
        CardFormats::built_in()
            .read(raw)
            .tokens(|text| if text.starts_with("h10301") { token(number) } else { token(bits) })
    };
    // 37 bits are two formats, of which the first that is known is meant.
    let as_three = |first, second, bits| {
        CardFormats::built_in().read(RawCard::new(37, 0x10_0004_0000)).tokens(|text| match text.split(':').next() {
            Some("h10302") => token(first),
            Some("h10304") => token(second),
            _ => token(bits),
        })
    };
    let mut reads: Vec<CardTokens> = (0..7).map(|n| CardTokens::single(token(n))).collect();
    reads.extend([(0, 1), (1, 0), (2, 9), (9, 3), (9, 9)].map(|(number, bits)| as_formats(well_formed, number, bits)));
    reads.extend([(0, 1, 9), (9, 1, 0), (2, 9, 3), (1, 3, 2), (9, 9, 9)].map(|(a, b, c)| as_three(a, b, c)));
    reads.extend([4, 9].map(|bits| as_formats(bad_parity, 9, bits)));
    reads.push(as_formats(RawCard::new(0, 0), 9, 9));
    reads
}

/// With what is shown, and under which circumstances.
#[derive(Clone, Copy, Debug)]
struct Circumstance {
    pin: Option<Token>,
    companion: Option<CardTokens>,
    restriction: Restriction,
}

/// A card alone; with every PIN; with every companion; under every fallback.
fn circumstances() -> Vec<Circumstance> {
    let plain = Circumstance { pin: None, companion: None, restriction: Restriction::NONE };
    let pins = (0..4).flat_map(|n| [pin(n), duress_pin(n)]).chain([token(9)]);
    let mut all = vec![plain];
    all.extend(pins.map(|pin| Circumstance { pin: Some(pin), ..plain }));
    let others = (0..7).map(|n| CardTokens::single(token(n)));
    all.extend(others.map(|card| Circumstance { companion: Some(card), ..plain }));
    all.push(Circumstance { companion: reads().get(7).copied(), pin: Some(pin(0)), ..plain });
    for clock in [ClockFallback::AlwaysRules, ClockFallback::IgnoreSchedules, ClockFallback::EmergencyCards] {
        for stale in [WhenStale::Keep, WhenStale::CriticalGroups, WhenStale::EmergencyCards, WhenStale::Deny] {
            all.push(Circumstance { restriction: Restriction { clock, stale }, ..plain });
        }
    }
    all
}

/// Every question to a set at one instant, under `take` of the circumstances, chosen by `seed`.
fn check(case: &Case, seed: usize, take: usize) -> Result<Vec<Decision>, TestCaseError> {
    let compiled = compiled(case)?;
    check_at(case, &compiled, case.now, seed, take)
}

fn compiled(case: &Case) -> Result<Permissions, TestCaseError> {
    let zone = TimeZone::get(case.zone).unwrap();
    let compiled = Permissions::compile(case.records.iter().cloned(), &topology(), &zone, SetVersion::default());
    compiled.map_err(|faults| TestCaseError::fail(faults.join("; ")))
}

fn check_at(
    case: &Case,
    compiled: &Permissions,
    now: Now,
    seed: usize,
    take: usize,
) -> Result<Vec<Decision>, TestCaseError> {
    let zone = TimeZone::get(case.zone).unwrap();
    let topology = topology();
    let naive = Reference { records: &case.records, zone: &zone };
    let doors = topology.doors.iter().zip((0..).map(DoorIx));
    let mut places: Vec<(Place<'_>, Target)> =
        doors.map(|(door, index)| (Place::Door(door), Target::Door(index))).collect();
    places.push((Place::Cab(&topology.floor_groups[0]), Target::Cab(0)));
    let all = circumstances();
    let chosen = (0..take).map(|n| all[(seed + n * 7) % all.len()]);
    let mut decisions = Vec::new();
    for Circumstance { pin, companion, restriction } in chosen {
        for (place, target) in &places {
            let others = companion.as_ref().map(CardTokens::as_slice);
            let asked = Asked { place: *place, now, pin, companion: others, restriction };
            for read in reads() {
                let expected = naive.answer(read.as_slice(), read.well_formed(), &asked);
                let request =
                    Request { card: &read, target: *target, now, pin, companion: companion.as_ref(), restriction };
                let decision = compiled.judge(&request).cloned();
                prop_assert_eq!(&decision, &expected, "{:?} of {:?} in {}", read, asked, case.zone);
                agrees(&compiled.explain(&request, &[]), &decision)?;
                decisions.push(decision);
            }
            for person in (0..4).map(|n| id(format!("p{n}"))) {
                let decision = compiled.judge_person(&person, None, *target, now, restriction).cloned();
                prop_assert_eq!(&decision, &naive.decide_person(&person, &asked), "{} of {:?}", person, asked);
                agrees(&compiled.explain_person(&person, *target, now, restriction), &decision)?;
                decisions.push(decision);
            }
        }
    }
    Ok(decisions)
}

/// An explanation tells of the decision, names what led to it, and says what would change it.
fn agrees(told: &Explanation, decision: &Decision) -> Result<(), TestCaseError> {
    match decision {
        Decision::Granted { person, credential, rule, duress, .. } => {
            prop_assert!(told.answer.granted && told.would_grant.is_empty(), "{:?}", told);
            prop_assert_eq!(&told.answer.person, &Some(person.clone()));
            prop_assert_eq!(&told.answer.credential, credential);
            prop_assert_eq!(&told.answer.rule, &Some(rule.clone()));
            prop_assert_eq!(told.answer.duress, *duress);
            let candidate = told.candidates.iter().find(|one| one.person == *person).unwrap();
            let named = candidate.rules.iter().find(|one| one.rule == *rule).unwrap();
            prop_assert_eq!(named.outcome, RuleOutcome::Allows);
            prop_assert!(told.candidates.iter().all(|one| one.granted), "{:?}", told);
        }
        Decision::Denied { reason, person, credential, rule, duress, .. } => {
            prop_assert_eq!(told.answer.reason, Some(*reason));
            prop_assert!(!told.answer.granted && !told.would_grant.is_empty(), "{:?}", told);
            prop_assert_eq!(&told.answer.person, person);
            prop_assert_eq!(&told.answer.credential, credential);
            prop_assert_eq!(&told.answer.rule, rule);
            prop_assert_eq!(told.answer.duress, *duress);
            let spoke = told.candidates.iter().find(|one| !one.granted);
            prop_assert_eq!(spoke.map(|one| one.reason), person.as_ref().map(|_| Some(*reason)));
            if let (Some(spoke), Some(rule)) = (spoke, rule) {
                let named = spoke.rules.iter().find(|one| one.rule == *rule).unwrap();
                let expected: &[RuleOutcome] = match reason {
                    DenialReason::ExplicitDeny => &[RuleOutcome::Denies],
                    DenialReason::OutsideSchedule => &[RuleOutcome::OutsideSchedule],
                    DenialReason::ClockUntrusted => &[RuleOutcome::ClockUntrusted],
                    DenialReason::WrongPin => &[RuleOutcome::WrongPin],
                    DenialReason::PinRequired => &[RuleOutcome::PinRequired, RuleOutcome::PinAloneRequired],
                    DenialReason::SecondPersonRequired => &[RuleOutcome::SecondPersonRequired],
                    _ => &[],
                };
                prop_assert!(expected.contains(&named.outcome), "{:?} for {:?}", named, reason);
            }
        }
    }
    Ok(())
}

/// A set is asked at so many instants, with so many circumstances at each: to make and compile it costs far more than
/// to ask it.
const INSTANTS: usize = 8;
const CIRCUMSTANCES: usize = 2;

/// The instant for which the set was made, and those at which something in it begins or ends, to the millisecond.
fn telling_instants(case: &Case) -> Vec<Now> {
    let limits = case.records.iter().flat_map(|(_, record)| match record {
        Record::Person(body) => [body.active_from, body.expires_at],
        Record::Credential(body) => [body.active_from, body.expires_at],
        _ => [None, None],
    });
    let beside = |at: Wall| [-1, 0, 1].map(|ms| Wall::from_millis(at.as_millis() + ms));
    let around = [-86_400_000, -3_600_000, 1_800_000, 3_600_000, 86_400_000];
    let around = around.map(|ms| Wall::from_millis(case.now.wall.as_millis() + ms));
    let walls = limits.flatten().flat_map(beside).chain(around);
    std::iter::once(case.now).chain(walls.map(|wall| Now { wall, ..case.now })).collect()
}

/// How many sets, and how many questions to them: `LATCHD_CASES=20000` asks tens of millions (in release, some minutes).
fn sets() -> u32 {
    std::env::var("LATCHD_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40)
}

#[test]
fn the_compiled_decision_and_its_explanation_agree_with_the_naive_one() {
    let config = ProptestConfig { cases: sets(), failure_persistence: None, ..ProptestConfig::default() };
    let questions = AtomicUsize::new(0);
    let asked = TestRunner::new(config).run(&(cases(), 0usize..1000), |(case, seed)| {
        let compiled = compiled(&case)?;
        let instants = telling_instants(&case);
        for turn in 0..INSTANTS {
            let now = instants[if turn == 0 { 0 } else { (seed + turn * 5) % instants.len() }];
            let decisions = check_at(&case, &compiled, now, seed + turn, CIRCUMSTANCES)?;
            questions.fetch_add(decisions.len(), Ordering::Relaxed);
        }
        Ok(())
    });
    asked.unwrap_or_else(|failure| panic!("{failure}"));
    let questions = questions.into_inner();
    println!("{} sets, {questions} questions (set, credential, door, instant), all answers equal", sets());
    assert!(questions >= 1000 * sets() as usize, "{questions}");
}

/// Random sets that never come to an interesting answer would prove nothing.
#[test]
fn the_random_sets_reach_every_answer() {
    use proptest::strategy::ValueTree;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<Option<DenialReason>, u32>::new();
    for round in 0..100 {
        let case = cases().new_tree(&mut runner).unwrap().current();
        for decision in check(&case, round, 3).unwrap() {
            let reason = match decision {
                Decision::Granted { .. } => None,
                Decision::Denied { reason, .. } => Some(reason),
            };
            *seen.entry(reason).or_default() += 1;
        }
    }
    use DenialReason::*;
    for reason in [
        None,
        Some(UnknownCredential),
        Some(NoRule),
        Some(ExplicitDeny),
        Some(OutsideSchedule),
        Some(NotYetActive),
        Some(Expired),
        Some(Suspended),
        Some(Lost),
        Some(Stolen),
        Some(ClockUntrusted),
        Some(BadFormat),
        Some(WrongPin),
        Some(PinRequired),
        Some(SecondPersonRequired),
        Some(StalePermissions),
        Some(EmergencyOnly),
    ] {
        let times = seen.get(&reason).copied().unwrap_or_default();
        assert!(times >= 20, "{reason:?} came {times} times of {seen:?}");
    }
}
