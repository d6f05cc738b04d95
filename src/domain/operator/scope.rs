//! How far an operator, or a record, reaches. Owns sets of places and how partitions and organisation units
//! become doors; must never know a capability. Invariant: `Everything` is within nothing but itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    ids::Id,
    record::{OrganisationUnit, Partition},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole node, with what will yet be added to it.
    Everything,
    Limited(Limits),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Compartments of key lockers are doors too.
    pub doors: BTreeSet<Id>,
    pub floor_groups: BTreeSet<Id>,
    /// Of an operator: whose people and groups they may see and edit.
    pub partitions: BTreeSet<Id>,
    /// With all units below those that were assigned.
    pub organisation_units: BTreeSet<Id>,
}

impl Scope {
    pub fn nothing() -> Scope {
        Scope::Limited(Limits::default())
    }

    pub fn of_doors<'a>(doors: impl IntoIterator<Item = &'a Id>) -> Scope {
        Scope::Limited(Limits { doors: doors.into_iter().cloned().collect(), ..Limits::default() })
    }

    pub fn is_everything(&self) -> bool {
        *self == Scope::Everything
    }

    pub fn has_door(&self, door: &str) -> bool {
        match self {
            Scope::Everything => true,
            Scope::Limited(limits) => limits.doors.contains(door),
        }
    }

    pub fn has_floor_group(&self, floor_group: &str) -> bool {
        match self {
            Scope::Everything => true,
            Scope::Limited(limits) => limits.floor_groups.contains(floor_group),
        }
    }

    pub fn has_partition(&self, partition: &str) -> bool {
        match self {
            Scope::Everything => true,
            Scope::Limited(limits) => limits.partitions.contains(partition),
        }
    }

    /// Of somebody who is in these partitions the first, if none of them is in this scope.
    pub fn foreign_partition<'p>(&self, partitions: &'p [Id]) -> Option<&'p Id> {
        partitions.first().filter(|_| !partitions.iter().any(|partition| self.has_partition(partition)))
    }

    pub fn has_unit(&self, unit: &str) -> bool {
        match self {
            Scope::Everything => true,
            Scope::Limited(limits) => limits.organisation_units.contains(unit),
        }
    }

    pub fn is_within(&self, other: &Scope) -> bool {
        self.first_outside(other).is_none()
    }

    /// What of this scope is not in the other; the first, for people.
    pub fn first_outside(&self, other: &Scope) -> Option<String> {
        let (own, others) = match (self, other) {
            (_, Scope::Everything) => return None,
            (Scope::Everything, Scope::Limited(_)) => return Some("the whole node".to_owned()),
            (Scope::Limited(own), Scope::Limited(others)) => (own, others),
        };
        let outside = |what: &str, own: &BTreeSet<Id>, others: &BTreeSet<Id>| {
            own.difference(others).next().map(|id| format!("{what} {id}"))
        };
        outside("door", &own.doors, &others.doors)
            .or_else(|| outside("floor group", &own.floor_groups, &others.floor_groups))
            .or_else(|| outside("partition", &own.partitions, &others.partitions))
            .or_else(|| outside("organisation unit", &own.organisation_units, &others.organisation_units))
    }

    /// Whether they have a door or floor group in common.
    pub fn meets(&self, other: &Scope) -> bool {
        let (own, others) = match (self, other) {
            (Scope::Everything, other) | (other, Scope::Everything) => return !other.is_nowhere(),
            (Scope::Limited(own), Scope::Limited(others)) => (own, others),
        };
        !own.doors.is_disjoint(&others.doors) || !own.floor_groups.is_disjoint(&others.floor_groups)
    }

    /// No door and no floor group.
    pub fn is_nowhere(&self) -> bool {
        match self {
            Scope::Everything => false,
            Scope::Limited(limits) => limits.doors.is_empty() && limits.floor_groups.is_empty(),
        }
    }

    pub fn add(&mut self, other: Scope) {
        match (&mut *self, other) {
            (Scope::Everything, _) => {}
            (_, Scope::Everything) => *self = Scope::Everything,
            (Scope::Limited(own), Scope::Limited(other)) => {
                own.doors.extend(other.doors);
                own.floor_groups.extend(other.floor_groups);
                own.partitions.extend(other.partitions);
                own.organisation_units.extend(other.organisation_units);
            }
        }
    }

    pub fn add_doors<'a>(&mut self, doors: impl IntoIterator<Item = &'a Id>) {
        if let Scope::Limited(limits) = self {
            limits.doors.extend(doors.into_iter().cloned());
        }
    }

    pub fn add_floor_group(&mut self, floor_group: &Id) {
        if let Scope::Limited(limits) = self {
            limits.floor_groups.insert(floor_group.clone());
        }
    }
}

/// The records by which places belong together.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    pub partitions: &'a BTreeMap<Id, Partition>,
    pub organisation_units: &'a BTreeMap<Id, OrganisationUnit>,
}

impl Places<'_> {
    /// What someone reaches to whom these are assigned. What does not exist adds nothing.
    pub fn scope(&self, doors: Vec<Id>, partitions: Vec<Id>, units: Vec<Id>) -> Scope {
        let mut limits = Limits {
            doors: doors.into_iter().collect(),
            partitions: partitions.into_iter().collect(),
            organisation_units: self.with_those_below(units),
            ..Limits::default()
        };
        let of_units = self.partitions.iter().filter(|(_, partition)| {
            partition.organisation_unit.as_ref().is_some_and(|unit| limits.organisation_units.contains(unit))
        });
        limits.partitions.extend(of_units.map(|(id, _)| id.clone()));
        for partition in limits.partitions.iter().filter_map(|id| self.partitions.get(id)) {
            limits.doors.extend(partition.doors.iter().chain(&partition.lockers).cloned());
            limits.floor_groups.extend(partition.floor_groups.iter().cloned());
        }
        Scope::Limited(limits)
    }

    /// The places of one partition.
    pub fn of_partition(&self, partition: &str) -> Option<Scope> {
        self.partitions.get(partition).map(of_partition)
    }

    fn with_those_below(&self, units: Vec<Id>) -> BTreeSet<Id> {
        let mut all: BTreeSet<Id> = units.into_iter().collect();
        // Trees are shallow; a cycle is refused with the set and ends here all the same.
        loop {
            let below: Vec<Id> = self
                .organisation_units
                .iter()
                .filter(|(id, unit)| {
                    !all.contains(*id) && unit.parent.as_ref().is_some_and(|above| all.contains(above))
                })
                .map(|(id, _)| id.clone())
                .collect();
            if below.is_empty() {
                return all;
            }
            all.extend(below);
        }
    }
}

/// The places that a partition holds together.
pub fn of_partition(partition: &Partition) -> Scope {
    let mut scope = Scope::of_doors(partition.doors.iter().chain(&partition.lockers));
    partition.floor_groups.iter().for_each(|group| scope.add_floor_group(group));
    scope
}
