//! Who may pass where, twice: as records for the cloud's set, and as the oracle's own naive model of each
//! generation. Owns both; must never ask the daemon's rules. Invariant: the model of a generation never
//! changes once it was made.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use latchd::{
    domain::{
        credential,
        event::DenialReason,
        fieldbus::RawCard,
        ids::Id,
        permission::{Permissions, SetVersion},
        record::{
            AccessRule, Credential, CredentialState, Effect, Group, Operator, OperatorStatus, Person, Record, Schedule,
            TimeOfDay, Token, Weekday, WeeklyInterval,
        },
        time::{ClockTrust, Now, Wall},
    },
    wire::{
        set::Op,
        token::{CredentialKey, token},
    },
};

use super::{
    World,
    site::{Site, id},
};
use crate::cloud::set::{delete, put};

pub const PERSONS: u64 = 6;
/// Needs more time at doors.
pub const SLOW_PERSON: u64 = 5;
const FIRST_CARD: u128 = 0xC0DE_0000;
const KEY: [u8; 32] = [0x42; 32];

pub fn credential_key() -> CredentialKey {
    CredentialKey::new(&KEY)
}

pub fn zone() -> TimeZone {
    TimeZone::UTC
}

/// The card of a person; numbers past the last person's belong to nobody.
pub fn card_of(person: u64) -> RawCard {
    RawCard { bits: 32, value: FIRST_CARD + u128::from(person) }
}

fn token_of(person: u64) -> Token {
    let texts = credential::decode(card_of(person)).texts;
    token(&credential_key(), texts.first().map_or("", |text| text))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Granted { person: String },
    Denied(DenialReason),
}

#[derive(Clone, Debug)]
struct Rule {
    deny: bool,
    group: Option<&'static str>,
    person: Option<u64>,
    doors: Vec<&'static str>,
    /// Only during the shift.
    shift: bool,
}

/// One generation, as plainly as it can be said.
#[derive(Clone, Debug, Default)]
pub struct Model {
    groups: BTreeMap<u64, &'static str>,
    credentials: BTreeMap<u64, CredentialState>,
    rules: BTreeMap<String, Rule>,
}

impl Model {
    pub fn decide(&self, card: RawCard, door: &str, now: Now) -> Verdict {
        let person = card.value.wrapping_sub(FIRST_CARD) as u64;
        match self.credentials.get(&person) {
            None => return Verdict::Denied(DenialReason::UnknownCredential),
            Some(CredentialState::Suspended) => return Verdict::Denied(DenialReason::Suspended),
            Some(CredentialState::Lost) => return Verdict::Denied(DenialReason::Lost),
            Some(CredentialState::Stolen) => return Verdict::Denied(DenialReason::Stolen),
            Some(CredentialState::Active) => {}
        }
        let group = self.groups.get(&person).copied();
        let applies = |rule: &&Rule| {
            let holder = rule.person == Some(person) || (rule.group.is_some() && rule.group == group);
            holder && rule.doors.contains(&door)
        };
        let rules: Vec<&Rule> = self.rules.values().filter(applies).collect();
        // Without a trusted clock a schedule never helps: it neither allows, nor keeps a denial off.
        let trusted = now.trust == ClockTrust::Trusted;
        let (denials, allowances): (Vec<&Rule>, Vec<&Rule>) = rules.into_iter().partition(|rule| rule.deny);
        if denials.iter().any(|rule| !rule.shift || !trusted || in_shift(now.wall)) {
            Verdict::Denied(DenialReason::ExplicitDeny)
        } else if allowances.iter().any(|rule| !rule.shift || (trusted && in_shift(now.wall))) {
            Verdict::Granted { person: name_of(person) }
        } else if allowances.is_empty() {
            Verdict::Denied(DenialReason::NoRule)
        } else if trusted {
            Verdict::Denied(DenialReason::OutsideSchedule)
        } else {
            Verdict::Denied(DenialReason::ClockUntrusted)
        }
    }
}

/// The shift, in milliseconds of the day: it begins and ends in the first minute of a world.
const SHIFT: (i64, i64) = (51_215_000, 51_230_000);

fn in_shift(wall: Wall) -> bool {
    (SHIFT.0..SHIFT.1).contains(&(wall.as_millis() % 86_400_000))
}

fn shift() -> Record {
    let days = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
    let (from, to) = (TimeOfDay(SHIFT.0 as u32), TimeOfDay(SHIFT.1 as u32));
    let weekly = vec![WeeklyInterval { days: days.to_vec(), from, to }];
    Record::Schedule(Schedule { weekly, ..Schedule::default() })
}

pub fn name_of(person: u64) -> String {
    format!("p-{person}")
}

#[derive(Default)]
pub struct People {
    current: Model,
    generations: BTreeMap<u64, Model>,
    revocations: BTreeSet<u64>,
}

impl People {
    pub fn at(&self, generation: u64) -> Option<&Model> {
        self.generations.get(&generation)
    }

    pub fn is_revocation(&self, generation: u64) -> bool {
        self.revocations.contains(&generation)
    }
}

impl Model {
    /// As the set would be compiled that says this and nothing else.
    pub fn compile(&self, site: &Site, version: SetVersion) -> Option<Permissions> {
        let mut records: Vec<(Id, Record)> =
            ["staff", "night"].map(|group| (id(group), Record::Group(Group::default()))).into();
        records.push((id("shift"), shift()));
        records.extend(self.groups.iter().map(|(number, group)| (id(&name_of(*number)), person(*number, group))));
        let credentials = self.credentials.iter();
        records.extend(credentials.map(|(number, state)| (id(&format!("c-{number}")), credential(*number, *state))));
        records.extend(self.rules.iter().map(|(name, of)| (id(name), rule(of))));
        Permissions::compile(records, &site.topology(), &zone(), version).ok()
    }
}

fn person(number: u64, group: &str) -> Record {
    let extended_access = number == SLOW_PERSON;
    Record::Person(Person { groups: vec![id(group)], extended_access, ..Person::default() })
}

fn credential(person: u64, state: CredentialState) -> Record {
    let person_id = id(&name_of(person));
    let token = token_of(person);
    Record::Credential(Credential { state, ..Credential::card(person_id, token) })
}

fn rule(rule: &Rule) -> Record {
    Record::AccessRule(AccessRule {
        effect: if rule.deny { Effect::Deny } else { Effect::Allow },
        groups: rule.group.iter().map(|group| id(group)).collect(),
        persons: rule.person.iter().map(|person| id(&name_of(*person))).collect(),
        doors: rule.doors.iter().map(|door| id(door)).collect(),
        schedule: rule.shift.then(|| id("shift")),
        ..AccessRule::new(Effect::Allow)
    })
}

fn put_person(number: u64, group: &str) -> Op {
    put(&name_of(number), &person(number, group))
}

fn put_credential(number: u64, state: CredentialState) -> Op {
    put(&format!("c-{number}"), &credential(number, state))
}

impl World {
    pub(super) fn first_set(&mut self) {
        let operator = |name: &str, role: &str, status: OperatorStatus| {
            put(name, &Record::Operator(Operator { status, ..Operator::active(id(role)) }))
        };
        let mut ops = vec![
            put("staff", &Record::Group(Group::default())),
            put("night", &Record::Group(Group::default())),
            put("shift", &shift()),
            operator("op-1", "integrator", OperatorStatus::Active {}),
            operator("op-2", "admin", OperatorStatus::Active {}),
            operator("op-3", "reporter", OperatorStatus::Active {}),
            operator("op-4", "integrator", OperatorStatus::Suspended {}),
        ];
        for number in 0..PERSONS {
            let group = if number % 3 == 2 { "night" } else { "staff" };
            self.people.current.groups.insert(number, group);
            self.people.current.credentials.insert(number, CredentialState::Active);
            ops.extend([put_person(number, group), put_credential(number, CredentialState::Active)]);
        }
        let allow = |group, doors: &[&'static str]| Rule {
            deny: false,
            group: Some(group),
            person: None,
            doors: doors.to_vec(),
            shift: false,
        };
        for (name, of) in [
            ("staff-by-day", allow("staff", &["front", "glass", "store"])),
            ("night-at-the-back", allow("night", &["back", "front"])),
            ("night-shift", Rule { shift: true, ..allow("night", &["glass", "store"]) }),
        ] {
            ops.push(put(name, &rule(&of)));
            self.people.current.rules.insert(name.to_owned(), of);
        }
        self.change_set(ops, false, false);
    }

    /// One edit by the cloud's people.
    pub(super) fn edit_set(&mut self) {
        let number = self.rng.below(PERSONS);
        let model = &mut self.people.current;
        let (ops, revokes) = match self.rng.below(6) {
            0 => {
                let held = model.credentials.remove(&number).is_some();
                if !held {
                    return;
                }
                (vec![delete("credential", &format!("c-{number}"))], true)
            }
            1 => {
                let states = [CredentialState::Suspended, CredentialState::Lost, CredentialState::Stolen];
                let state = states[self.rng.index(states.len())];
                model.credentials.insert(number, state);
                (vec![put_credential(number, state)], true)
            }
            2 => {
                let doors = ["front", "glass", "back", "store"];
                let at = vec![doors[self.rng.index(doors.len())]];
                let name = format!("deny-{number}");
                let shift = self.rng.permille(300);
                let of = Rule { deny: true, group: None, person: Some(number), doors: at, shift };
                let op = put(&name, &rule(&of));
                model.rules.insert(name, of);
                (vec![op], true)
            }
            3 => {
                let name = format!("deny-{number}");
                if model.rules.remove(&name).is_none() {
                    return;
                }
                (vec![delete("access_rule", &name)], false)
            }
            4 => {
                let group = if model.groups.get(&number) == Some(&"staff") { "night" } else { "staff" };
                model.groups.insert(number, group);
                (vec![put_person(number, group)], true)
            }
            _ => {
                model.credentials.insert(number, CredentialState::Active);
                (vec![put_credential(number, CredentialState::Active)], false)
            }
        };
        let silently = self.rng.permille(150);
        self.change_set(ops, revokes, silently);
    }

    fn change_set(&mut self, ops: Vec<Op>, revokes: bool, silently: bool) {
        let wall = self.wall();
        if silently {
            // The node learns of it by asking, and needs a manifest.
            self.cloud.change_silently(&ops);
        } else {
            let delta = self.cloud.change(wall, ops);
            self.cloud_sends(delta);
        }
        let generation = self.cloud.set.generation;
        self.line(format_args!("cloud: set {generation}, revokes {revokes}, silently {silently}"));
        self.count("sets changed");
        self.people.generations.insert(generation, self.people.current.clone());
        if revokes {
            self.people.revocations.insert(generation);
        }
    }
}
