//! The records by which a reach is told: everything in a set but people and credentials. Owns them as they
//! stand; must never judge. Invariant: it holds what the set in force holds, edits by command included.

use std::collections::BTreeMap;

use super::scope::Places;
use crate::domain::{
    ids::Id,
    permission::SiteRecords,
    record::{AccessRule, Group, Holiday, Operator, Person, Record, Role, Schedule},
};

#[derive(Clone, Debug, Default)]
pub struct Directory {
    pub groups: BTreeMap<Id, Group>,
    pub access_rules: BTreeMap<Id, AccessRule>,
    pub schedules: BTreeMap<Id, Schedule>,
    pub holidays: BTreeMap<Id, Holiday>,
    pub operators: BTreeMap<Id, Operator>,
    pub roles: BTreeMap<Id, Role>,
    pub site: SiteRecords,
}

/// People are too many to be held here as well.
pub trait People {
    fn person(&self, id: &Id) -> Option<Person>;
    /// Whether anybody is in one of these groups and in one of those; in doubt somebody is.
    fn share_a_member(&self, these: &[Id], those: &[Id]) -> bool;
}

impl Directory {
    /// Whether records of this kind belong here.
    pub fn keeps(kind: &str) -> bool {
        !matches!(kind, "person" | "credential")
    }

    pub fn put(&mut self, id: &Id, record: Record) {
        let id = id.clone();
        match record {
            Record::Person(_) | Record::Credential(_) => {}
            Record::Group(body) => drop(self.groups.insert(id, body)),
            Record::AccessRule(body) => drop(self.access_rules.insert(id, body)),
            Record::Schedule(body) => drop(self.schedules.insert(id, body)),
            Record::Holiday(body) => drop(self.holidays.insert(id, body)),
            Record::Operator(body) => drop(self.operators.insert(id, body)),
            Record::Role(body) => drop(self.roles.insert(id, body)),
            other => drop(self.site.insert(&id, other)),
        }
    }

    pub fn remove(&mut self, kind: &str, id: &Id) {
        match kind {
            "group" => drop(self.groups.remove(id)),
            "access_rule" => drop(self.access_rules.remove(id)),
            "schedule" => drop(self.schedules.remove(id)),
            "holiday" => drop(self.holidays.remove(id)),
            "operator" => drop(self.operators.remove(id)),
            "role" => drop(self.roles.remove(id)),
            _ => self.site.remove(kind, id),
        }
    }

    pub fn places(&self) -> Places<'_> {
        Places { partitions: &self.site.partitions, organisation_units: &self.site.organisation_units }
    }
}
