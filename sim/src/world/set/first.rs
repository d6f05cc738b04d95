//! The set that a node starts with. Owns one of everything that a set can say.

use latchd::domain::{
    ids::Id,
    record::{
        AccessRule, Credential, Effect, Group, Operator, OperatorStatus, Partition, Person, Record, Schedule,
        TimeOfDay, Weekday, WeeklyInterval,
    },
};

use super::{
    Records,
    names::{PERSONS, SLOW_PERSON, card_id, card_of, person_id, tokens_of},
};
use crate::world::{World, site::id};

/// In milliseconds of the day: it begins and ends in the first minute of a world.
const SHIFT: (u32, u32) = (51_215_000, 51_230_000);

/// The doors of the partition of that name.
pub const STREET: &[&str] = &["front", "glass", "outer"];

pub fn ids(names: &[&str]) -> Vec<Id> {
    names.iter().map(|name| id(name)).collect()
}

fn shift() -> Schedule {
    let days = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
    let (from, to) = (TimeOfDay(SHIFT.0), TimeOfDay(SHIFT.1));
    Schedule { weekly: vec![WeeklyInterval { days: days.to_vec(), from, to }], ..Schedule::default() }
}

pub fn card(number: u64) -> Credential {
    let (tokens, _) = tokens_of(card_of(number));
    Credential::card(person_id(number), tokens[0])
}

fn people(set: &mut Records) {
    for group in ["staff", "night"] {
        set.put(&id(group), Record::Group(Group::default()));
    }
    for number in 0..PERSONS {
        let groups = ids(if number % 3 == 2 { &["night"] } else { &["staff"] });
        let extended_access = number == SLOW_PERSON;
        set.put(&person_id(number), Record::Person(Person { groups, extended_access, ..Person::default() }));
        set.put(&card_id(number), Record::Credential(card(number)));
    }
}

fn rules(set: &mut Records) {
    let allow = |group: &str, doors: &[&str]| AccessRule {
        groups: ids(&[group]),
        doors: ids(doors),
        ..AccessRule::new(Effect::Allow)
    };
    let shift_only = Some(id("shift"));
    for (name, rule) in [
        ("staff-by-day", allow("staff", &["front", "glass", "store", "outer"])),
        (
            "all-through-the-trap",
            AccessRule { groups: ids(&["staff", "night"]), ..allow("staff", &["inner", "outer"]) },
        ),
        ("night-at-the-back", allow("night", &["back", "front"])),
        ("night-shift", AccessRule { schedule: shift_only, ..allow("night", &["glass", "store"]) }),
    ] {
        set.put(&id(name), Record::AccessRule(rule));
    }
}

/// Has only the doors that are assigned.
pub fn manager(doors: &[&str]) -> Operator {
    Operator { doors: Some(ids(doors)), ..Operator::active(id("manager")) }
}

fn operators(set: &mut Records) {
    for (name, role, status) in [
        ("op-1", "integrator", OperatorStatus::Active {}),
        ("op-2", "admin", OperatorStatus::Active {}),
        ("op-3", "reporter", OperatorStatus::Active {}),
        ("op-4", "integrator", OperatorStatus::Suspended {}),
    ] {
        set.put(&id(name), Record::Operator(Operator { status, ..Operator::active(id(role)) }));
    }
    set.put(&id("op-5"), Record::Operator(manager(&["front", "glass", "outer"])));
}

impl World {
    pub(in crate::world) fn first_set(&mut self) {
        let mut set = Records::default();
        set.put(&id("shift"), Record::Schedule(shift()));
        let street = Partition { doors: ids(STREET), ..Partition::default() };
        set.put(&id("street"), Record::Partition(street));
        people(&mut set);
        rules(&mut set);
        operators(&mut set);
        self.change_set(set, false, false);
    }
}
