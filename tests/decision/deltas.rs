//! A set brought about by deltas is the set that its records, compiled at once, would be: the same answers
//! to every question, and the same reasons where a delta is refused. What a delta does not touch is shared.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use latchd::domain::{
    card_format::CardTokens,
    ids::{DoorIx, Id},
    permission::{Change, Permissions, Request, SetVersion, Target},
    record::Record,
    time::Now,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    agreement::reads,
    sets::{Case, DOORS, cases, id, pin, token, topology},
};

type Records = BTreeMap<(&'static str, Id), Record>;

fn named(records: Vec<(Id, Record)>) -> Records {
    records.into_iter().map(|(id, record)| ((record.kind(), id), record)).collect()
}

fn compile(records: &Records, zone: &TimeZone) -> Result<Permissions, Vec<String>> {
    let records = records.iter().map(|((_, id), record)| (id.clone(), record.clone()));
    Permissions::compile(records, &topology(), zone, SetVersion::default())
}

/// What a delta does with one record, the numbers chosen from what there is.
#[derive(Clone, Debug)]
enum Move {
    /// Takes the record of another set under this name.
    Put(Index),
    /// The same, under a name that may be new.
    PutAs(Index, u8),
    /// A card with the token of another.
    Share(Index, u8),
    /// Refers to what may not be there.
    Dangle(Index),
    Delete(Index),
    DeleteNothing(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let any = any::<Index>;
    let one = prop_oneof![
        6 => any().prop_map(Move::Put),
        4 => (any(), 0u8..12).prop_map(|(which, name)| Move::PutAs(which, name)),
        1 => (any(), 0u8..8).prop_map(|(which, token)| Move::Share(which, token)),
        1 => any().prop_map(Move::Dangle),
        4 => any().prop_map(Move::Delete),
        1 => (0u8..12).prop_map(Move::DeleteNothing),
    ];
    vec(one, 1..8)
}

fn changes(moves: &[Move], held: &Records, other: &Records) -> Vec<Change> {
    let (held, other): (Vec<_>, Vec<_>) = (held.iter().collect(), other.iter().collect());
    let pick = |which: &Index| {
        let ((_, id), record) = which.get(&other);
        (id.clone(), (*record).clone())
    };
    let change = |step: &Move| match step {
        Move::Put(which) => {
            let (id, record) = pick(which);
            Some(Change::Put(id, Box::new(record)))
        }
        Move::PutAs(which, name) => {
            let (old, mut record) = pick(which);
            if let Record::Credential(body) = &mut record {
                body.token = token(usize::from(*name));
            }
            let kind = old.chars().next()?;
            Some(Change::Put(id(format!("{kind}{name}")), Box::new(record)))
        }
        Move::Share(which, number) => {
            other.iter().cycle().skip(which.index(other.len())).find_map(|((_, id), record)| {
                let Record::Credential(body) = record else { return None };
                let mut body = body.clone();
                body.token = token(usize::from(*number));
                Some(Change::Put(id.clone(), Box::new(Record::Credential(body))))
            })
        }
        Move::Dangle(which) => {
            let (old, mut record) = pick(which);
            match &mut record {
                Record::Person(body) => body.groups.push(id("gone")),
                Record::Credential(body) => body.person = id("gone"),
                Record::AccessRule(body) => match which.index(4) {
                    0 => body.groups.push(id("gone")),
                    1 => body.persons.push(id("gone")),
                    2 => body.doors.clear(),
                    _ => body.schedule = Some(id("gone")),
                },
                Record::Schedule(body) => body.weekly.iter_mut().for_each(|weekly| weekly.days.clear()),
                _ => {}
            }
            Some(Change::Put(old, Box::new(record)))
        }
        Move::Delete(which) if held.is_empty() => Some(Change::Delete(id("person"), id(which.index(9).to_string()))),
        Move::Delete(which) => {
            let ((kind, id_held), _) = which.get(&held);
            Some(Change::Delete(id(kind), id_held.clone()))
        }
        Move::DeleteNothing(name) => Some(Change::Delete(id("group"), id(format!("g{name}")))),
    };
    moves.iter().filter_map(change).collect()
}

fn made(held: &Records, changes: &[Change]) -> Records {
    const KINDS: [&str; 8] =
        ["person", "credential", "group", "access_rule", "schedule", "holiday", "operator", "role"];
    let mut records = held.clone();
    for change in changes {
        match change {
            Change::Put(id, record) => drop(records.insert((record.kind(), id.clone()), (**record).clone())),
            Change::Delete(kind, id) => {
                let kind = KINDS.into_iter().find(|known| *known == kind.as_str()).unwrap();
                records.remove(&(kind, id.clone()));
            }
        }
    }
    records
}

fn same_answers(one: &Permissions, other: &Permissions, now: Now) -> Result<(), TestCaseError> {
    let doors = (0..DOORS.len() as u16 + 1).map(|door| Target::Door(DoorIx(door)));
    for target in doors.chain([Target::Cab(0)]) {
        for read in reads() {
            let companion = CardTokens::single(token(2));
            let alone = Request::card(&read, target, now);
            let more = Request { pin: Some(pin(1)), companion: Some(&companion), ..alone };
            prop_assert_eq!(one.judge(&alone), other.judge(&alone), "{:?}", read);
            prop_assert_eq!(one.judge(&more), other.judge(&more), "{:?}", read);
        }
    }
    Ok(())
}

/// How many of the deltas were applied, and how many refused.
fn check(case: &Case, others: &[Records], deltas: &[Vec<Move>]) -> Result<(usize, usize), TestCaseError> {
    let zone = TimeZone::get(case.zone).unwrap();
    let mut held = named(case.records.clone());
    let mut set = compile(&held, &zone).map_err(|faults| TestCaseError::fail(faults.join("; ")))?;
    let (mut applied, mut refused) = (0, 0);
    for (moves, other) in deltas.iter().zip(others.iter().cycle()) {
        let changes = changes(moves, &held, other);
        let next = made(&held, &changes);
        let before = set.clone();
        match (set.apply(changes.iter().cloned(), SetVersion::default()), compile(&next, &zone)) {
            (Ok(by_delta), Ok(at_once)) => {
                same_answers(&by_delta, &at_once, case.now)?;
                same_answers(&before, &compile(&held, &zone).unwrap(), case.now)?;
                (set, held) = (by_delta, next);
                applied += 1;
            }
            (Err(by_delta), Err(at_once)) => {
                prop_assert_eq!(by_delta, at_once);
                refused += 1;
            }
            (by_delta, at_once) => {
                let verdicts = (by_delta.err(), at_once.err());
                prop_assert!(false, "by delta and at once: {:?} after {:?}", verdicts, changes);
            }
        }
    }
    Ok((applied, refused))
}

fn histories() -> impl Strategy<Value = (Case, Vec<Records>, Vec<Vec<Move>>)> {
    let others = vec(cases().prop_map(|case| named(case.records)), 3);
    (cases(), others, vec(moves(), 1..12))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_set_by_deltas_is_the_set_compiled_at_once((case, others, deltas) in histories()) {
        check(&case, &others, &deltas)?;
    }
}

/// Deltas that are always refused, or never, would prove half.
#[test]
fn the_random_deltas_are_applied_and_refused() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut sums = (0, 0);
    for _ in 0..50 {
        let (case, others, deltas) = histories().new_tree(&mut runner).unwrap().current();
        let (applied, refused) = check(&case, &others, &deltas).unwrap();
        sums = (sums.0 + applied, sums.1 + refused);
    }
    assert!(sums.0 > 50 && sums.1 > 50, "{sums:?}");
}
