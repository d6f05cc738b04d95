//! The set that a node starts with. Owns one of everything that a set can say.

use latchd::domain::{
    ids::Id,
    record::{
        AccessRule, AntiPassback, Area, AutoOpen, Credential, Effect, Group, Holiday, Interlock, Operator,
        OperatorStatus, Person, Record, Schedule, SystemAction, SystemEvent, TimeOfDay, Trigger, Weekday,
        WeeklyInterval,
    },
};

use super::{
    Records,
    cellar::{cellar, pins},
    names::{PERSONS, SLOW_PERSON, card_id, card_of, person_id, tokens_of},
    places::{partitions_of, places},
};
use crate::world::{World, site::id};

/// In milliseconds of the day: it begins and ends in the first minute of a world.
const SHIFT: (u32, u32) = (51_215_000, 51_230_000);

pub fn ids(names: &[&str]) -> Vec<Id> {
    names.iter().map(|name| id(name)).collect()
}

/// Twelve seconds out of each twenty, for the first four minutes of a world.
fn rush() -> Schedule {
    let begins = |number: u32| TimeOfDay(51_203_000 + number * 20_000);
    let interval = |number| WeeklyInterval {
        days: EVERY_DAY.to_vec(),
        from: begins(number),
        to: TimeOfDay(begins(number).0 + 12_000),
    };
    Schedule { weekly: (0..12).map(interval).collect(), ..Schedule::default() }
}

pub fn auto_open(doors: &[&str], schedule: &str) -> AutoOpen {
    AutoOpen {
        name: None,
        doors: ids(doors),
        schedule: id(schedule),
        effect: Effect::Allow,
        first_person_in: false,
        first_person_groups: Vec::new(),
        holidays: Vec::new(),
    }
}

fn automatic(set: &mut Records) {
    set.put(&id("store-open"), Record::AutoOpen(auto_open(&["store"], "rush")));
    let staff = AutoOpen {
        first_person_in: true,
        first_person_groups: ids(&["staff"]),
        ..auto_open(&["glass", "outer"], "rush")
    };
    set.put(&id("glass-open"), Record::AutoOpen(staff));
    let deny = AutoOpen { effect: Effect::Deny, ..auto_open(&["store", "glass"], "shift") };
    set.put(&id("not-yet"), Record::AutoOpen(deny));
    let hall = Area {
        name: None,
        entry_readers: ids(&["front-in"]),
        exit_readers: ids(&["front-out"]),
        anti_passback: AntiPassback::Hard,
        forgive_after_s: Some(60),
        occupancy_max: None,
    };
    let vault = Area {
        entry_readers: ids(&["glass-in"]),
        exit_readers: ids(&["store-in"]),
        anti_passback: AntiPassback::Off,
        occupancy_max: Some(1),
        ..hall.clone()
    };
    set.put(&id("hall"), Record::Area(hall));
    set.put(&id("vault"), Record::Area(vault));
    let pulse = |output: &str, pulse_ms| vec![SystemAction::OutputPulse { output: id(output), pulse_ms }];
    let tell = vec![SystemAction::Notify { text: Some("somebody came in at the back".to_owned()) }];
    for (name, when, actions) in [
        ("alarm-siren", Trigger::Forced { doors: Vec::new() }, pulse("siren", 2_000)),
        ("fire-gong", Trigger::FireActivated {}, pulse("gong", 1_500)),
        ("cover-gong", Trigger::Tamper { inputs: ids(&["tamper"]) }, pulse("gong", 500)),
        ("back-door", Trigger::Granted { doors: ids(&["back"]), groups: Vec::new(), persons: Vec::new() }, tell),
    ] {
        let record = SystemEvent { name: None, when, schedule: None, actions, author: None };
        set.put(&id(name), Record::SystemEvent(record));
    }
    let opens = SystemAction::DoorOpenAndClose { doors: ids(&["store"]), dwell_ms: Some(2_000) };
    let shuts = SystemAction::LockdownSet { doors: ids(&["glass"]), partition: None, node: false };
    for (name, when, action, author) in [
        ("button-lets-in", Trigger::Rex { doors: ids(&["front"]) }, opens, None),
        ("duress-shuts", Trigger::Duress { doors: Vec::new() }, shuts, Some(id("op-2"))),
    ] {
        let record = SystemEvent { name: None, when, schedule: None, actions: vec![action], author };
        set.put(&id(name), Record::SystemEvent(record));
    }
    set.put(&id("mantrap"), Record::Interlock(Interlock { name: None, doors: ids(&["outer", "inner"]) }));
}

const EVERY_DAY: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

fn shift() -> Schedule {
    let (from, to) = (TimeOfDay(SHIFT.0), TimeOfDay(SHIFT.1));
    Schedule { weekly: vec![WeeklyInterval { days: EVERY_DAY.to_vec(), from, to }], ..Schedule::default() }
}

pub fn card(number: u64) -> Credential {
    let (tokens, _) = tokens_of(card_of(number));
    Credential::card(person_id(number), tokens[0])
}

fn people(set: &mut Records) {
    for group in ["staff", "night", "guests"] {
        set.put(&id(group), Record::Group(Group::default()));
    }
    for number in 0..PERSONS {
        let groups = ids(if number % 3 == 2 { &["night"] } else { &["staff"] });
        let extended_access = number == SLOW_PERSON;
        let partitions = partitions_of(number);
        let person = Person { groups, partitions, extended_access, ..Person::default() };
        set.put(&person_id(number), Record::Person(pins(number, person)));
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
        ("guests-at-the-front", allow("guests", &["front"])),
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
        set.put(&id("rush"), Record::Schedule(rush()));
        set.put(&id("feast"), Record::Holiday(Holiday::default()));
        automatic(&mut set);
        places(&mut set);
        people(&mut set);
        rules(&mut set);
        cellar(&mut set);
        operators(&mut set);
        self.change_set(set, false, false);
    }
}
