//! Partitions, organisation units and the operators who are limited to them. Owns what of it the node starts with, what
//! the cloud's people change, and what is edited by command; must never say what a limit comes to. Invariant: units form
//! a tree, and no partition or unit is ever deleted.

use latchd::domain::{
    ids::Id,
    record::{Operator, OrganisationUnit, Partition, Person, Record, SystemEvent},
};

use super::{
    Records,
    edits::person_of,
    first::{ids, manager},
    names::{PERSONS, person_id},
};
use crate::world::{World, site::id};

pub const PARTITIONS: [&str; 3] = ["street", "yard", "vault"];
const DOORS: [&str; 7] = ["front", "glass", "outer", "back", "store", "inner", "safe"];

/// By name: the unit that it is under, and its doors.
const FIRST: [(&str, &str, &[&str]); 3] = [
    ("street", "shop", &["front", "glass", "outer"]),
    ("yard", "works", &["back", "store", "inner"]),
    ("vault", "vaults", &["safe"]),
];

fn unit(parent: Option<&str>) -> OrganisationUnit {
    OrganisationUnit { name: None, parent: parent.map(id) }
}

pub fn by_partitions(role: &str, partitions: &[&str]) -> Operator {
    Operator { partitions: Some(ids(partitions)), ..Operator::active(id(role)) }
}

pub fn by_units(role: &str, units: &[&str]) -> Operator {
    Operator { organisation_units: Some(ids(units)), ..Operator::active(id(role)) }
}

/// Whose people the first ones are.
pub fn partitions_of(number: u64) -> Vec<Id> {
    match number {
        0 | 3 => ids(&["street"]),
        1 => ids(&["yard"]),
        _ => Vec::new(),
    }
}

pub fn places(set: &mut Records) {
    for (name, parent) in
        [("company", None), ("shop", Some("company")), ("works", Some("company")), ("vaults", Some("works"))]
    {
        set.put(&id(name), Record::OrganisationUnit(unit(parent)));
    }
    for (name, unit, doors) in FIRST {
        let in_cellar = name == "vault";
        let partition = Partition {
            name: None,
            organisation_unit: Some(id(unit)),
            doors: ids(doors),
            floor_groups: if in_cellar { ids(&["lift"]) } else { Vec::new() },
            lockers: if in_cellar { ids(&["key-1", "key-2"]) } else { Vec::new() },
        };
        set.put(&id(name), Record::Partition(partition));
    }
    set.put(&id("op-6"), Record::Operator(by_partitions("admin", &["street"])));
    set.put(&id("op-7"), Record::Operator(by_units("integrator", &["works"])));
    set.put(&id("op-8"), Record::Operator(by_units("automat.user_edit", &["vaults"])));
}

/// It is in the list, or it is not: the other of both.
fn toggle(list: &mut Vec<Id>, name: &str) {
    match list.iter().position(|one| one.as_str() == name) {
        Some(at) => drop(list.remove(at)),
        None => list.push(id(name)),
    }
}

fn partition_of(set: &Records, name: &str) -> Partition {
    match set.get("partition", &id(name)) {
        Some(Record::Partition(body)) => body.clone(),
        _ => Partition::default(),
    }
}

impl World {
    fn any_unit(&mut self) -> Option<&'static str> {
        [Some("works"), Some("shop"), Some("company"), None][self.rng.index(4)]
    }

    /// A partition with a door more or less, or under another unit.
    fn changed_partition(&mut self, set: &Records) -> (&'static str, Partition) {
        let name = PARTITIONS[self.rng.index(PARTITIONS.len())];
        let mut body = partition_of(set, name);
        match self.rng.below(6) {
            0 => body.organisation_unit = self.any_unit().map(id),
            1 => toggle(&mut body.floor_groups, "lift"),
            2 => toggle(&mut body.lockers, "key-2"),
            _ => toggle(&mut body.doors, DOORS[self.rng.index(DOORS.len())]),
        }
        (name, body)
    }

    /// Somebody of the first ones, with more or less of their own.
    fn limited_operator(&mut self) -> (&'static str, Operator) {
        match self.rng.below(3) {
            0 => {
                let partitions: [&[&str]; 4] =
                    [&["street"], &["yard"], &["street", "yard"], &["street", "yard", "vault"]];
                ("op-6", by_partitions("admin", partitions[self.rng.index(4)]))
            }
            1 => {
                let units: [&[&str]; 4] = [&["works"], &["vaults"], &["shop"], &["company"]];
                let mut operator = by_units("integrator", units[self.rng.index(4)]);
                // All that they are given counts together.
                operator.doors = self.rng.permille(300).then(|| ids(&["front"]));
                ("op-7", operator)
            }
            _ => ("op-5", manager([&["back"][..], &["front"], &["front", "glass", "outer"]][self.rng.index(3)])),
        }
    }

    /// The cloud's people move doors, people and operators between the parts of the site.
    pub(super) fn edit_places(&mut self, set: &mut Records) {
        match self.rng.below(10) {
            0 => {
                let parent = [Some("works"), Some("shop"), None][self.rng.index(3)];
                set.put(&id("vaults"), Record::OrganisationUnit(unit(parent)));
            }
            1..4 => {
                let (name, body) = self.changed_partition(&set.clone());
                set.put(&id(name), Record::Partition(body));
            }
            4 | 5 => {
                let number = self.rng.below(PERSONS);
                let choices: [&[&str]; 4] = [&[], &["street"], &["yard"], &["street", "yard"]];
                let partitions = ids(choices[self.rng.index(4)]);
                let person = Person { partitions, ..person_of(set, number) };
                set.put(&person_id(number), Record::Person(person));
            }
            6 => {
                let author = Some(id(if self.rng.permille(500) { "op-6" } else { "op-2" }));
                let name = id("duress-shuts");
                if let Some(Record::SystemEvent(event)) = set.get("system_event", &name).cloned() {
                    set.put(&name, Record::SystemEvent(SystemEvent { author, ..event }));
                }
            }
            7 => {
                let role = ["automat.user_edit", "automat.customer_service_view", "automat.admin"][self.rng.index(3)];
                set.put(&id("op-8"), Record::Operator(by_units(role, &["vaults"])));
            }
            _ => {
                let (name, operator) = self.limited_operator();
                set.put(&id(name), Record::Operator(operator));
            }
        }
    }

    /// The same, as somebody wishes it at the node itself.
    pub(super) fn place_wish(&mut self) -> (&'static str, Id, Option<Record>) {
        match self.rng.below(8) {
            0..3 => {
                let (name, operator) = self.limited_operator();
                ("operator", id(name), Some(Record::Operator(operator)))
            }
            3 => {
                let parent = [Some("works"), Some("shop"), None][self.rng.index(3)];
                ("organisation_unit", id("vaults"), Some(Record::OrganisationUnit(unit(parent))))
            }
            _ => {
                let (name, body) = self.changed_partition(&self.sets.current.clone());
                ("partition", id(name), Some(Record::Partition(body)))
            }
        }
    }
}
