//! The records of the permission set, as the contract names them. Owns their shapes and nothing of
//! their meaning (that is `permission` and the machine of each feature); must never accept a field it does
//! not know, because it may be a restriction. Invariant: a record that parsed is well-formed by itself;
//! references between records are checked when the set is compiled.
//!
//! `person` people and what they carry, `rule` who may pass where, `schedule` when, `place` what belongs
//! together, `card_format` how cards are read, `automatic` what doors do by themselves, `system_event` when-then, `locker` key lockers,
//! `operator` who may command, `text` the textual forms.

mod automatic;
mod card_format;
mod locker;
mod operator;
mod person;
mod place;
mod rule;
mod schedule;
mod system_event;
mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    automatic::*, card_format::*, locker::*, operator::*, person::*, place::*, rule::*, schedule::*, system_event::*,
    text::*,
};

/// Record kinds that this version understands; any other is kept and reported.
pub const KNOWN_KINDS: [&str; 19] = [
    "person",
    "credential",
    "group",
    "access_rule",
    "schedule",
    "holiday",
    "auto_open",
    "system_event",
    "partition",
    "area",
    "floor_group",
    "interlock",
    "emergency_card",
    "card_format",
    "operator",
    "role",
    "organisation_unit",
    "door_policy",
    "locker_contract",
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum Record {
    Person(Person),
    Credential(Credential),
    Group(Group),
    AccessRule(AccessRule),
    Schedule(Schedule),
    Holiday(Holiday),
    AutoOpen(AutoOpen),
    SystemEvent(SystemEvent),
    Partition(Partition),
    Area(Area),
    FloorGroup(FloorGroup),
    Interlock(Interlock),
    EmergencyCard(EmergencyCard),
    CardFormat(CardFormat),
    Operator(Operator),
    Role(Role),
    OrganisationUnit(OrganisationUnit),
    DoorPolicy(DoorPolicy),
    LockerContract(LockerContract),
}

impl Record {
    pub fn kind(&self) -> &'static str {
        match self {
            Record::Person(_) => "person",
            Record::Credential(_) => "credential",
            Record::Group(_) => "group",
            Record::AccessRule(_) => "access_rule",
            Record::Schedule(_) => "schedule",
            Record::Holiday(_) => "holiday",
            Record::AutoOpen(_) => "auto_open",
            Record::SystemEvent(_) => "system_event",
            Record::Partition(_) => "partition",
            Record::Area(_) => "area",
            Record::FloorGroup(_) => "floor_group",
            Record::Interlock(_) => "interlock",
            Record::EmergencyCard(_) => "emergency_card",
            Record::CardFormat(_) => "card_format",
            Record::Operator(_) => "operator",
            Record::Role(_) => "role",
            Record::OrganisationUnit(_) => "organisation_unit",
            Record::DoorPolicy(_) => "door_policy",
            Record::LockerContract(_) => "locker_contract",
        }
    }
}
