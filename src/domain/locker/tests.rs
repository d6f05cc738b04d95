//! What is typed, and which contracts exclude each other, against a naive look at every pair.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::{
    ids::Id,
    keypad::Key,
    record::{LockerContract, Sharing},
    time::{Mono, Wall},
};

const PATIENCE: Duration = Duration::from_secs(10);

fn typed(keys: &str) -> Vec<Typed> {
    let mut typing = Typing::default();
    let key = |key: char| match key {
        '*' => Key::Star,
        '#' => Key::Hash,
        digit => Key::Digit(digit.to_digit(10).unwrap() as u8),
    };
    keys.chars().filter_map(|pressed| typing.press(Mono::ZERO, key(pressed), PATIENCE)).collect()
}

#[test]
fn a_code_ends_with_a_hash_and_may_name_its_compartment() {
    let entry = |number, digits: &str| Typed { number, digits: digits.to_owned() };
    assert_eq!(typed("1234#"), [entry(None, "1234")]);
    assert_eq!(typed("07*1234#55#"), [entry(Some(7), "1234"), entry(None, "55")]);
    assert_eq!(typed("12*34*56#"), [entry(None, "56")]);
    assert_eq!(typed("##*#"), []);
    // No compartment has this number, and no code is that long: it is wrong, not cut short.
    assert_eq!(typed("99999*1#"), [entry(None, "")]);
    assert_eq!(typed("12345678901234567#"), [entry(None, "")]);
}

#[test]
fn a_pause_begins_anew() {
    let mut typing = Typing::default();
    assert_eq!(typing.press(Mono::ZERO, Key::Digit(1), PATIENCE), None);
    let later = Mono::ZERO + PATIENCE + Duration::from_millis(1);
    assert_eq!(typing.press(later, Key::Digit(2), PATIENCE), None);
    assert_eq!(typing.press(later, Key::Hash, PATIENCE), Some(Typed { number: None, digits: "2".to_owned() }));
}

proptest! {
    #[test]
    fn of_contracts_that_exclude_each_other_one_is_kept_and_the_others_are_refused(
        contracts in proptest::collection::vec((0u8..2, proptest::option::of(0i64..20), proptest::option::of(1i64..10), any::<bool>()), 0..8),
    ) {
        let contract = |(locker, from, length, shared): &(u8, Option<i64>, Option<i64>, bool)| {
            let from = from.map(|from| from * 10);
            LockerContract {
                locker: Id::new(&format!("key-{locker}")).unwrap(),
                person: None,
                pin: None,
                key: None,
                from: from.map(Wall::from_millis),
                until: length.map(|length| Wall::from_millis(from.unwrap_or(0) + length * 10)),
                sharing: if *shared { Sharing::Shared } else { Sharing::Exclusive },
                return_code: None,
                backup_codes: Vec::new(),
            }
        };
        let contracts: BTreeMap<Id, LockerContract> =
            contracts.iter().enumerate().map(|(at, one)| (Id::new(&format!("c-{at}")).unwrap(), contract(one))).collect();
        let clash = |a: &LockerContract, b: &LockerContract| {
            let end = |contract: &LockerContract| contract.until.unwrap_or(Wall::MAX);
            let begin = |contract: &LockerContract| contract.from.unwrap_or(Wall::EPOCH);
            let exclusive = a.sharing == Sharing::Exclusive || b.sharing == Sharing::Exclusive;
            exclusive && a.locker == b.locker && begin(a) < end(b) && begin(b) < end(a)
        };
        let found = excluded(&contracts);
        for (refused, kept) in &found {
            prop_assert!(clash(&contracts[*refused], &contracts[*kept]));
            prop_assert!(!found.contains_key(kept), "what is refused is in nobody's way");
        }
        let kept: Vec<_> = contracts.iter().filter(|(id, _)| !found.contains_key(id)).collect();
        for (id, a) in &kept {
            prop_assert!(kept.iter().all(|(other, b)| id == other || !clash(a, b)), "{} and another", id);
        }
    }
}
